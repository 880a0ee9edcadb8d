"""How a comparison ends without figures."""

from fast_rust.errors import FastRustError


class NotMeasuredError(FastRustError):
    """The speed could not be measured; the message says why, and what to type."""


class DoesNotRunError(FastRustError):
    """Benches that do not build or run; the message is the end of what was printed."""


class NothingToCompare(FastRustError):  # noqa: N818  Not an error.
    """Nothing could be faster or slower; the message says why."""

    exit_code = 0
