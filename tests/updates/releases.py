"""The releases of this repository, found in its history, as a template's repository with their tags."""

import io
import subprocess
import tarfile
import tomllib
from pathlib import Path

from template import copy_checkout, git, release
from variants import CHECKOUT


def past_releases() -> dict[str, str]:
    """The commits of all releases before the one that is in the working tree, by their tags, oldest first.

    A release is the last commit that has its version: the one before the next version.
    """
    if git(CHECKOUT, "rev-parse", "--is-shallow-repository").strip() == "true":
        message = "this clone is shallow, so its releases cannot be found: `git fetch --unshallow`, then test again"
        raise RuntimeError(message)
    found: dict[str, str] = {}
    changes = git(CHECKOUT, "log", "--first-parent", "--reverse", "--format=%H %P", "--", "pyproject.toml")
    for commit, *parents in map(str.split, changes.splitlines()):
        if parents and (old := _version(parents[0])) != _version(commit):
            found[f"v{old}"] = parents[0]
    # The version may have been raised in the working tree only.
    if (committed := _version("HEAD")) != newest_release().removeprefix("v"):
        found[f"v{committed}"] = git(CHECKOUT, "rev-parse", "HEAD").strip()
    return found


def newest_release() -> str:
    """The tag of the release that is in the working tree, committed or not."""
    return f"v{_read_version((CHECKOUT / 'pyproject.toml').read_text(encoding='utf-8'))}"


def make_releases(folder: Path) -> Path:
    """A repository of the template in a new folder, with a tag for each release."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    for tag, commit in past_releases().items():
        empty(folder)
        command = ["git", "-C", str(CHECKOUT), "archive", commit]
        archive = subprocess.run(command, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        release(folder, tag)
    empty(folder)
    copy_checkout(folder)
    release(folder, newest_release())
    return folder


def empty(repository: Path) -> None:
    """Take all files out of a repository."""
    git(repository, "rm", "-r", "--quiet", "--force", "--ignore-unmatch", ".")


def _version(commit: str) -> str:
    return _read_version(git(CHECKOUT, "show", f"{commit}:pyproject.toml"))


def _read_version(pyproject: str) -> str:
    return str(tomllib.loads(pyproject)["project"]["version"])
