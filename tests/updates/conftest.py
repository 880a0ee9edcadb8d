"""Releases of this repository, and crates made from them."""

import hashlib
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from typer.testing import CliRunner, Result
from updates.releases import make_releases

from fast_rust.command import application
from fast_rust.rendering import ANSWERS_FILE
from template import Outcome, Template, copier_in_process, copy_in_process, git, release
from variants import Answers


@dataclass(frozen=True)
class Releases:
    """The template's repository with all its releases."""

    repository: Path
    renderings: Path

    @property
    def tags(self) -> list[str]:
        """All releases, oldest first."""
        return git(self.repository, "tag", "--sort=version:refname").split()

    def rendering(self, tag: str, answers: Answers) -> Path:
        """A crate made from a release: once for all tests, so they only read it."""
        digest = hashlib.sha256(repr((tag, sorted(answers.items()))).encode()).hexdigest()[:16]
        crate = self.renderings / digest / "log-totals"
        with FileLock(self.renderings / f"{digest}.lock"):
            if not crate.exists():
                part = crate.with_suffix(".part")
                outcome = copier_in_process(*_arguments(self.repository, tag, answers), str(part))
                assert outcome.exit_code == 0, outcome.stderr
                part.rename(crate)
        return crate

    def questions(self, tag: str) -> set[str]:
        """What a release asks."""
        documents = yaml.safe_load_all(git(self.repository, "show", f"{tag}:copier.yml"))
        return {name for document in documents for name in document if not name.startswith("_")}


OURS = "\n# A line of ours.\n"
ANSWERS: dict[str, str | bool] = {"kind": "lib", "sample": False, "author": "Ada", "msrv": "1.86"}


@dataclass(frozen=True)
class Bench:
    """A template whose next release is being made, and a crate of the last one."""

    template: Path
    crate: Path

    def edit(self, path: str, old: str, new: str) -> None:
        """Change the template."""
        file = self.template / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def act(self, path: str, text: str = OURS) -> None:
        """Change the crate."""
        file = self.crate / path
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")

    def publish(self) -> None:
        release(self.template, "v0.0.2")
        git(self.crate, "add", "--all")
        git(self.crate, "commit", "--quiet", "--message", "An act of a user", "--allow-empty")

    def copier(self) -> Outcome:
        """Make the release, and update as anybody does."""
        self.publish()
        return copier_in_process("update", "--quiet", "--defaults", str(self.crate))

    def fast_rust(self, *arguments: str) -> Result:
        """Make the release, and update by our command."""
        self.publish()
        return self.update(*arguments)

    def update(self, *arguments: str) -> Result:
        """Update by our command."""
        return CliRunner().invoke(application, ["update", *arguments, str(self.crate)])

    def status(self) -> str:
        return git(self.crate, "status", "--porcelain", "--untracked-files=all")

    def answers(self) -> dict[str, object]:
        return dict(yaml.safe_load((self.crate / ANSWERS_FILE).read_text(encoding="utf-8")))

    def unmerged(self) -> bool:
        return bool(git(self.crate, "ls-files", "--unmerged"))


def _arguments(repository: Path, tag: str, answers: Answers) -> list[str]:
    data = [
        f"--data={name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in answers.items()
    ]
    return ["copy", "--quiet", "--defaults", f"--vcs-ref={tag}", *data, str(repository)]


@pytest.fixture(scope="session")
def releases(shared_folder: Path) -> Releases:
    """All releases of this repository, the working tree as the newest."""
    folder = shared_folder / "releases"
    with FileLock(shared_folder / "releases.lock"):
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            make_releases(part)
            part.rename(folder)
            (shared_folder / "release-renderings").mkdir()
    return Releases(folder, shared_folder / "release-renderings")


@pytest.fixture(scope="module")
def made(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small crate, to be copied."""
    crate = tmp_path_factory.mktemp("releasing") / "log-totals"
    assert copy_in_process(template.repository, crate, ANSWERS).exit_code == 0
    return crate


@pytest.fixture
def bench(made: Path, template: Template, tmp_path: Path) -> Bench:
    repository = Path(shutil.copytree(template.repository, tmp_path / "template", symlinks=True))
    crate = Path(shutil.copytree(made, tmp_path / "log-totals"))
    answers = crate / ANSWERS_FILE
    text = answers.read_text(encoding="utf-8")
    answers.write_text(re.sub(r"(?m)^_src_path: .*$", f"_src_path: {repository}", text), encoding="utf-8")
    git(crate, "init", "--quiet")
    git(crate, "add", "--all")
    git(crate, "commit", "--quiet", "--message", "Start")
    return Bench(repository, crate)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sum up what the campaign did, over all processes."""
    total: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        total.update({name: int(str(count)) for name, count in report.user_properties if name.startswith("campaign ")})
    if total:
        numbers = ", ".join(f"{count} {name.removeprefix('campaign ')}" for name, count in total.items())
        terminalreporter.write_line(f"Campaign of updates: {numbers}")
