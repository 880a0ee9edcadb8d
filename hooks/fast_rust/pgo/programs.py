"""Runs programs that have to succeed."""

import os
import subprocess
from pathlib import Path

from fast_rust.errors import FastRustError


class PgoError(FastRustError):
    """PGO cannot continue; the message says why, and what to type."""


def output(program: str | Path, *arguments: str | Path, **environment: str) -> str:
    """Return what a program prints.

    Raises PgoError where it fails.
    """
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=False, stdout=subprocess.PIPE, encoding="utf-8"
    )
    if done.returncode:
        message = f"this command failed with exit code {done.returncode}: {' '.join(command)}"
        raise PgoError(message)
    return done.stdout
