"""The `fast-rust` command.

Exit codes: 0 done; 1 something is left for you to do, and is printed; 2 the command failed, and says why.
"""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from fast_rust.errors import COULD_NOT, FastRustError, message_of
from fast_rust.output import accept_all_names
from fast_rust.version import own_version

# The module of each command in commands/, and its name there.
COMMANDS = {
    "adopt": ("adopt", "command"),
    "advice": ("advice", "command"),
    "check": ("check", "command"),
    "conflicts": ("conflicts", "command"),
    "dist": ("dist", "command"),
    "drift": ("drift", "command"),
    "explain": ("standards", "explain"),
    "fleet": ("fleet", "application"),
    "hot": ("hot", "application"),
    "member": ("member", "application"),
    "migrate": ("migrate", "application"),
    "perf": ("perf", "command"),
    "pgo": ("pgo", "command"),
    "rules": ("rules", "command"),
    "setup": ("setup", "command"),
    "standards": ("standards", "application"),
    "update": ("update", "command"),
}


class Commands(TyperGroup):
    """All commands, each imported when it is asked for: a hook that runs at each commit waits for no other."""

    # The types that Typer has for these are private to it.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        # Typer suggests one of these names for an unknown one.
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        found = getattr(import_module(f"fast_rust.commands.{module}"), name)
        if isinstance(found, typer.Typer):
            command: Any = get_group(found)
        else:
            alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
            alone.command()(found)
            command = get_command(alone)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run a command; print the error that ends it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (FastRustError, OSError) as error:
            typer.echo(message_of(error), err=True)
            raise typer.Exit(error.exit_code if isinstance(error, FastRustError) else COULD_NOT) from error


application = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode="markdown")


def print_version(asked: bool) -> None:  # noqa: FBT001  Typer calls it with the flag alone.
    """Print the version and end, if that was asked for."""
    if asked:
        typer.echo(own_version())
        raise typer.Exit


@application.callback(invoke_without_command=True)
def main(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Check, benchmark and update Rust crates created from the Copier template copier-fast-rust.

    To create a crate, run `copier copy`. A crate records the template release that it uses in .copier-answers.yml.

    Exit codes: 0 done; 1 something is left for you to do, and is printed; 2 the command failed, and says why.
    """
    accept_all_names()
