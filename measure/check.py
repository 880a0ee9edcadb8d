"""What `fast-rust check` takes beside ast-grep alone, in turns: whole processes, as a person types them.

`make measure-check` prints it. The crate is a service, made from the last commit, and the tool is the one that it pins.
"""

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench import CHECKOUT, SCRATCH

ROUNDS = 20
CRATE = SCRATCH / "check" / "totals-service"
PROGRAMS = Path(sys.executable).parent
COMMANDS: Mapping[str, Sequence[str]] = {
    "ast-grep scan, with the crate's file of rules": ("ast-grep", "scan"),
    "just --list": ("just", "--list"),
    "fast-rust check": ("fast-rust", "check"),
    "just fast-rust check": ("just", "fast-rust", "check"),
}


def make_crate() -> None:
    """Make the crate, and let it install its tool."""
    shutil.rmtree(CRATE, ignore_errors=True)
    options = ["--quiet", "--defaults", "--vcs-ref=HEAD", "--data=crate_name=totals-service", "--data=kind=service"]
    subprocess.run([PROGRAMS / "copier", "copy", *options, CHECKOUT, CRATE], check=True)
    subprocess.run([PROGRAMS / "just", "fast-rust", "--version"], cwd=CRATE, check=True)


def seconds(command: Sequence[str]) -> float:
    """Run a command in the crate, and return how long it took."""
    begun = time.perf_counter()
    program = str(PROGRAMS / command[0])
    subprocess.run([program, *command[1:]], cwd=CRATE, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Print the median of each command, and what it takes beyond the first."""
    make_crate()
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{median * 1000:6.0f} ms, {(median - first) * 1000:+6.0f} ms  {name}")


if __name__ == "__main__":
    main()
