"""What cargo says of a workspace."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fast_rust.checks.tables import WorkspaceError

Metadata = dict[str, Any]


@contextmanager
def running_metadata(folder: Path) -> Iterator[Callable[[], Metadata]]:
    """Start `cargo metadata` in a folder, without dependencies; what this gives waits for it, and returns what it says.

    Raises WorkspaceError where cargo cannot read the workspace.
    """
    if not folder.is_dir():
        raise WorkspaceError(f"the folder {folder} does not exist")
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    try:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise WorkspaceError("cargo is missing. To install it, run: curl -sSf https://sh.rustup.rs | sh") from error
    with process:
        yield lambda: _read(folder, process)


def _read(folder: Path, process: subprocess.Popen[bytes]) -> Metadata:
    stdout, stderr = process.communicate()
    if process.returncode:
        reason = stderr.decode("utf-8", "replace").strip().removeprefix("error: ")
        raise WorkspaceError(f"cargo cannot read the workspace in {folder}: {reason}")
    known: Metadata = json.loads(stdout)
    return known


def metadata(folder: Path) -> Metadata:
    """Return what cargo says of the workspace of a folder, without its dependencies.

    Raises WorkspaceError where it cannot read that.
    """
    with running_metadata(folder) as known:
        return known()
