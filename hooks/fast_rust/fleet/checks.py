"""The checks of a ring: a command that has to succeed in each updated crate."""

import os
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fast_rust.fleet.manifest import Crate

SECONDS_A_MINUTE = 60.0


@dataclass(frozen=True)
class Checks:
    """A command, its time limit, and the folder for the output of checks that fail."""

    command: tuple[str, ...]
    max_minutes: int
    logs: Path

    def failure(self, clone: Path, crates: Iterable[Crate]) -> str:
        """Run the checks in updated crates, and return why the first one failed; empty where all succeeded."""
        command = " ".join(self.command)
        for crate in crates if self.command else ():
            self.logs.mkdir(parents=True, exist_ok=True)
            log = self.logs / f"{crate.name}.log"
            try:
                code = self._run(clone / crate.subdirectory, log)
            except OSError as error:
                return f"`{command}` cannot be run: {error.strerror}; no branch was created"
            except subprocess.TimeoutExpired:
                return f"`{command}` took more than {self.max_minutes} minutes; no branch was created; see {log}"
            if code:
                return f"`{command}` failed with exit code {code}; no branch was created; see {log}"
            log.unlink()
        return ""

    def _run(self, folder: Path, log: Path) -> int:
        """Run the command with its output in a file, and kill all processes that it leaves running."""
        with (
            log.open("wb") as output,
            subprocess.Popen(
                list(self.command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                return process.wait(self.max_minutes * SECONDS_A_MINUTE)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
