"""Making a planned update: each file changes atomically, and a failure restores the crate."""

from pathlib import Path

from fast_rust import git
from fast_rust.answers import answers_file
from fast_rust.errors import FastRustError, reason_of
from fast_rust.files import remove_file, replace_file
from fast_rust.update import journal, lockfile
from fast_rust.update.guard import require_clean, require_restorable, require_unlocked
from fast_rust.update.merge import Change, MergeResult
from fast_rust.update.plan import UpdateError, UpdatePlan


def apply(plan: UpdatePlan) -> str:
    """Make an update, and return what happened to Cargo.lock, if anything.

    Raises FastRustError if the crate changed after planning, or cannot be written; it is then unchanged.
    """
    crate = plan.crate
    written = {path: change for path, change in plan.changes.items() if change.result is not MergeResult.KEPT}
    require_clean(crate)
    require_restorable(crate, written)
    if any(change.result is MergeResult.CONFLICT for change in written.values()):
        require_unlocked(crate)
    requirements, committed_lock = lockfile.requirements(crate), lockfile.committed_lock(crate)
    answers = answers_file(crate).name
    try:
        noted = journal.begin(crate, written, written[answers].content)
        # The file of answers is the first to be written, and the last to be restored: as long as it differs, an
        # update is under way.
        for path in sorted(written, key=lambda path: path != answers):
            write_change(crate / path, written[path])
        conflicts = {path: change for path, change in written.items() if change.result is MergeResult.CONFLICT}
        _mark_unmerged(crate, conflicts)
        moved = lockfile.moved(requirements, lockfile.requirements(crate))
        lock = committed_lock if moved else None
        if lock:
            noted.lock = lock
            noted.write(crate)
    except (OSError, FastRustError) as error:
        raise UpdateError(f"{reason_of(error)}; {_restored(crate)}") from error
    return lockfile.refresh(crate, lock, moved) if lock else ""


def _restored(crate: Path) -> str:
    try:
        if journal.is_pending(crate):
            journal.abort(crate)
    except (OSError, FastRustError) as error:
        return (
            f"the crate is partly updated, and could not be restored ({reason_of(error)}); fix"
            " the cause, and run `fast-rust update --abort`"
        )
    return "the crate is unchanged"


def write_change(file: Path, change: Change) -> None:
    """Write or delete a file as an update does; its old content is gone then."""
    if change.result is MergeResult.DELETED:
        remove_file(file)
    else:
        replace_file(file, change.content, is_executable=change.is_executable)


def _mark_unmerged(crate: Path, conflicts: dict[str, Change]) -> None:
    """Record the three sides of each conflict in git's index, as a merge does."""
    if not conflicts:
        return
    prefix, committed = git.prefix_of(crate), git.entries(crate)
    lines = []
    for path, change in conflicts.items():
        mode = committed[path].mode
        before, _, after = change.sides
        blobs = {1: _blob(crate, path, before), 2: committed[path].blob, 3: _blob(crate, path, after)}
        lines.append(f"0 {'0' * len(committed[path].blob)}\t{prefix}{path}\0")
        lines += [f"{mode} {blob} {side}\t{prefix}{path}\0" for side, blob in blobs.items() if blob]
    given = "".join(lines).encode(errors="surrogateescape")
    git.output(crate, *git.NO_HOOKS, "update-index", "-z", "--index-info", given=given)


def _blob(crate: Path, path: str, content: bytes | None) -> str:
    """Store a side of a conflict as git stores the file: a filter may encrypt it."""
    if content is None:
        return ""
    command = ("-c", "core.safecrlf=false", "hash-object", "-w", f"--path={path}", "--stdin")
    return git.output(crate, *command, given=content).decode().strip()
