"""Runs the command `fast-rust`, as a person does or in this process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner, Result

from fast_rust.main import application
from support.forks import run_here

COMMAND = str(Path(sys.executable).with_name("fast-rust"))


def fast_rust(
    *arguments: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does: in a process, so that programs started by Copier get the environment, too."""
    command = [COMMAND, *map(str, arguments)]
    given = {**os.environ, **(environment or {})}
    if any(name.startswith("PYTHON") for name in environment or {}):
        return subprocess.run(
            command, cwd=folder, env=given, check=False, capture_output=True, text=True, errors="replace"
        )
    return run_here(application, command, folder=folder, environment=given)


def invoke(*arguments: str | Path) -> Result:
    """Run the command in this process, without starting another Python."""
    return CliRunner().invoke(application, list(map(str, arguments)), prog_name="fast-rust")


def drift(*arguments: str | Path) -> Result:
    """Run `fast-rust drift` in this process."""
    return invoke("drift", *arguments)
