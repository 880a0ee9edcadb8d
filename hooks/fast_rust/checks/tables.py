"""TOML files with their lines: where a key stands, and whether its line ends with a reason."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fast_rust.errors import FastRustError

HEADER = re.compile(r"^\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?$")
PART = r"""(?:"[^"]*"|'[^']*'|[\w-]+)"""
KEY = re.compile(rf"^\s*({PART}(?:\s*\.\s*{PART})*)\s*=")
# Two words or more, up to a further comment.
REASON = re.compile(r"#.*?\breason:\s*((?!#\s)\S+\s+(?!#\s)\S.*?)(?=\s+#\s|\s*$)")
# Up to a comment; a `#` in quotes begins none.
BEFORE_COMMENT = re.compile(r"""(?:[^"'#]|"[^"]*"|'[^']*')*""")


class WorkspaceError(FastRustError):
    """A workspace that cannot be checked; the message says why, and what to do."""


@dataclass(frozen=True)
class Table:
    """A TOML file; an absent one is empty."""

    path: str
    """Relative to the root of the workspace."""
    text: str
    content: Mapping[str, Any]

    @classmethod
    def read(cls, root: Path, path: str) -> "Table":
        """Read a file of a workspace.

        Raises WorkspaceError where it is not valid TOML.
        """
        text = read_text(root / path)
        try:
            return cls(path, text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise WorkspaceError(f"{root / path} is not valid TOML: {error}; correct it, and run this again") from error

    def at(self, *keys: str) -> Any:  # noqa: ANN401  A value of TOML.
        """Return the value of a key; None if it is missing."""
        value: Any = self.content
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def line(self, *keys: str) -> int:
        """Return the line of a key, or of the innermost table that would have it; 0 if both are missing."""
        return next((self._lines[part][0] for part in _from_inside(keys) if part in self._lines), 0)

    def has_reason(self, *keys: str) -> bool:
        """Return whether the line of a key ends with `# reason: ...`; that of an inline table is for all its keys."""
        lines = (self._lines[part] for part in _from_inside(keys) if part in self._lines)
        return any(not HEADER.match(text) and has_reason(text) for _, text in lines)

    @cached_property
    def _lines(self) -> Mapping[tuple[str, ...], tuple[int, str]]:
        header: tuple[str, ...] = ()
        found: dict[tuple[str, ...], tuple[int, str]] = {}
        for number, line in enumerate(self.text.splitlines(), 1):
            if match := HEADER.match(line):
                header = _parts(match[1])
                found.setdefault(header, (number, line))
            elif match := KEY.match(line):
                found.setdefault((*header, *_parts(match[1])), (number, line))
        return found


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(PART, dotted))


def _from_inside(keys: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [keys[:length] for length in range(len(keys), 0, -1)]


def read_text(path: Path) -> str:
    """Return the text of a file with the line ends of Unix; empty where there is no such file."""
    try:
        return path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def without_comment(line: str) -> str:
    """Return a line of TOML, YAML, a justfile or a shell script without its comment."""
    before = BEFORE_COMMENT.match(line)
    rest = line[before.end() :] if before else line
    # A quote that is not closed, such as an apostrophe, does not count.
    return (line[: len(line) - len(rest)] if rest[:1] in {"", "#"} else line.partition("#")[0]).strip()


def has_reason(line: str) -> bool:
    """Return whether a line has a reason of two words or more."""
    return REASON.search(line) is not None


def words(text: object) -> int:
    """Return the number of words of a value that may be a text."""
    return len(text.split()) if isinstance(text, str) else 0
