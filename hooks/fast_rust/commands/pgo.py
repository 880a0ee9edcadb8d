"""`fast-rust pgo`."""

from pathlib import Path

import typer

from fast_rust.pgo.optimising import optimise_all


def command() -> None:
    """Build the programs with a profile of their own work into target/pgo, and say what that brought.

    Exit codes: 0 they were built and compared, better or not; 2 something is missing or failed.
    """
    for line in optimise_all(Path.cwd()):
        typer.echo(line)
