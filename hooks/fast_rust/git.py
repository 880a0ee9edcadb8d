"""Runs git. No other module does.

Git runs in one of two environments:

- `Config.USER`, for the user's own repositories: their complete configuration, without the variables by which git
  points a hook at a repository. Callers pass flags so that no setting changes what they parse.
- `Config.OURS`, for repositories that we create, and for Copier: no global or system configuration, no hooks, filters,
  templates or attributes. Of the user's configuration only `safe.directory` is kept, since git refuses to read a
  repository of another owner without it, as in a container.
"""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fast_rust.cache import cache_folder
from fast_rust.errors import FastRustError
from fast_rust.files import replace_file

# Variables that configure git for this user. All others that begin with GIT_ belong to the repository of a hook.
KEPT = re.compile(
    r"GIT_(ALLOW_PROTOCOL|ASKPASS|CEILING_DIRECTORIES|CONFIG_(COUNT|GLOBAL|NOSYSTEM|SYSTEM|(KEY|VALUE)_\d+)"
    r"|DISCOVERY_ACROSS_FILESYSTEM|EXEC_PATH|HTTP_\w+|PROXY_\w+|SSH|SSH_\w+|SSL_\w+|TERMINAL_PROMPT"
    r"|(AUTHOR|COMMITTER)_(NAME|EMAIL))"
)
# A question, or a server that falls silent, would block a run without a person.
PATIENT_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15"
# Settings of our own repositories. The identity is for commits that nobody sees.
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


def patient_env() -> dict[str, str]:
    """Return the variables that keep a run without a person from waiting: no question, and no silent server."""
    given = {name: os.environ[name] for name in ("GIT_SSH_COMMAND",) if name in os.environ}
    return {
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "60",
        "GIT_SSH_COMMAND": PATIENT_SSH,
        **given,
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
    base = no_git_env() if config is Config.USER else our_env()
    # Reading the status must not write the index: the disk may be full, or another git at work.
    command = ["git", "--no-optional-locks", "--literal-pathspecs", "-C", str(folder), *arguments]
    try:
        return subprocess.run(
            command, check=False, capture_output=True, input=given, env={**base, **(environment or {})}
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on PATH: install it") from error


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
    """Return git's reason: from its first line that says so to the end, since hints follow it."""
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

    Raises GitError where there is no repository or no commit, or git does not trust the owner of the repository.
    """
    inside = run(folder, "rev-parse", "--git-dir")
    if inside.returncode:
        reason = reason_of(inside)
        if NOT_A_REPOSITORY in reason:
            reason = f"{folder} is not in a git repository; run `git init`, and commit all files"
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
    found = {}
    for line in names(folder, "ls-tree", "-r", "-z", "--full-tree", f"{commit}:{prefix_of(folder)}"):
        (mode, kind, blob), path = line.partition("\t")[0].split(), line.partition("\t")[2]
        if kind == "blob":
            found[path] = Entry(mode, blob)
    return found


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

    Raises GitError with git's reason. An object that nothing refers to may stay behind.
    """
    commit_tree(repository, empty_tree(repository), [], "Check the identity and the signature\n")


def empty_tree(repository: Path) -> str:
    """Return the object of an empty folder."""
    return output(repository, "hash-object", "-w", "-t", "tree", "--stdin", given=b"").decode().strip()


def commit_tree(repository: Path, tree: str, parents: Iterable[str], message: str) -> str:
    """Create a commit with the user's identity and signature, on no branch; no hook runs, no setting edits the message.

    Raises GitError with git's reason.
    """
    above = [word for parent in parents for word in ("-p", parent)]
    arguments = ("-c", "i18n.commitEncoding=UTF-8", "commit-tree", *signing_flags(repository), *above, "-F", "-", tree)
    return output(repository, *arguments, given=message.encode()).decode().strip()
