"""A template whose next release is being made, and what can go wrong on a disk."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from typer.testing import CliRunner, Result

from fast_rust.answers import ANSWERS_FILE
from fast_rust.main import application
from forks import run_here
from template import Outcome, Template, copier_in_process, copy_in_process, git, read_tree, release

COMMAND = str(Path(sys.executable).with_name("fast-rust"))
OURS = "\n# A line of ours.\n"
ANSWERS: dict[str, str | bool] = {"kind": "lib", "sample": False, "copyright_holder": "Ada", "msrv": "1.86"}


def fast_rust(
    *arguments: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does: in a process, so that what Copier starts has the environment, too."""
    command = [COMMAND, *map(str, arguments)]
    given = {**os.environ, **(environment or {})}
    if any(name.startswith("PYTHON") for name in environment or {}):
        return subprocess.run(
            command, cwd=folder, env=given, check=False, capture_output=True, text=True, errors="replace"
        )
    return run_here(application, command, folder=folder, environment=given)


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


@dataclass(frozen=True)
class SmallDisk:
    """A disk of eight megabytes that can be full, or read-only."""

    folder: Path
    says: ClassVar = {"full": "No space left on device", "read-only": "Read-only file system"}

    def refuses(self, command: Sequence[str], crate: Path, fault: str) -> None:
        """Run a command once the disk is at fault: it has to say so, and to leave the crate as it was."""
        before = read_tree(crate)
        self.fill() if fault == "full" else self.make_read_only()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert self.says[fault] in done.stderr
        assert "Traceback" not in done.stderr
        assert read_tree(crate) == before
        if fault == "full":
            self.empty()
            assert git(crate, "status", "--porcelain") == ""

    def fill(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (4096, 1):
                with suppress(OSError):
                    while ballast.write(b"x" * size):
                        pass

    def empty(self) -> None:
        (self.folder / "ballast").unlink()

    def make_read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk of a test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk; another test fails a write of an update by itself")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sum up what the campaign did, over all processes."""
    total: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        total.update({name: int(str(count)) for name, count in report.user_properties if name.startswith("campaign ")})
    if total:
        numbers = ", ".join(f"{count} {name.removeprefix('campaign ')}" for name, count in total.items())
        terminalreporter.write_line(f"Campaign of updates: {numbers}")
