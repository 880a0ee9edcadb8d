"""The base class of all errors that end a command."""

from pathlib import Path


class FastRustError(Exception):
    """An error for a person: the message says what failed, why, and what to run.

    `main` catches it once, prints the message and exits with `exit_code`.
    """

    exit_code = 2


def reason_of(error: OSError) -> str:
    """Return what the system says, with the file that it says it about."""
    name = f": {Path(error.filename)}" if isinstance(error.filename, str | Path) else ""
    return f"{error.strerror or error}{name}"
