"""Pages written from the standards: the list of all directives, the errata of the guide, the coverage table."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fast_rust.standards.lints import switched_on
from fast_rust.standards.pages import Directive, Page, Quality, directives

COVERAGE_MARKS = ("<!-- coverage: made by `fast-rust standards render` -->", "<!-- end of coverage -->")

# How each kind of gate lets an exception through.
DOORS = {
    "clippy": "expect",
    "rustc": "expect",
    "ast-grep": "ignore",
    "standards": "reason",
    "cargo-deny": "reason",
    "cargo-shear": "reason",
    "instructions": "budget",
    "allocations": "budget",
    "just perf": "accepted",
}

INTRODUCTION = """\
# What is a crate held to?

Each directive with its rule, the gates that enforce it, and how an exception is made. In a crate, `just lint`,
`just test`, `just audit` and `just instructions` run the gates, and `just perf` for a pull request; CI runs them all.
`just fast-rust explain OWN-6` prints a directive's reasons and examples.

Names of gates: `clippy::` and `rustc::` are lints, which `Cargo.toml` enables (with an asterisk: a warning by default,
or enabled in `src/lib.rs`); `ast-grep::` and `standards::` are rules of `just rules`; `allocations` and `instructions`
are the budgets of the hot paths in `bench/`.

An exception has a reason, and is removed when nothing needs it any more:

- expect: `#[expect(clippy::lint, reason = "...")]` at the item; `#[allow(lint, reason = "...")]` where the lint does
  not fire on every platform.
- ignore: a comment `// ast-grep-ignore: rule -- reason` on the line above.
- reason: a comment `# reason: ...` on the line of the key that is loosened.
- staged: what the code did not satisfy when `fast-rust adopt` ran, until `fast-rust adopt --unstage .` finds it
  satisfied: `# reason: staged by adopt, ...`, or a line of `[workspace.metadata.staged]` in `Cargo.toml`.
- code of others: a crate of its own in `vendor/`, and `exclude = ["vendor"]` under `[workspace]`: no gate looks there.
- budget: a larger number in the `# Hot path` section and in the bench, with the reason in the pull request.
- accepted: a maintainer's label `perf-accepted` on the pull request, and in its text `perf: accepted because ...`.

No gate can judge these, so reviewers ask for them, and a pull request says why one does not apply:
{review}.
"""


def list_of_standards(pages: Sequence[Page], switched_on: frozenset[str]) -> str:
    """Return docs/standards.md: every directive with its rule, its gates and how an exception is made."""
    sections = [
        f"## {page.number} · {page.title}\n\n"
        + _table(
            ("directive", "rule", "held by", "exception"),
            ([f"{one.id} {one.level}", one.rule, _held_by(one, switched_on), _door(one)] for one in page.directives),
        )
        for page in pages
        if page.directives
    ]
    left_to_people = (one.id for one in directives(pages) if one.quality in {Quality.REVIEW, Quality.PENDING})
    return "\n".join([INTRODUCTION.replace("{review}", ", ".join(left_to_people)), *sections])


def _held_by(directive: Directive, switched_on: frozenset[str]) -> str:
    match directive.quality:
        case Quality.REVIEW:
            return "review"
        case Quality.PENDING:
            return "review, until it is measured"
        case _:
            return ", ".join(f"`{gate}`{_star(gate, switched_on)}" for gate in directive.gates)


def _star(gate: str, switched_on: frozenset[str]) -> str:
    is_lint = gate.startswith(("clippy::", "rustc::"))
    return "*" if is_lint and gate not in switched_on else ""


def _door(directive: Directive) -> str:
    if directive.door:
        return directive.door
    doors = dict.fromkeys(DOORS.get(gate.partition("::")[0], "") for gate in directive.gates)
    return ", ".join(filter(None, doors)) if directive.quality is not Quality.PENDING else ""


def errata(pages: Sequence[Page]) -> str:
    """docs/errata.md: where the guide is wrong, in the order of its lines."""
    found = sorted(
        ((erratum, one.id) for one in directives(pages) for erratum in one.errata),
        key=lambda pair: (pair[0].first_line, pair[1]),
    )
    head = (
        "# Where is the guide wrong?\n\n"
        "The standards follow the guide's intent. Here its text errs, by its lines; the directive named is the one that"
        " was written in the light of it.\n\n"
        "What the guide's figures come to is [measured](evidence.md).\n\n"
    )
    return head + _table(("line", "directive", "what is so"), ([e.lines, name, e.text] for e, name in found))


def coverage(pages: Sequence[Page]) -> str:
    """How many directives are held how well, as a table in Markdown."""
    everything = list(directives(pages))
    counts = Counter((_row(one), one.quality) for one in everything)
    rows = list(dict.fromkeys(map(_row, everything)))
    rows.sort(key=("MUST", "SHOULD", "AVOID", "ours").index)

    def line(name: str, those: Iterable[str]) -> list[str]:
        of_quality = [sum(counts[row, quality] for row in those) for quality in Quality]
        return [name, *map(str, of_quality), str(sum(of_quality))]

    table = _table(("", *Quality, "all"), [*(line(row, [row]) for row in rows), line("all", rows)])
    proven = sum(1 for one in everything if is_proven(one))
    gated = sum(1 for one in everything if one.quality not in {Quality.REVIEW, Quality.PENDING})
    return f"{table}\n{proven} of the {gated} directives with a gate have seen each of their gates go red in a test.\n"


def _row(directive: Directive) -> str:
    return "ours" if directive.is_ours else directive.level


def is_proven(directive: Directive) -> bool:
    """Whether an example, or a fault in a file, shows each gate of a directive red."""
    return bool(directive.gates) and directive.quality is not Quality.PENDING and not unproven(directive)


def unproven(directive: Directive) -> list[str]:
    """The gates of a directive that no bad example shows; with faults in files, only the lints and rules."""
    shown = {example.gate for example in directive.examples}
    return [
        gate
        for gate in directive.gates
        if gate not in shown and not (directive.faults and not gate.startswith(("clippy::", "rustc::", "ast-grep::")))
    ]


def with_coverage(readme: str, pages: Sequence[Page]) -> str:
    """The README with the coverage table of today."""
    start, end = COVERAGE_MARKS
    before, _, rest = readme.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n\n{coverage(pages)}\n{end}{after}"


def documents(pages: Sequence[Page], checkout: Path) -> Iterator[tuple[Path, str]]:
    """All files that are written from the standards, as they should be."""
    manifest = (checkout / "template" / "Cargo.toml.jinja").read_text(encoding="utf-8")
    readme = checkout / "README.md"
    yield checkout / "docs" / "standards.md", list_of_standards(pages, switched_on(manifest))
    yield checkout / "docs" / "errata.md", errata(pages)
    yield readme, with_coverage(readme.read_text(encoding="utf-8"), pages)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("|" + "|".join(f" {_cell(text)} " for text in line) + "|\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
