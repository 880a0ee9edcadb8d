"""The base class of all errors that end a command."""

from pathlib import Path

COULD_NOT = 2


class FastRustError(Exception):
    """An error for a person: the message says what failed, why, and what to run.

    `main` and `start` catch it once, print the message and exit with `exit_code`.
    """

    exit_code = COULD_NOT


def reason_of(error: OSError) -> str:
    """Return what the system says, with the file that it says it about."""
    name = f": {Path(error.filename)}" if isinstance(error.filename, str | Path) else ""
    return f"{error.strerror or error}{name}"


def message_of(error: FastRustError | OSError) -> str:
    """Return what is printed of an error that ends a command."""
    if isinstance(error, OSError):
        return f"error: {reason_of(error)}; fix the cause, and run the command again"
    return f"error: {error}"
