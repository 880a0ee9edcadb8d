"""Compares the program of the sample with its peers, and writes docs/compare.md: `make compare`.

Every contestant aggregates the same file; its answers are compared with those of our program before its time counts.
"""

import argparse
import os
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median

from workbench import SCRATCH, Usage, make_crate, measure, table, write_page

FILES = Path(__file__).with_suffix("")
PLACE = SCRATCH / "compare"
# Instructions are counted on this number of rows and on twice as many; the difference is the cost of the rows.
COUNTED_ROWS = 20_000

AWK = r"""
{ value = $2 + 0
  if (!count[$1]++) least[$1] = most[$1] = value
  if (value < least[$1]) least[$1] = value
  if (value > most[$1]) most[$1] = value
  sum[$1] += value }
END { for (key in count) {
    mean = sum[key] / count[key]
    printf "%s,%d,%.1f,%.6f,%.1f\n", key, count[key], least[key], mean, most[key] } }
"""

Answers = dict[str, tuple[int, Decimal, Decimal, Decimal]]
Command = Callable[[Path, int], Sequence[str | Path]]


class WrongAnswerError(Exception):
    """A contestant found a result that differs from our program's."""


@dataclass(frozen=True)
class Contestant:
    """A program that aggregates a file."""

    name: str
    command: Command
    threads: tuple[int, ...] = (1,)
    rounds: int = 99
    """Maximum number of rounds; slow contestants run in few."""
    counts_lines: bool = False
    """Whether it prints only the number of lines."""


@dataclass(frozen=True)
class Run:
    """A contestant with a number of threads, and the usage of each of its runs."""

    contestant: Contestant
    threads: int
    usages: list[Usage] = field(default_factory=list)

    def cpu(self) -> float:
        """CPU seconds of all threads."""
        return median([usage.cpu for usage in self.usages])

    def wall(self) -> float:
        """Wall-clock seconds."""
        return median([usage.wall for usage in self.usages])

    def memory(self) -> float:
        """Maximum resident memory in bytes."""
        return median([usage.memory for usage in self.usages])


# --- Set-up ---


def say(text: str) -> None:
    """Print progress to standard error; standard output stays clean."""
    print(text, file=sys.stderr, flush=True)


def build(crate: Path) -> Path:
    """Build a crate in its release profile, and return a copy of its program."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", PLACE / "target"))
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=crate, env=environment, check=True)
    program = PLACE / f"{crate.name}-program"
    shutil.copy2(target / "release" / crate.name, program)
    return program


def build_ours(*, keyed: bool) -> Path:
    """Make and build a program of the template; if `keyed`, with the keyed hasher for untrusted data."""
    crate = make_crate(PLACE, "totals-keyed" if keyed else "totals", kind="cli")
    if keyed:
        main = crate / "src" / "main.rs"
        text = main.read_text(encoding="utf-8")
        trusted, keyed_hasher = "Aggregator::with_hasher(limits, TrustedKeys)", "Aggregator::new(limits)"
        if text.count(trusted) != 1:
            raise SystemExit(f"src/main.rs no longer has {trusted} once; adapt measure/compare.py.")
        main.write_text(text.replace(trusted, keyed_hasher), encoding="utf-8")
    return build(crate)


def build_ladder() -> Path:
    """Build the generator and the steps outside the checkout, so that no lockfile is left in the checkout."""
    crate = PLACE / "ladder"
    shutil.copytree(FILES, crate, dirs_exist_ok=True)
    return build(crate)


def install_peers() -> Path | None:
    """Return a Python with the peers from PyPI installed, or None if they cannot be installed."""
    requirements = FILES / "requirements.txt"
    folder = PLACE / "peers"
    installed = folder / "installed.txt"
    python = folder / "bin" / "python"
    wanted = requirements.read_text(encoding="utf-8")
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
            requirements,
        ]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run(pip, check=True)
        except subprocess.CalledProcessError as error:
            say(f"LEFT OUT: DuckDB and Polars, since they cannot be installed from PyPI ({error}).")
            return None
        installed.write_text(wanted, encoding="utf-8")
    return python


def make_input(ladder: Path, rows: int) -> Path:
    """Return an input file with this number of rows; it is made once, and always has the same rows."""
    path = PLACE / f"{rows}-rows.txt"
    if not path.exists():
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            subprocess.run([ladder, "generate", str(rows)], stdout=file, check=True)
        part.rename(path)
    return path


# --- Contestants ---


def our_program(name: str, program: Path) -> Contestant:
    """A program that the template makes."""
    return Contestant(
        name, lambda path, threads: [program, "--format", "csv", "--threads", str(threads), path], threads=(1, 2)
    )


def step(name: str, ladder: Path, argument: str) -> Contestant:
    """Return a step of the ladder as a contestant."""
    return Contestant(name, lambda path, _: [ladder, argument, path], counts_lines=argument == "floor")


def steps(ladder: Path) -> list[Contestant]:
    """Return the steps from the obvious first version up to the sample, which is `ours` and not one of them."""
    return [
        step("idiomatic Rust", ladder, "idiomatic"),
        step("one buffer for all lines", ladder, "line-buffer"),
        step("bytes and fixed point", ladder, "fixed-point"),
        step("a hash for trusted keys", ladder, "trusted-hash"),
        step("blocks instead of lines", ladder, "blocks"),
        step("memchr", ladder, "memchr"),
    ]


def peers(python: Path | None) -> list[Contestant]:
    """Return the other programs that aggregate such a file: those on this machine, and those from PyPI."""
    script = FILES / "peers.py"
    found = [
        Contestant("Python's csv", lambda path, _: [sys.executable, script, "python", path, "1"], rounds=1),
    ]
    if shutil.which("mawk"):
        found.insert(0, Contestant("mawk", lambda path, _: ["mawk", "-F;", AWK, path], rounds=2))
    else:
        say("LEFT OUT: mawk, since it is not on this machine (Debian: apt-get install mawk).")
    if python:
        both = (1, 2)
        found += [
            Contestant("DuckDB", lambda path, threads: [python, script, "duckdb", path, str(threads)], both),
            Contestant(
                "Polars, streaming", lambda path, threads: polars(python, "polars-streaming", path, threads), both
            ),
            Contestant(
                "Polars, in memory", lambda path, threads: polars(python, "polars-in-memory", path, threads), both
            ),
        ]
    return found


def polars(python: Path, engine: str, path: Path, threads: int) -> list[str | Path]:
    """Return the environment for Polars, which reads its number of threads from there only."""
    return ["env", f"POLARS_MAX_THREADS={threads}", python, FILES / "peers.py", engine, path, str(threads)]


# --- Answers ---


def answers(output: bytes) -> Answers:
    """Read lines `key,count,min,mean,max`, with or without a header."""
    rows = [line.rsplit(",", 4) for line in output.decode().splitlines()]
    return {
        key: (int(count), Decimal(least), Decimal(mean), Decimal(most))
        for key, count, least, mean, most in rows
        if count != "count"
    }


def check(name: str, expected: Answers, found: Answers) -> None:
    """Check the answers of a contestant; means may differ by the rounding of the fourth digit.

    Raises WrongAnswerError, which names the key.
    """
    for key in sorted(expected.keys() | found.keys()):
        ours, theirs = expected.get(key), found.get(key)
        if ours is None or theirs is None:
            raise WrongAnswerError(f"{name} and our program disagree on whether there is a key {key!r}.")
        count, least, mean, most = theirs
        if (count, least, most) != (ours[0], ours[1], ours[3]) or abs(mean - ours[2]) > Decimal("0.0001"):
            raise WrongAnswerError(f"{name} says {theirs} for the key {key!r}, our program {ours}.")


# --- Measuring ---


def take_turns(contestants: Sequence[Contestant], path: Path, rows: int, rounds: int) -> list[Run]:
    """Run all contestants in turn, several times; the others must give the same answers as the first, which is ours."""
    runs = [Run(contestant, threads) for contestant in contestants for threads in contestant.threads]
    expected: Answers = {}
    for number in range(rounds):
        for run in runs:
            contestant = run.contestant
            if number >= contestant.rounds:
                continue
            usage = measure(contestant.command(path, run.threads))
            say(f"round {number + 1}: {contestant.name}, {run.threads} threads: {usage.cpu:.2f} s")
            if contestant.counts_lines:
                if int(usage.output) != rows:
                    raise WrongAnswerError(f"{contestant.name} says {usage.output!r}, there are {rows} lines.")
            else:
                found = answers(usage.output)
                expected = expected or found
                check(contestant.name, expected, found)
            run.usages.append(usage)
    return runs


def instructions_a_row(contestant: Contestant, small: Path, large: Path) -> str:
    """Return the instructions for one row, without the start and the end of the program."""
    if not shutil.which("valgrind"):
        return "not counted"
    counted = [instructions(contestant.command(path, 1)) for path in (small, large)]
    return f"{(counted[1] - counted[0]) / COUNTED_ROWS:.0f}"


def instructions(command: Sequence[str | Path]) -> int:
    """Return how many instructions a command executes, counted by callgrind."""
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command]
    done = subprocess.run(callgrind, check=True, capture_output=True, text=True)
    [collected] = [line for line in done.stderr.splitlines() if "Collected" in line]
    return int(collected.rpartition(":")[2])


# --- The page ---


def comparison(runs: Sequence[Run], threads: int, starts: Mapping[str, float]) -> str:
    """Return the table of all contestants with this number of threads; the first is ours."""
    shown = [run for run in runs if run.threads == threads]
    ours = shown[0].cpu()
    heads = ["", "CPU, s", "to ours", "wall, s", "peak memory, MiB", "start, CPU s"]
    lines = [
        [
            run.contestant.name,
            f"{run.cpu():.2f}",
            f"{run.cpu() / ours:.1f}",
            f"{run.wall():.2f}",
            f"{run.memory() / 2**20:.1f}",
            f"{starts[run.contestant.name]:.2f}",
        ]
        for run in shown
    ]
    return table(heads, lines)


def ladder_table(runs: Sequence[Run], counted: Mapping[str, str]) -> str:
    """Return the table of the steps in their order, each compared with the step before."""
    lines = []
    before = runs[0].cpu()
    for run in runs:
        name, cpu = run.contestant.name, run.cpu()
        lines.append([name, f"{cpu:.2f}", f"{before / cpu:.2f}", f"{runs[0].cpu() / cpu:.1f}", counted[name]])
        before = cpu
    return table(["step", "CPU, s", "to the step before", "to the first", "instructions per line"], lines)


def scaling(one: Run, two: Run) -> str:
    """Return a sentence on the gain from a second thread."""
    return (
        f"From one thread to two, our program takes {two.wall() / one.wall():.2f} of the wall time and "
        f"{two.cpu() / one.cpu():.2f} of the CPU time: {one.wall() / two.wall():.2f} times as fast."
    )


def best_peer(runs: Sequence[Run], threads: int, others: set[str]) -> str:
    """Return a sentence that compares the fastest peer with our program."""
    ours, *rest = [run for run in runs if run.threads == threads]
    rivals = [run for run in rest if run.contestant.name in others]
    if not rivals:
        return "No other tool was measured."
    best = min(rivals, key=Run.cpu)
    return (
        f"The other tool with the lowest CPU time is {best.contestant.name}: {best.cpu() / ours.cpu():.1f} times ours, "
        f"with {best.memory() / ours.memory():.1f} times our memory."
    )


def write(results: Mapping[str, str]) -> None:
    """Fill in the page's text."""
    text = string.Template((FILES / "page.md").read_text(encoding="utf-8"))
    write_page("compare.md", "compare", text.substitute(results))


@dataclass(frozen=True)
class Field:
    """All contestants."""

    ladder: Path
    """The program that makes the input and runs the steps."""
    ours: Sequence[Contestant]
    """Our program first, then its variants."""
    rivals: Sequence[Contestant]


def set_up() -> Field:
    """Build and install all contestants that are available."""
    PLACE.mkdir(parents=True, exist_ok=True)
    ours = our_program("our program", build_ours(keyed=False))
    keyed = our_program("our program, keyed hasher", build_ours(keyed=True))
    return Field(build_ladder(), [ours, keyed], peers(install_peers()))


def compare(entered: Field, rows: int, rounds: int) -> None:
    """Measure all contestants on one file, and write the page."""
    path, one_row, small, large = (
        make_input(entered.ladder, count) for count in (rows, 1, COUNTED_ROWS, 2 * COUNTED_ROWS)
    )
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"The machine is busy (load {load:.1f}): wall times and the gain of a second thread will say little.")
    climb = steps(entered.ladder)
    idiomatic, *_ = climb
    ours, *variants = entered.ours
    floor = step("counting lines (memchr)", entered.ladder, "floor")
    everyone = [ours, *variants, *climb, *entered.rivals, floor]
    starts = {one.name: median([measure(one.command(one_row, 1)).cpu for _ in range(3)]) for one in everyone}
    runs = take_turns(everyone, path, rows, rounds)
    of = {(run.contestant.name, run.threads): run for run in runs}
    names = {rival.name for rival in entered.rivals}
    on_the_ladder_only = {one.name for one in climb if one is not idiomatic}
    shown = [run for run in runs if run.contestant.name not in on_the_ladder_only]
    counted = {one.name: instructions_a_row(one, small, large) for one in [*climb, ours]}
    write(
        {
            "rows": f"{rows:,}",
            "bytes": f"{path.stat().st_size / 1e6:,.0f}",
            "rounds": str(rounds),
            "load": f"{load:.1f} on {os.cpu_count()} cores",
            "one": comparison(shown, 1, starts),
            "two": comparison(shown, 2, starts),
            "best_one": best_peer(shown, 1, names),
            "best_two": best_peer(shown, 2, names),
            "scaling": scaling(of[ours.name, 1], of[ours.name, 2]),
            "ladder": ladder_table([of[one.name, 1] for one in [*climb, ours]], counted),
            "versions": versions(),
        }
    )


def versions() -> str:
    """Return the names and versions of the peers."""
    lines = (FILES / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.replace("==", " ") for line in lines if not line.startswith(("#", "polars-runtime"))]
    return ", ".join([f"python {sys.version.split()[0]}", *pinned])


def main() -> None:
    """Read the command line and run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=50_000_000, help="lines of the file (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant (%(default)s)")
    parser.add_argument("--set-up-only", action="store_true", help="build, install and write the file, but run nothing")
    options = parser.parse_args()
    entered = set_up()
    if options.set_up_only:
        make_input(entered.ladder, options.rows)
        return
    try:
        compare(entered, options.rows, options.rounds)
    except WrongAnswerError as error:
        raise SystemExit(f"Nothing is written: {error}") from error


if __name__ == "__main__":
    main()
