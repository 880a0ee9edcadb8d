"""`fast-rust check`, with its help; `start.py` runs what is no question for help without Typer."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.checks.formats import Format
from fast_rust.checks.report import report


def command(
    path: Annotated[Path, typer.Argument(help="The root of the workspace.", file_okay=False, exists=True)] = Path(),
    *,
    advice: Annotated[bool, typer.Option("--advice", help="Show what is often right, too; it never fails.")] = False,
    output_format: Annotated[
        Format | None, typer.Option(help="How findings are printed; `github` in a workflow there, else `full`.")
    ] = None,
) -> None:
    """Check a workspace by every rule of the standards that clippy does not have.

    Exit codes: 0 no error; 1 an error is left for a person; 2 the workspace could not be checked.
    """
    raise typer.Exit(report(path, output_format, advice=advice))
