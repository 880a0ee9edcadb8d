"""Restoring what the template owns in a crate."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from tomlkit.exceptions import TOMLKitError

from fast_rust import git
from fast_rust.answers import require_answers
from fast_rust.drift.differences import NOT_TOML
from fast_rust.drift.keys import UnclearKeyError, is_restored, restored
from fast_rust.drift.report import Report
from fast_rust.errors import FastRustError
from fast_rust.files import as_git_has_it, is_windows, link_to, replace_file, with_ends_of_lines
from fast_rust.owned import IDENTITY
from fast_rust.update.guard import is_committed


class LeftError(FastRustError):
    """Why a file is not restored, and what to do."""


def fix(report: Report, *, force: bool) -> Iterator[tuple[str, str]]:
    """Restore the template's files and keys; yield each file once it is written, or the reason why it is not.

    Raises OSError if a file cannot be written, which is then unchanged.
    """
    for path in dict.fromkeys(difference.path for difference in report.drifted):
        file = report.crate / path
        try:
            _require_regular(report.crate, file)
            if not force and file.exists():
                _require_committed(file)
            if not force and file.exists() and path in report.owned.files:
                _require_ours(report.crate)
            before = file.read_bytes() if file.exists() else b""
            content = with_ends_of_lines(_content(report, path, before), before)
        except (LeftError, git.GitError) as error:
            yield path, str(error)
            continue
        replace_file(file, content)
        yield path, ""


def _require_ours(crate: Path) -> None:
    """Check that a file is the template's: that of an adopted crate may be older than the template's part in it.

    Raises LeftError.
    """
    if require_answers(crate).choices.get("adopted"):
        raise LeftError(
            "the file was there before `fast-rust adopt`, so it may be yours."
            " Use --force to replace it with the template's"
        )


def _require_regular(crate: Path, file: Path) -> None:
    """Check that a file is a regular one in the crate, or a new one.

    Raises LeftError.
    """
    if link := link_to(file, crate):
        name = link.relative_to(crate)
        raise LeftError(f"{name} is a symlink; refusing to write through it. Replace it with a regular file or folder")
    inside = [parent for parent in file.parents if crate in parent.parents]
    if above := next((parent for parent in inside if parent.exists() and not parent.is_dir()), None):
        raise LeftError(f"{above.relative_to(crate)} is not a folder. Rename it, and run the command again")
    if file.exists() and not file.is_file():
        raise LeftError("it is not a regular file. Rename it, and run the command again")


def _content(report: Report, path: str, before: bytes) -> bytes:
    """Return what a file becomes.

    Raises LeftError where a person has to edit it.
    """
    found = [difference for difference in report.drifted if difference.path == path]
    if any(difference.found.startswith(NOT_TOML) for difference in found):
        raise LeftError("the file is not valid TOML, so its keys cannot be compared. Correct the syntax first")
    wanted = report.owned.files.get(path, report.owned.shared.get(path, b""))
    if not (report.crate / path).exists():
        if any(answer.encode() in wanted for answer in IDENTITY.values()):
            raise LeftError(
                "the file is missing, and it had lines of yours that the template"
                " cannot restore. Restore it with `git checkout`"
            )
        return wanted
    if path in report.owned.files:
        return wanted
    keys = [difference.parts for difference in found if difference.parts]
    text = (as_git_has_it(before) if is_windows(before) else before).decode()
    names = ", ".join(difference.key for difference in found)
    try:
        after = restored(text, wanted.decode(), keys)
        is_safe = is_restored(tomllib.loads(text), tomllib.loads(after), report.owned.keys(path), keys)
    except (UnclearKeyError, TOMLKitError, tomllib.TOMLDecodeError) as error:
        raise LeftError(f"{names} cannot be restored without other changes ({error}). Edit the file by hand") from error
    if not is_safe:
        raise LeftError(f"{names} cannot be restored without other changes. Edit the file by hand")
    return after.encode()


# --- Uncommitted work ---


def _require_committed(file: Path) -> None:
    """Check that git could restore a file: it has the content of the last commit, and is neither hidden nor ignored.

    Raises LeftError.
    """
    flags = ("--porcelain=v1", "-z", "--untracked-files=all", "--ignored", "--ignore-submodules=none")
    shown = git.run(file.parent, "-c", "core.fsmonitor=false", "status", *flags, "--", file.name)
    if shown.returncode:
        reason = git.reason_of(shown)
        if git.NOT_A_REPOSITORY in reason:
            reason = (
                "the file is not in a git repository, so git cannot undo the change. Use --force to overwrite the file"
            )
        raise LeftError(reason)
    entry = git.entries(file.parent).get(file.name) if not shown.stdout else None
    if entry is None or git.unwatched(file.parent, [file.name]) or not is_committed(file.parent, file.name, entry):
        raise LeftError("the file has uncommitted changes. Commit them, or use --force to overwrite them")
