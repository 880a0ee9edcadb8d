"""Builds each program of a workspace with profile-guided optimisation, and reports the gain.

Each program is built three times: as it ships; instrumented, to be put under the load of bench/examples/load.rs; and
optimised by what that run counted. The last one is kept in target/pgo, and compared with the first: the same answers,
instructions by callgrind where valgrind is installed, and time.
"""

from collections.abc import Iterator
from pathlib import Path

from fast_rust.pgo.building import build, build_program, keep, train
from fast_rust.pgo.comparing import compare, report
from fast_rust.pgo.merger import find_merger
from fast_rust.pgo.programs import PgoError
from fast_rust.pgo.workspace import Program, Workspace, inspect, refuse_flags_in_environment, refuse_without_load


def optimise_all(crate: Path) -> Iterator[str]:
    """Do all steps for each program, and yield lines about them.

    Raises PgoError where one fails.
    """
    refuse_flags_in_environment()
    workspace = inspect(crate)
    if not workspace.programs:
        raise PgoError("no package of the workspace has a binary target, so there is nothing to optimise")
    refuse_without_load(workspace)
    merger = find_merger(workspace)
    for program in workspace.programs:
        yield from (f"{program.name}: {line}" for line in _optimise(workspace, program, merger))


def _optimise(workspace: Workspace, program: Program, merger: str) -> Iterator[str]:
    """Build a program with a profile of its load, and compare it with the one that ships."""
    yield "building the release program, and the load generator bench/examples/load.rs"
    load = build(workspace, "--package", program.bench, "--example", "load")
    plain = keep(workspace, build_program(workspace, program, None), "plain")
    yield "building an instrumented program, and running the load to collect its profile"
    instrumented = keep(workspace, build_program(workspace, program, "-Cprofile-generate"), "instrumented")
    profile = train(workspace, load, instrumented, merger)
    yield "building the optimised program, and comparing it with the release program"
    optimised = keep(workspace, build_program(workspace, program, f"-Cprofile-use={profile}"), "")
    yield from report(compare(workspace, load, plain, optimised))
    yield f"the optimised program is {optimised}"
