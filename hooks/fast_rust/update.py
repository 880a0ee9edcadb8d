"""Taking a crate from its release to a newer one, by Copier, so that no line of its own is lost.

Copier does it in a copy of the crate. So what it is going to do is known before the crate is touched, what it would
lose is mended, and the crate itself changes within an instant, or not at all.
"""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from packaging.version import Version

from fast_rust.files import as_git_has_it, link_to, part_of, replace_file, unwatched
from fast_rust.owned import Owned, is_in, owned_by
from fast_rust.releases import Repository, TemplateError, open_repository
from fast_rust.rendering import Answers, answers_file, render, require_answers

MARK = "fast-rust-update"
LOCK = "Cargo.lock"


class UpdateError(Exception):
    """What stands in the way, and what to type; nothing was changed."""


class OlderReleaseError(UpdateError):
    """The release that was asked for came before that of the crate."""


class Fate(StrEnum):
    """What an update does to a file."""

    ADDED = "added"
    CHANGED = "changed"
    CONFLICT = "conflict"
    DELETED = "deleted"
    KEPT = "kept"
    """The release drops it, and the crate had changed it."""


@dataclass(frozen=True)
class Side:
    """One side of a conflict, as git's index has it."""

    mode: str
    number: str
    content: bytes


@dataclass(frozen=True)
class Change:
    """What becomes of a file."""

    fate: Fate
    content: bytes = b""
    is_executable: bool = False
    sides: tuple[Side, ...] = ()


@dataclass(frozen=True)
class Plan:
    """An update that was tried in a copy, and has touched nothing yet."""

    crate: Path
    answers: Answers
    target: str
    changelog: str
    changes: Mapping[str, Change]
    """Of each file, by its path in the crate."""
    changed_answers: tuple[str, ...]
    """Answers that the release does not take as they are."""

    def having(self, fate: Fate) -> list[str]:
        """The files of a fate."""
        return [path for path, change in self.changes.items() if change.fate is fate]


# --- Thinking it through ---


def plan(crate: Path, target: str | None = None, data: Mapping[str, str] | None = None) -> Plan | None:
    """Try an update; none where the crate is at that release, and no answer is to change.

    Raises AnswersError, TemplateError, RenderingError, or UpdateError where there is nothing to try.
    """
    answers = require_answers(crate)
    repository = open_repository(answers.source, needed=answers.release, refresh=True)
    releases, newest = repository.releases(), repository.newest(answers.source)
    target = target or newest
    if repository.commit(target) == repository.commit(answers.release) and not data:
        return None
    if target in releases and answers.release in releases and Version(target) < Version(answers.release):
        raise OlderReleaseError(f"{target} is older than {answers.release}, and there is no way back by an update")
    _require_clean(crate)
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        trial = Path(folder) / crate.resolve().name
        _copy_of(crate, trial)
        _run_copier(trial, target, data or {})
        changes = dict(_changes(trial))
        taken = require_answers(trial)
    local = replace(answers, source=str(repository.folder))
    changes |= _mended(crate, local, changes, owned_by(repository, answers), owned_by(repository, taken))
    choices, asked = taken.choices, {**answers.choices, **(data or {})}
    changed = [name for name in asked if name in choices and not _is_same(asked[name], choices[name])]
    changelog = _changelog(repository, answers.release, target)
    return Plan(crate, answers, target, changelog, dict(sorted(changes.items())), tuple(changed))


def _is_same(asked: object, taken: object) -> bool:
    return asked == taken or str(asked).lower() == str(taken).lower()


def _copy_of(crate: Path, folder: Path) -> None:
    """What git has of a crate, as a repository of its own, which shares the objects and nothing else."""
    folder.mkdir()
    tree = _git(crate, "rev-parse", f"HEAD:{_git(crate, 'rev-parse', '--show-prefix').strip()}").strip()
    objects = (crate / _git(crate, "rev-parse", "--git-path", "objects").strip()).resolve()
    _git(folder, "init", "--quiet")
    (folder / ".git" / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")
    # A link could lead Copier out of the copy; as a plain file it leads nowhere.
    _git(folder, "config", "core.symlinks", "false")
    identity = ("-c", "user.name=fast-rust", "-c", "user.email=fast-rust@localhost")
    commit = _git(folder, *identity, "commit-tree", "-m", "The crate before the update", tree).strip()
    _git(folder, "reset", "--quiet", "--hard", commit)


def _run_copier(folder: Path, target: str, data: Mapping[str, str]) -> None:
    # Copier takes a third of a second to import, and most commands do without.
    from copier import run_update  # noqa: PLC0415
    from copier.errors import CopierError  # noqa: PLC0415
    from jinja2 import TemplateError as JinjaError  # noqa: PLC0415
    from plumbum.commands.processes import ProcessExecutionError  # noqa: PLC0415

    try:
        run_update(
            folder,
            data=dict(data),
            answers_file=answers_file(folder).name,
            vcs_ref=target,
            defaults=True,
            skip_answered=True,
            overwrite=True,
            conflict="inline",
            quiet=True,
        )
    except (CopierError, JinjaError, ProcessExecutionError, ValueError, OSError, yaml.YAMLError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UpdateError(f"Copier cannot update it: {reason}") from error


def _changes(trial: Path) -> Iterator[tuple[str, Change]]:
    """What Copier did to a copy of a crate."""
    sides = _sides(trial)
    status = ("-c", "status.renames=false", "status", "--porcelain", "-z", "--untracked-files=all", "--ignored")
    for entry in filter(None, _git(trial, *status).split("\0")):
        state, path = entry[:2], entry[3:]
        file = trial / path
        if not file.is_file():
            yield path, Change(Fate.DELETED)
            continue
        content, is_executable = file.read_bytes(), os.access(file, os.X_OK)
        if path in sides:
            yield path, _without_ends_of_lines(Change(Fate.CONFLICT, content, is_executable, sides[path]))
        else:
            yield path, Change(Fate.ADDED if state in {"??", "!!"} else Fate.CHANGED, content, is_executable)


def _sides(trial: Path) -> dict[str, tuple[Side, ...]]:
    found: dict[str, tuple[Side, ...]] = {}
    for entry in filter(None, _git(trial, "ls-files", "-z", "--unmerged").split("\0")):
        (mode, blob, number), path = entry.partition("\t")[0].split(), entry.partition("\t")[2]
        found[path] = (*found.get(path, ()), Side(mode, number, _git_bytes(trial, "cat-file", "blob", blob)))
    return found


def _without_ends_of_lines(conflict: Change) -> Change:
    """A file that git has with Windows' ends of lines is merged by its lines; theirs are no reason for a conflict."""
    contents = {side.number: side.content for side in conflict.sides}
    if b"\r\n" not in contents.get("2", b"") or contents.keys() != {"1", "2", "3"}:
        return conflict
    before, own, after = (as_git_has_it(contents[number]) for number in "123")
    merged = merge(own, before, after)
    if merged is None:
        return conflict
    return Change(Fate.CHANGED, merged.replace(b"\n", b"\r\n"), conflict.is_executable)


def merge(own: bytes, before: bytes, after: bytes) -> bytes | None:
    """A crate's own text with the change from before to after; none where both changed the same lines."""
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        files = [Path(folder) / name for name in ("own", "before", "after")]
        for file, content in zip(files, (own, before, after), strict=True):
            file.write_bytes(content)
        command = ["git", "merge-file", "--stdout", *map(str, files)]
        done = subprocess.run(command, check=False, capture_output=True)
        return done.stdout if done.returncode == 0 else None


def _mended(
    crate: Path, answers: Answers, changes: Mapping[str, Change], old: Owned, new: Owned
) -> Iterator[tuple[str, Change]]:
    """What Copier loses, and what it leaves behind: a dropped file stays if the crate had changed it, and only then."""
    # What has another owner now is no longer managed, and is there all the same.
    dropped = {path for path in old.files.keys() - new.files.keys() if not is_in(path, (*new.starters, *new.patterns))}
    gone = {path for path, change in changes.items() if change.fate is Fate.DELETED} | dropped
    there = sorted(path for path in gone if (crate / path).is_file())
    before = old.files
    if not before.keys() >= set(there):
        # What is not managed has the crate's name in it, say, so no rendering is at hand.
        with TemporaryDirectory(prefix="fast-rust-") as folder:
            before = render(answers, Path(folder) / "old")
    for path in there:
        own = as_git_has_it((crate / path).read_bytes())
        if before.get(path) == own:
            yield path, Change(Fate.DELETED)
        elif path in before:
            yield path, Change(Fate.KEPT)


def _changelog(repository: Repository, old: str, new: str) -> str:
    """What CHANGELOG.md says of the releases after the old one, up to the new one."""
    try:
        text = repository.text(new, "CHANGELOG.md")
    except TemplateError:
        return ""
    sections = re.split(r"(?m)^(?=## )", text)[1:]
    since = [section for section in sections if _is_between(section.split()[1], old, new)]
    return "".join(since).strip()


def _is_between(name: str, old: str, new: str) -> bool:
    try:
        return Version(old) < Version(name) <= Version(new)
    except ValueError:
        return False


# --- Doing it ---


def apply(plan: Plan) -> str:
    """Do what was planned; what was done about Cargo.lock is returned.

    Raises UpdateError where the crate is no longer as it was planned for, or cannot be written; it is then as before.
    """
    crate = plan.crate
    _require_clean(crate)
    _require_own_files(crate, plan)
    floors = _floors(crate)
    written = {path: change for path, change in plan.changes.items() if change.fate is not Fate.KEPT}
    answers = answers_file(crate).name
    note = {"head": _head(crate), "paths": sorted(written), "lock": False}
    note["answers"] = _digest(written[answers].content) if answers in written else ""
    try:
        replace_file(_mark(crate), json.dumps(note).encode())
        # The file of answers is the first to be written, and the last to be brought back: as long as it differs, an
        # update is under way.
        for path in sorted(written, key=lambda path: path != answers):
            _write(crate / path, written[path])
        _note_conflicts(crate, written)
        if _floors(crate) != floors and _has_lock(crate):
            note["lock"] = True
            replace_file(_mark(crate), json.dumps(note).encode())
    except (OSError, UpdateError) as error:
        raise UpdateError(f"{_reason(error)}; {_bring_back(crate)}") from error
    return _refresh_lock(crate) if note["lock"] else ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _reason(error: Exception) -> str:
    return f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)


def _bring_back(crate: Path) -> str:
    try:
        if _is_pending(crate):
            abort(crate)
    except (OSError, UpdateError) as error:
        return f"mend that, then `fast-rust update --abort` brings the crate back ({_reason(error)})"
    return "the crate is as it was"


def _write(file: Path, change: Change) -> None:
    if change.fate is Fate.DELETED:
        file.unlink(missing_ok=True)
        _remove_empty(file.parent)
    else:
        replace_file(file, change.content, is_executable=change.is_executable)


def _remove_empty(folder: Path) -> None:
    """A folder goes with its last file, as git has it."""
    while folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _note_conflicts(crate: Path, changes: Mapping[str, Change]) -> None:
    """Tell git's index what is unmerged, as a merge does."""
    conflicts = {path: change for path, change in changes.items() if change.sides}
    if not conflicts:
        return
    prefix = _git(crate, "rev-parse", "--show-prefix").strip()
    lines = [f"0 {'0' * 40}\t{prefix}{path}\n" for path in conflicts]
    for path, change in conflicts.items():
        for side in change.sides:
            blob = _git_bytes(crate, "hash-object", "-w", "--stdin", given=side.content).decode().strip()
            lines.append(f"{side.mode} {blob} {side.number}\t{prefix}{path}\n")
    _git_bytes(crate, "update-index", "--index-info", given="".join(lines).encode())


def _require_clean(crate: Path) -> None:
    if not _is_in_git(crate):
        raise UpdateError(f"{crate} is in no git repository with a commit: `git init`, and commit all")
    if _is_pending(crate):
        raise UpdateError("an update is under way: commit it, or `fast-rust update --abort`")
    if _git(crate, "status", "--porcelain", "--untracked-files=all", "--", "."):
        raise UpdateError("not everything is committed, so git could not bring it back: commit, or `git stash -u`")
    answers = answers_file(crate).name
    if not _git(crate, "ls-files", "--", answers):
        raise UpdateError(f"git does not have {answers}: `git add --force {answers}`, and commit")


def _require_own_files(crate: Path, plan: Plan) -> None:
    """Whatever is going to be written is a file that git has and looks at, or none."""
    if hidden := unwatched(crate, plan.changes):
        command = f"git update-index --no-assume-unchanged --no-skip-worktree {hidden[0]}"
        raise UpdateError(f"git was told to look away from {hidden[0]}, so it could not bring it back: `{command}`")
    for path, change in plan.changes.items():
        file = crate / path
        if link := link_to(file, crate):
            raise UpdateError(f"{link.relative_to(crate)} is a link, so {path} may be elsewhere: make it no link")
        inside = [one for one in file.parents if crate in one.parents]
        if above := next((one for one in inside if one.exists() and not one.is_dir()), None):
            raise UpdateError(
                f"{above.relative_to(crate)} is no folder, and {path} would be in it: give it another name"
            )
        if change.fate is Fate.ADDED and file.exists():
            raise UpdateError(f"git ignores {path}, so it could not bring it back: `git add --force {path}`")


def _is_in_git(crate: Path) -> bool:
    return _try_git(crate, "rev-parse", "--verify", "--quiet", "HEAD").returncode == 0


def _head(crate: Path) -> str:
    return _git(crate, "rev-parse", "HEAD").strip()


def _mark(crate: Path) -> Path:
    """Where it is noted what an update writes: in the git folder, one file for each crate and worktree."""
    prefix = _git(crate, "rev-parse", "--show-prefix").strip()
    name = f"{MARK}-{hashlib.sha256(prefix.encode()).hexdigest()[:16]}"
    return (crate / _git(crate, "rev-parse", "--git-path", name).strip()).resolve()


def _noted(crate: Path) -> dict[str, Any]:
    mark = _mark(crate)
    return dict(json.loads(mark.read_text(encoding="utf-8"))) if mark.is_file() else {}


def _is_pending(crate: Path) -> bool:
    noted = _noted(crate)
    if noted.get("head") != _head(crate):
        return False
    answers = answers_file(crate)
    if part_of(answers).exists():
        return True
    # Answers that somebody changed after taking the update back are their work.
    is_written = answers.is_file() and _digest(answers.read_bytes()) == noted.get("answers")
    return is_written and bool(_git(crate, "status", "--porcelain", "--", answers.name))


def abort(crate: Path) -> None:
    """Bring all that an update wrote back to what git has.

    Raises UpdateError where no update is under way.
    """
    if not _is_in_git(crate):
        raise UpdateError(f"{crate} is in no git repository with a commit, so no update is under way")
    if not _is_pending(crate):
        raise UpdateError("no update is under way; if it is committed, `git revert` takes a commit back")
    noted = _noted(crate)
    answers = answers_file(crate).name
    paths = sorted(noted["paths"], key=lambda path: path == answers)
    had = set(_git(crate, "ls-tree", "-r", "-z", "--name-only", "HEAD", "--", ".").split("\0"))
    for path in paths:
        part_of(crate / path).unlink(missing_ok=True)
        if path in had and path != answers:
            _git(crate, "restore", "--source=HEAD", "--staged", "--worktree", "--", path)
        elif path not in had:
            _git(crate, "rm", "--cached", "--quiet", "--force", "--ignore-unmatch", "--", path)
            _write(crate / path, Change(Fate.DELETED))
    if noted["lock"]:
        _git(crate, "restore", "--source=HEAD", "--staged", "--worktree", "--", str(_lock(crate)))
    _git(crate, "restore", "--source=HEAD", "--staged", "--worktree", "--", answers)
    _mark(crate).unlink()


def _floors(crate: Path) -> list[str]:
    """The lines of the manifests that may ask for another version of something."""
    files = (crate / "Cargo.toml", crate / "bench" / "Cargo.toml")
    return [
        line
        for file in files
        if file.is_file()
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.match(r"[\w-]+ = (\"|\{.*version)", line)
    ]


def _lock(crate: Path) -> Path | None:
    """The lock file of the crate, or of the workspace that it is a member of, within its repository."""
    top = Path(_git(crate, "rev-parse", "--show-toplevel").strip())
    folders = (folder for folder in (crate.resolve(), *crate.resolve().parents) if folder.is_relative_to(top.resolve()))
    return next((folder / LOCK for folder in folders if (folder / LOCK).is_file()), None)


def _has_lock(crate: Path) -> bool:
    """Whether there is a lock that git has, as it is now: one that git ignores is cargo's own business."""
    lock = _lock(crate)
    if lock is None or not _git(crate, "ls-files", "--", str(lock)):
        return False
    return not _git(crate, "status", "--porcelain", "--", str(lock))


def _refresh_lock(crate: Path) -> str:
    try:
        command = ["cargo", "update", "--workspace", "--quiet"]
        done = subprocess.run(command, cwd=crate, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "a floor moved, and there is no cargo here: `cargo update --workspace` refreshes it"
    if done.returncode:
        return f"could not be refreshed, so type `cargo update --workspace`: {done.stderr.strip()}"
    return "refreshed, since a floor moved"


def _git(folder: Path, *arguments: str) -> str:
    return _git_bytes(folder, *arguments).decode(errors="surrogateescape")


def _git_bytes(folder: Path, *arguments: str, given: bytes | None = None) -> bytes:
    done = _try_git(folder, *arguments, given=given)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        command = next(word for word in arguments if not word.startswith("-") and "=" not in word)
        raise UpdateError(f"git {command}: {reason or 'no reason given'}")
    return done.stdout


def _try_git(folder: Path, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    # Looking at the state must not write it: there may be no room, or another git at work.
    command = ["git", "--no-optional-locks", "--literal-pathspecs", "-C", str(folder), *arguments]
    return subprocess.run(command, check=False, capture_output=True, input=given)
