"""Entries of a manifest: found by line, so that all other lines stay as they are."""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]
DEPENDENCIES = ("dependencies", "dev-dependencies", "build-dependencies")


@dataclass(frozen=True)
class Entry:
    """A key and its value, or the header of a table: the lines from `start` up to `end`."""

    table: Path
    key: Path
    """Empty for a header."""
    start: int
    end: int
    value: Any = None


def entries(lines: list[str]) -> Iterator[Entry]:
    """The headers and keys of a manifest that is known to be valid."""
    table: Path = ()
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if not line or line.startswith("#"):
            at += 1
            continue
        end = at + 1
        # A value continues until it is complete.
        while (parsed := _parse("".join(lines[at:end]))) is None and end < len(lines):
            end += 1
        path, value = _path_of(parsed or {})
        if line.startswith("["):
            table = path
            yield Entry(table, (), at, end)
        else:
            yield Entry(table, path, at, end, value)
        at = end


def _parse(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _path_of(parsed: dict[str, Any]) -> tuple[Path, Any]:
    path: list[str] = []
    value: Any = parsed
    while isinstance(value, dict) and len(value) == 1:
        [(key, value)] = value.items()
        path.append(key)
        # An inline table is a value, and a dotted key is not; either is found by its first key.
    return tuple(path), value


def without(text: str, doomed: Iterable[Path], comments: Iterable[str] = ()) -> str:
    """Return a manifest without the keys and tables of these paths.

    With a key go those lines of the comment above it that are in `comments`. A table that has no key left goes too.
    """
    lines = text.splitlines(keepends=True)
    found = list(entries(lines))
    paths = set(doomed)
    known = {comment.strip() for comment in comments}
    dropped: set[int] = set()
    for entry in found:
        whole = (*entry.table, *entry.key)
        if any(whole[: len(path)] == path for path in paths):
            dropped.update(range(entry.start, entry.end))
            dropped.update(_comments_above(lines, entry.start, known))
    return _tidied(lines, found, dropped, text)


def without_benches(text: str, names: Iterable[str]) -> str:
    """Return a manifest without the `[[bench]]` entries of these names."""
    lines = text.splitlines(keepends=True)
    found = list(entries(lines))
    doomed = set(names)
    dropped: set[int] = set()
    for index, header in enumerate(found):
        if header.table != ("bench",) or header.key:
            continue
        body = []
        for entry in found[index + 1 :]:
            if not entry.key:
                break
            body.append(entry)
        if any(entry.key == ("name",) and entry.value in doomed for entry in body):
            dropped.update(range(header.start, body[-1].end))
    return _tidied(lines, found, dropped, text)


def _comments_above(lines: list[str], start: int, known: set[str]) -> Iterator[int]:
    number = start - 1
    while number >= 0 and lines[number].lstrip().startswith("#"):
        if lines[number].strip() in known:
            yield number
        number -= 1


def _tidied(lines: list[str], found: list[Entry], dropped: set[int], text: str) -> str:
    """Return the lines without those dropped, without headers that lost all their keys, and single blank lines."""
    if not dropped:
        return text
    headers = [index for index, entry in enumerate(found) if not entry.key]
    for index, following in zip(headers, [*headers[1:], len(found)], strict=True):
        body = found[index + 1 : following]
        # Comments of the user stay, without a table that would be empty.
        if body and all(entry.start in dropped for entry in body):
            dropped.update(range(found[index].start, found[index].end))
    kept: list[str] = []
    seam = False
    for number, line in enumerate(lines):
        if number in dropped:
            seam = True
        elif line.strip():
            kept.append(line)
            seam = False
        elif not (seam and (not kept or not kept[-1].strip())):
            kept.append(line)
    return "".join(kept).rstrip("\n") + "\n"


def dependencies(table: dict[str, Any]) -> dict[Path, Any]:
    """Return the dependencies of a manifest by their paths."""
    found: dict[Path, Any] = {}
    for above, each in [((), table), *((("target", key), value) for key, value in table.get("target", {}).items())]:
        for kind in DEPENDENCIES:
            for name, value in each.get(kind, {}).items():
                found[(*above, kind, name)] = value
    return found


def line_of(text: str, path: Path) -> int:
    """Return the line of a key, counted from 1."""
    for entry in entries(text.splitlines(keepends=True)):
        if (*entry.table, *entry.key)[: len(path)] == path:
            return entry.start + 1
    return 1
