"""The `fast-rust` command."""

from importlib.metadata import version
from typing import Annotated

import typer

application = typer.Typer(no_args_is_help=True)


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
    """Keep a Rust crate made from copier-fast-rust at its standards."""
