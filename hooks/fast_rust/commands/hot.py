"""`fast-rust hot`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fast_rust import git
from fast_rust.hot import hot

application = typer.Typer(no_args_is_help=True, help="Add a hot path with its measurements, or take one out.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The module's name, as `parse`.")]
Crate = Annotated[Path, typer.Option("--crate", help="The folder of the crate.", file_okay=False, exists=True)]


@application.command()
def add(name: Name, crate: Crate = Path()) -> None:
    """Start a hot path: a module, two benches, an allocation test, registered and green."""
    _apply(crate, lambda: hot.add(crate, name))
    typer.echo(
        f"Now write your code in src/{name}.rs, and its budget there and in bench/benches/{name}_instructions.rs."
    )


@application.command()
def remove(
    name: Name,
    crate: Crate = Path(),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also where git could not bring back what is deleted.")
    ] = False,
) -> None:
    """Take a hot path out, with its measurements; of the sample (`aggregate`) all that came with it."""
    if not force and not _is_committed(crate):
        raise hot.HotPathError("not everything is committed, so git could not restore it; commit, or use --force")
    _apply(crate, lambda: hot.remove(crate, name))


def _apply(crate: Path, plan: Callable[[], hot.Changes]) -> None:
    changes = plan()
    new = {path for path in changes.written if not path.exists()}
    changes.apply()
    for path in sorted({*changes.written, *changes.deleted}):
        what = "new" if path in new else "changed" if path in changes.written else "deleted"
        typer.echo(f"{what:8} {path.relative_to(crate).as_posix()}")


def _is_committed(crate: Path) -> bool:
    return not git.status(crate)
