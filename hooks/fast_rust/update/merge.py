"""What an update does to each file: a three-way merge of the crate's own text with the change of the release."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from fast_rust import git
from fast_rust.files import as_git_has_it, is_windows, with_ends_of_lines
from fast_rust.owned import Part, is_in
from fast_rust.update.validity import problem_of

LABELS = ("before updating", "last update", "after updating")


class MergeResult(StrEnum):
    """What an update does to a file."""

    ADDED = "added"
    CHANGED = "changed"
    CONFLICT = "conflict"
    DELETED = "deleted"
    KEPT = "kept"
    """The crate's file stays, though the release drops it or would change it; a person has to look."""


@dataclass(frozen=True)
class Change:
    """What becomes of a file."""

    result: MergeResult
    content: bytes = b""
    is_executable: bool | None = None
    """Whether the file becomes executable or not; None where its mode stays."""
    sides: tuple[bytes | None, bytes | None, bytes | None] = (None, None, None)
    """Of a conflict: the older release's content, the crate's, and the newer release's."""
    reason: str = ""
    """Why a person has to look, where the result alone does not say so."""


def changes(crate: Path, old: Part, new: Part) -> Iterator[tuple[str, Change]]:
    """Yield each file that an update changes, or that a person has to look at, by its path in the crate."""
    for path in sorted(old.files.keys() | new.files.keys()):
        before, after = old.files.get(path), new.files.get(path)
        # A file that the release hands over to the crate stays unchanged.
        is_handed_over = after is None and is_in(path, new.starters)
        mode = _mode(crate / path, *(path in part.executables for part in (old, new))) if after is not None else None
        is_same = before == after and mode is None
        if not is_same and not is_handed_over and (change := _change(crate / path, before, after)):
            is_written = change.result in {MergeResult.ADDED, MergeResult.CHANGED}
            yield path, replace(change, is_executable=mode) if is_written else change


def _mode(file: Path, was: bool, becomes: bool) -> bool | None:  # noqa: FBT001  Of the older and the newer release.
    """Return whether a release makes a file executable or not; None where its mode stays, or the crate has its own."""
    is_own = file.is_file() and os.access(file, os.X_OK) != was
    return None if was == becomes or is_own else becomes


def _change(file: Path, before: bytes | None, after: bytes | None) -> Change | None:
    if file.is_symlink():
        return Change(MergeResult.KEPT, reason="the file is a symlink in this crate, so the update does not change it")
    own = file.read_bytes() if file.is_file() else None
    if own is None:
        # A file that the crate deleted stays deleted.
        return Change(MergeResult.ADDED, after) if before is None and after is not None else None
    is_unchanged = before is not None and as_git_has_it(own) == as_git_has_it(before)
    if after is None:
        reason = (
            "the template no longer has this file, and you edited it, so the update"
            " keeps it; delete it if you do not need it"
        )
        return Change(MergeResult.DELETED) if is_unchanged else Change(MergeResult.KEPT, reason=reason)
    if is_unchanged:
        return Change(MergeResult.CHANGED, after if own == before else with_ends_of_lines(as_git_has_it(after), own))
    return _merged(file.name, own, before, after) if as_git_has_it(own) != as_git_has_it(after) else None


def _merged(name: str, own: bytes, before: bytes | None, after: bytes) -> Change:
    if any(b"\0" in text for text in (own, before or b"", after)):
        reason = (
            "the file is binary, so it cannot be merged; yours is unchanged, and"
            " `git checkout --theirs` gets the template's"
        )
        return Change(MergeResult.CONFLICT, own, sides=(before, own, after), reason=reason)
    # How lines end is not a difference, unless only some of them end as on Windows.
    sides = [own, before or b"", after]
    text, old, new = sides if b"\r\n" in own and not is_windows(own) else map(as_git_has_it, sides)
    result, is_conflict = git.merge_file(text, old, new, LABELS)
    reason = "" if is_conflict else problem_of(name, text, new, result)
    content = with_ends_of_lines(result, own)
    if is_conflict or reason:
        return Change(MergeResult.CONFLICT, content, sides=(before, own, after), reason=reason)
    return Change(MergeResult.CHANGED, content)
