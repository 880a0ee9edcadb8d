"""Records the time of the tests: seconds and CPU seconds of each test and of each call of cargo.

`make test-times` loads this module as a plugin of pytest, runs all tests, and prints the tables.
"""

import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "build" / "test-times"
TESTS, CARGO = FOLDER / "tests.tsv", FOLDER / "cargo.tsv"
ROWS = 40

# This shim is before cargo on PATH. One write of less than a page is atomic, so processes need no lock.
SHIM = """#!{python} -IS
import os, subprocess, sys, time
begun = time.monotonic()
status = subprocess.call([{cargo!r}, *sys.argv[1:]])
used = os.times()
row = [time.monotonic() - begun, used.children_user + used.children_system]
current = os.environ.get("TEST_TIMES_CURRENT")  # Some tests clear the environment.
test = open(current).read() if current else "unknown"
words = [word for word in sys.argv[1:] if "/" not in word]
with open({log!r}, "a") as log:
    log.write("\\t".join([*(f"{{figure:.2f}}" for figure in row), test, " ".join(words)]) + "\\n")
sys.exit(status)
"""


def pytest_configure() -> None:
    """Put a shim before cargo on PATH that records the time of each call."""
    shim = FOLDER / "bin" / "cargo"
    # A process of pytest-xdist inherits the PATH of the first process, which has the shim.
    places = [place for place in os.environ["PATH"].split(os.pathsep) if place != str(shim.parent)]
    cargo = shutil.which("cargo", path=os.pathsep.join(places)) or "cargo"
    shim.parent.mkdir(parents=True, exist_ok=True)
    shim.write_text(SHIM.format(python=sys.executable, cargo=cargo, log=str(CARGO)), encoding="utf-8")
    shim.chmod(0o755)
    os.environ["PATH"] = os.pathsep.join([str(shim.parent), *places])
    # Tests inherit the environment of their session, in which pytest's own variable names another test.
    os.environ["TEST_TIMES_CURRENT"] = str(FOLDER / f"current-{os.getpid()}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Record the time of a test, with the fixtures that it is the first to request."""
    Path(os.environ["TEST_TIMES_CURRENT"]).write_text(item.nodeid, encoding="utf-8")
    begun, used = time.monotonic(), cpu_seconds()
    result = yield
    row = [f"{time.monotonic() - begun:.2f}", f"{cpu_seconds() - used:.2f}", item.nodeid, ""]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with TESTS.open("a", encoding="utf-8") as log:
        log.write("\t".join(row) + "\n")
    return result


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of all its children that have ended."""
    return sum(os.times()[:4])


@dataclass(frozen=True)
class Row:
    """One run of a test or of cargo."""

    seconds: float
    cpu: float
    test: str
    command: str


def read(path: Path) -> list[Row]:
    """Read a log; return an empty list if the log is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    cells = [line.split("\t") for line in lines]
    return [Row(float(seconds), float(cpu), test, command) for seconds, cpu, test, command in cells]


def report(title: str, pairs: Iterable[tuple[str, Row]]) -> None:
    """Print count, CPU seconds and seconds of each group, the most CPU first."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for name, row in pairs:
        groups[name].append(row)
    print(f"\n{title}\n   count      CPU  seconds")
    greatest = sorted(groups.items(), key=lambda group: -sum(row.cpu for row in group[1]))
    for name, rows in greatest[:ROWS]:
        cpu, seconds = sum(row.cpu for row in rows), sum(row.seconds for row in rows)
        print(f"{len(rows):8} {cpu:8.1f} {seconds:8.1f}  {name}")


def main() -> None:
    """Print the tables of the last run."""
    tests, cargo = read(TESTS), read(CARGO)
    print(f"{sum(row.cpu for row in tests):.0f} CPU seconds in {len(tests)} tests, of them")
    print(f"{sum(row.cpu for row in cargo):.0f} CPU seconds in {len(cargo)} calls of cargo")
    report("By folder", (("/".join(row.test.split("/")[:2]), row) for row in tests))
    report("By file", ((row.test.partition("::")[0], row) for row in tests))
    report("By function", ((row.test.partition("[")[0], row) for row in tests))
    report("By test", ((row.test, row) for row in tests))
    report("By subcommand of cargo", ((row.command.partition(" ")[0], row) for row in cargo))
    report("By call of cargo", ((f"{row.test.rpartition('::')[2]}: {row.command}", row) for row in cargo))


if __name__ == "__main__":
    main()
