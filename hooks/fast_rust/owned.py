"""The template's part of a crate: entire files, and single keys of shared files."""

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import yaml

from fast_rust.answers import ANSWERS_FILE, Answers
from fast_rust.cache import cache_folder, created_atomically
from fast_rust.releases import Repository
from fast_rust.rendering import Files, read_files, render

Key: TypeAlias = tuple[str, ...]

# Managed files and owned keys do not depend on these, so crates that differ in them alone share a rendering.
# No template contains such letters, and the characters show how an answer was written into a file.
IDENTITY = {
    "crate_name": "zq-crate-name",
    "description": 'Zq "does" zq \\ é',
    "copyright_holder": 'Zq "and" sons \\ é',
    # As releases before 0.6.0 ask for it.
    "author": 'Zq "or" sons \\ é',
    "repository_url": "https://zq.example.org/zq/zq",
}


@dataclass(frozen=True)
class Owned:
    """What a release owns in a crate of certain choices."""

    files: Mapping[str, bytes]
    """Managed files, by their path in the crate."""
    shared: Mapping[str, bytes]
    """Files with owned keys as the release has them, of a crate with another identity."""
    patterns: Mapping[str, tuple[Key, ...]]
    """For each shared file, the keys that are owned; `*` is any one key."""
    starters: tuple[str, ...]
    """Files and folders that are the crate's from the first day."""

    def keys(self, path: str) -> dict[Key, Any]:
        """The owned keys of a shared file, with their values."""
        return keys_in(tomllib.loads(self.shared[path].decode()), self.patterns[path])


def keys_in(document: object, patterns: Iterable[Key]) -> dict[Key, Any]:
    """Return the keys of a document that match one of the patterns, with their values."""
    return {key: value for pattern in patterns for key, value in find(document, pattern)}


def find(table: object, pattern: Key, above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """The keys of a table that match a pattern, with their values."""
    match table, pattern:
        case _, ():
            yield above, table
        case dict(), ("*", *rest):
            for name, value in table.items():
                yield from find(value, tuple(rest), (*above, name))
        case dict(), (name, *rest) if name in table:
            yield from find(table[name], tuple(rest), (*above, name))


def owned_by(repository: Repository, answers: Answers) -> Owned:
    """What the release of a crate's answers owns in it, rendered once for all crates of the same choices.

    Raises TemplateError or RenderingError where the release cannot be had or rendered.
    """
    commit = repository.commit(answers.release)
    rendering = cached_rendering(with_made_up_identity(repository, answers), commit)
    return of_rendering(repository, commit, rendering)


def with_made_up_identity(repository: Repository, answers: Answers) -> Answers:
    """Return answers with the made-up identity, and the repository as their source."""
    # An answer that is empty may leave out what it would be in.
    made_up = {name: answer for name, answer in IDENTITY.items() if answers.choices.get(name)}
    return Answers(str(repository.folder), answers.release, {**answers.choices, **made_up})


def of_rendering(repository: Repository, release: str, rendering: Mapping[str, bytes]) -> Owned:
    """What a release owns of a rendering."""
    classes = ownership(repository, release)
    return Owned(
        {path: content for path, content in rendering.items() if is_in(path, classes["managed"])},
        {path: rendering[path] for path, keys in classes["shared"].items() if keys and path in rendering},
        {path: tuple(tuple(key.split(".")) for key in keys) for path, keys in classes["shared"].items()},
        tuple(classes["starter"]),
    )


@dataclass(frozen=True)
class Part:
    """A rendering of a release, by who owns its files."""

    files: Mapping[str, bytes]
    """Managed and shared files, which an update changes."""
    of_the_crate: Mapping[str, bytes]
    """Starters, as the release has them; an update touches none."""
    starters: tuple[str, ...]
    """Files and folders that are the crate's from the first day, rendered or not."""
    answers: bytes
    executables: frozenset[str] = frozenset()


def part_of(repository: Repository, release: str, rendering: Mapping[str, bytes], answers: str = ANSWERS_FILE) -> Part:
    """Return a rendering by who owns its files; its answers are in the file of that name."""
    starters = tuple(ownership(repository, release)["starter"])
    files = {path: content for path, content in rendering.items() if path != answers}
    own = {path: content for path, content in files.items() if is_in(path, starters)}
    executables = rendering.executables if isinstance(rendering, Files) else frozenset()
    others = {path: files[path] for path in files.keys() - own.keys()}
    return Part(others, own, starters, rendering[answers], executables)


@cache
def ownership(repository: Repository, release: str) -> Mapping[str, Any]:
    """Return the table of owners of a release, which is one commit as long as a process lives."""
    classes: dict[str, Any] = yaml.safe_load(repository.text(release, "ownership.yml"))
    return classes


def is_in(path: str, entries: Iterable[str]) -> bool:
    """Whether a file is one of the entries of the table of owners, or below one."""
    return any(PurePosixPath(path).is_relative_to(entry) for entry in entries)


def cached_rendering(answers: Answers, commit: str) -> Files:
    """Return the rendering of answers by the commit of their release, from the cache if it is there."""
    return cached([commit, answers.choices], lambda folder: render(answers, folder))


def cached(key: Sequence[object], make: Callable[[Path], object]) -> Files:
    """Return the files of a folder in the cache, which is made once for each key."""
    name = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:24]
    folder = cache_folder() / "renderings" / name
    if not folder.exists():
        with created_atomically(folder) as part:
            make(part)
    return read_files(folder)
