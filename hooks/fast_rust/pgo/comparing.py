"""Compares a program that was built with a profile with the one that ships."""

import re
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

from fast_rust.pgo.programs import PgoError, output
from fast_rust.pgo.workspace import Workspace

# Rounds of the load, to count under valgrind, and to time, where a run has to outlast its own start.
COUNTED_ROUNDS, TIMED_ROUNDS = 1, 20
PAIRS = 7
# Less is noise: a program that does the same work may be laid out in another way.
NOTICEABLE = 0.01


@dataclass(frozen=True)
class Comparison:
    """What the plain build and the optimised one took, in this order."""

    instructions: tuple[int, int] | None
    seconds: tuple[list[float], list[float]]


def compare(workspace: Workspace, load: Path, plain: Path, optimised: Path) -> Comparison:
    """Run both on the same load, and require the same answer.

    The time is taken in pairs, so that a machine that slows down does so for both. Raises PgoError where the answers
    differ.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(PAIRS):
        answers = []
        for program, times in zip((plain, optimised), seconds, strict=True):
            took, answer = run_load(load, TIMED_ROUNDS, program)
            times.append(took)
            answers.append(answer)
        if answers[0] != answers[1]:
            message = (
                f"the output of the optimised program {optimised} differs from that"
                f" of {plain} for the same input; do not ship it"
            )
            raise PgoError(message)
    if not shutil.which("valgrind"):
        return Comparison(None, seconds)
    counts = [count(workspace.folder, load, program) for program in (plain, optimised)]
    return Comparison((counts[0], counts[1]), seconds)


def run_load(load: Path, rounds: int, *command: str | Path) -> tuple[float, str]:
    """Put a program under load; return the seconds of the work, and its answers."""
    seconds, _, answer = output(load, str(rounds), *command).partition("\n")
    return float(seconds), answer


def count(folder: Path, load: Path, program: Path) -> int:
    """Return the instructions of a run from start to end, by callgrind, whose file is left in the folder."""
    counted = folder / "callgrind.out"
    run_load(
        load, COUNTED_ROUNDS, "valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={counted}", program
    )
    [total] = re.findall(r"(?m)^(?:summary|totals): (\d+)", counted.read_text("utf-8"))[-1:]
    return int(total)


def _percent(ratio: float) -> str:
    """Return how much more or less a ratio is than one."""
    return f"{(ratio - 1) * 100:+.1f} %"


def report(comparison: Comparison) -> list[str]:
    """Return the figures, and whether PGO is worth its while."""
    ratios = sorted(after / before for before, after in zip(*comparison.seconds, strict=True))
    time = statistics.median(ratios)
    plain, optimised = map(statistics.median, comparison.seconds)
    lines = ["both builds print the same output"]
    if comparison.instructions:
        before, after = comparison.instructions
        lines.append(f"instructions {before:,} -> {after:,} ({_percent(after / before)})")
    else:
        lines.append("instructions not counted: valgrind is not installed")
    spread = f"{PAIRS} pairs from {_percent(ratios[0])} to {_percent(ratios[-1])}"
    lines.append(f"time {plain:.3f} s -> {optimised:.3f} s ({_percent(time)}; {spread})")
    if time > 1 - NOTICEABLE or ratios[-1] > 1:
        lines.append("the gain is NOT certain: ship the optimised program only if it is faster on your machines")
    return lines
