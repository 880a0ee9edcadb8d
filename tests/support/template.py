"""Copies of the template, and crates made from them as a user makes them."""

import contextlib
import hashlib
import io
import shutil
import subprocess
import sys
import traceback
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from unittest import mock

from filelock import FileLock

from support.git import git, release
from support.variants import CHECKOUT, Answers

# The manifest of a workspace that the template did not make, with the crate `log-totals` as a member.
WORKSPACE_OF_ANOTHER = """\
[workspace]
members = ["log-totals", "log-totals/bench"]
resolver = "3"

[workspace.lints.clippy]
all = "warn"
"""


@dataclass(frozen=True)
class Outcome:
    """The result of a run of Copier."""

    exit_code: int
    stderr: str

    @property
    def last_line(self) -> str:
        """Return the line that a user reads first: the one above the prompt."""
        return self.stderr.rstrip("\n").rpartition("\n")[2]


@dataclass(frozen=True)
class Template:
    """A copy of this checkout's template, independent of later edits."""

    files: Path
    """A plain folder, which Copier reads fastest."""
    repository: Path
    """The same as a git repository with a release, as users have it."""
    renderings: Path

    def rendering(self, answers: Answers) -> Path:
        """Return a crate made from the answers: made once for all tests, so they must only read it."""
        digest = digest_of(answers)
        crate = self.renderings / digest
        with FileLock(self.renderings / f"{digest}.lock"):
            if not crate.exists():
                # Under a temporary name first, so that a failed rendering leaves no partial crate to the next test.
                outcome = copy_in_process(self.files, crate.with_suffix(".part"), answers)
                assert outcome.exit_code == 0, outcome.stderr
                crate.with_suffix(".part").rename(crate)
        return crate


def digest_of(answers: Answers) -> str:
    """Return a name for the result of these answers."""
    return hashlib.sha256(repr(sorted(answers.items())).encode()).hexdigest()[:16]


def make_template(folder: Path) -> Template:
    """Copy the template of this checkout, committed or not."""
    files, repository, renderings = folder / "files", folder / "repository", folder / "renderings"
    renderings.mkdir(parents=True)
    copy_checkout(files)
    shutil.copytree(files, repository, symlinks=True)
    git(repository, "init", "--quiet")
    release(repository, "v0.0.1")
    return Template(files, repository, renderings)


def copy_checkout(folder: Path) -> None:
    """Copy the files of this checkout, committed or not, into a folder."""
    listing = git(CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listing.split("\0")):
        source, target = CHECKOUT / name, folder / name
        # The file is deleted, but the deletion is not committed yet.
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def copier(*arguments: str, folder: Path | None = None) -> Outcome:
    """Run the `copier` command as a user does who has not declared that the template is trusted."""
    command = [str(Path(sys.executable).with_name("copier")), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    return Outcome(done.returncode, done.stderr)


def copier_in_process(*arguments: str) -> Outcome:
    """Run the same command in this process: ten times as fast, since Python and Copier are already loaded."""
    [script] = entry_points(group="console_scripts", name="copier")
    stderr = io.StringIO()
    exit_code: int | str | None
    with (
        mock.patch.object(sys, "argv", ["copier", *arguments]),
        contextlib.redirect_stderr(stderr),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            exit_code = script.load()()
        except SystemExit as end:
            exit_code = end.code
        except Exception:  # noqa: BLE001  The interpreter would print any of them, and end with 1.
            traceback.print_exc()
            exit_code = 1
    assert exit_code is None or isinstance(exit_code, int)
    return Outcome(exit_code or 0, stderr.getvalue())


def copy(template: Path, crate: Path, answers: Answers) -> Outcome:
    """Make a crate by the `copier` command."""
    return copier(*_copy_arguments(template, crate, answers))


def copy_in_process(template: Path, crate: Path, answers: Answers, *options: str) -> Outcome:
    """Make a crate by the same command, run in this process."""
    return copier_in_process(*_copy_arguments(template, crate, answers), *options)


def _copy_arguments(template: Path, crate: Path, answers: Answers) -> list[str]:
    data = (f"{name}={str(answer).lower() if isinstance(answer, bool) else answer}" for name, answer in answers.items())
    return ["copy", "--quiet", "--defaults", *(f"--data={given}" for given in data), str(template), str(crate)]
