"""Sections `# Hot path` in the documentation of Rust: what a module or function says of its speed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

FIELDS = ("Why", "Budget", "Hasher", "Part of")
NEXT_FIELD = re.compile(rf"\n(?:{'|'.join(FIELDS)}):")
TESTS = re.compile(r"\n#\[cfg\((?:all\()?test\b[^\n]*\n(?:#\[[^\n]*\n)*(?:pub )?mod \w+ \{.*?\n\}", re.DOTALL)
TEST_IMPORT = re.compile(r"#\[cfg\((?:all\()?test\b[^\n]*\s*use [^;]*;")
# Comments, and what has no names of code in it: texts and characters.
NO_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\br(#*)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\.[^']*|[^\\'])'""",
    re.DOTALL,
)
ITEM = re.compile(r"\s*(?:pub(?:\([^)]*\))? )?(?:(?:async|const|unsafe|extern(?: \"[^\"]*\")?) )*(?:fn|mod)\s+(\w+)")
OTHER_ITEM = re.compile(r"\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|union|trait|impl|type|static|use|let)\b")
TESTS_FILE = re.compile(r"(^|/)tests?(/|\.rs$)|/test_\w+\.rs$|_tests?\.rs$")
LIST_MARK = re.compile(r"^[-*] ")


@dataclass(frozen=True)
class Section:
    """A section `# Hot path`, and the code that it is about."""

    path: str
    line: int
    name: str
    """Of the module or function."""
    text: str
    code: str
    """Without comments and tests."""
    is_of_file: bool
    """Whether it is about all of its file, and not about one item."""

    @property
    def whole(self) -> str:
        """The name of the hot path that it belongs to."""
        return self.field("Part of").strip("`. ")

    def field(self, key: str) -> str:
        """Return what stands behind `Key:`, up to the next key; empty where it is not there."""
        _, found, text = f"\n{self.text}".partition(f"\n{key}:")
        return NEXT_FIELD.split(text)[0].strip() if found else ""

    @property
    def is_part(self) -> bool:
        """Whether it belongs to another hot path."""
        return bool(self.whole)

    def __str__(self) -> str:
        """Return its name and file, for a message."""
        return f"{self.name} ({self.path})"


def sections(path: str, source: str) -> Iterator[Section]:
    """Yield the sections of a file."""
    lines = source.splitlines()
    for number, line in enumerate(lines):
        if _documentation(line) != "# Hot path":
            continue
        rest = lines[number + 1 :]
        is_of_file = line.startswith("//!")
        if is_of_file:
            name, code = module_of(path), code_of(source)
        elif line.lstrip().startswith("//!"):
            name, code = _item_around(lines, number)
        else:
            name, code = _item(rest)
        yield Section(path, number + 1, name, "\n".join(_section(rest)), code, is_of_file)


def _documentation(line: str) -> str | None:
    line = line.strip()
    return line[3:].strip() if line.startswith(("//!", "///")) else None


def _section(lines: list[str]) -> Iterator[str]:
    for line in lines:
        text = _documentation(line)
        if text is None or text.startswith("# "):
            return
        yield LIST_MARK.sub("", text)


def _item(lines: list[str]) -> tuple[str, str]:
    """Return name and code of the function or module below its documentation, which ends where its indent does."""
    for number, line in enumerate(lines):
        if named := ITEM.match(line):
            return named[1], code_of(_block(lines[number:]))
        if OTHER_ITEM.match(line):
            break
    return "neither a function nor a module", ""


def _item_around(lines: list[str], number: int) -> tuple[str, str]:
    """Return name and code of the module that a file documents."""
    for before in range(number, -1, -1):
        if (named := ITEM.match(lines[before])) and _indent(lines[before]) < _indent(lines[number]):
            return named[1], code_of(_block(lines[before:]))
    return "neither a function nor a module", ""


def _block(lines: list[str]) -> str:
    end = f"{' ' * _indent(lines[0])}}}"
    return "\n".join(lines[: next((number for number, line in enumerate(lines) if line.rstrip() == end), len(lines))])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def code_of(source: str) -> str:
    """Return a source without comments, texts and tests."""
    return TEST_IMPORT.sub("", TESTS.sub("", NO_CODE.sub(" ", source)))


def is_of_tests(path: str, source: str) -> bool:
    """Return whether a file has only tests, by its name or by its first attribute."""
    return TESTS_FILE.search(path) is not None or "#![cfg(test)]" in source


def reason_why_cold(source: str) -> str:
    """Return the reason behind `//! Cold:` in a file; empty if the file has none."""
    found = re.search(r"^//! Cold:(.*(?:\n//! ?[^\s#].*)*)", source, re.MULTILINE)
    return found[1] if found else ""


def module_of(path: str) -> str:
    """Return the module that a file is: its name, or for `mod.rs` that of its folder."""
    file = PurePosixPath(path)
    return file.parent.name if file.name == "mod.rs" else file.stem
