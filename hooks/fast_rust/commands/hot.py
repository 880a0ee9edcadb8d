"""`fast-rust hot`."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.hot import add as adding
from fast_rust.hot import remove as removing
from fast_rust.hot.changes import Changes, require_committed

application = typer.Typer(no_args_is_help=True, help="Add a hot path with its benches, or remove one.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the module, as `parse`.")]
CrateFolder = Annotated[Path, typer.Option("--crate", help="Folder of the crate.", file_okay=False, exists=True)]


@application.command()
def add(name: Name, crate: CrateFolder = Path()) -> None:
    """Add a hot path: a module, two benches and an allocation test, registered, which pass all checks."""
    _apply(adding.add(crate, name))
    typer.echo(
        f"Now write your code in src/{name}.rs, and its budget there and in bench/benches/{name}_instructions.rs."
    )


@application.command()
def remove(
    name: Name,
    crate: CrateFolder = Path(),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it even where git could not restore the deleted files.")
    ] = False,
) -> None:
    """Remove a hot path with its benches and tests; of the sample (`aggregate`) all that came with it."""
    if not force:
        require_committed(crate)
    changes = removing.remove(crate, name)
    if not force:
        changes.require_restorable()
    _apply(changes)


def _apply(changes: Changes) -> None:
    new = {name for name in changes.written if not changes.crate.path(name).exists()}
    changes.apply()
    for name in sorted({*changes.written, *changes.deleted}):
        state = "new" if name in new else "changed" if name in changes.written else "deleted"
        typer.echo(f"{state:8} {name}")
