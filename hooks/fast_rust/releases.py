"""The template's repository with its releases, on this machine."""

import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from filelock import FileLock
from packaging.version import InvalidVersion, Version

from fast_rust import git
from fast_rust.cache import cache_folder, created_atomically
from fast_rust.errors import FastRustError
from fast_rust.git import Config, GitError

# As Copier reads them.
SHORT_ADDRESSES = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
NO_QUESTIONS = {"GIT_TERMINAL_PROMPT": "0"}


class TemplateError(FastRustError):
    """The template or a release of it is not available; the message says why, and what to run."""


class Order(Enum):
    """How two releases of a template relate."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"


@dataclass(frozen=True)
class Repository:
    """A git repository of the template."""

    folder: Path

    def releases(self) -> list[str]:
        """Return the tags that are versions, oldest first, without pre-releases."""
        tags = self._git("for-each-ref", "--format=%(refname:strip=2)", "refs/tags").splitlines()
        versions = {tag: version for tag in tags if (version := _version(tag))}
        return sorted((tag for tag in versions if not versions[tag].is_prerelease), key=lambda tag: versions[tag])

    def newest(self, address: str) -> str:
        """Return the newest release of the template, which people know by its address.

        Raises TemplateError where it has no release.
        """
        if not (releases := self.releases()):
            raise TemplateError(f"the template {address} has no release, that is, no git tag such as v1.2.3")
        return releases[-1]

    def commit(self, release: str) -> str:
        """Return the commit of a release, or of what Copier records between two releases (v1.2.3-4-g1234567).

        Raises TemplateError where the repository has no such release.
        """
        try:
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{release}^{{commit}}")
        except GitError as error:
            newest = next(reversed(self.releases()), "none")
            message = (
                f"the template has no release {release} (the newest is {newest});"
                " check `_commit` in .copier-answers.yml"
            )
            raise TemplateError(message) from error

    def described(self, release: str) -> str:
        """Return the name that Copier records of a release: the tag, or the tag with the commit after it."""
        return self._git("describe", "--tags", "--always", self.commit(release))

    def order(self, release: str, other: str) -> Order:
        """Return whether a release is older or newer than another; a commit after a tag is newer than the tag.

        Raises TemplateError where the repository lacks one of them.
        """
        commit, reference = self.commit(release), self.commit(other)
        if commit == reference:
            return Order.SAME
        versions = _version(release), _version(other)
        if versions[0] is not None and versions[1] is not None:
            return Order.NEWER if versions[0] > versions[1] else Order.OLDER
        is_newer = git.succeeds(self.folder, "merge-base", "--is-ancestor", reference, commit, config=Config.OURS)
        return Order.NEWER if is_newer else Order.OLDER

    def text(self, release: str, path: str) -> str:
        """Return a file of the repository as a release has it."""
        try:
            content = git.output(self.folder, "cat-file", "blob", f"{self.commit(release)}:{path}", config=Config.OURS)
        except GitError as error:
            raise TemplateError(f"release {release} of the template has no file {path}") from error
        return content.decode()

    def _git(self, *arguments: str) -> str:
        return git.text(self.folder, *arguments, config=Config.OURS)


def _version(tag: str) -> Version | None:
    try:
        return Version(tag)
    except InvalidVersion:
        return None


def open_repository(address: str, *, needed: str | None = None, refresh: bool = False) -> Repository:
    """Return the repository at an address: the folder itself if it is one, else a mirror in the cache.

    A mirror is fetched if it lacks the release that is needed, or on request, by one process at a time.
    Raises TemplateError where the address is not a template, or cannot be reached.
    """
    try:
        is_folder = (folder := Path(address).expanduser()).is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise TemplateError(f"{address!r} is not the address of a template: {error}") from error
    if is_folder:
        if not folder.is_absolute():
            message = f"the template's address {address} is relative, so it depends on the current folder"
            raise TemplateError(f"{message}; set `_src_path` in the crate's .copier-answers.yml to an absolute path")
        return Repository(folder)
    url = _url_of(address)
    if url.startswith("-") or "::" in url or "\0" in url:
        raise TemplateError(f"{address!r} is not the address of a template")
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    mirror = cache_folder() / "templates" / f"{name}.git"
    mirror.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(mirror.with_suffix(".lock")):
        _fetch(mirror, url, needed, refresh=refresh)
    return Repository(mirror)


def _url_of(address: str) -> str:
    url = next((full + address[3:] for short, full in SHORT_ADDRESSES.items() if address.startswith(short)), address)
    return url.removeprefix("git+")


def web_address(address: str, release: str) -> str:
    """Return where a browser finds the files of a release on GitHub or GitLab; empty for other addresses."""
    url = re.sub(r"^(?:ssh://)?git@([^:/]+)(?::\d+(?=/)|)[:/]", r"https://\1/", _url_of(address))
    if not (found := re.fullmatch(r"(https?://)(?:[^/]*@)?([^/]*(github|gitlab)[^/]*)(/.+?)(?:\.git)?/?", url)):
        return ""
    scheme, server, service, path = found.groups()
    return f"{scheme}{server}{path}{'/-' * (service == 'gitlab')}/blob/{release}"


def _fetch(mirror: Path, url: str, needed: str | None, *, refresh: bool) -> None:
    """Make or update a mirror, with the user's git configuration, which has the credentials."""
    try:
        if not mirror.exists():
            with created_atomically(mirror) as part:
                # `clone.defaultRemoteName` may have another name for the remote.
                command = ("clone", "--quiet", "--mirror", "--origin=origin", "--", url, str(part))
                git.output(mirror.parent, *git.NO_HOOKS, *command, environment=NO_QUESTIONS)
        elif refresh or (needed and not git.is_commit(mirror, needed, config=Config.OURS)):
            # Settings may forbid to find a bare repository by its folder (`safe.bareRepository`).
            here = (*git.NO_HOOKS, f"--git-dir={mirror}")
            git.output(mirror, *here, "fetch", "--quiet", "--prune", "origin", environment=NO_QUESTIONS)
    except GitError as error:
        raise TemplateError(f"the template {url} cannot be fetched: {error}") from error
