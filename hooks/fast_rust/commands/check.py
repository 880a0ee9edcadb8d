"""`fast-rust check` and its help; `start.py` runs the command without Typer, except for `--help` and errors."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.checks.formats import Format
from fast_rust.checks.report import report


def command(
    path: Annotated[Path, typer.Argument(help="Root of the workspace.", file_okay=False, exists=True)] = Path(),
    *,
    advice: Annotated[
        bool,
        typer.Option("--advice", help="Also show advice: findings that may be wrong, so they never fail the check."),
    ] = False,
    output_format: Annotated[
        Format | None, typer.Option(help="Format of the findings [default: github in GitHub Actions, else full].")
    ] = None,
) -> None:
    """Check a workspace by every rule of the standards that clippy does not check.

    Exit codes: 0 no error; 1 errors to fix; 2 the workspace could not be checked.
    """
    raise typer.Exit(report(path, output_format, advice=advice))
