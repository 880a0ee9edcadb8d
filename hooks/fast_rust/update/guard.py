"""Preconditions of an update: all files are committed, so that git can restore them."""

from collections.abc import Iterable
from pathlib import Path

from fast_rust import git
from fast_rust.answers import answers_file
from fast_rust.errors import FastRustError
from fast_rust.files import as_git_has_it, link_to
from fast_rust.update.journal import is_pending


class RefusedError(FastRustError):
    """Why nothing was written, and what to run."""


def require_clean(crate: Path) -> None:
    """Check that nothing is uncommitted, and no update under way.

    Raises GitError without a commit, RefusedError otherwise.
    """
    git.require_commit(crate)
    if is_pending(crate):
        raise RefusedError("an update of this crate is not committed yet; commit it, or run `fast-rust update --abort`")
    if found := git.status(crate):
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        changes = f"the working tree has uncommitted changes ({found[0][1]}{more})"
        raise RefusedError(f"{changes}, which could be lost; commit them, or run `git stash -u`")
    answers = answers_file(crate).name
    if answers not in git.entries(crate):
        raise RefusedError(
            f"{answers}, which records the crate's release, is not in git; run `git add --force {answers}`, and commit"
        )


def require_checked_out(crate: Path, paths: Iterable[str]) -> None:
    """Check that each file that git has is in the working tree too: one that is not there looks like a deleted one.

    Raises RefusedError.
    """
    committed = git.entries(crate)
    for path in paths:
        if path in committed and not (crate / path).exists() and not (crate / path).is_symlink():
            message = f"{path}, which this command may change, is outside the sparse checkout"
            raise RefusedError(f"{message}; run `git sparse-checkout add {path}` first")


def require_restorable(crate: Path, paths: Iterable[str]) -> None:
    """Check that each file to be written is one that git can restore, in the crate itself, or a new one.

    Raises RefusedError.
    """
    wanted = list(paths)
    if hidden := git.unwatched(crate, wanted):
        command = f"git update-index --no-assume-unchanged --no-skip-worktree {hidden[0]}"
        message = f"{hidden[0]} is marked assume-unchanged or skip-worktree, so this update could not be undone"
        raise RefusedError(f"{message}; run `{command}` first")
    committed, submodules = git.entries(crate), git.submodules(crate)
    for path in wanted:
        if module := next(
            (submodule for submodule in submodules if path == submodule or path.startswith(f"{submodule}/")), None
        ):
            raise RefusedError(
                f"{module} is a submodule, and the update would write {path} into"
                " it; move the submodule to another folder"
            )
        file = crate / path
        if link := link_to(file, crate):
            message = (
                f"{link.relative_to(crate)} is a symlink; refusing to write {path}"
                " through it, since it may be outside the crate"
            )
            raise RefusedError(f"{message}; replace it with a regular file or folder")
        inside = [parent for parent in file.parents if crate in parent.parents]
        if above := next((parent for parent in inside if parent.exists() and not parent.is_dir()), None):
            message = f"{above.relative_to(crate)} is a file, and the update would write {path} below it"
            raise RefusedError(f"{message}; rename that file")
        if file.is_dir():
            raise RefusedError(f"{path} is a folder, and the update would write a file of that name; rename the folder")
        if path in committed and not is_committed(crate, path, committed[path]):
            raise RefusedError(f"{path} has changes that `git status` does not show; commit them, or restore the file")
        if path not in committed and file.exists():
            raise RefusedError(
                f"the update would change {path}, which git ignores and could not restore; run `git add --force {path}`"
            )


def require_unlocked(crate: Path) -> None:
    """Check that no other git process has the index, which gets the sides of each conflict.

    Raises RefusedError.
    """
    lock = crate / git.text(crate, "rev-parse", "--git-path", "index.lock")
    if lock.exists():
        raise RefusedError(f"{lock} exists, so another git process is running; wait for its end, or delete the file")


def is_committed(crate: Path, path: str, entry: git.Entry) -> bool:
    """Return whether a file has the content of its commit; settings may keep git from looking (`core.checkStat`)."""
    file = crate / path
    if not file.is_file():
        return False
    content = git.output(crate, "cat-file", "blob", entry.blob)
    if as_git_has_it(content) == as_git_has_it(file.read_bytes()):
        return True
    # A filter may have changed it on checkout.
    hashed = git.output(crate, "-c", "core.safecrlf=false", "hash-object", "--", path)
    return hashed.decode().strip() == entry.blob
