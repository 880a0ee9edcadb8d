"""`fast-rust dist`."""

from pathlib import Path

import typer

from fast_rust.dist import build_dist


def command() -> None:
    """Build the programs of the workspace, members included, into target/dist/bin, and print their checksums.

    Exit codes: 0 built; 2 no package has a program, or cargo failed.
    """
    typer.echo(build_dist(Path.cwd()), nl=False)
