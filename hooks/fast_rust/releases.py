"""The template's repository with its releases, on this machine."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from packaging.version import InvalidVersion, Version
from platformdirs import user_cache_path

# As Copier reads them.
SHORT_ADDRESSES = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}


class TemplateError(Exception):
    """The template or a release of it cannot be had; the message says why, and what to type."""


def cache_folder() -> Path:
    """Where copies of templates and renderings are kept between runs; deleting it loses nothing but time."""
    given = os.environ.get("FAST_RUST_CACHE_DIR")
    return Path(given) if given else user_cache_path("copier-fast-rust")


@contextmanager
def made_as_a_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name when it is full, so that a run that is killed leaves no half one.

    Of two runs at once the first wins, since what the other made is the same.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(dir=folder.parent, suffix=".part"))
    try:
        yield part
        part.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True)
class Repository:
    """A git repository of the template."""

    folder: Path

    def releases(self) -> list[str]:
        """The tags that are versions, oldest first, without those before a release."""
        versions = {tag: version for tag in self._git("tag", "--list").split() if (version := _version(tag))}
        return sorted((tag for tag in versions if not versions[tag].is_prerelease), key=lambda tag: versions[tag])

    def newest(self, address: str) -> str:
        """The newest release of what people know by its address.

        Raises TemplateError where there is none.
        """
        if not (releases := self.releases()):
            raise TemplateError(f"{address} has no release: its tags have to be versions, as v1.2.3")
        return releases[-1]

    def commit(self, release: str) -> str:
        """The commit of a release; also of what Copier records between two releases.

        Raises TemplateError where there is none of that name.
        """
        try:
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{release}^{{commit}}").strip()
        except TemplateError as error:
            newest = next(reversed(self.releases()), "none")
            message = f"the template has no release {release} (its newest is {newest}): check `_commit` of the answers"
            raise TemplateError(message) from error

    def text(self, release: str, path: str) -> str:
        """A file of the repository as a release has it."""
        return self._git("show", f"{self.commit(release)}:{path}")

    def _git(self, *arguments: str) -> str:
        return _git("-C", str(self.folder), *arguments)


def _version(tag: str) -> Version | None:
    try:
        return Version(tag)
    except InvalidVersion:
        return None


def open_repository(address: str, *, needed: str | None = None, refresh: bool = False) -> Repository:
    """The repository at an address: itself if it is a folder here, else a mirror that is kept.

    A mirror is fetched anew if it lacks the release that is needed, or on request.
    Raises TemplateError where it cannot be had.
    """
    try:
        is_here = (folder := Path(address).expanduser()).is_dir()
    except (OSError, RuntimeError) as error:
        raise TemplateError(f"the template's address {address} leads nowhere: {error}") from error
    if is_here:
        if not folder.is_absolute():
            message = f"the template's address {address} is relative, so it depends on where one stands"
            raise TemplateError(f"{message}: write it in full, as `_src_path` of the crate's answers")
        return Repository(folder)
    url = next((full + address[3:] for short, full in SHORT_ADDRESSES.items() if address.startswith(short)), address)
    url = url.removeprefix("git+")
    if url.startswith("-") or "::" in url:
        raise TemplateError(f"{address} is no address of a template")
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    mirror = cache_folder() / "templates" / f"{name}.git"
    if not mirror.exists():
        with made_as_a_whole(mirror) as part:
            _git("clone", "--quiet", "--mirror", "--", url, str(part))
    elif refresh or (needed and not _has(mirror, needed)):
        _git("-C", str(mirror), "fetch", "--quiet", "--prune", "origin")
    return Repository(mirror)


def _has(mirror: Path, release: str) -> bool:
    try:
        _git("-C", str(mirror), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{release}^{{commit}}")
    except TemplateError:
        return False
    return True


def _git(*arguments: str) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(["git", *arguments], check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        reason = next((line for line in lines if line.startswith("fatal: ")), lines[-1]).removeprefix("fatal: ")
        raise TemplateError(f"git {next(word for word in arguments if not word.startswith(('-', '/')))}: {reason}")
    return done.stdout
