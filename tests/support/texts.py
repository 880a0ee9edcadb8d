"""Whole texts that the tool prints, compared with files that people read."""

from pathlib import Path

from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from typer.testing import Result


class TextFile(SingleFileSnapshotExtension):
    """A text in a separate file."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


def printed(done: Result, folder: Path | None = None) -> str:
    """Return the exit code and the output of a command, without the folder of the test."""
    text = f"exit code {done.exit_code}\n{done.output}"
    lines = text.replace(str(folder), "FOLDER").rstrip().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)
