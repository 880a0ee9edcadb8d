"""Measures, judges and reports."""

import filelock
import typer

from fast_rust.perf.acceptance import acceptance
from fast_rust.perf.comparing import compare
from fast_rust.perf.errors import NotMeasuredError
from fast_rust.perf.opening import open_workspace
from fast_rust.perf.options import Options
from fast_rust.perf.report import facts, write


def judge_speed(options: Options) -> bool:
    """Compare the speed of two commits, and report; return whether nothing is beyond its limit, or that is accepted.

    Raises NotMeasuredError where the speed could not be measured, and NothingToCompare where nothing could be slower.
    """
    workspace = open_workspace(options)
    workspace.folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(workspace.folder / "lock", timeout=0), workspace.checked_out():
            comparison = compare(workspace, options)
            about = facts(workspace, release=options.release)
    except filelock.Timeout:
        raise NotMeasuredError("another `just perf` is running in this folder; wait for its end") from None
    accepted, hint = acceptance(options.accept)
    is_refused = bool(comparison.offences and not accepted)
    typer.echo(write(workspace, comparison, about, accepted, int(is_refused)))
    if is_refused:
        typer.echo(hint, err=True)
    return not is_refused
