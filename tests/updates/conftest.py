"""Fixtures: a template with a next release, a crate of the last release, and a small disk."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.adoption import Adopt, meet_all
from support.command import invoke
from support.git import start_history
from support.template import Template, copy_in_process
from updates.answers import set_address
from updates.bench import CHANGED, Bench
from updates.disks import SmallDisk

ANSWERS: dict[str, str | bool] = {"kind": "lib", "sample": False, "copyright_holder": "Ada", "msrv": "1.86"}
NEWS = "# Changelog\n\n## 0.0.2\n\n### What changes in your crate\n\nA change.\n\n## 0.0.1\n\nThe first.\n"


@pytest.fixture(scope="module")
def made(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small crate, which tests copy."""
    crate = tmp_path_factory.mktemp("releasing") / "log-totals"
    assert copy_in_process(template.repository, crate, ANSWERS).exit_code == 0
    return crate


@pytest.fixture
def bench(made: Path, template: Template, tmp_path: Path) -> Bench:
    repository = Path(shutil.copytree(template.repository, tmp_path / "template", symlinks=True))
    crate = Path(shutil.copytree(made, tmp_path / "log-totals"))
    set_address(crate, repository)
    start_history(crate)
    return Bench(repository, crate)


@pytest.fixture
def next_release(bench: Bench) -> Bench:
    """A template with a release that changes a file and adds one, and a crate of the release before."""
    bench.edit(f"template/{CHANGED}", "30s", "60s")
    bench.edit("ownership.yml", "managed:\n", "managed:\n  - .github/new.yml\n")
    (bench.template / "template" / ".github" / "new.yml").write_text("# New.\n", encoding="utf-8")
    (bench.template / "CHANGELOG.md").write_text(NEWS, encoding="utf-8")
    return bench


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk for one test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk; another test fails a write of an update by itself")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def adopt(template: Template, monkeypatch: pytest.MonkeyPatch) -> Adopt:
    """Return a function that adopts a crate as if it passed every gate; other tests are about the gates."""
    meet_all(monkeypatch)
    return lambda crate, *arguments: invoke("adopt", crate, "--template", template.repository, *arguments)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a summary of the campaign, over all processes."""
    total: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        total.update({name: int(str(count)) for name, count in report.user_properties if name.startswith("campaign ")})
    if total:
        numbers = ", ".join(f"{count} {name.removeprefix('campaign ')}" for name, count in total.items())
        terminalreporter.write_line(f"Campaign of updates: {numbers}")
