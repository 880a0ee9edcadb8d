"""Comparing a crate with the release that it records."""

from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from fast_rust import git
from fast_rust.answers import ANSWERS_FILES, answers_file, is_of_another_template, require_answers
from fast_rust.drift.differences import Difference, State, differences
from fast_rust.owned import Owned, owned_by
from fast_rust.releases import Order, Repository, open_repository


@dataclass(frozen=True)
class Report:
    """The differences of one crate from its release."""

    crate: Path
    release: str
    newer: tuple[str, ...]
    """Releases after the crate's own, as far as they are known here."""
    ahead_of: str
    """The newest release, where the crate's is a commit after it; else empty."""
    owned: Owned
    differences: tuple[Difference, ...]

    @property
    def drifted(self) -> tuple[Difference, ...]:
        """Return the differences that a person has to restore, or to give a reason for."""
        return tuple(difference for difference in self.differences if difference.is_drift)


def inspect(crate: Path, template: str | None = None) -> Report:
    """Compare a crate with the release that it was made from, or last updated to.

    Raises AnswersError, TemplateError or RenderingError where the crate and its release cannot be compared.
    """
    answers = require_answers(crate)
    repository = open_repository(template or answers.source, needed=answers.release)
    answers = replace(answers, source=str(repository.folder))
    owned = owned_by(repository, answers)
    newer, ahead_of = _position(repository, answers.release)
    found = tuple(differences(crate, owned))
    outside = _of_the_repository(crate, owned) | _outside_the_checkout(
        crate, [difference.path for difference in found if difference.state is State.MISSING and not difference.key]
    )
    return Report(
        crate,
        answers.release,
        newer,
        ahead_of,
        owned,
        tuple(difference for difference in found if difference.path not in outside),
    )


def _of_the_repository(crate: Path, owned: Owned) -> set[str]:
    """Return the files that only the root of a repository has use for, where the crate is in a folder below."""
    prefix = git.run(crate, "rev-parse", "--show-prefix").stdout.strip()
    return {path for path in owned.files if prefix and path.startswith((".github/", ".gitlab"))}


def _outside_the_checkout(crate: Path, missing: list[str]) -> set[str]:
    """Return the files that git has, and leaves out of a sparse checkout: they are not missing, and not compared."""
    done = git.run(crate, "ls-files", "-v", "-z", "--", *missing) if missing else None
    listed = git.split_names(done.stdout) if done and done.returncode == 0 else []
    return {entry[2:] for entry in listed if entry[0] == "S"}


def _position(repository: Repository, release: str) -> tuple[tuple[str, ...], str]:
    """Return the releases after that of a crate, and the newest one if the crate's is a commit after it."""
    releases = repository.releases()
    if release in releases:
        return tuple(releases[releases.index(release) + 1 :]), ""
    # Between two releases, or a pre-release.
    newer = tuple(candidate for candidate in releases if repository.order(candidate, release) is Order.NEWER)
    is_ahead = bool(releases) and repository.order(release, releases[-1]) is Order.NEWER
    return newer, releases[-1] if is_ahead else ""


def crates_below(folder: Path) -> list[Path]:
    """Return the crates of a workspace that were made from this template: every folder with answers that git lists.

    The folder itself is one of them if it has answers, which git may ignore. Outside a repository it is the only one.
    Raises GitError where git refuses to read the repository.
    """
    done = git.run(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if done.returncode:
        if git.NOT_A_REPOSITORY not in git.reason_of(done):
            raise git.GitError(git.reason_of(done))
        return [folder]
    listed = git.split_names(done.stdout)
    files = [folder / name for name in listed if fnmatch(PurePosixPath(name).name, ANSWERS_FILES)]
    own = answers_file(folder)
    found = {file.parent for file in (*files, *([own] if own.is_file() else [])) if not is_of_another_template(file)}
    return sorted(found) or [folder]
