"""The journal of a run: a run that was killed resumes from it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fast_rust.errors import FastRustError
from fast_rust.files import replace_file
from fast_rust.fleet.manifest import Manifest
from fast_rust.fleet.outcome import FORM, Outcome

END = {"end": True}


class BusyError(FastRustError):
    """Another run works on the same manifest."""


class Journal:
    """The journal of a command: its options in the first line, then a line for each crate, then an end.

    Each line is written atomically. A last line that is incomplete all the same, after a full disk, is dropped.
    """

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        """Resume a run of the same options that has no end, or begin a new one."""
        self._path = path
        # A journal of another version of this program is not resumed.
        first = {"run": options, "form": FORM}
        self.done = _outcomes(path, first)
        kept = [first, *(outcome.as_dict() for outcome in self.done.values())]
        replace_file(path, "".join(f"{json.dumps(line)}\n" for line in kept).encode())

    def note(self, outcome: Outcome) -> None:
        """Add the outcome of a crate."""
        self.done[outcome.crate] = outcome
        self._append(outcome.as_dict())

    def end(self) -> None:
        """Mark the run as complete: the next one begins from the start."""
        self._append(END)

    def _append(self, line: dict[str, Any]) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, f"{json.dumps(line)}\n".encode())
        finally:
            os.close(file)


def _outcomes(path: Path, first: Mapping[str, Any]) -> dict[str, Outcome]:
    """Return the outcomes of a run with that first line; none where it has an end, or the journal is damaged."""
    if not path.is_file():
        return {}
    try:
        *lines, _incomplete = path.read_text(encoding="utf-8").split("\n")
        own, *rest = [json.loads(line) for line in lines]
        if own != first or rest[-1:] == [END]:
            return {}
        return {outcome.crate: outcome for outcome in map(Outcome.from_dict, rest)}
    except ValueError:
        return {}


@contextmanager
def only_run(manifest: Manifest) -> Iterator[None]:
    """Lock the manifest against a second run; the system unlocks it when the process ends.

    Raises BusyError where another run works on it.
    """
    manifest.state_folder.mkdir(exist_ok=True)
    try:
        with FileLock(manifest.state_folder / "lock", timeout=0):
            yield
    except Timeout as error:
        message = (
            f"another run for {manifest.path} is in progress; wait for its end, or stop it: the next run resumes it"
        )
        raise BusyError(message) from error
