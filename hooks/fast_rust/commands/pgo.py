"""`fast-rust pgo`."""

from pathlib import Path

import typer

from fast_rust.pgo.optimising import optimise_all


def command() -> None:
    """Build the programs with profile-guided optimisation (PGO) into target/pgo, and print the gain.

    The profile comes from a run of the program under the load that bench/examples/load.rs generates.

    Exit codes: 0 built and compared, faster or not; 2 no package has a program, a tool or the load is
    missing, or a command failed.
    """
    for line in optimise_all(Path.cwd()):
        typer.echo(line)
