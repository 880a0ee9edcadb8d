"""The streams that commands print to."""

import os
import sys
from io import TextIOWrapper


def accept_all_names() -> None:
    """Let the streams print every name of a file, also one that is not UTF-8, or that their encoding cannot express."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            is_utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def discard_the_rest() -> None:
    """Discard all output from here on: the reader of stdout has closed the pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
