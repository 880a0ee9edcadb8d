"""A disk on which writes fail."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from support.files import read_tree
from support.git import git


@dataclass(frozen=True)
class SmallDisk:
    """A disk of eight megabytes that can be full, or read-only."""

    folder: Path
    says: ClassVar = {"full": "No space left on device", "read-only": "Read-only file system"}

    def refuses(self, command: Sequence[str], crate: Path, fault: str) -> None:
        """Run a command on the full or read-only disk: it must report the error, and leave the crate unchanged."""
        before = read_tree(crate)
        self.fill() if fault == "full" else self.make_read_only()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert self.says[fault] in done.stderr
        assert "Traceback" not in done.stderr
        assert read_tree(crate) == before
        if fault == "full":
            self.empty()
            assert git(crate, "status", "--porcelain") == ""

    def fill(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (4096, 1):
                with suppress(OSError):
                    while ballast.write(b"x" * size):
                        pass

    def empty(self) -> None:
        (self.folder / "ballast").unlink()

    def make_read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)
