"""What an update has written, noted in the git folder, so that `--abort` restores that and nothing else."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from fast_rust import git
from fast_rust.answers import answers_file
from fast_rust.cache import cache_folder
from fast_rust.errors import FastRustError
from fast_rust.files import part_of, remove_file, replace_file

MARK = "fast-rust-update"


class NoUpdateError(FastRustError):
    """No update is under way."""


@dataclass
class Journal:
    """The note of an update: the files that it writes, and the answers file afterwards."""

    head: str
    """The commit that the update began from."""
    paths: list[str] = field(default_factory=list)
    """The files, by their path in the crate."""
    lock: str = ""
    """The lockfile that was refreshed, by its path from the crate."""
    answers: str = ""
    """The hash of the answers that the update writes."""

    def write(self, crate: Path) -> None:
        replace_file(_mark(crate), json.dumps(asdict(self)).encode())


class BusyError(FastRustError):
    """Another update of the crate is running."""


@contextmanager
def only_update(crate: Path) -> Iterator[None]:
    """Hold the lock of a crate's updates; the system releases it when the process ends.

    Raises GitError where the crate has no commit, or BusyError.
    """
    git.require_commit(crate)
    # In the cache, since a repository may be read-only, and a dry run writes nothing to it.
    lock = cache_folder() / "updates" / f"{_digest(os.fsencode(_mark(crate)))[:16]}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        raise BusyError(f"another update of {crate} is running; wait for its end") from error


def begin(crate: Path, paths: Iterable[str], answers: bytes) -> Journal:
    """Note what an update is about to write."""
    journal = Journal(git.require_commit(crate), sorted(paths), answers=_digest(answers))
    journal.write(crate)
    return journal


def is_pending(crate: Path) -> bool:
    """Return whether an update was made and not committed, or was killed while it wrote."""
    journal = _read(crate)
    if journal is None or journal.head != git.require_commit(crate):
        return False
    answers = answers_file(crate)
    if part_of(answers).exists():
        return True
    # Answers that somebody changed after undoing the update are their work.
    is_written = answers.is_file() and _digest(answers.read_bytes()) == journal.answers
    return is_written and bool(git.status(crate, answers.name))


def abort(crate: Path) -> None:
    """Restore all that an update wrote.

    Raises GitError, or NoUpdateError where no update is under way.
    """
    git.require_commit(crate)
    journal = _read(crate)
    if journal is None or not is_pending(crate):
        message = "this crate has no uncommitted update to undo"
        raise NoUpdateError(f"{message}; to undo an update that is committed, run `git revert`")
    answers = answers_file(crate).name
    committed = git.entries(crate)
    # The file of answers comes last: as long as it differs, the update is under way.
    for path in sorted(journal.paths, key=lambda path: path == answers):
        part_of(crate / path).unlink(missing_ok=True)
        if path in committed and path != answers:
            _restore(crate, path)
        elif path not in committed:
            git.output(crate, *git.NO_HOOKS, "rm", "--cached", "--quiet", "--force", "--ignore-unmatch", "--", path)
            remove_file(crate / path)
    if journal.lock:
        _restore(crate, journal.lock)
    _restore(crate, answers)
    _mark(crate).unlink()


def _restore(crate: Path, path: str) -> None:
    # A hook that fails after a checkout would stop this half-way.
    command = ("restore", "--source=HEAD", "--staged", "--worktree", "--no-recurse-submodules", "--", path)
    git.output(crate, *git.NO_HOOKS, *command)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _mark(crate: Path) -> Path:
    """Return the file of the note: in the git folder, one for each crate and worktree."""
    name = f"{MARK}-{hashlib.sha256(git.prefix_of(crate).encode(errors='surrogateescape')).hexdigest()[:16]}"
    return (crate / git.text(crate, "rev-parse", "--git-path", name)).resolve()


def _read(crate: Path) -> Journal | None:
    mark = _mark(crate)
    try:
        noted = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else None
        return Journal(**noted) if noted else None
    except (ValueError, TypeError):
        # Written by an older version of this tool, or by a full disk: no update of ours.
        return None
