"""The `fast-rust` command.

Exit codes: 0 all is well; 1 something has to be done, which is said; 2 the command was not typed right, or could
not tell.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from fast_rust import (
    adopt_command,
    conflicts_command,
    drift_command,
    fleet_command,
    hot_command,
    standards_command,
    update_command,
)

application = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
application.add_typer(standards_command.application, name="standards")
application.add_typer(hot_command.application, name="hot")
application.add_typer(fleet_command.application, name="fleet")
application.command("adopt")(adopt_command.command)
application.command("drift")(drift_command.command)
application.command("update")(update_command.command)
application.command("conflicts")(conflicts_command.command)
application.command("explain")(standards_command.explain)


def print_version(asked: bool) -> None:  # noqa: FBT001  Typer calls it with the flag alone.
    """Print the version and end, if that was asked for."""
    if asked:
        typer.echo(version("fast-rust"))
        raise typer.Exit


@application.callback(invoke_without_command=True)
def main(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep a Rust crate made from copier-fast-rust at its standards.

    Exit codes: 0 all is well; 1 something has to be done, which is said; 2 the command was not typed right, or
    could not tell.
    """
