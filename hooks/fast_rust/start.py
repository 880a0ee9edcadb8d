"""The program `fast-rust`: starts `check`, which runs at each commit, without importing what other commands need."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from fast_rust.errors import COULD_NOT, FastRustError, message_of
from fast_rust.output import accept_all_names, discard_the_rest


def main() -> None:
    """Run a command, and exit with its exit code; a reader may close its pipe early, such as `head`."""
    try:
        try:
            if sys.argv[1:2] != ["check"] or (code := check(sys.argv[2:])) is None:
                import_module("fast_rust.main").application()
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        code = 0
        discard_the_rest()
    except SystemExit as end:
        # Typer exits with 1 then.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = 0
        discard_the_rest()
    sys.exit(code)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def check(arguments: Sequence[str]) -> int | None:
    """Run `check` and return its exit code; None for arguments that Typer answers: `--help`, and those that are wrong.

    The options are defined, with their help, in commands/check.py.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("path", nargs="?", type=Path, default=Path())
    parser.add_argument("--advice", action="store_true")
    parser.add_argument("--output-format", choices=("full", "concise", "github", "json", "sarif"))
    try:
        given = parser.parse_args(arguments)
    except ValueError:
        return None
    if not given.path.is_dir():
        return None
    accept_all_names()
    try:
        report = import_module("fast_rust.checks.report").report
        code: int = report(given.path, given.output_format, advice=given.advice)
    except (FastRustError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        print(message_of(error), file=sys.stderr)
        return error.exit_code if isinstance(error, FastRustError) else COULD_NOT
    return code
