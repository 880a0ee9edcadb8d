"""`fast-rust setup`."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.tools import set_up


def command(
    path: Annotated[Path, typer.Argument(help="The root of the workspace.", file_okay=False, exists=True)] = Path(),
) -> None:
    """Install the tools that the recipes of a crate call, and name those that are missing.

    Exit codes: 0 all are there; 1 one is left for a person to install; 2 one could not be built.
    """
    is_complete = True
    for tool in set_up(path):
        typer.echo(f"{tool.name:16} {tool.state}")
        if tool.missing:
            typer.echo(f"error: {tool.name} is missing: {tool.missing}", err=True)
            is_complete = False
    raise typer.Exit(int(not is_complete))
