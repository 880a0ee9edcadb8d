"""`fast-rust pgo`."""

from pathlib import Path

import typer

from fast_rust.pgo.optimising import optimise_all


def command() -> None:
    """Build the programs with profile-guided optimisation (PGO) into target/pgo, and print the gain.

    The profile comes from bench/examples/load.rs.

    Exit codes: 0 built and compared, faster or not; 2 something is missing, or failed.
    """
    for line in optimise_all(Path.cwd()):
        typer.echo(line)
