"""The base class of all errors that end a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COULD_NOT = 2


class FastRustError(Exception):
    """An error for a person: the message says what failed, why, and what to run.

    `main` and `start` catch it once, print the message and exit with `exit_code`.
    """

    exit_code = COULD_NOT


@contextmanager
def changing_nothing() -> Iterator[None]:
    """Add to the message of an error that nothing was changed."""
    try:
        yield
    except FastRustError as error:
        raise type(error)(f"{error}; nothing was changed") from error


def reason_of(error: FastRustError | OSError) -> str:
    """Return what an error says; of an error of the system, with the file that it is about."""
    if isinstance(error, FastRustError):
        return str(error)
    name = f": {Path(error.filename)}" if isinstance(error.filename, str | Path) else ""
    return f"{error.strerror or error}{name}"


def message_of(error: FastRustError | OSError) -> str:
    """Return what is printed of an error that ends a command."""
    if isinstance(error, OSError):
        return f"error: {reason_of(error)}; fix the cause, and run the command again"
    return f"error: {error}"
