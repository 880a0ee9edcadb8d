"""Pages written from the standards: the list of all directives, the errata of the guide, the coverage table."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fast_rust.standards.lints import switched_on
from fast_rust.standards.pages import Directive, Page, Quality, directives

COVERAGE_MARKS = ("<!-- coverage: made by `fast-rust standards render` -->", "<!-- end of coverage -->")

# How each kind of gate lets an exception through.
EXCEPTIONS = {
    "clippy": "expect",
    "rustc": "expect",
    "ast-grep": "ignore",
    "standards": "staged",
    "cargo-deny": "reason",
    "cargo-shear": "reason",
    "instructions": "budget",
    "allocations": "budget",
    "just perf": "accepted",
}
# The checks that read `# reason: ...` on the line of a key; the others are about more than a key.
TAKE_A_REASON = {
    "benches_measure_what_ships",
    "every_lint_is_enabled",
    "exceptions_in_tables_have_reasons",
    "relaxed_settings_have_reasons",
    "release_profile_is_tuned",
    "profiling_keeps_symbols",
}
# The meaning of each word.
WAYS = {
    "expect": 'add `#[expect(clippy::lint, reason = "...")]` to the item, or `#[allow(lint, reason = "...")]` if the'
    " lint\n  does not fire on every platform.",
    "ignore": "add a comment `// ast-grep-ignore: rule -- reason` on the line above.",
    "reason": "add a comment `# reason: ...` on the line of the key that you relax, in the file that the check names.",
    "staged": 'correct the file that the check names. Only the entire check can be disabled: by `CHECK = "REASON"` in\n'
    "  `[workspace.metadata.staged]` of `Cargo.toml`.",
    "budget": "increase the limit in the `# Hot path` section and in the benchmark, and give the reason in the pull"
    " request.",
    "accepted": "write `perf: accepted because ...` in the text of the pull request; a maintainer adds the label\n"
    "  `perf-accepted`.",
}
HOT_PATH = (
    "Hot path: a module or function that has to be fast; a section `# Hot path` in its documentation declares it"
    " (OP-4)."
)
# Gates whose name alone says nothing to a reader of one directive.
GATES = {
    "allocations": "the allocation test of the hot path (`just test`)",
    "doctests": "`cargo test --doc` (`just test`)",
    "instructions": "the limits of instructions and heap blocks in the benchmark (`just instructions`)",
    "tests": "the crate's tests (`just test`)",
}
FOUND = {
    Quality.DECIDED: "Enforced by {gates}",
    Quality.COMMON_CASES: "Enforced in the common cases by {gates}",
    Quality.REASON_DEMANDED: "Enforced by {gates}; reviewers judge the reasons",
    Quality.PENDING: "Enforced by reviewers, until {gates} is built",
}

INTRODUCTION = """\
# Which standards does a crate have to satisfy?

A crate that was created from the template has to satisfy these coding standards. The page lists each rule (also called
a directive) with its ID and level, the checks that enforce it, and how to make an exception. In a crate, `just lint`,
`just test`, `just audit` and `just instructions` run the checks, and `just perf` runs some for a pull request; CI runs
all. `just fast-rust explain OWN-6` prints the reasons and examples of a rule. An AVOID rule names what to avoid.

A hot path is a module or function that has to be fast; a section `# Hot path` in its documentation declares it. Some
rules apply only to hot paths.

Names of checks: `clippy::` and `rustc::` are lints. `Cargo.toml` enables those without an asterisk; the others warn by
default, or `src/lib.rs` enables them. `just rules` runs `ast-grep::` and `standards::`; `tests` are those of
`just test`; `allocations` and `instructions` are the limits of the hot paths in `bench/`.

An exception needs a reason, and is removed when it is no longer needed. The column *exception* names the way:

{ways}

Two more exceptions apply to several checks:

- adopted: a check that the code failed when `fast-rust adopt` ran is disabled until
  `fast-rust adopt --unstage .` finds that the code passes it. It is disabled by `# reason: staged by adopt, ...`,
  or by a line in `[workspace.metadata.staged]` of `Cargo.toml`.
- third-party code: put it into a separate crate in `vendor/`, with `exclude = ["vendor"]` under `[workspace]`. No check
  reads that folder.

No check can enforce these rules, so reviewers check them, and a pull request says why one does not apply:
{review}.
"""


def list_of_standards(pages: Sequence[Page], switched_on: frozenset[str]) -> str:
    """Return docs/standards.md: every directive with its rule, its gates and how an exception is made."""
    sections = [
        f"## {page.number} · {page.title}\n\n"
        + _table(
            ("ID", "rule", "enforced by", "exception"),
            (
                [
                    f"{directive.id} {directive.level}",
                    directive.rule,
                    _held_by(directive, switched_on),
                    _exception(directive),
                ]
                for directive in page.directives
            ),
        )
        for page in pages
        if page.directives
    ]
    left_to_people = (
        directive.id for directive in directives(pages) if directive.quality in {Quality.REVIEW, Quality.PENDING}
    )
    ways = "\n".join(f"- {name}: {way}" for name, way in WAYS.items())
    introduction = INTRODUCTION.replace("{ways}", ways).replace("{review}", ", ".join(left_to_people))
    return "\n".join([introduction, *sections])


def explanation(directive: Directive, known: Sequence[Directive] = ()) -> str:
    """Return a directive for its reader: how it is enforced and how to make an exception, without our sources.

    Its reader may know no other page, so it says what an AVOID means, what a hot path is, which examples are bad, and
    the titles of other directives that it mentions, if these are given.
    """
    if directive.quality is Quality.REVIEW:
        enforced = f"Enforced by reviewers, because {directive.review}"
    else:
        enforced = FOUND[directive.quality].format(gates=", ".join(map(_gate, directive.gates)))
        if ours := [
            tool for tool in ("ast-grep::", "standards::") if any(gate.startswith(tool) for gate in directive.gates)
        ]:
            enforced += f"; `just rules` runs the checks named {' and '.join(f'`{tool}`' for tool in ours)}"
    facts = [f"{enforced}.", *_exceptions(directive)]
    if directive.id != "OP-4" and re.search(r"\bhot\b", directive.text):
        facts.append(HOT_PATH)
    lines = directive.text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("- Guide: "))
    last = next((number for number in range(first, len(lines)) if not lines[number]), len(lines))
    about = "\n".join(lines[:first])
    if mentioned := [other for other in known if re.search(rf"\b{other.id}\b", about) and other is not directive]:
        facts.append(f"Mentioned above: {', '.join(f'{other.id} ({other.title})' for other in mentioned)}.")
    if directive.level == "AVOID":
        about = about.replace(f"\n{directive.rule}", f"\nAvoid {directive.rule[:1].lower()}{directive.rule[1:]}", 1)
    examples = re.sub(r"(?m)^```rust (bad|good)(.*)$", _captioned, "\n".join(lines[last:]))
    return "\n".join([about, *(f"- {fact}" for fact in facts), *examples.splitlines()])


def _exceptions(directive: Directive) -> list[str]:
    """Return how to make an exception, for each check if their ways differ, with the name of one of the checks."""
    checks = {name: [gate for gate in directive.gates if _way_for(gate) == name] for name in WAYS}
    if directive.exception:
        lints = checks["expect"]
        others = [f"Exception to {', '.join(map(_gate, lints))}: {_way('expect', lints[0])}"] if lints else []
        return [f"Exception: {' '.join(directive.exception.split())}.", *others]
    if directive.quality is Quality.PENDING:
        return []
    ways = [(gates, _way(name, gates[0])) for name, gates in checks.items() if gates]
    if len(ways) <= 1:
        return [f"Exception: {way}" for _, way in ways]
    each = (f"{', '.join(map(_gate, gates))}: {way}" for gates, way in ways)
    return ["\n  - ".join(["Exception, by the check that fails:", *each])]


def _way_for(gate: str) -> str:
    kind, _, name = gate.partition("::")
    return "reason" if name in TAKE_A_REASON else EXCEPTIONS.get(kind, "")


def _way(name: str, gate: str) -> str:
    lint = gate.removeprefix("rustc::")
    way = WAYS[name].replace("ast-grep-ignore: rule", f"ast-grep-ignore: {gate.partition('::')[2]}")
    return " ".join(way.replace("(clippy::lint,", f"({lint},").replace("(lint,", f"({lint},").split())


def _gate(gate: str) -> str:
    return GATES.get(gate, f"`{gate}`")


def _captioned(fence: re.Match[str]) -> str:
    """Return the start of an example's code, with a line above it that says what the example shows."""
    gate, *flags = fence[2].split() if fence[1] == "bad" else ("", *fence[2].split())
    where = " on a hot path" if "hot" in flags else ""
    caption = f"Bad{where}, found by {_gate(gate)}:" if gate else f"Good{where}:"
    return f"{caption}\n\n```rust"


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


def _exception(directive: Directive) -> str:
    if directive.exception:
        return directive.exception
    exceptions = dict.fromkeys(map(_way_for, directive.gates))
    return ", ".join(filter(None, exceptions)) if directive.quality is not Quality.PENDING else ""


def errata(pages: Sequence[Page]) -> str:
    """docs/errata.md: where the guide is wrong, in the order of its lines."""
    found = sorted(
        ((erratum, directive.id) for directive in directives(pages) for erratum in directive.errata),
        key=lambda pair: (pair[0].first_line, pair[1]),
    )
    head = (
        "# Where is the guide wrong?\n\n"
        "The coding standards follow the intent of a guide, *High-Performance Rust Coding Standards*, which has errors."
        " This table lists the errors in the guide's order, each with the ID of the rule (directive) of the standards"
        " that takes it into account.\n\n"
        "[Another page](evidence.md) compares the guide's figures with measurements.\n\n"
    )
    return head + _table(("directive", "error and correction"), ([name, e.text] for e, name in found))


def coverage(pages: Sequence[Page]) -> str:
    """How many directives are held how well, as a table in Markdown."""
    everything = list(directives(pages))
    counts = Counter((_row(directive), directive.quality) for directive in everything)
    rows = list(dict.fromkeys(map(_row, everything)))
    rows.sort(key=("MUST", "SHOULD", "AVOID", "ours").index)

    def line(name: str, those: Iterable[str]) -> list[str]:
        of_quality = [sum(counts[row, quality] for row in those) for quality in Quality]
        return [name, *map(str, of_quality), str(sum(of_quality))]

    table = _table(("", *Quality, "all"), [*(line(row, [row]) for row in rows), line("all", rows)])
    proven = sum(1 for directive in everything if is_proven(directive))
    gated = sum(1 for directive in everything if directive.quality not in {Quality.REVIEW, Quality.PENDING})
    return f"{table}\nFor {proven} of the {gated} directives with a gate, tests have seen each gate fail.\n"


def _row(directive: Directive) -> str:
    return "ours" if directive.is_ours else directive.level


def is_proven(directive: Directive) -> bool:
    """Whether an example, or a violation in a file, shows each gate of a directive red."""
    return bool(directive.gates) and directive.quality is not Quality.PENDING and not unproven(directive)


def unproven(directive: Directive) -> list[str]:
    """The gates of a directive that no bad example shows; with violations in files, only the lints and rules."""
    shown = {example.gate for example in directive.examples}
    return [
        gate
        for gate in directive.gates
        if gate not in shown
        and not (directive.violations and not gate.startswith(("clippy::", "rustc::", "ast-grep::")))
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
