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
        str, typer.Argument(metavar="[BASE]", envvar="PERF_BASE", help="What the head is to be merged into.")
    ] = "",
    *,
    head: Annotated[
        str, typer.Option(metavar="COMMIT", envvar="PERF_HEAD", help="What to measure, in place of the working tree.")
    ] = "",
    release: Annotated[
        bool, typer.Option("--release", envvar="PERF_RELEASE", help="Compare with the last release, tagged v*.")
    ] = False,
    long: Annotated[bool, typer.Option("--long", help="Take times with criterion's own settings.")] = False,
    times: Annotated[bool, typer.Option("--times/--no-times", help="Take times, or count only.")] = True,
    accept: Annotated[str, typer.Option(metavar="REASON", help="Accept what is beyond a limit.")] = "",
) -> None:
    """Compare the speed of a change with its base, measured on one machine in one run.

    The limits and the benches are the base's. Exit codes: 0 nothing is beyond its limit, or that was accepted; 1
    something is; 2 the speed could not be measured; 128 and the number of the signal that ended the run.
    """
    if sys.platform != "linux":
        typer.echo("Skipped: speed is compared by the instructions that valgrind counts, on Linux only.")
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
    """End by way of all that is to be cleaned up."""
    sys.exit(128 + number)
