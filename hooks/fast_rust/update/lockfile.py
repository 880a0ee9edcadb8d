"""Cargo.lock after an update: refreshed only where a requirement of the manifests has changed."""

import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fast_rust import git

LOCK = "Cargo.lock"
MANIFESTS = ("Cargo.toml", "bench/Cargo.toml")


def requirements(crate: Path) -> dict[tuple[str, str], str]:
    """Return what the manifests of a crate require, by manifest and dependency; a damaged one requires nothing."""
    found: dict[tuple[str, str], str] = {}
    for name in MANIFESTS:
        file = crate / name
        try:
            manifest = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError:
            continue
        found |= {(name, dependency): requirement for dependency, requirement in _dependencies(manifest)}
    return found


def _dependencies(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if key.endswith("dependencies") and isinstance(value, dict):
            yield from ((name, repr(requirement)) for name, requirement in value.items())
        elif isinstance(value, dict) and key != "metadata":
            yield from _dependencies(value)


def moved(before: Mapping[tuple[str, str], str], after: Mapping[tuple[str, str], str]) -> str:
    """Return what an update did to requirements, such as `added a, b and removed c`; empty if they are the same."""
    dependencies = {
        "added": after.keys() - before.keys(),
        "removed": before.keys() - after.keys(),
        "changed the requirement of": {key for key in before.keys() & after.keys() if before[key] != after[key]},
    }
    lists = {verb: ", ".join(sorted({name for _, name in keys})) for verb, keys in dependencies.items()}
    return " and ".join(f"{verb} {names}" for verb, names in lists.items() if names)


def committed_lock(crate: Path) -> str | None:
    """Return the lockfile of the crate or its workspace, by its path from the crate, if it is committed unchanged.

    A lockfile that git ignores is refreshed by cargo anyway; one that is marked assume-unchanged or
    skip-worktree is the user's.
    """
    top = git.top_of(crate)
    folder, path = crate.resolve(), Path()
    while folder.is_relative_to(top):
        if (folder / LOCK).is_file():
            name = (path / LOCK).as_posix()
            is_known = bool(git.names(folder, "ls-files", "-z", "--", LOCK))
            is_unclear = git.status(folder, LOCK) or git.unwatched(folder, [LOCK])
            return name if is_known and not is_unclear else None
        folder, path = folder.parent, path / ".."
    return None


def refresh(crate: Path, lock: str, change: str) -> str:
    """Let cargo update a lockfile, and return what happened to it; empty where it had nothing to change."""
    changed = f"the update {change}"
    command = ["cargo", "update", "--workspace"]
    before = (crate / lock).read_bytes()
    try:
        done = subprocess.run([*command, "--quiet"], cwd=crate, check=False, capture_output=True, text=True)
    except OSError as error:
        return f"{changed}, but cargo could not be started ({error.strerror}); run `{' '.join(command)}`"
    if done.returncode:
        return f"{changed}, but `{' '.join(command)}` failed; run it again: {done.stderr.strip()}"
    return f"updated, since {changed}" if (crate / lock).read_bytes() != before else ""
