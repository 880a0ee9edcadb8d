"""The releases of this repository, found in its history, in a repository with their tags."""

import hashlib
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock

from support.git import git, release
from support.template import copy_checkout, copy_in_process
from support.variants import CHECKOUT, Answers


@dataclass(frozen=True)
class Releases:
    """A repository of the template with all its releases."""

    repository: Path
    renderings: Path

    @property
    def tags(self) -> list[str]:
        """Return all releases, oldest first."""
        return git(self.repository, "tag", "--sort=version:refname").split()

    def rendering(self, tag: str, answers: Answers) -> Path:
        """Return a crate made from a release: made once for all tests, so they must only read it."""
        digest = hashlib.sha256(repr((tag, sorted(answers.items()))).encode()).hexdigest()[:16]
        crate = self.renderings / digest / "log-totals"
        with FileLock(self.renderings / f"{digest}.lock"):
            if not crate.exists():
                part = crate.with_suffix(".part")
                outcome = copy_in_process(self.repository, part, answers, f"--vcs-ref={tag}")
                assert outcome.exit_code == 0, outcome.stderr
                part.rename(crate)
        return crate

    def questions(self, tag: str) -> set[str]:
        """Return the questions of a release."""
        documents = yaml.safe_load_all(git(self.repository, "show", f"{tag}:copier.yml"))
        return {name for document in documents for name in document if not name.startswith("_")}


def shared_releases(folder: Path) -> Releases:
    """Return all releases, with the working tree as the newest; made once for all processes of a run."""
    repository, renderings = folder / "releases", folder / "release-renderings"
    with FileLock(folder / "releases.lock"):
        if not repository.exists():
            part = repository.with_suffix(".part")
            make_releases(part)
            renderings.mkdir()
            part.rename(repository)
    return Releases(repository, renderings)


def past_releases() -> dict[str, str]:
    """Return the commits of all releases before the one in the working tree, by their tags, oldest first.

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
    # The version may have been raised only in the working tree.
    if (committed := _version("HEAD")) != newest_release().removeprefix("v"):
        found[f"v{committed}"] = git(CHECKOUT, "rev-parse", "HEAD").strip()
    return found


def newest_release() -> str:
    """Return the tag of the release in the working tree, committed or not."""
    return f"v{_read_version((CHECKOUT / 'pyproject.toml').read_text(encoding='utf-8'))}"


def make_releases(folder: Path) -> Path:
    """Make a repository of the template in a new folder, with a tag for each release."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    for tag, commit in past_releases().items():
        empty(folder)
        command = ["git", "-C", str(CHECKOUT), "archive", commit]
        archive = subprocess.run(command, check=True, capture_output=True).stdout
        # Before 3.11.4, the tarfile of Python cannot be told which members to trust.
        subprocess.run(["tar", "-x", "-C", str(folder)], check=True, input=archive)
        release(folder, tag)
    empty(folder)
    copy_checkout(folder)
    release(folder, newest_release())
    return folder


def empty(repository: Path) -> None:
    """Remove all files from a repository."""
    git(repository, "rm", "-r", "--quiet", "--force", "--ignore-unmatch", ".")


def _version(commit: str) -> str:
    return _read_version(git(CHECKOUT, "show", f"{commit}:pyproject.toml"))


def _read_version(pyproject: str) -> str:
    return str(tomllib.loads(pyproject)["project"]["version"])
