"""`fast-rust advice`."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from fast_rust.checks.report import report
from fast_rust.errors import FastRustError
from fast_rust.standards.lints import ADVICE

CLIPPY = ("cargo", "clippy", "--workspace", "--all-targets", "--all-features", "--")


def command(
    path: Annotated[Path, typer.Argument(help="Root of the workspace.", file_okay=False, exists=True)] = Path(),
) -> None:
    """Show advice of ast-grep and clippy: findings that may be wrong, so they never fail a build.

    Exit codes: 0 success, even if there are findings; 2 the workspace could not be checked.
    """
    report(path, advice=True)
    warn = [argument for lint in ADVICE for argument in ("--warn", lint)]
    done = subprocess.run([*CLIPPY, *warn], cwd=path, check=False)
    if done.returncode:
        raise FastRustError("clippy failed with the errors above; fix them, then run `fast-rust advice` again")
