"""`fast-rust conflicts`."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.update.conflicts import conflicts


def command(
    folder: Annotated[Path, typer.Argument(help="Folder in a git repository.", file_okay=False, exists=True)] = Path(),
) -> None:
    """List the conflicts that an update left in a folder: unmerged files, conflict markers and rejected hunks.

    Exit codes: 0 no conflicts; 1 conflicts, which are listed; 2 the folder is not in a git repository.
    """
    found = list(conflicts(folder))
    for line in found:
        typer.echo(line)
    raise typer.Exit(int(bool(found)))
