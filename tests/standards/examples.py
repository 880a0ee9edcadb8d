"""The examples of the pages, and a crate's own rule with its findings."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt

from fast_rust.standards.folder import standards_folder
from fast_rust.standards.pages import KINDS, Directive, Example, directives, read_standards
from support.variants import CHECKOUT

ONLY = os.environ.get("FAST_RUST_EXAMPLES", "")
"""Directives to check, such as `OWN-6,PRE-1`, for authors of a directive."""

HOT = "//! An example.\n//!\n//! # Hot path\n//! Why: runs for each record.\n//! Budget: 100 instructions a record.\n\n"

OWN_RULE = (
    "id: ours-no-todo\nlanguage: rust\nseverity: error\nfiles: ['src/**']\n"
    "message: do it now\nrule:\n  pattern: fn later() {}\n"
)
TODO = "fn later() {}\n"


@dataclass(frozen=True)
class Case:
    """An example, with the kind of crate in which it is checked."""

    name: str
    title: str
    directive: str
    example: Example

    @property
    def code(self) -> str:
        return HOT + self.example.code if self.example.hot else self.example.code


def cases() -> Iterator[Case]:
    """Return all examples: those of the pages, and those in other documents for users."""
    for directive in directives(read_standards(standards_folder())):
        if not ONLY or directive.id in ONLY.split(","):
            yield from _of_directive(directive)
    if not ONLY:
        yield from _of_documents()


def _of_directive(directive: Directive) -> Iterator[Case]:
    for example in directive.examples:
        quality = f"bad-{example.gate}" if example.gate else "good"
        name = f"{directive.id.lower().replace('-', '_')}_line_{example.line}"
        yield Case(name, f"{directive.id}-{directive.path.stem}:{example.line}-{quality}", directive.id, example)


def _of_documents() -> Iterator[Case]:
    for path in sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")]):
        for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
            if token.type == "fence" and token.info.split()[:1] == ["rust"] and token.map:
                line = token.map[0] + 1
                name = re.sub(r"\W", "_", path.stem.lower())
                example = Example(token.content, line, None, hot=False, kinds=KINDS)
                yield Case(f"{name}_line_{line}", f"{path.name}:{line}", "", example)


CASES = list(cases())
