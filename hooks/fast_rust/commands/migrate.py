"""`fast-rust migrate`."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.migrate.server import plan_migration
from fast_rust.update import journal
from fast_rust.update.apply import apply

application = typer.Typer(
    help="Move your own code to the layout of a newer template release; `fast-rust update` does not do that.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
CrateFolder = Annotated[Path, typer.Argument(help="Folder of the service.", file_okay=False, exists=True)]


@application.callback()
def _commands() -> None:
    """Move your own code to the layout of a newer template release; `fast-rust update` does not do that."""


@application.command()
def server(crate: CrateFolder = Path()) -> None:
    """Move the HTTP server code of a service from the module src/plumbing into the package server/.

    The move is made in a copy first; the crate is changed only if the tests of the copy pass. Nothing is committed:
    commit the move separately from other changes.

    Exit codes: 0 moved, or had been moved already; 2 not moved: the message says why, and nothing was changed.
    """
    with journal.only_update(crate):
        planned = plan_migration(crate)
        if planned is None:
            typer.echo("The server is already in the package server/.")
            return
        lock = apply(planned)
    # Now, so that a reader of the output that leaves does not stop the move.
    for path, change in planned.changes.items():
        typer.echo(f"  {change.result:8}  {path}")
    if lock:
        typer.echo(f"Cargo.lock: {lock}")
    typer.echo("The tests pass. Review with `git diff`, and commit; `fast-rust update --abort` undoes the move.")
