"""Measures the figures of the guide by pairs of functions, and writes docs/evidence.md: `make evidence`.

The claims are in evidence/claims.toml, and the functions in the crate around it. This script computes from both whether
a claim is confirmed.
"""

import argparse
import os
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median

from workbench import SCRATCH, table, write_page

CRATE = Path(__file__).with_suffix("")
# Memory and code are at random addresses in each process, and more rounds within one process do not average that out.
PROCESSES = 5


class Figure(StrEnum):
    """The figure of a pair that a claim is about."""

    RATIO = "ratio"
    SLOW = "slow"
    FAST = "fast"
    DIFFERENCE = "difference"
    COUNT = "count"
    PROPORTION = "proportion"
    SLOW_BLOCKS = "slow blocks"
    FAST_BLOCKS = "fast blocks"

    @property
    def tolerance(self) -> float:
        """Factor by which a measured figure may miss the claimed one on another machine."""
        match self:
            case Figure.SLOW | Figure.FAST | Figure.DIFFERENCE:
                return 2
            case Figure.RATIO:
                return 1.25
            case _:
                return 1.1

    def text(self, value: float) -> str:
        """Return a value for readers, with at most three digits if it was timed."""
        match self:
            case Figure.SLOW | Figure.FAST | Figure.DIFFERENCE if value >= 1000:
                return f"{_digits(value / 1000)} µs"
            case Figure.SLOW | Figure.FAST | Figure.DIFFERENCE:
                return f"{_digits(value)} ns"
            case Figure.RATIO | Figure.PROPORTION:
                return f"{_digits(value)}x"
            case _:
                return _digits(value)


@dataclass(frozen=True)
class Case:
    """The crate's measurements of one pair, with one input."""

    bench: str
    name: str
    slow: float
    fast: float
    ratio: float
    slow_blocks: float
    fast_blocks: float

    def value(self, figure: Figure) -> float:
        """The value that a claim is about: nanoseconds, a factor, or a count."""
        match figure:
            case Figure.RATIO | Figure.PROPORTION:
                return self.ratio
            case Figure.SLOW | Figure.COUNT:
                return self.slow
            case Figure.FAST:
                return self.fast
            case Figure.DIFFERENCE:
                return self.slow - self.fast
            case Figure.SLOW_BLOCKS:
                return self.slow_blocks
            case Figure.FAST_BLOCKS:
                return self.fast_blocks


@dataclass(frozen=True)
class Claim:
    """A figure of the guide."""

    directive: str
    text: str
    bench: Sequence[str]
    figure: Figure
    lines: str = "ours"
    low: float | None = None
    high: float | None = None

    @property
    def claimed(self) -> str:
        """The claimed figure, as a range."""
        low, high = (None if end is None else self.figure.text(end) for end in (self.low, self.high))
        match low, high:
            case str(), None:
                return f"at least {low}"
            case None, str():
                return f"at most {high}"
            case _:
                return f"{low}" if low == high else f"{low} to {high}"

    def side(self, value: float) -> int:
        """Whether a measured value is below the claim (-1), within (0) or above (1), with the tolerance."""
        if self.low is not None and value < self.low / self.figure.tolerance:
            return -1
        return int(self.high is not None and value > self.high * self.figure.tolerance)


@dataclass(frozen=True)
class Unmeasured:
    """A claim that no pair can show, and the reason."""

    directive: str
    lines: str
    text: str
    reason: str


def verdict(claim: Claim, values: Mapping[str, float]) -> str:
    """Return the verdict on a claim, from the measured values by the names of their cases."""
    sides = {name: claim.side(value) for name, value in values.items()}
    holding = [name for name, side in sides.items() if side == 0]
    match set(sides.values()):
        case found if found == {0}:
            return "holds"
        case found if 0 in found:
            return f"holds for {'; '.join(holding)}"
        case found if found == {-1}:
            return "false: less"
        case found if found == {1}:
            return "false: more"
        case _:
            return "depends"


def read_claims() -> tuple[list[Claim], list[Unmeasured]]:
    """Read the claims from claims.toml."""
    document = tomllib.loads((CRATE / "claims.toml").read_text(encoding="utf-8"))
    claims = [Claim(**{**entry, "figure": Figure(entry["figure"])}) for entry in document["claim"]]
    return claims, [Unmeasured(**entry) for entry in document["unmeasured"]]


def measure_pairs(target: Path, *options: str, processes: int = PROCESSES) -> list[Sequence[Case]]:
    """Build the crate into a target folder, and run it; return each case as measured by every process."""
    manifest = str(CRATE / "Cargo.toml")
    command = ["cargo", "run", "--release", "--quiet", "--manifest-path", manifest, "--target-dir", str(target)]
    runs = []
    for _ in range(processes):
        output = subprocess.run([*command, "--", *options], check=True, stdout=subprocess.PIPE, text=True).stdout
        runs.append([_case(line) for line in output.splitlines()])
    return list(zip(*runs, strict=True))


def _case(line: str) -> Case:
    bench, name, *figures = line.split("\t")
    return Case(bench, name, *map(float, figures))


def middle(found: Sequence[Case]) -> Case:
    """Return one case with the median over all processes for each figure."""
    figures = zip(*(astuple(case)[2:] for case in found), strict=True)
    return Case(found[0].bench, found[0].name, *map(median, figures))


def rows(claims: Sequence[Claim], cases: Sequence[Case]) -> list[list[str]]:
    """Return the lines of the table, one for each claim.

    Raises ValueError if a claim has no measurement.
    """
    lines = []
    for claim in claims:
        values = {case.name: case.value(claim.figure) for case in cases if case.bench in claim.bench}
        if not values:
            raise ValueError(f"nothing measures {', '.join(claim.bench)}, of which evidence/claims.toml speaks")
        measured = "; ".join(f"{name}: {claim.figure.text(value)}" for name, value in values.items())
        source = "ours" if claim.lines == "ours" else "guide"
        lines.append([claim.directive, source, claim.text, claim.claimed, measured, verdict(claim, values)])
    return lines


PAGE = """\
# Do the guide's figures hold?

The guide that the [standards](standards.md) come from gives figures. This table compares each, and some that
the standards add, with a measurement of two functions in [measure/evidence](../measure/evidence/): the way to avoid,
and the way to prefer. A factor (such as 2x) says how many times as long the way to avoid takes.

{table}

Of {count} claims, {holds} hold in all cases measured, {partly} in some, and {fails} in none.

## What the verdict means

It is computed from the claimed range and the measured figures. A case agrees with the claim if its figure is in the
claimed range, or misses it by at most a factor of {times:g} for a time, which differs most between machines,
{ratio:g} for a ratio of times, and {counts:g} for a count.

- **holds**: all cases agree.
- **holds for** some cases: these agree, the others do not.
- **false**: no case agrees, and all figures are less than claimed, or all are more.
- **depends**: no case agrees, some figures are less and some are more.

## How it is measured

- Both functions of a pair run in turns in one process; [bench.rs](../measure/evidence/src/bench.rs) defines the
  number of rounds, and their time. A time is the median of its rounds, and a ratio is the median of the ratios of the
  rounds. The table has the medians of {processes} processes. For half of the {timed} timed pairs, no process deviates
  more than {usual:.0%} from the median; for nine in ten, no more than {most:.0%}.
- The input and the result of a function pass through `black_box`; there is no `black_box` inside a function.
- The build is that of a program of this template: fat link-time optimisation, one codegen unit.
- The allocator counts allocations; growing a block counts as one. A reader and a writer that replace a file count
  reads and writes.

## Traps

- `black_box` inside the loop hides the difference: the gain of collecting {trap} falls from {right:.1f}x to
  {wrong:.1f}x.
- Measuring only one size proves little: most factors here shrink as the input grows, because the cost of growing a
  collection, or of a call, becomes small compared with the work that both functions do.
- A ratio to almost nothing is meaningless. The "gain" of a borrow over a clone is the work of the clone, which grows
  with the elements. Compared with the work of the caller, the gain is that of the *summed* cases.
- The branch predictor learns repeated input. The hand-written loop of ITER-2, with a branch that depends on the data,
  takes {learnt:.1f} ns per element for a thousand elements that are used repeatedly, and {new:.1f} ns for a million.

## Claims that this page does not measure

{unmeasured}
"""
TRAP = "1,000 `u64`"


def page(claims: Sequence[Claim], unmeasured: Sequence[Unmeasured], found: Sequence[Sequence[Case]]) -> str:
    """Return the whole page, from each case as measured by every process."""
    cases = [middle(same) for same in found]
    lines = rows(claims, cases)
    verdicts = [line[-1] for line in lines]
    holds, partly = verdicts.count("holds"), sum(verdict.startswith("holds for") for verdict in verdicts)
    # Counts are the same in each process.
    spreads = sorted(filter(None, map(_spread, found)))
    ratios = {case.bench: case.ratio for case in cases if case.name == TRAP}
    loops = {case.name: case.slow for case in cases if case.bench == "loop"}
    return PAGE.format(
        table=table(("directive", "source", "what", "claimed", "measured", "verdict"), lines, texts=6),
        count=len(lines),
        holds=holds,
        partly=partly,
        fails=len(lines) - holds - partly,
        times=Figure.SLOW.tolerance,
        ratio=Figure.RATIO.tolerance,
        counts=Figure.COUNT.tolerance,
        processes=len(found[0]),
        timed=len(spreads),
        usual=median(spreads),
        most=spreads[len(spreads) * 9 // 10],
        trap=TRAP,
        right=ratios["collect"],
        wrong=ratios["black-box-within"],
        learnt=loops["1,000"],
        new=loops["1,000,000"],
        unmeasured="\n".join(f"- {one.directive}: {one.text}. Reason: {one.reason}." for one in unmeasured),
    )


def _spread(found: Sequence[Case]) -> float:
    """Return how far the ratio of one process is from the median of all, as a fraction of the median."""
    ratios = [case.ratio for case in found]
    return max(abs(ratio / median(ratios) - 1) for ratio in ratios) if any(ratios) else 0


def _digits(value: float) -> str:
    """Format a number: two or three digits below a thousand, and groups of three digits above."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    if value >= 2:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def main() -> None:
    """Measure all pairs and write the page; with --quick, print rough figures only."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="measure so briefly that times mean nothing, and only print"
    )
    quick = parser.parse_args().quick
    target = Path(os.environ.get("CARGO_TARGET_DIR", SCRATCH / "target"))
    if quick:
        print(page(*read_claims(), measure_pairs(target, "--quick", processes=2)))
    else:
        write_page("evidence.md", "evidence", page(*read_claims(), measure_pairs(target)))


if __name__ == "__main__":
    main()
