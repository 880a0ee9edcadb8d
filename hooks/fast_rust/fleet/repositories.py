"""Git repositories of a fleet, changed so that a run that is killed leaves each as before or as after."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fast_rust import git as base
from fast_rust.git import GitError

OWN = "copier-fast-rust"
LOCKED_FOR = 120


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder under the user's configuration, and return what it prints."""
    return os.fsdecode(base.output(folder, *arguments))


def try_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder under the user's configuration."""
    done = base.run(folder, *arguments)
    return subprocess.CompletedProcess(done.args, done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))


def is_commit(folder: Path, name: str) -> bool:
    """Whether a repository has a commit of that name."""
    return try_git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").returncode == 0


def branch_at_hand(repository: Path) -> str:
    """The branch that is checked out: where work on the crate begins.

    Raises GitError where there is none.
    """
    git(repository, "rev-parse", "--verify", "HEAD^{commit}")
    done = try_git(repository, "symbolic-ref", "--quiet", "--short", "HEAD")
    if done.returncode:
        raise GitError("HEAD is detached, so it is not known where an update begins: `git switch main`")
    return done.stdout.strip()


@contextmanager
def workplace(repository: Path) -> Iterator[Path]:
    """A clone of a repository inside its git folder, to work in; the checkout of the repository is not touched.

    It shares the objects, has none of the hooks, and is deleted at the end, or by the next run. Until something is
    fetched from it, nothing has happened. Raises GitError.
    """
    own = _own_folder(repository)
    own.mkdir(exist_ok=True)
    try:
        with FileLock(own / "lock", timeout=LOCKED_FOR):
            clone = own / "clone"
            shutil.rmtree(clone, ignore_errors=True)
            _unlock_branches(own.parent)
            git(repository, "clone", "--quiet", "--shared", "--no-tags", ".", str(clone))
            for key in ("user.name", "user.email"):
                if value := try_git(repository, "config", key).stdout.strip():
                    git(clone, "config", key, value)
            yield clone
            shutil.rmtree(clone, ignore_errors=True)
    except Timeout as error:
        raise GitError(f"another run is at work in {repository}") from error


def clear(repository: Path) -> None:
    """Take away the clone of a run that was killed once its branch was there."""
    if (clone := _own_folder(repository) / "clone").exists():
        with FileLock(clone.with_name("lock"), timeout=LOCKED_FOR):
            shutil.rmtree(clone, ignore_errors=True)


def _own_folder(repository: Path) -> Path:
    return (repository / git(repository, "rev-parse", "--git-common-dir").strip()).resolve() / OWN


def _unlock_branches(git_folder: Path) -> None:
    """Take away what a git that was killed has left of the lock of a branch: we hold the lock of all under our name."""
    for lock in (git_folder / "refs" / "heads" / OWN).glob("*.lock"):
        lock.unlink(missing_ok=True)


def commit_all(clone: Path, folder: str, message: str) -> None:
    """Commit what has changed in a folder of a workplace, ignored or not; the message ends with trailers."""
    git(clone, "add", "--all", "--force", "--", folder)
    tree = git(clone, "write-tree").strip()
    git(clone, "commit", "--quiet", "--no-verify", "--message", f"{message}\nFast-Rust-Tree: {tree}")


def publish(repository: Path, clone: Path, branch: str) -> None:
    """Give a repository a branch that a workplace has made: all of it, or nothing."""
    quiet = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.hooksPath=/dev/null")
    options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--force")
    git(repository, *quiet, "fetch", *options, str(clone), f"HEAD:refs/heads/{branch}")
