"""An update and `drift --fix` that are killed, or cannot write, lose no data.

They are killed at points of a fixed seed, each right before a file is opened for writing, replaced or deleted, or
before a program is started.
"""

import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fast_rust import files
from fast_rust.commands import update
from fast_rust.drift import fix
from fast_rust.main import application
from fast_rust.update import apply as applying
from fast_rust.update import journal
from support.files import edit, read_tree
from support.forks import run_here
from support.git import git
from updates.bench import CHANGED, Bench, conflict
from updates.disks import SmallDisk

POINTS = 20
COMMAND = "fast-rust"


@dataclass
class Watch:
    """Kills its process before the n-th event, or prints the number of events; events before it is on do not count."""

    point: int
    is_on: bool
    count: int = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        mode = arguments[2] if event == "open" else None
        writes = isinstance(mode, int) and mode & (os.O_WRONLY | os.O_RDWR)
        if self.is_on and (writes or event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "subprocess.Popen"}):
            self.count += 1
            if self.count == self.point:
                os.kill(os.getpid(), signal.SIGKILL)

    def from_here(self, function: Callable[..., object]) -> Callable[..., object]:
        """Turn the watch on when a function is called."""

        def called(*arguments: object, **named: object) -> object:
            self.is_on = True
            return function(*arguments, **named)

        return called

    def run(self) -> object:
        """Run the command in this process, which is a copy that no other code uses."""
        for module, name in ((update, "apply"), (fix, "fix")):
            setattr(module, name, self.from_here(getattr(module, name)))
        sys.addaudithook(self)
        try:
            return application()
        finally:
            print(f"events: {self.count}", file=sys.stderr)


@dataclass(frozen=True)
class Run:
    """A command that may be killed while it runs."""

    command: tuple[str, ...]
    crate: Path

    def killed(self, point: int, part: str) -> bool:
        """Run the command up to a point; return whether it reached the point."""
        done = run_here(Watch(point, part == "whole").run, [COMMAND, *self.command, str(self.crate)])
        return done.returncode == -signal.SIGKILL

    def events(self, part: str) -> int:
        """Return the number of points; the command runs to its end."""
        done = run_here(Watch(0, part == "whole").run, [COMMAND, *self.command, str(self.crate)])
        found = re.search(r"events: (\d+)", done.stderr)
        assert found, done.stderr
        return int(found[1])


@pytest.fixture
def conflicting(bench: Bench) -> Bench:
    """A crate with a next release that changes, adds and deletes files, and has a conflict."""
    bench.edit(f"template/{CHANGED}", "30s", "60s")
    bench.edit("template/justfile", "# Format the code.", "# Format all code.")
    (bench.template / "template" / ".github" / "new.yml").write_text("# New.\n", encoding="utf-8")
    (bench.template / "template" / ".github" / "renovate.json").unlink()
    bench.edit("ownership.yml", "  - .github/renovate.json\n", "")
    conflict(bench)
    bench.publish()
    return bench


@pytest.mark.parametrize("part", ["whole", "writing"])
def test_a_killed_update_is_complete_or_not_begun_or_can_be_aborted(
    conflicting: Bench, tmp_path: Path, part: str
) -> None:
    crate = conflicting.crate
    before = read_tree(crate)
    # The rendering for the cache is made only once, and must not be among the points.
    assert conflicting.update("--dry-run").exit_code == 0
    finished = Run(("update",), Path(shutil.copytree(crate, tmp_path / "finished" / crate.name)))
    events = finished.events(part)
    after = read_tree(finished.crate)
    assert after != before
    points = sorted(random.Random(f"update {part}").sample(range(1, events + 1), min(POINTS // 2, events)))
    met = set()
    for point in points:
        assert Run(("update",), crate).killed(point, part), f"{point} of {events}"
        state = (read_tree(crate), conflicting.status())
        met.add("before" if state[0] == before else "after" if state[0] == after else "between")
        if state != (before, ""):
            done = conflicting.update("--abort")
            assert done.exit_code == 0, f"at {point} of {events}: {done.output}"
            assert (read_tree(crate), conflicting.status()) == (before, ""), f"at {point} of {events}"
    assert met >= ({"before"} if part == "whole" else {"before", "between"})


def test_a_killed_abort_can_be_repeated(conflicting: Bench) -> None:
    crate = conflicting.crate
    before = read_tree(crate)
    assert conflicting.update().exit_code == 1
    aborted = Run(("update", "--abort"), crate)
    for point in random.Random("abort").sample(range(5, 30), 6):
        if not aborted.killed(point, "whole"):
            assert (read_tree(crate), conflicting.status()) == (before, "")
            assert conflicting.update().exit_code == 1
    state = (read_tree(crate), conflicting.status())
    assert state == (before, "") or conflicting.update("--abort").exit_code == 0
    assert (read_tree(crate), conflicting.status()) == (before, "")


def test_a_killed_fix_leaves_each_file_unchanged_or_restored_and_can_be_repeated(bench: Bench) -> None:
    crate = bench.crate
    after = read_tree(crate)
    for path in ("justfile", "rust-toolchain.toml", ".github/workflows/perf.yml"):
        (crate / path).write_bytes(after[path] + b"x")
    (crate / ".github" / "renovate.json").unlink()
    edit(crate / "Cargo.toml", 'todo = "warn"', 'todo = "allow"')
    bench.publish()
    before = read_tree(crate)
    finished = Run(("drift", "--fix"), Path(shutil.copytree(crate, crate.parent / "finished")))
    events = finished.events("writing")
    assert read_tree(finished.crate) == after
    for point in sorted(random.Random("fix").sample(range(1, events + 1), min(POINTS, events))):
        git(crate, "reset", "--quiet", "--hard")
        git(crate, "clean", "--quiet", "--force")
        assert Run(("drift", "--fix"), crate).killed(point, "writing")
        found = read_tree(crate)
        assert all(found.get(path) in {before.get(path), after.get(path)} for path in before.keys() | after.keys())
        assert Run(("drift", "--fix", "--force"), crate).events("writing")
        assert read_tree(crate) == after, f"at {point} of {events}"


# --- Write errors ---


@pytest.mark.parametrize("nth", range(1, 6))
def test_an_update_that_cannot_write_a_file_restores_all_files(
    conflicting: Bench, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    before, calls = read_tree(conflicting.crate), iter(range(1, 100))

    def fail_once(file: Path, content: bytes, *, is_executable: bool | None = None) -> None:
        if next(calls) == nth:
            raise OSError(28, "No space left on device", str(file))
        files.replace_file(file, content, is_executable=is_executable)

    for module in (applying, journal):
        monkeypatch.setattr(module, "replace_file", fail_once)
    done = conflicting.update()
    assert done.exit_code == 2
    assert re.search("error: No space left on device: .*; the crate is unchanged\n", done.stderr)
    assert (read_tree(conflicting.crate), conflicting.status()) == (before, "")


@pytest.mark.parametrize("command", [("update",), ("drift", "--fix")], ids=lambda command: command[0])
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_full_or_read_only_disk_is_reported_and_loses_no_data(
    conflicting: Bench, disk: SmallDisk, command: tuple[str, ...], fault: str
) -> None:
    crate = Path(shutil.copytree(conflicting.crate, disk.folder / conflicting.crate.name))
    if command[0] == "drift":
        (crate / ".github" / "workflows" / "perf.yml").unlink()
        git(crate, "commit", "--quiet", "--all", "--message", "Drift")
    program = "from fast_rust.main import application; application()"
    disk.refuses([sys.executable, "-c", program, *command, str(crate)], crate, fault)
