"""Comparing a crate with the release that it records."""

from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from fast_rust import git
from fast_rust.answers import ANSWERS_FILES, is_of_another_template, require_answers
from fast_rust.drift.differences import Difference, differences
from fast_rust.owned import Owned, owned_by
from fast_rust.releases import open_repository


@dataclass(frozen=True)
class Report:
    """What was found in one crate."""

    crate: Path
    release: str
    newer: tuple[str, ...]
    """Releases after the crate's own, as far as they are known here."""
    owned: Owned
    differences: tuple[Difference, ...]

    @property
    def drifted(self) -> tuple[Difference, ...]:
        """The differences about which something should be done."""
        return tuple(one for one in self.differences if one.is_drift)


def inspect(crate: Path, template: str | None = None) -> Report:
    """Compare a crate with the release that it was made from, or last updated to.

    Raises AnswersError, TemplateError or RenderingError where that cannot be told.
    """
    answers = require_answers(crate)
    repository = open_repository(template or answers.source, needed=answers.release)
    answers = replace(answers, source=str(repository.folder))
    owned = owned_by(repository, answers)
    releases = repository.releases()
    newer = releases[releases.index(answers.release) + 1 :] if answers.release in releases else []
    return Report(crate, answers.release, tuple(newer), owned, tuple(differences(crate, owned)))


def crates_below(folder: Path) -> list[Path]:
    """Return the crates of a workspace that were made from this template: every folder with answers that git lists.

    Outside a repository that is the folder alone. Raises GitError where git refuses to read the repository.
    """
    done = git.run(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if done.returncode:
        if git.NOT_A_REPOSITORY not in git.reason_of(done):
            raise git.GitError(git.reason_of(done))
        return [folder]
    listed = git.split_names(done.stdout)
    files = [folder / name for name in listed if fnmatch(PurePosixPath(name).name, ANSWERS_FILES)]
    found = sorted({file.parent for file in files if not is_of_another_template(file)})
    return found or [folder]
