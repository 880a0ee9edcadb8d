"""Measures the cost and gain of each build setting: one setting at a time differs from the release profile.

`make profiles` writes docs/profiles.md; `--quick` measures little of it, to see that it works.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fast_rust.pgo.building import train
from fast_rust.pgo.comparing import count, run_load
from fast_rust.pgo.merger import MergerMissingError, find_merger
from fast_rust.pgo.workspace import inspect
from workbench import SCRATCH, make_crate, measure, table, write_page

FOLDER = SCRATCH / "profiles"
HEADS = ("build", "clean build", "after a change", "size", "instructions", "throughput", "lowest to highest", "memory")
SHIPPED = "as it ships"


@dataclass(frozen=True)
class Knob:
    """One setting, and how to change it without editing a file."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    flag: str = ""
    """A flag for the compiler, in addition to those of .cargo/config.toml."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Answers to the template, where the setting is part of the code."""
    trained: bool = False
    """Whether the build uses a profile of the load, as `just pgo` makes it."""


@dataclass(frozen=True)
class Plan:
    """The amount of measuring."""

    knobs: Mapping[str, Sequence[Knob]]
    """The settings of each crate kind."""
    rounds: int
    """Rounds of work in a timed run."""
    repeats: int
    """Number of timed runs of each build."""
    note: str = ""
    """The plan, in the words of the page."""
    clean: bool = True
    """Whether each build begins from nothing, so that its time counts."""


@dataclass(frozen=True)
class Build:
    """A program that was built, and the cost of building it."""

    name: str
    program: Path
    clean: float
    """Seconds to build the crate and its dependencies."""
    again: float | None
    """Seconds to build it after a change of one file; None if that does not apply."""


@dataclass(frozen=True)
class Figures:
    """The usage of a program under the load."""

    instructions: int
    memory: int
    """Most bytes that were resident at once."""
    seconds: list[float]


LTO = [Knob(f"LTO {lto}", {"CARGO_PROFILE_RELEASE_LTO": lto}) for lto in ("thin", "off")]
ALLOCATORS = [Knob(allocator, answers={"allocator": allocator}) for allocator in ("mimalloc", "jemalloc")]
WHOLE = Plan(
    {
        "cli": [
            Knob(SHIPPED),
            *LTO,
            Knob("16 codegen units", {"CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}),
            Knob("panic unwind", {"CARGO_PROFILE_RELEASE_PANIC": "unwind"}),
            Knob("opt-level 2", {"CARGO_PROFILE_RELEASE_OPT_LEVEL": "2"}),
            Knob("opt-level s", {"CARGO_PROFILE_RELEASE_OPT_LEVEL": "s"}),
            Knob("x86-64-v2", flag="-Ctarget-cpu=x86-64-v2"),
            Knob("x86-64-v3", flag="-Ctarget-cpu=x86-64-v3"),
            *ALLOCATORS,
            Knob("PGO", trained=True),
        ],
        "service": [
            Knob(SHIPPED),
            LTO[0],
            Knob("panic abort", {"CARGO_PROFILE_RELEASE_PANIC": "abort"}),
            *ALLOCATORS,
        ],
    },
    rounds=40,
    repeats=9,
)
QUICK = Plan(
    {"cli": [Knob(SHIPPED), LTO[1]]},
    rounds=2,
    repeats=3,
    note="**Only two builds and little work, to test the measurement: `make profiles` measures all builds.**\n\n",
    clean=False,
)

PAGE = """\
# What does each build setting cost and gain?

The first row is the release build with the template's settings: for a program fat LTO, one codegen unit,
`panic = "abort"`, `opt-level` 3, a portable CPU level and the system's allocator; for a service the same with
`panic = "unwind"`. Each other row changes one of these settings.

The load is `bench/examples/load.rs` of the sample. *Clean build* is the build time of the crate and all its
dependencies; *after a change* is the time of the same command after one file of the library was touched.
*Instructions* are counted with callgrind, for one round of the load, from the start of the program to its end.
*Throughput* is relative to the first row, timed in turns: the median of {repeats} runs, with the lowest and the
highest. If 1.00 is between these two, no difference was seen. *Memory* is the peak resident memory in a run.

{note}{tables}

## What to choose

- **LTO**: `fat` for releases, which are built rarely; `thin` if people wait for release builds; `off` while you
  develop, with `cargo build --profile quick`.
- **Codegen units**: 1 for releases. More units are compiled in parallel, so they help while you edit, and on many
  cores.
- **Panic**: `abort` for a program, which ends after a panic in any case. `unwind` for a service: its landing pads cost
  something, but a panic ends only one request.
- **Optimisation**: 3. Use `s` only if the size of the file matters most, and then measure the hot path again.
- **CPU level**: `portable`, unless you know the machines, and see a gain here that you need. These rows change only
  the CPU level.
- **Allocator**: the system's, if the hot path does not allocate, as here. Try another one if your program allocates
  in many threads, and check the memory, too.
- **PGO** (profile-guided optimisation): `just pgo`, if people wait for the program and its load is like their real
  use. It needs a new training run for each release. {trained}
"""


def main() -> int:
    """Measure all crate kinds, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two builds and little work")
    parser.add_argument("--output", type=Path, help="write the page there instead of to docs/profiles.md")
    options = parser.parse_args()
    text = page(QUICK if options.quick else WHOLE)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        write_page("profiles.md", "profiles", text)
    return 0


def page(plan: Plan) -> str:
    """Return the page, with a table for each kind."""
    tables = []
    missing = ""
    for kind, knobs in plan.knobs.items():
        lines, left_out = rows(kind, knobs, plan)
        missing = missing or left_out
        tables.append(f"## A {'program' if kind == 'cli' else kind}\n\n{table(HEADS, lines)}")
    return PAGE.format(tables="\n\n".join(tables), repeats=plan.repeats, trained=missing, note=plan.note).replace(
        " \n", "\n"
    )


def rows(kind: str, knobs: Sequence[Knob], plan: Plan) -> tuple[list[list[str]], str]:
    """Measure the builds of one kind; return the rows of the table, and the reason for a row that is left out."""
    crate = crate_of(kind, {})
    load = build_load(crate)
    why_not = ""
    builds = []
    for knob in knobs:
        print(f"{kind}: building {knob.name}", flush=True)
        try:
            builds.append(build(crate_of(kind, knob.answers), knob, load, clean=plan.clean))
        except MergerMissingError as error:
            # Only this failure is expected. Any other failed build ends the script.
            why_not = f"It was not measured: {error}."
    print(f"{kind}: running {len(builds)} builds", flush=True)
    measured = run(load, builds, plan)
    shipped = measured[SHIPPED]
    lines = [row(build, measured[build.name], shipped) for build in builds]
    if why_not:
        lines.append(["PGO: not measured, see below", *["-"] * (len(HEADS) - 1)])
    return lines, why_not


def crate_of(kind: str, answers: Mapping[str, str]) -> Path:
    """Make a crate of the sample, with everything that its build needs."""
    name = "-".join(["totals", kind, *answers.values()])
    crate = make_crate(FOLDER / "crates", name, kind=kind, **answers)
    measure(["cargo", "fetch", "--quiet"], folder=crate)
    return crate


def shared_target() -> Path:
    """Return the target folder of builds that are not timed; tests may have filled it already."""
    return Path(os.environ.get("FAST_RUST_TARGET", FOLDER / "target"))


def build_load(crate: Path) -> Path:
    """Build the load generator. Its build is never timed, so it may reuse builds of the tests."""
    target = shared_target()
    # Cargo gives the example of each crate the same file, and tests build other crates into this folder meanwhile.
    name = f"load-{crate.name}"
    shutil.copy2(crate / "bench" / "examples" / "load.rs", crate / "bench" / "examples" / f"{name}.rs")
    command = ["cargo", "build", "--quiet", "--workspace", "--example", name]
    measure(command, folder=crate, environment={"CARGO_TARGET_DIR": str(target), "CARGO_PROFILE_DEV_DEBUG": "0"})
    kept = FOLDER / name
    shutil.copy2(target / "debug" / "examples" / name, kept)
    return kept


def build(crate: Path, knob: Knob, load: Path, *, clean: bool = True) -> Build:
    """Build a crate, from nothing if it is to be clean, then again after a change.

    Raises subprocess.CalledProcessError if the build fails, MergerMissingError if no llvm-profdata fits.
    """
    target = FOLDER / "builds" if clean else shared_target()
    if clean:
        shutil.rmtree(target, ignore_errors=True)
    workspace = inspect(crate, target)
    environment = {**knob.environment, "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "0"}
    if knob.trained:
        merger = find_merger(workspace)
        start = time.perf_counter()
        instrumented = compile_trained(crate, workspace.host, "-Cprofile-generate", environment)
        profile = train(workspace, load, keep(instrumented, "instrumented"), merger)
        program = compile_trained(crate, workspace.host, f"-Cprofile-use={profile}", environment)
        return Build(knob.name, keep(program, knob.name), time.perf_counter() - start, None)
    start = time.perf_counter()
    compile_crate(crate, workspace.host, knob.flag, environment)
    first = time.perf_counter() - start
    (crate / "src" / "aggregate.rs").touch()
    start = time.perf_counter()
    program = compile_crate(crate, workspace.host, knob.flag, environment)
    return Build(knob.name, keep(program, f"{crate.name} {knob.name}"), first, time.perf_counter() - start)


def compile_crate(crate: Path, host: str, flag: str, environment: Mapping[str, str]) -> Path:
    """Build a program in its release profile, with a flag and an environment, and return it."""
    flags = ["--config", f"target.{host}.rustflags=[{json.dumps(flag)}]"] if flag else []
    measure(["cargo", "build", "--quiet", "--release", *flags], folder=crate, environment=environment)
    return Path(environment["CARGO_TARGET_DIR"], "release", crate.name)


def compile_trained(crate: Path, host: str, flag: str, environment: Mapping[str, str]) -> Path:
    """Build the same for a named target, as `just pgo` does, so that build scripts are not instrumented."""
    compile_crate(crate, host, flag, {**environment, "CARGO_BUILD_TARGET": host})
    return Path(environment["CARGO_TARGET_DIR"], host, "release", crate.name)


def keep(program: Path, name: str) -> Path:
    """Copy a program to where the next build does not replace it."""
    kept = FOLDER / "programs" / name.replace(" ", "-")
    kept.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(program, kept))


def run(load: Path, builds: Sequence[Build], plan: Plan) -> dict[str, Figures]:
    """Run all builds on the same load; all must give the same answers.

    The builds take turns, so that a machine that slows down affects all of them.
    """
    answers = set()
    seconds: dict[str, list[float]] = {build.name: [] for build in builds}
    for _ in range(plan.repeats):
        for build in builds:
            took, answer = run_load(load, plan.rounds, build.program)
            seconds[build.name].append(took)
            answers.add(answer)
    if len(answers) != 1:
        raise AssertionError("two builds answer differently")
    return {
        build.name: Figures(
            count(FOLDER, load, build.program), peak(load, plan.rounds, build.program), seconds[build.name]
        )
        for build in builds
    }


def peak(load: Path, rounds: int, program: Path) -> int:
    """Return the maximum resident memory of a program under load, in bytes.

    It is read while the program runs: the value of `wait4` is never less than the memory of this interpreter at the
    start of the program.
    """
    highest = 0
    with subprocess.Popen([load, str(rounds), program], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            try:
                child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
                status = Path(f"/proc/{child}/status").read_text()
            except (OSError, IndexError):
                continue
            found = re.search(r"VmHWM:\s*(\d+) kB", status)
            # Between fork and exec, the process still shows the memory of its parent.
            if found and status.startswith(f"Name:\t{program.name[:15]}\n"):
                highest = max(highest, int(found[1]) * 1024)
            time.sleep(0.001)
    if process.returncode or not highest:
        raise subprocess.CalledProcessError(process.returncode, [str(load), str(rounds), str(program)])
    return highest


def row(build: Build, figures: Figures, shipped: Figures) -> list[str]:
    """Return a row of the table."""
    ratios = [before / after for before, after in zip(shipped.seconds, figures.seconds, strict=True)]
    return [
        build.name,
        f"{build.clean:.1f} s",
        "-" if build.again is None else f"{build.again:.1f} s",
        f"{build.program.stat().st_size / 1024:,.0f} KiB",
        f"{figures.instructions / 1e6:,.1f} M",
        f"{median(ratios):.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{figures.memory / 2**20:.1f} MiB",
    ]


if __name__ == "__main__":
    sys.exit(main())
