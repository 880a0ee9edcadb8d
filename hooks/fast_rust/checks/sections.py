"""Sections `# Hot path` in the documentation of Rust: what a module or function says of its speed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

FIELDS = ("Why", "Budget", "Hasher", "Part of")
NEXT_FIELD = re.compile(rf"\n(?:{'|'.join(FIELDS)}):")
TESTS = re.compile(r"\n#\[cfg\((?:all\()?test\b.*\nmod ")
ITEM = re.compile(r"\b(?:fn|mod)\s+(\w+)")


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

    def field(self, key: str) -> str:
        """Return what stands behind `Key:`, up to the next key; empty where it is not there."""
        _, found, text = f"\n{self.text}".partition(f"\n{key}:")
        return NEXT_FIELD.split(text)[0].strip() if found else ""

    @property
    def is_part(self) -> bool:
        """Whether it belongs to another hot path."""
        return bool(self.field("Part of"))

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
        is_module = line.lstrip().startswith("//!")
        name, code = (module_of(path), code_of(source)) if is_module else _item(rest)
        yield Section(path, number + 1, name, "\n".join(_section(rest)), code)


def _documentation(line: str) -> str | None:
    line = line.strip()
    return line[3:].strip() if line.startswith(("//!", "///")) else None


def _section(lines: list[str]) -> Iterator[str]:
    for line in lines:
        text = _documentation(line)
        if text is None or text.startswith("# "):
            return
        yield text


def _item(lines: list[str]) -> tuple[str, str]:
    """Return name and code of the function or module below its documentation, which ends where its indent does."""
    start = next((number for number, line in enumerate(lines) if _is_code(line)), len(lines))
    if start == len(lines):
        return "nothing", ""
    indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    ends = (number for number, line in enumerate(lines) if number > start and line.rstrip() == f"{indent}}}")
    body = "\n".join(lines[start : next(ends, len(lines))])
    named = ITEM.search(body)
    return named[1] if named else "neither a function nor a module", code_of(body)


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(("//", "#"))


def code_of(source: str) -> str:
    """Return a source without comments, and without tests, which stand at its end."""
    return re.sub(r"//.*", "", TESTS.split(source)[0])


def module_of(path: str) -> str:
    """Return the module that a file is: its name, or for `mod.rs` that of its folder."""
    file = PurePosixPath(path)
    return file.parent.name if file.name == "mod.rs" else file.stem
