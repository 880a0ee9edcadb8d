"""Measures times, by criterion."""

import json
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fast_rust.git import no_git_env
from fast_rust.perf.figures import Figures, Target
from fast_rust.perf.programs import end_of, run
from fast_rust.perf.workspace import Workspace

# Times are measured in pairs, so that a machine that slows down does so for both.
ROUNDS = 2
SHORT = ["--warm-up-time=0.2", "--measurement-time=0.5", "--sample-size=20", "--nresamples=2000"]


def time_pairs(
    workspace: Workspace, programs: Mapping[str, Mapping[Target, Path]], *, long: bool
) -> tuple[dict[str, dict[str, Figures]], list[str]]:
    """Run the benches of time, base and head by turns; return the figures of each side, and notes."""
    samples: dict[str, dict[str, list[Figures]]] = {side: {} for side in programs}
    notes: list[str] = []
    for turn in range(ROUNDS):
        for side, found in samples.items():
            for target, program in sorted(programs.get(side, {}).items()):
                home = workspace.folder / "criterion" / f"{side}-{turn}" / target.package / target.name
                shutil.rmtree(home, ignore_errors=True)
                own = {"CRITERION_HOME": str(home), "CARGO_MANIFEST_DIR": str(workspace.worktree / workspace.inside)}
                options = ["--bench", "--noplot", *([] if long else SHORT)]
                done = run([str(program), *options], workspace.worktree, {**no_git_env(), **own})
                if done.returncode:
                    notes.append(
                        f"the benchmark {target.name} failed on the {side}, so its times"
                        f" are missing: {end_of(done.stderr, 3)}"
                    )
                for name, figures in read_times(home, notes):
                    found.setdefault(target.named(name, many=workspace.many), []).append(figures)
    times = {side: {name: _merged(rounds) for name, rounds in found.items()} for side, found in samples.items()}
    return times, list(dict.fromkeys(notes))


def read_times(home: Path, notes: list[str]) -> Iterator[tuple[str, Figures]]:
    """Yield the times of each bench; criterion's files are private, so an unknown format is noted and skipped."""
    for path in sorted(home.rglob("new/benchmark.json")):
        if (read := _read_time(path, notes)) is not None:
            yield read


def _read_time(path: Path, notes: list[str]) -> tuple[str, Figures] | None:
    """Return the name and the times of a bench, in nanoseconds, by the files next to a `benchmark.json`."""
    try:
        name = str(json.loads(path.read_text("utf-8"))["full_id"])
        sample = json.loads(path.with_name("sample.json").read_text("utf-8"))
        interval = json.loads(path.with_name("estimates.json").read_text("utf-8"))["median"]["confidence_interval"]
        means = sorted(took / rounds for took, rounds in zip(sample["times"], sample["iters"], strict=True))
        figures = {"median": statistics.median(means), "p95": means[-(-95 * len(means) // 100) - 1]}
        bounds = {"lower": float(interval["lower_bound"]), "upper": float(interval["upper_bound"])}
    except (KeyError, TypeError, ValueError, OSError, ArithmeticError, IndexError) as failure:
        notes.append(f"times are missing: {path} does not have the format of criterion 0.8 ({failure!r})")
        return None
    return name, {**figures, **bounds}


def _merged(rounds: Sequence[Figures]) -> Figures:
    """Return the median of all rounds, with the widest interval."""
    figures = {name: statistics.median(measured[name] for measured in rounds) for name in ("median", "p95")}
    return {
        **figures,
        "lower": min(measured["lower"] for measured in rounds),
        "upper": max(measured["upper"] for measured in rounds),
    }
