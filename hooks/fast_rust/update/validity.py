"""Whether a merged file can still be read: two changes that merge by their lines may not fit by their meaning."""

import json
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import PurePath
from tempfile import TemporaryDirectory
from typing import TypeAlias

import yaml

from fast_rust.drift.keys import name_of
from fast_rust.git import no_git_env
from fast_rust.owned import Key
from fast_rust.programs import find_program


@dataclass(frozen=True)
class Problem:
    """Why a text cannot be read, or a key that it has twice."""

    text: str
    lines: tuple[int, ...] = field(default=(), compare=False)
    is_broken: bool = False
    """Whether no program can read the text."""

    def __str__(self) -> str:
        numbers = [str(line) for line in dict.fromkeys(self.lines)]
        where = f" ({'line' if len(numbers) == 1 else 'lines'} {' and '.join(numbers)})" if numbers else ""
        return f"the file, after merging your changes with the update, {self.text}{where}"


Check: TypeAlias = Callable[[str], list[Problem]]
# What an entry of a list is about.
NAMES = ("name", "path", "crate", "id")
HEADER = re.compile(r"[ \t]*\[")


def problem_of(name: str, own: bytes, after: bytes, merged: bytes) -> str:
    """Return why a merged file cannot be read, where both sides of the merge could be; empty where it can.

    Also a key, an entry or a recipe that the merged file has twice makes it unreadable, if each side had it once.
    """
    check = _check_for(name)
    if check is None or merged in {own, after}:
        return ""
    try:
        texts = [content.decode() for content in (own, after, merged)]
    except UnicodeDecodeError:
        return ""
    known = {problem for text in texts[:2] for problem in check(text)}
    if any(problem.is_broken for problem in known):
        return ""
    return next((str(problem) for problem in check(texts[2]) if problem not in known), "")


def _check_for(name: str) -> Check | None:
    checks = {".toml": _toml, ".yml": _yaml, ".json": _json}
    return _justfile if name == "justfile" else checks.get(PurePath(name).suffix)


# --- TOML ---


def _toml(text: str) -> list[Problem]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        problem = _key_twice(text, message) if message.startswith("Cannot ") else None
        return [problem or Problem(f"is not valid TOML: {message}", is_broken=True)]
    return [Problem(f"has two entries `{name}` in `{name_of(key)}`") for key, name in _entries_twice(document)]


def _key_twice(text: str, error: str) -> Problem | None:
    """Return which key a text has twice, and where; None where it cannot be found.

    Tomllib names the line on which the second value ends.
    """
    match = re.search(r"at line (\d+)", error)
    line = int(match[1]) if match else text.count("\n") + 1
    earlier: list[_Statement] = []
    for statement in _statements(text):
        if statement.end < line:
            earlier.append(statement)
            continue
        # A table may be set where a part of its path was a value, or the other way round.
        first = max(
            reversed(earlier), key=lambda other: (_shared(statement, other), -len(other.path)), default=statement
        )
        key = statement.path[: _shared(statement, first)]
        problem = Problem(
            f"is not valid TOML: it has `{name_of(key)}` twice", (first.start, statement.start), is_broken=True
        )
        return problem if key else None
    return None


@dataclass(frozen=True)
class _Statement:
    """An assignment or a header, with its first and last line."""

    path: Key
    start: int
    end: int


def _statements(text: str) -> Iterator[_Statement]:
    lines = text.replace("\r\n", "\n").split("\n")
    above: Key = ()
    start = 0
    for end in range(1, len(lines) + 1):
        # A value of several lines can be read only with its last one.
        with suppress(tomllib.TOMLDecodeError):
            is_header = HEADER.match(lines[start])
            if path := _path(tomllib.loads("\n".join(lines[start:end]))):
                above = path if is_header else above
                yield _Statement(path if is_header else (*above, *path), start + 1, end)
            start = end


def _path(table: object) -> Key:
    """Return the path of the only key of a document, or of its only header."""
    match table:
        case dict() if len(table) == 1:
            [(name, inner)] = table.items()
            return (name, *_path(inner))
        case [*_, last]:
            return _path(last)
        case _:
            return ()


def _shared(statement: _Statement, other: _Statement) -> int:
    """Return how many parts two paths begin with in common."""
    return sum(1 for _ in takewhile(lambda parts: parts[0] == parts[1], zip(statement.path, other.path, strict=False)))


def _entries_twice(value: object, above: Key = ()) -> Iterator[tuple[Key, str]]:
    """Yield the entries that a list of tables has twice, with the key of the list."""
    match value:
        case dict():
            for name, inner in value.items():
                yield from _entries_twice(inner, (*above, name))
        case list() if any(isinstance(entry, dict) for entry in value):
            names = Counter(name for entry in value if (name := _name_of_entry(entry)))
            yield from ((above, name) for name, count in names.items() if count > 1)
            for entry in value:
                yield from _entries_twice(entry, above)


def _name_of_entry(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    name = next((str(entry[key]) for key in NAMES if key in entry), "")
    return f"{name} {entry['version']}" if name and "version" in entry else name


# --- YAML and JSON ---


def _yaml(text: str) -> list[Problem]:
    try:
        nodes = list(yaml.compose_all(text, yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        lines = (error.problem_mark.line + 1,) if error.problem_mark else ()
        return [Problem(f"is not valid YAML: {error.problem}", lines, is_broken=True)]
    except yaml.YAMLError as error:
        return [Problem(f"is not valid YAML: {error}", is_broken=True)]
    return [problem for node in nodes if node for problem in _keys_twice(node, (), set())]


def _keys_twice(node: yaml.Node, above: Key, seen: set[int]) -> Iterator[Problem]:
    """Yield the keys that a mapping has twice: PyYAML takes the last one, and GitHub refuses the file."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            yield from _keys_twice(entry, (*above, str(number)), seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                yield Problem(f"has `{'.'.join((*above, name))}` twice", (lines[name], line))
            lines.setdefault(name, line)
            yield from _keys_twice(value, (*above, name), seen)


def _json(text: str) -> list[Problem]:
    try:
        json.loads(text)
    except ValueError as error:
        return [Problem(f"is not valid JSON: {error}", is_broken=True)]
    # JSON is YAML but for tabs, and the reader of YAML has lines.
    return [problem for problem in _yaml(text.replace("\t", " ")) if not problem.is_broken]


# --- Justfiles ---


def _justfile(text: str) -> list[Problem]:
    """Let `just` read a justfile without files next to it; where it is not installed, nothing can be said."""
    program = find_program("just")
    if program is None:
        return []
    # The files that it imports are not here.
    alone = re.sub(r"(?m)^(import|mod)(?=[ \t])", r"\1?", text)
    environment = {name: value for name, value in no_git_env().items() if not name.startswith("JUST_")}
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        command = [program, "--unstable", "--color", "never", "--justfile", "-", "--dump"]
        done = subprocess.run(
            command, cwd=folder, env=environment, input=alone.encode(), check=False, capture_output=True
        )
    if done.returncode == 0:
        return []
    message = done.stderr.decode(errors="replace")
    first = message.partition("\n")[0].removeprefix("error: ")
    place = re.search(r"justfile:(\d+):\d+$", message, re.MULTILINE)
    lines = (int(place[1]),) if place and " on line " not in first else ()
    return [Problem(f"is not a valid justfile: {first}", lines, is_broken=True)]
