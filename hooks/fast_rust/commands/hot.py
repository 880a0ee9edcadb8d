"""`fast-rust hot`."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.hot import add as adding
from fast_rust.hot import remove as removing
from fast_rust.hot.changes import Changes, require_committed

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Add or remove a hot path: a module with benchmarks that limit its instructions and heap allocations.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the module, such as `parse`.")]
CrateFolder = Annotated[Path, typer.Option("--crate", help="Folder of the crate.", file_okay=False, exists=True)]


@application.command()
def add(name: Name, crate: CrateFolder = Path()) -> None:
    """Add a hot path: a module with two benchmarks and an allocation test, registered in lib.rs and bench/Cargo.toml.

    Exit codes: 0 added; 2 not added: the message says why.
    """
    _apply(adding.add(crate, name))
    typer.echo(
        f"Write your code in src/{name}.rs. `just instructions` prints its instructions and heap blocks.\n"
        f"Write how many you allow in its section `# Hot path`, and as limits in bench/benches/{name}_instructions.rs."
    )
    _name_lockfile()


@application.command()
def remove(
    name: Name,
    crate: CrateFolder = Path(),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it even if git cannot restore the deleted files.")
    ] = False,
) -> None:
    """Remove a hot path (a module with benchmarks) and its tests. The name `aggregate` removes all sample code.

    Exit codes: 0 removed; 2 not removed: the message says why.
    """
    if not force:
        require_committed(crate)
    changes = removing.remove(crate, name)
    if not force:
        changes.require_restorable()
    _apply(changes)
    _name_lockfile()


def _name_lockfile() -> None:
    """Print the command that updates Cargo.lock, which would otherwise change after the commit."""
    typer.echo("Run `cargo test --workspace`, which also updates Cargo.lock, and commit all changes.")


def _apply(changes: Changes) -> None:
    new = {name for name in changes.written if not changes.crate.path(name).exists()}
    changes.apply()
    for name in sorted({*changes.written, *changes.deleted}):
        state = "new" if name in new else "changed" if name in changes.written else "deleted"
        typer.echo(f"{state:8} {name}")
