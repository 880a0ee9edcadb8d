"""Measures `fast-rust check` against ast-grep alone, and `just lint` against that of release 0.7.0.

`make measure-check` prints the medians. The commands run in turns, as whole processes, in services of the last commit
and of 0.7.0 that are built already. The tool is the version that the crate pins.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench import SCRATCH, crate_of

ROUNDS = 20
FOLDER = SCRATCH / "check"
CRATE, OLDER, RULES = FOLDER / "totals-service", FOLDER / "older" / "totals-service", FOLDER / "rules"
PROGRAMS = Path(sys.executable).parent
CONFIG = f"--config={RULES / 'sgconfig.yml'}"
# Each command is compared with the first of its group.
GROUPS: Sequence[Mapping[str, tuple[Path, Sequence[str]]]] = (
    {
        "ast-grep scan, with the same rules": (CRATE, ("ast-grep", "scan", CONFIG, "--min-severity=error")),
        "fast-rust check": (CRATE, ("fast-rust", "check")),
        "just fast-rust check": (CRATE, ("just", "fast-rust", "check")),
    },
    {
        "just lint, of 0.7.0": (OLDER, ("just", "lint")),
        "just lint": (CRATE, ("just", "lint")),
    },
)
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in {"FAST_RUST", "PYTHONDONTWRITEBYTECODE"}},
    "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
}


def run(folder: Path, *command: str | Path) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed in {folder}:\n{done.stdout}{done.stderr}")


def make_crates() -> None:
    """Make the crates, and build and install all that they need."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for crate, release in ((CRATE, "HEAD"), (OLDER, "0.7.0")):
        crate_of(release, crate, kind="service")
        run(crate, "just", "lint")
    run(CRATE, "fast-rust", "rules", "--export", RULES)


def seconds(folder: Path, command: Sequence[str]) -> float:
    """Run a command in a crate, and return its time in seconds."""
    begun = time.perf_counter()
    run(folder, *command)
    return time.perf_counter() - begun


def main() -> None:
    """Print the median of each command, and its extra time compared with the first of its group."""
    make_crates()
    for group in GROUPS:
        taken: dict[str, list[float]] = {name: [] for name in group}
        for _ in range(ROUNDS):
            for name, (folder, command) in group.items():
                taken[name].append(seconds(folder, command))
        medians = {name: statistics.median(times) for name, times in taken.items()}
        first = next(iter(medians.values()))
        for name, median in medians.items():
            print(f"{median * 1000:6.0f} ms, {(median - first) * 1000:+6.0f} ms, {median / first:5.2f}  {name}")


if __name__ == "__main__":
    main()
