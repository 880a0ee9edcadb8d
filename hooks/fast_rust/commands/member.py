"""`fast-rust member`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fast_rust import members
from fast_rust.answers import as_answers

application = typer.Typer(no_args_is_help=True, help="Add a further crate to a workspace.")


@application.callback()
def _commands() -> None:
    """Add a further crate to a workspace."""


@application.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder, such as crates/parser.")],
    *,
    data: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Answer a question; repeatable.")] = None,
    workspace: Annotated[
        Path, typer.Option("--workspace", help="Root of the workspace.", file_okay=False, exists=True)
    ] = Path(),
) -> None:
    """Create a crate as a member of the workspace, and list it in the Cargo.toml of the root.

    The copyright holder, the address, the license and the MSRV are those of the root. In a terminal Copier asks for the
    rest; otherwise the defaults apply.

    Exit codes: 0 created; 2 nothing was changed, and the message says why.
    """
    added = members.add(workspace, folder, as_answers(data or []), is_asked=sys.stdin.isatty())
    typer.echo(f"{added.name} is ready in {folder.as_posix()}.")
    typer.echo(f"Cargo.toml lists it: {', '.join(added.listed)}.")
    if added.has_new_profile:
        typer.echo("Cargo.toml has [profile.release] for programs; set `panic` there as you need it.")
    typer.echo(f"Run `cargo test -p {added.name}`, which also completes Cargo.lock, and commit both.")
    typer.echo("`just check` and `just dist` at the root include the new crate.")
