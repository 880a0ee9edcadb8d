"""`fast-rust check`."""

import re
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from fast_rust.checks.everything import find_all
from fast_rust.checks.findings import Severity
from fast_rust.checks.formats import Format, render


def command(
    path: Annotated[Path, typer.Argument(help="The root of the workspace.", file_okay=False, exists=True)] = Path(),
    *,
    advice: Annotated[bool, typer.Option("--advice", help="Show what is often right, too; it never fails.")] = False,
    output_format: Annotated[Format, typer.Option(help="How findings are printed.")] = Format.FULL,
) -> None:
    """Check a workspace by every rule of the standards that clippy does not have.

    Exit codes: 0 no error; 1 an error is left for a person; 2 the workspace could not be checked.
    """
    findings = find_all(path, advice=advice)
    _warn_of_another_release(path)
    if text := render(findings, output_format):
        typer.echo(text)
    errors = sum(one.severity is Severity.ERROR for one in findings)
    if errors and output_format is Format.FULL:
        gates = " ".join(sorted({one.gate for one in findings if one.severity is Severity.ERROR}))
        typer.echo(f"\n{errors} error{'s' * (errors > 1)}. To read why: just fast-rust explain {gates}", err=True)
    elif output_format is Format.FULL:
        typer.echo("No errors.", err=True)
    raise typer.Exit(int(errors > 0))


def _warn_of_another_release(path: Path) -> None:
    answers = import_module("fast_rust.answers").read_answers(path)
    own = import_module("importlib.metadata").version("fast-rust")
    # A commit between releases, like `v0.8.0-3-gabc1234` or `abc1234`, is no release.
    is_release = answers and re.fullmatch(r"v?\d+\.[\w.]+", answers.release)
    if is_release and answers.release.removeprefix("v") != own:
        typer.echo(
            f"warning: fast-rust {own} checks a crate of release {answers.release}; "
            "to check by that release, type: just fast-rust check",
            err=True,
        )
