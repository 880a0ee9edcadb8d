"""What a run has done so far, so that one that was killed goes on where it was."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fast_rust.errors import FastRustError
from fast_rust.files import replace_file
from fast_rust.fleet.manifest import Manifest
from fast_rust.fleet.outcome import Outcome


class BusyError(FastRustError):
    """Another run is at work on the same manifest."""


class Journal:
    """The journal of a command: its options in the first line, then a line for each crate, then an end.

    A line is written at once and as a whole. A last line that is torn all the same, by a full disk, is dropped.
    """

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Go on with a run of the same options that has no end, or begin a new one."""
        self._path = path
        self.done: dict[str, Outcome] = {}
        lines = _complete_lines(path)
        if lines and lines[0] == {"run": run} and lines[-1] != {"end": True}:
            self.done = {line["crate"]: Outcome.from_dict(line) for line in lines[1:]}
        kept = [{"run": run}, *(outcome.as_dict() for outcome in self.done.values())]
        replace_file(path, "".join(f"{json.dumps(line)}\n" for line in kept).encode())

    def note(self, outcome: Outcome) -> None:
        """Write down what became of a crate."""
        self.done[outcome.crate] = outcome
        self._append(outcome.as_dict())

    def end(self) -> None:
        """Write down that the run is over: the next one begins anew."""
        self._append({"end": True})

    def _append(self, line: dict[str, Any]) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, f"{json.dumps(line)}\n".encode())
        finally:
            os.close(file)


def _complete_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    *lines, _torn = path.read_text(encoding="utf-8").split("\n")
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError:
        return []


@contextmanager
def only_run(manifest: Manifest) -> Iterator[None]:
    """Hold the manifest, so that no second run starts; the system lets go of it when the process dies.

    Raises BusyError where there is one.
    """
    manifest.state_folder.mkdir(exist_ok=True)
    try:
        with FileLock(manifest.state_folder / "lock", timeout=0):
            yield
    except Timeout as error:
        message = f"another run is at work on {manifest.path}: wait for it, or stop it; it goes on where it was"
        raise BusyError(message) from error
