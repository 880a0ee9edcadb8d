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
        typer.Option("--advice", help="Also show advice: findings that may be wrong, and never fail the check."),
    ] = False,
    output_format: Annotated[
        Format | None, typer.Option(help="Format of the findings [default: github in GitHub Actions, else full].")
    ] = None,
) -> None:
    """Check a workspace for violations of the coding standards that clippy does not find.

    Runs ast-grep rules on the code, and checks Cargo.toml, CI and benchmarks. `fast-rust explain` prints the reasons.

    Exit codes: 0 no error; 1 errors to fix; 2 the workspace could not be checked.
    """
    raise typer.Exit(report(path, output_format, advice=advice))
