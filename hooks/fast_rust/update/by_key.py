"""Merging a shared TOML file of an adopted crate by its keys: its lines have another order than those of a release."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from fast_rust.drift.directions import LONGER, direction_of, is_dependency, is_same, keeps
from fast_rust.drift.keys import UnclearKeyError, reason_at, restored, spelled, value_at
from fast_rust.files import as_git_has_it, with_ends_of_lines
from fast_rust.owned import Key, keys_in, ownership
from fast_rust.releases import Repository
from fast_rust.update.merge import Change, MergeResult


def merge_by_key(crate: Path, repository: Repository, release: str, changes: dict[str, Change]) -> None:
    """Replace the conflicts of shared files by merges of the keys that the release owns, where these have none."""
    shared = ownership(repository, release)["shared"]
    for path, change in changes.items():
        if change.result is MergeResult.CONFLICT and shared.get(path) and all(change.sides):
            own = (crate / path).read_bytes()
            texts = [as_git_has_it(side or b"").decode() for side in change.sides]
            after = merged(texts[0], texts[1], texts[2], [tuple(key.split(".")) for key in shared[path]])
            if after is not None:
                changes[path] = Change(MergeResult.CHANGED, with_ends_of_lines(after.encode(), own))


def merged(before: str, own: str, after: str, patterns: Iterable[Key]) -> str | None:
    """Return a file with the keys that a release changed; None where the crate has changed one of them, too."""
    try:
        old, found, new = (tomllib.loads(text) for text in (before, own, after))
        owned_before, owned = (keys_in(document, patterns) for document in (old, new))
        document = tomlkit.parse(own)
        taken: list[Key] = []
        longer: list[Key] = []
        for key, value in owned.items():
            there, was = value_at(found, spelled(found, key)), owned_before.get(key)
            if (was is not None and is_same(was, value)) or (there is not None and keeps(key, value, there)):
                continue
            if there is None:
                # Deleted entries stay deleted, and a new dependency is for code that the crate does not have.
                taken += [key] if was is None and not is_dependency(key) else []
            elif was is not None and is_same(was, there):
                taken.append(key)
            elif direction_of(key) is LONGER:
                longer.append(key)
            elif not reason_at(document, spelled(found, key)):
                return None
        dropped = [key for key, was in owned_before.items() if key not in owned and is_same(was, value_at(found, key))]
        text = restored(restored(own, after, taken), after, longer, is_append_only=True)
        return _without(text, dropped)
    except (tomllib.TOMLDecodeError, TOMLKitError, UnclearKeyError):
        return None


def _without(text: str, keys: Iterable[Key]) -> str:
    document = tomlkit.parse(text)
    for key in keys:
        table: Any = document
        for name in key[:-1]:
            table = table[name]
        del table[key[-1]]
    return tomlkit.dumps(document)
