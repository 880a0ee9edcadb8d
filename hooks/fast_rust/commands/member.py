"""`fast-rust member`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fast_rust import members
from fast_rust.answers import as_answers

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Add a crate to a workspace created from the Copier template.",
)


@application.callback()
def _commands() -> None:
    """Add a crate to a workspace created from the Copier template."""


@application.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder, such as crates/parser.")],
    *,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Answer to a question of the template, such as kind=lib; repeatable."),
    ] = None,
    workspace: Annotated[
        Path, typer.Option("--workspace", help="Root of the workspace.", file_okay=False, exists=True)
    ] = Path(),
) -> None:
    """Create a crate from the Copier template as a member of the workspace, and list it in the root's Cargo.toml.

    The new crate has the root's copyright holder, repository URL, license and MSRV. In a terminal Copier asks for
    everything else; otherwise the defaults apply.

    Exit codes: 0 created; 2 nothing was changed, and the message says why.
    """
    added = members.add(workspace, folder, as_answers(data or []), is_asked=sys.stdin.isatty())
    typer.echo(f"Created the crate {added.name} in {folder.as_posix()}.")
    typer.echo(f"Added to `members` in Cargo.toml: {', '.join(added.listed)}.")
    if added.has_new_profile:
        typer.echo(
            "Added [profile.release] to Cargo.toml, since the workspace has a program now; choose `panic` there."
        )
    typer.echo(f"Run `cargo test -p {added.name}`, which also completes Cargo.lock, and commit both.")
    typer.echo("`just check` and `just dist` at the root include the new crate.")
