"""Prints what the checks of a workspace find."""

import re
import sys
from importlib import import_module
from pathlib import Path

from fast_rust.checks.everything import find_all
from fast_rust.checks.findings import Severity
from fast_rust.checks.formats import Format, default_format, render
from fast_rust.output import discard_the_rest
from fast_rust.version import own_version

# A commit between releases, like `v0.8.0-3-gabc1234` or `abc1234`, is not a release.
RELEASE = re.compile(r"""(?m)^_commit: *["']?(v?\d+\.[\w.]+)["']?\s*$""")


def report(path: Path, how: str | None = None, *, advice: bool = False) -> int:
    """Check a workspace, print the findings in a format, and return the exit code.

    Without a format, it is that of GitHub in a workflow there, and else for a person.
    Raises FastRustError where the workspace cannot be checked.
    """
    how = how or default_format()
    findings = find_all(path, advice=advice)
    _warn_of_another_release(path)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    try:
        if text := render(findings, Format(how)):
            print(text, flush=True)
    except BrokenPipeError:
        discard_the_rest()
        return int(errors > 0)
    if errors and how == Format.FULL:
        gates = " ".join(sorted({finding.gate for finding in findings if finding.severity is Severity.ERROR}))
        print(
            f"\n{errors} error{'s' * (errors > 1)}. For the reasons, run: just fast-rust explain {gates}",
            file=sys.stderr,
        )
    elif how == Format.FULL:
        print("No errors.", file=sys.stderr)
    return int(errors > 0)


def _warn_of_another_release(path: Path) -> None:
    # Its parser takes as long to import as all before ast-grep starts.
    answers: Path = import_module("fast_rust.answers").answers_file(path)
    release = RELEASE.search(answers.read_text(encoding="utf-8", errors="replace")) if answers.is_file() else None
    if release and release[1].removeprefix("v") != (own := own_version()):
        print(
            f"warning: this is fast-rust {own}, but the crate uses template release {release[1]}; "
            "to check with that release, run: just fast-rust check",
            file=sys.stderr,
        )
