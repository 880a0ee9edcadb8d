"""`fast-rust setup`."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.tools import set_up


def command(
    path: Annotated[Path, typer.Argument(help="Root of the workspace.", file_okay=False, exists=True)] = Path(),
) -> None:
    """Install the programs that the crate's justfile runs, such as cargo-nextest, and list those it cannot install.

    Exit codes: 0 all are installed; 1 you have to install the listed ones; 2 a program could not be built.
    """
    is_complete = True
    for tool in set_up(path):
        typer.echo(f"{tool.name:16} {tool.state}")
        if tool.missing:
            typer.echo(f"error: {tool.name} is missing: {tool.missing}", err=True)
            is_complete = False
    raise typer.Exit(int(not is_complete))
