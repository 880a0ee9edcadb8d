"""`fast-rust perf`."""

import signal
import sys
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from fast_rust.perf.errors import NothingToCompare
from fast_rust.perf.options import Options


def command(  # noqa: PLR0913  Each is an option.
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE",
            envvar=["PERF_BASE", "CI_MERGE_REQUEST_TARGET_BRANCH_SHA", "CI_MERGE_REQUEST_DIFF_BASE_SHA"],
            help="Branch or commit that the change will be merged into; the code before the change is the merge base"
            " of BASE and --head [default: the default branch].",
        ),
    ] = "",
    *,
    head: Annotated[
        str,
        typer.Option(
            metavar="COMMIT",
            envvar=["PERF_HEAD", "CI_COMMIT_SHA"],
            help="Commit with the change [default: the working tree].",
        ),
    ] = "",
    release: Annotated[
        bool,
        typer.Option("--release", envvar="PERF_RELEASE", help="Compare with the last release (git tag v*) instead."),
    ] = False,
    long: Annotated[
        bool, typer.Option("--long", help="Measure times with criterion's default settings, which takes longer.")
    ] = False,
    times: Annotated[
        bool, typer.Option("--times/--no-times", help="Also measure times, or only count instructions and memory.")
    ] = True,
    accept: Annotated[
        str, typer.Option(metavar="REASON", help="Accept values that exceed a limit, for this reason.")
    ] = "",
) -> None:
    """Run the benchmarks on the code before and after a change, and fail if the change exceeds a limit.

    The limits are for instructions, heap blocks and peak memory. Limits and benchmarks are taken from the code before
    the change, so that a change cannot relax its own limits.

    Exit codes: 0 every value is within its limit, or accepted; 1 a value exceeds its limit; 2 the code could not be
    measured; 128 plus the number of the signal that ended the run.
    """
    if sys.platform != "linux":
        typer.echo("Skipped: `fast-rust perf` counts instructions with valgrind, and runs only on Linux.")
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    options = Options(base, head, release=release, long=long, times=times, accept=accept)
    try:
        is_fine = import_module("fast_rust.perf.judgement").judge_speed(options)
    except NothingToCompare as reason:
        typer.echo(str(reason))
        return
    raise typer.Exit(int(not is_fine))


def _end(number: int, _: object) -> NoReturn:
    """Exit, so that all cleanup runs."""
    sys.exit(128 + number)
