"""The `fast-rust` command.

Exit codes: 0 all is well; 1 something has to be done, which is said; 2 the command was not typed right, or could
not tell.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

# Where each command is: its module, and its name there.
COMMANDS = {
    "adopt": ("adopt_command", "command"),
    "conflicts": ("conflicts_command", "command"),
    "drift": ("drift_command", "command"),
    "explain": ("standards_command", "explain"),
    "fleet": ("fleet_command", "application"),
    "hot": ("hot_command", "application"),
    "standards": ("standards_command", "application"),
    "update": ("update_command", "command"),
}


class Commands(TyperGroup):
    """All commands, each imported when it is asked for: a hook that runs at each commit waits for no other."""

    # The types that Typer has for these are private to it.
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        found = getattr(import_module(f"fast_rust.{module}"), name)
        if isinstance(found, typer.Typer):
            command: Any = get_group(found)
        else:
            alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
            alone.command()(found)
            command = get_command(alone)
        command.name = cmd_name
        return command


application = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode="markdown")


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
