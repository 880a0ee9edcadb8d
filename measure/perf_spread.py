"""Measures the spread of the figures of `just perf` without a change: one commit is measured again and again."""

import argparse
import json
import shutil
import subprocess
from collections import defaultdict

from workbench import SCRATCH, machine, make_crate, table

FIGURES = ("instructions", "cycles", "misses", "blocks", "peak", "median", "p95")


def main() -> None:
    """Print the spread of each figure: the difference of maximum and minimum, in percent of the minimum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--no-times", action="store_true", help="count only, which needs no quiet machine")
    arguments = parser.parse_args()
    runs, options = arguments.runs, ["--no-times"] if arguments.no_times else []
    crate = make_crate(SCRATCH, "totals-measured", kind="lib")
    for command in (["cargo", "generate-lockfile"], ["git", "init", "-qb", "main"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=crate, check=True)
    identity = ["-c", "user.name=measure", "-c", "user.email=measure@example.org"]
    subprocess.run(["git", *identity, "commit", "-qm", "Start"], cwd=crate, check=True)
    # Without a change there would be nothing to compare; this change leaves the programs unchanged.
    with (crate / "src" / "lib.rs").open("a", encoding="utf-8") as file:
        file.write("// Measured again.\n")
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in range(1, runs + 1):
        # Otherwise the base would be counted only once.
        shutil.rmtree(crate / "target" / "perf" / "bases", ignore_errors=True)
        subprocess.run(["just", "perf", "HEAD", *options], cwd=crate, check=True, stdout=subprocess.DEVNULL)
        for row in json.loads((crate / "target" / "perf.json").read_text(encoding="utf-8"))["rows"]:
            for figure in FIGURES:
                seen[row["name"], figure] += [row[side][figure] for side in ("base", "head") if figure in row[side]]
        print(f"run {run} of {runs}", flush=True)
    benches = dict.fromkeys(name for name, _ in seen)
    rows = [[name, *(spread(seen[name, figure]) for figure in FIGURES)] for name in benches]
    print(f"\n{machine()}; {2 * runs} measurements of each figure, of a base and a head that are the same\n")
    print(table(["bench", *FIGURES], rows))


def spread(values: list[float]) -> str:
    """Return the difference of maximum and minimum, in percent of the minimum."""
    if not values:
        return ""
    least, most = min(values), max(values)
    return "0" if most == least else f"{(most - least) / least:.2%}" if least else f"0 to {most:g}"


if __name__ == "__main__":
    main()
