"""Makes repositories and commits."""

import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and return its output."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def start_history(crate: Path) -> None:
    """Make a repository of a crate, and commit the files that its user would."""
    git(crate, "init", "--quiet")
    commit(crate, "Start")


def commit(crate: Path, message: str = "An act of a user") -> None:
    """Commit all that git does not ignore."""
    git(crate, "add", "--all")
    git(crate, "commit", "--quiet", "--allow-empty", "--message", message)


def commit_all(crate: Path, message: str = "An act of a user") -> None:
    """Commit all files, ignored or not."""
    git(crate, "add", "--all", "--force")
    git(crate, "commit", "--quiet", "--allow-empty", "--message", message)


def release(repository: Path, tag: str) -> None:
    """Commit all files, and tag the commit."""
    commit_all(repository, tag)
    git(repository, "tag", tag)
