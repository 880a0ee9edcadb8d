"""The standards: the pages of standards/, read into directives with their gates and examples."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from fast_rust.errors import FastRustError

HEADING = re.compile(r"(?P<id>[A-Z]+-[1-9]\d*) · (?P<level>MUST|SHOULD|AVOID) · (?P<title>\S.*)")
TITLE = re.compile(r"(?P<number>[1-9]?\d) · (?P<title>\S.*)")
MECHANISM = re.compile(
    r"(clippy|rustc)::[a-z_0-9]+|ast-grep::[a-z-]+|standards::[a-z_]+"
    r"|rustfmt|rustdoc|cargo-deny|cargo-shear|doctests|allocations|instructions|tests|just perf"
)
KINDS = frozenset({"lib", "cli", "service"})
CODE = re.compile(r"`([^`]+)`")


class StandardsError(FastRustError):
    """A page with another form than all pages have; the message has the place and the expected form."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        """Name the place: a line of a file, counted from 1."""
        super().__init__(f"standards/{path.name}:{line}: {message}")


class Quality(StrEnum):
    """How well a directive is held."""

    DECIDED = "decided"
    """A machine decides it."""
    COMMON_CASES = "common cases"
    """A machine finds the usual ways of breaking it."""
    REASON_DEMANDED = "reason demanded"
    """A machine demands a written reason, which people judge."""
    PENDING = "pending"
    """The gate is not built yet."""
    REVIEW = "review"
    """Only people can judge it."""


@dataclass(frozen=True)
class Example:
    """A piece of Rust that its gate refuses, or that every gate lets pass."""

    code: str
    line: int
    gate: str | None
    """The gate that has to go red; none has to for a good example."""
    hot: bool
    """Whether it stands on a hot path."""
    kinds: frozenset[str]
    """The kinds of crates that it is judged in."""


@dataclass(frozen=True)
class Erratum:
    """A place where the guide is wrong, and what is so."""

    lines: str
    text: str

    @property
    def first_line(self) -> int:
        return int(self.lines.partition("-")[0])


@dataclass(frozen=True)
class Directive:
    """One rule, why it is one, and what holds a crate to it."""

    id: str
    level: str
    title: str
    rule: str
    guide: int | None
    """Its line in the guide; none where we had to reconstruct it, or added it."""
    origin: str
    """`guide`, `reconstructed` or `ours`."""
    quality: Quality
    gates: tuple[str, ...]
    review: str
    """Why only people can judge it; empty where a machine can."""
    violations: tuple[str, ...]
    """Names of the violations in files that prove its gates."""
    exception: str
    """How an exception is made, where it is not made as usual for its gates."""
    errata: tuple[Erratum, ...]
    examples: tuple[Example, ...]
    text: str
    """The whole entry, in Markdown."""
    path: Path
    line: int

    @property
    def is_ours(self) -> bool:
        return self.origin == "ours"


@dataclass(frozen=True)
class Page:
    """A section of the standards."""

    number: int
    title: str
    directives: tuple[Directive, ...]


@cache
def read_standards(folder: Path) -> tuple[Page, ...]:
    """Read all pages, in the order of their numbers.

    Raises StandardsError for a page that is malformed, and for an id that occurs twice.
    """
    pages = tuple(sorted(map(read_page, folder.glob("*.md")), key=lambda page: page.number))
    seen: dict[str, Directive] = {}
    for directive in directives(pages):
        first = seen.setdefault(directive.id, directive)
        if first is not directive:
            raise StandardsError(
                directive.path, directive.line, f"{directive.id} is defined already: {first.path.name}:{first.line}"
            )
    return pages


def directives(pages: Sequence[Page]) -> Iterator[Directive]:
    """All directives of some pages, in order."""
    for page in pages:
        yield from page.directives


def read_page(path: Path) -> Page:
    """Read one page: a title, perhaps an introduction, and an entry for each directive."""
    text = path.read_text(encoding="utf-8")
    nodes = SyntaxTreeNode(MarkdownIt("commonmark").parse(text)).children
    if not nodes or nodes[0].tag != "h1" or not (title := TITLE.fullmatch(_inline(nodes[0]))):
        raise StandardsError(path, 1, "expected a title like `# 1 · Ownership and borrowing`")
    if not path.name.startswith(f"{int(title['number']):02}-"):
        raise StandardsError(path, 1, f"expected the name to begin with the section's number: {title['number']:0>2}-")
    starts = [index for index, node in enumerate(nodes) if node.tag == "h3"]
    lines = text.splitlines()
    entries = tuple(_read_directive(path, nodes[start:end], lines) for start, end in pairwise([*starts, len(nodes)]))
    return Page(int(title["number"]), title["title"], entries)


def _read_directive(path: Path, nodes: Sequence[SyntaxTreeNode], lines: Sequence[str]) -> Directive:
    heading, *body = nodes
    line = _line(heading)
    if not (named := HEADING.fullmatch(_inline(heading))):
        raise StandardsError(path, line, "expected a heading like `### OWN-1 · MUST · Pass references`")
    if not body or body[0].type != "paragraph":
        raise StandardsError(path, line, f"expected the rule of {named['id']} in a paragraph below its heading")
    facts_list = next((node for node in body if node.type == "bullet_list"), None)
    if facts_list is None:
        raise StandardsError(path, line, f"expected a list with `- Guide:` and `- Gate:` for {named['id']}")
    facts = _Facts(path, facts_list)
    origin, guide = facts.guide()
    quality, gates, review = facts.gate()
    examples = tuple(_read_example(path, node, gates) for node in body if node.type == "fence")
    last = max(node.map[1] for node in nodes if node.map)
    return Directive(
        id=named["id"],
        level=named["level"],
        title=named["title"],
        rule=_inline(body[0]),
        guide=guide,
        origin=origin,
        quality=quality,
        gates=gates,
        review=review,
        violations=tuple(CODE.findall(facts.text("Violations"))),
        exception=facts.text("Exception"),
        errata=facts.errata(),
        examples=examples,
        text="\n".join(lines[line - 1 : last]),
        path=path,
        line=line,
    )


class _Facts:
    """The list of a directive: `Guide:`, `Gate:`, and what else is to be said."""

    NAMES = ("Guide", "Gate", "Violations", "Exception", "Erratum")

    def __init__(self, path: Path, items: SyntaxTreeNode) -> None:
        self.path = path
        self.line = _line(items)
        self.entries: list[tuple[str, str, int]] = []
        for item in items.children:
            name, colon, text = _inline(item.children[0]).partition(": ")
            if not colon or name not in self.NAMES:
                raise StandardsError(path, _line(item), f"expected one of {', '.join(self.NAMES)}, then `: `")
            if name != "Erratum" and self.text(name):
                raise StandardsError(path, _line(item), f"{name} is listed twice")
            self.entries.append((name, text, _line(item)))

    def text(self, name: str) -> str:
        return next((text for entry, text, _ in self.entries if entry == name), "")

    def place(self, name: str) -> int:
        return next((line for entry, _, line in self.entries if entry == name), self.line)

    def guide(self) -> tuple[str, int | None]:
        match self.text("Guide"):
            case "reconstructed" | "ours" as origin:
                return origin, None
            case number if number.isdecimal():
                return "guide", int(number)
            case _:
                raise StandardsError(
                    self.path,
                    self.place("Guide"),
                    "expected `Guide:` with a line number of the guide, `reconstructed` or `ours`",
                )

    def gate(self) -> tuple[Quality, tuple[str, ...], str]:
        text = self.text("Gate")
        if review := re.fullmatch(r"review, because (\S.*)", text):
            return Quality.REVIEW, (), review[1]
        stated = re.fullmatch(r"(decided|common cases|reason demanded|pending), by (\S.*)", text)
        gates = tuple(CODE.findall(stated[2])) if stated else ()
        if not stated or not gates:
            expected = "expected `Gate:` like `decided, by `rustfmt``, or `review, because ...`"
            raise StandardsError(self.path, self.place("Gate"), expected)
        for gate in gates:
            if not MECHANISM.fullmatch(gate):
                raise StandardsError(self.path, self.place("Gate"), f"unknown kind of gate: `{gate}`")
        return Quality(stated[1]), gates, ""

    def errata(self) -> tuple[Erratum, ...]:
        found = []
        for name, text, line in self.entries:
            if name == "Erratum":
                if not (parts := re.fullmatch(r"(\d+(?:-\d+)?): (\S.*)", text)):
                    raise StandardsError(self.path, line, "expected `Erratum: 40: ...` or `Erratum: 40-44: ...`")
                found.append(Erratum(parts[1], parts[2]))
        return tuple(found)


def _read_example(path: Path, fence: SyntaxTreeNode, gates: Sequence[str]) -> Example:
    line = _line(fence)
    match fence.info.split():
        case ["rust", "good", *flags]:
            gate = None
        case ["rust", "bad", gate, *flags]:
            if gate not in gates:
                raise StandardsError(path, line, f"`{gate}` is not among the gates of this directive")
        case _:
            raise StandardsError(path, line, "expected ```rust bad GATE, or ```rust good")
    if unknown := set(flags) - {"hot", *KINDS}:
        raise StandardsError(path, line, f"expected `hot` or a kind of crate, not {', '.join(sorted(unknown))}")
    return Example(fence.content, line, gate, "hot" in flags, KINDS.intersection(flags) or KINDS)


def _line(node: SyntaxTreeNode) -> int:
    return node.map[0] + 1 if node.map else 1


def _inline(node: SyntaxTreeNode) -> str:
    """The source of a heading or a paragraph, on one line."""
    content: str = node.children[0].content
    return " ".join(content.split())
