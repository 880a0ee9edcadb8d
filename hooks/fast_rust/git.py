"""Runs git. No other module does.

Git runs in one of two environments:

- `Config.USER`, for the user's own repositories: their complete configuration, without the variables by which git
  points a hook at a repository. Callers pass flags so that no setting changes what they parse.
- `Config.OURS`, for repositories that we create, and for Copier: no global or system configuration, no hooks, filters,
  templates or attributes. Of the user's configuration only `safe.directory` is kept, since git refuses to read a
  repository of another owner without it, as in a container. In a `scratch_clone` it applies to every call.
"""

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from fast_rust.cache import cache_folder
from fast_rust.errors import FastRustError
from fast_rust.files import replace_file

# Variables that configure git for this user. All others that begin with GIT_ belong to the repository of a hook.
KEPT = re.compile(
    r"GIT_(ALLOW_PROTOCOL|ASKPASS|CEILING_DIRECTORIES"
    r"|CONFIG_(COUNT|GLOBAL|NOSYSTEM|PARAMETERS|SYSTEM|(KEY|VALUE)_\d+)"
    r"|DISCOVERY_ACROSS_FILESYSTEM|EXEC_PATH|HTTP_\w+|PROXY_\w+|SSH|SSH_\w+|SSL_\w+|TERMINAL_PROMPT"
    r"|(AUTHOR|COMMITTER)_(NAME|EMAIL))"
)
# A question, or a server that falls silent, would block a run without a person.
PATIENT_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15"
# Settings of temporary repositories, whose commits no user sees.
OUR_CONFIG = {
    "commit.gpgSign": "false",
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "init.defaultBranch": "main",
    "maintenance.auto": "false",
    "protocol.file.allow": "always",
    "user.email": "fast-rust@localhost",
    "user.name": "fast-rust",
}
NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
SYMLINK_MODE = "120000"
SHA1_DIGITS = 40
NOT_A_REPOSITORY = "not a git repository"


class GitError(FastRustError):
    """Git refused; the message is git's own."""


class Config(Enum):
    """The configuration that git runs under."""

    USER = "user"
    OURS = "ours"


def no_git_env(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without the variables that point git at the repository of a hook."""
    given = os.environ if environment is None else environment
    kept = {name: value for name, value in given.items() if not name.startswith("GIT_") or KEPT.fullmatch(name)}
    # Messages are searched for reasons, so they have to be in one language.
    return {**kept, "LANGUAGE": "en"}


def our_env() -> dict[str, str]:
    """Return the environment for our own repositories, and for Copier."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name == "GIT_EXEC_PATH"}
    return {
        **kept,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(_our_config(cache_folder(), _safe_directories(_places_of_config()))),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_TEMPLATE_DIR": "",
        "GIT_TERMINAL_PROMPT": "0",
        "LANGUAGE": "en",
    }


def patient_env(folder: Path) -> dict[str, str]:
    """Return the variables that keep a run without a person from waiting: no question, and no silent server.

    The user's own ssh command stays, whether a variable or the configuration of a repository names it.
    """
    has_own = "GIT_SSH" in os.environ or "GIT_SSH_COMMAND" in os.environ
    has_own = has_own or succeeds(folder, "config", "--get", "core.sshCommand")
    return {
        "GIT_HTTP_LOW_SPEED_LIMIT": os.environ.get("GIT_HTTP_LOW_SPEED_LIMIT", "1000"),
        "GIT_HTTP_LOW_SPEED_TIME": os.environ.get("GIT_HTTP_LOW_SPEED_TIME", "60"),
        **({} if has_own else {"GIT_SSH_COMMAND": PATIENT_SSH}),
        "GIT_TERMINAL_PROMPT": "0",
    }


def _places_of_config() -> tuple[tuple[str, str], ...]:
    """Return the variables that say where the user's configuration is."""
    names_of_places = ("HOME", "XDG_CONFIG_HOME")
    return tuple(
        (name, value) for name, value in sorted(os.environ.items()) if name in names_of_places or KEPT.fullmatch(name)
    )


@cache
def _safe_directories(_: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the user's values of safe.directory: git takes them from no repository, so they are read outside one."""
    command = ["config", "-z", "--get-all", "safe.directory"]
    done = run(Path(Path.cwd().anchor), *command)
    return tuple(split_names(done.stdout)) if done.returncode == 0 else ()


@cache
def _our_config(folder: Path, safe_directories: tuple[str, ...]) -> Path:
    """Write our configuration into the cache; git finds `safe.directory` in no other place on both ends of a clone."""
    lines = [_setting(name, value) for name, value in OUR_CONFIG.items()]
    lines += [_setting("safe.directory", value) for value in safe_directories]
    content = "".join(lines).encode(errors="surrogateescape")
    file = folder / "git" / f"{hashlib.sha256(content).hexdigest()[:16]}.config"
    if not file.exists():
        replace_file(file, content)
    return file


def _setting(name: str, value: str) -> str:
    """Return a setting as a file of configuration has it."""
    section, _, key = name.rpartition(".")
    section, _, subsection = section.partition(".")
    header = f'[{section} "{subsection}"]' if subsection else f"[{section}]"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{header}\n\t{key} = "{quoted}"\n'


# --- Running it ---


def run(
    folder: Path,
    *arguments: str,
    config: Config = Config.USER,
    given: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder, and return how it ended, with its output as bytes.

    Raises GitError only where git is not installed or the folder is missing.
    """
    base = our_env() if config is Config.OURS or _is_scratch(folder) else no_git_env()
    # Reading the status must not write the index: the disk may be full, or another git at work.
    command = ["git", "--no-optional-locks", "--literal-pathspecs", "-C", str(folder), *arguments]
    try:
        return subprocess.run(
            command, check=False, capture_output=True, input=given, env={**base, **(environment or {})}
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on PATH; install it from https://git-scm.com") from error


def output(
    folder: Path,
    *arguments: str,
    config: Config = Config.USER,
    given: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run git in a folder, and return its output.

    Raises GitError with git's reason.
    """
    done = run(folder, *arguments, config=config, given=given, environment=environment)
    if done.returncode:
        raise GitError(f"git {_verb(arguments)}: {reason_of(done)}")
    return done.stdout


def text(folder: Path, *arguments: str, config: Config = Config.USER) -> str:
    """Return the output of git as text without the line ending; names that are not UTF-8 stay as they are."""
    return os.fsdecode(output(folder, *arguments, config=config)).removesuffix("\n")


def names(folder: Path, *arguments: str, config: Config = Config.USER) -> list[str]:
    """Return the NUL-separated output of git; names that are not UTF-8 stay as they are."""
    return split_names(output(folder, *arguments, config=config))


def succeeds(folder: Path, *arguments: str, config: Config = Config.USER) -> bool:
    """Return whether git ends with 0."""
    return run(folder, *arguments, config=config).returncode == 0


def reason_of(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return git's reason: from its first `fatal:` or `error:` line to the end, because hints follow."""
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
    first = next((number for number, line in enumerate(lines) if line.startswith(("fatal: ", "error: "))), -1)
    return "\n".join([re.sub("^(fatal|error): ", "", lines[first]), *(lines[first + 1 :] if first >= 0 else [])])


def _verb(arguments: tuple[str, ...]) -> str:
    # Options of git itself come first, and `-c` has a value.
    words = iter(arguments)
    for word in words:
        if word == "-c":
            next(words)
        elif not word.startswith("-"):
            return word
    return ""


def split_names(listing: bytes) -> list[str]:
    """Return the entries of NUL-separated output; names that are not UTF-8 stay as they are."""
    return [os.fsdecode(name) for name in listing.split(b"\0") if name]


# --- Questions to a repository ---


def require_commit(folder: Path) -> str:
    """Return the commit of HEAD.

    Raises GitError if the folder has no repository or commit, or git does not trust the owner of the repository.
    """
    inside = run(folder, "rev-parse", "--git-dir")
    if inside.returncode:
        reason = reason_of(inside)
        if NOT_A_REPOSITORY in reason:
            given = next((name for name in ("GIT_DIR", "GIT_WORK_TREE") if name in os.environ), "")
            what = (
                f"fast-rust ignores the variable {given}, since git sets it for hooks; "
                if given
                else "run `git init`, and commit all files"
            )
            reason = f"{folder.resolve()} is not in a git repository; {what}".removesuffix("; ")
        raise GitError(reason)
    head = run(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.returncode:
        raise GitError(f"the git repository of {folder} has no commit; commit all files")
    return head.stdout.decode().strip()


def is_commit(folder: Path, name: str, config: Config = Config.USER) -> bool:
    """Return whether a repository has a commit of that name."""
    return succeeds(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", config=config)


def top_of(folder: Path) -> Path:
    """Return the top folder of the working tree."""
    return Path(text(folder, "rev-parse", "--show-toplevel")).resolve()


def prefix_of(folder: Path) -> str:
    """Return the path of a folder in its repository: empty, or with a `/` at its end."""
    return text(folder, "rev-parse", "--show-prefix")


def status(folder: Path, *paths: str) -> list[tuple[str, str]]:
    """Return the state and the path of each file that is not committed, ignored files left out.

    Each setting that would hide a file is overridden: an untracked file, a moved submodule, an unreliable file monitor.
    """
    flags = ("--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty")
    listing = names(folder, "-c", "core.fsmonitor=false", "status", *flags, "--", *(paths or (".",)))
    return [(entry[:2], entry[3:]) for entry in listing]


def branch_of(folder: Path) -> str:
    """Return the name of the branch that is checked out; empty where HEAD is detached.

    Raises GitError if HEAD does not name a commit.
    """
    name = text(folder, "rev-parse", "--symbolic-full-name", "HEAD")
    return name.removeprefix("refs/heads/") if name != "HEAD" else ""


def unwatched(folder: Path, paths: Iterable[str]) -> list[str]:
    """Return the files that are marked assume-unchanged or skip-worktree: git shows no change of them."""
    listing = names(folder, "ls-files", "-v", "-z", "--", *paths)
    return [entry[2:] for entry in listing if entry[0].islower() or entry[0] == "S"]


@dataclass(frozen=True)
class Entry:
    """A file of a commit."""

    mode: str
    blob: str


def entries(folder: Path, commit: str = "HEAD") -> dict[str, Entry]:
    """Return the files of a commit below a folder, by their path from there."""
    return entries_of(output(folder, "ls-tree", "-r", "-z", "--full-tree", f"{commit}:{prefix_of(folder)}"))


def entries_of(listing: bytes) -> dict[str, Entry]:
    """Return the files of the output of `git ls-tree -r -z`, by their paths."""
    found = {}
    for line in split_names(listing):
        (mode, kind, blob), path = line.partition("\t")[0].split(), line.partition("\t")[2]
        if kind == "blob":
            found[path] = Entry(mode, blob)
    return found


def submodules(folder: Path) -> list[str]:
    """Return the submodules of HEAD below a folder, by their path from there."""
    listing = names(folder, "ls-tree", "-r", "-z", "--full-tree", f"HEAD:{prefix_of(folder)}")
    return [line.partition("\t")[2] for line in listing if line.split(maxsplit=2)[1] == "commit"]


def blob_of(content: bytes, like: str) -> str:
    """Return the object name of a content, by the hash algorithm of another object name."""
    algorithm = hashlib.sha1 if len(like) == SHA1_DIGITS else hashlib.sha256
    return algorithm(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Commit:
    """The files of a commit, as a tree, and its message."""

    tree: str
    message: str


def commits(folder: Path, *revisions: str) -> list[Commit]:
    """Return commits, newest first; no setting of `git log` has an effect."""
    listed = output(folder, "rev-list", *revisions, "--")
    raw = output(folder, "cat-file", "--batch", given=listed)
    found = []
    for _ in listed.splitlines():
        header, _, raw = raw.partition(b"\n")
        size = int(header.split()[-1])
        head, _, message = raw[:size].partition(b"\n\n")
        found.append(Commit(head.split(b"\n", 1)[0].split()[-1].decode(), message.decode(errors="replace")))
        raw = raw[size + 1 :]
    return found


# --- Clones of ours ---

# Folders of clones of ours that are open.
_scratch: set[Path] = set()


def _is_scratch(folder: Path) -> bool:
    if not _scratch:
        return False
    absolute = folder.absolute()
    return any(absolute.is_relative_to(clone) for clone in _scratch)


@contextmanager
def scratch_clone(repository: Path, folder: Path, commit: str = "HEAD") -> Iterator[Path]:
    """Give a clone of ours in an empty folder, with a commit of a repository checked out on no branch.

    It reads the objects of the repository in place, and nothing is fetched, so that no setting of the user has an
    effect: in the clone, git runs under our configuration, whatever a caller asks for. Raises GitError.
    """
    with empty_clone(repository, folder) as clone:
        head = text(repository, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
        output(clone, "update-ref", "--no-deref", "HEAD", head)
        output(clone, "read-tree", "--reset", "-u", "HEAD")
        # Git reads a file again that is as new as the index, and would find a difference where the commit is not
        # normalized as `.gitattributes` says.
        later = time.time() + 1
        os.utime(clone / ".git" / "index", (later, later))
        yield clone


@contextmanager
def empty_clone(repository: Path, folder: Path) -> Iterator[Path]:
    """Give a repository of ours in an empty folder, with the objects of another one and no commit.

    Raises GitError.
    """
    questions = ("--show-object-format", "--git-path", "objects", "--git-path", "shallow")
    name, objects, shallow = text(repository, "rev-parse", *questions).split("\n")
    clone = folder.absolute()
    clone.mkdir(parents=True, exist_ok=True)
    _scratch.add(clone)
    try:
        output(clone, "init", "--quiet", f"--object-format={name}")
        git_folder = clone / ".git"
        alternates = git_folder / "objects" / "info" / "alternates"
        alternates.parent.mkdir(parents=True, exist_ok=True)
        alternates.write_bytes(os.fsencode((repository / objects).resolve()) + b"\n")
        if (graft := repository / shallow).is_file():
            (git_folder / "shallow").write_bytes(graft.read_bytes())
        yield clone
    finally:
        _scratch.discard(clone)


def stage(clone: Path, paths: Iterable[str] = (".",)) -> str:
    """Add paths to the index of a clone of ours, deleted or ignored ones, too, and return the tree of the index."""
    output(clone, "add", "--all", "--force", "--", *paths)
    return text(clone, "write-tree")


def copy_objects(clone: Path, repository: Path, trees: Iterable[str], known: Iterable[str] = ()) -> None:
    """Copy trees with their files from a clone of ours to the user's repository, but for those of known commits.

    No hook runs, and nothing refers to the objects until a commit does. Raises GitError.
    """
    wanted = "".join([*(f"{tree}\n" for tree in trees), *(f"^{commit}\n" for commit in known)])
    pack = output(clone, "pack-objects", "--quiet", "--revs", "--stdout", given=wanted.encode())
    output(repository, "unpack-objects", "-q", given=pack)


# --- Branches ---


def require_branch(repository: Path, branch: str, commit: str) -> None:
    """Check that a branch can be created or moved, without doing it: it is free, and no hook refuses it.

    Raises GitError with the reason, or OSError where the git folder cannot be written: git names no cause of that.
    """
    ref = f"refs/heads/{branch}"
    with TemporaryFile(dir=(repository / text(repository, "rev-parse", "--git-common-dir")).resolve()) as probe:
        probe.write(b"x")
        probe.flush()
    if place := text(repository, "for-each-ref", "--format=%(worktreepath)", ref):
        message = f"the branch {branch}, to which this command commits, is checked out in {place}"
        raise GitError(f"{message}; run `git -C {place} switch` to another branch")
    now = run(repository, "rev-parse", "--verify", "--quiet", ref).stdout.decode().strip()
    change = f"update {ref} {commit} {now}" if now else f"create {ref} {commit}"
    done = run(repository, "update-ref", "--stdin", given=f"start\n{change}\nprepare\nabort\n".encode())
    _require_moved(done, branch)


def set_branch(repository: Path, branch: str, commit: str, before: str = "") -> None:
    """Point a branch at a commit, if it is where it was before, or does not exist where it did not.

    Raises GitError with the reason.
    """
    reason = ("-m", "fast-rust: set the branch")
    _require_moved(run(repository, "update-ref", *reason, f"refs/heads/{branch}", commit, before), branch)


def _require_moved(done: subprocess.CompletedProcess[bytes], branch: str) -> None:
    if done.returncode:
        # What a hook says comes before git's own reason.
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = "; ".join(dict.fromkeys(lines)) or "no reason given"
        raise GitError(f"the branch {branch} cannot be created or moved: {said}")


# --- Merging and committing ---

# `git merge-file` ends with the number of conflicts, up to this.
MOST_CONFLICTS = 127


def merge_file(
    own: bytes, before: bytes, after: bytes, labels: tuple[str, str, str] | None = None
) -> tuple[bytes, bool]:
    """Merge two changes of a text; return the result, and whether both changed the same lines.

    Then the result has markers of a conflict, with the labels of the three texts.
    """
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        files = [Path(folder) / name for name in ("own", "before", "after")]
        for file, content in zip(files, (own, before, after), strict=True):
            file.write_bytes(content)
        named = [word for label in labels or () for word in ("-L", label)]
        done = run(Path(folder), "merge-file", "--stdout", *named, *map(str, files), config=Config.OURS)
        # Git cannot merge what it takes for binary, and ends with 255.
        is_refused = done.returncode < 0 or done.returncode > MOST_CONFLICTS
        return (own, True) if is_refused else (done.stdout, done.returncode > 0)


def signing_flags(repository: Path) -> tuple[str, ...]:
    """Return the flag by which the user's commits are signed, if they are."""
    done = run(repository, "config", "--type=bool", "--get", "commit.gpgSign")
    return ("-S",) if done.stdout.strip() == b"true" else ()


def require_committer(repository: Path) -> None:
    """Check that a commit can be made here, with the user's identity and signature.

    Raises GitError with git's reason. Nothing is written to the repository.
    """
    with TemporaryDirectory(prefix="fast-rust-") as objects:
        elsewhere = {"GIT_OBJECT_DIRECTORY": objects}
        made = output(repository, "hash-object", "-w", "-t", "tree", "--stdin", given=b"", environment=elsewhere)
        message = "Check the identity and the signature\n"
        commit_tree(repository, made.decode().strip(), [], message, environment=elsewhere)


def commit_tree(
    repository: Path,
    tree: str,
    parents: Iterable[str],
    message: str,
    *,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Create a commit with the user's identity and signature, on no branch; no hook runs, no setting edits the message.

    Raises GitError with git's reason.
    """
    above = [word for parent in parents for word in ("-p", parent)]
    arguments = ("-c", "i18n.commitEncoding=UTF-8", "commit-tree", *signing_flags(repository), *above, "-F", "-", tree)
    return output(repository, *arguments, given=message.encode(), environment=environment).decode().strip()
