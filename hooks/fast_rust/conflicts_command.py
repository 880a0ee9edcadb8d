"""`fast-rust conflicts`."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

# As git and Copier write them; a line of seven `=` alone is also a heading in some texts, so it tells nothing.
MARKER = re.compile(rb"(?m)^(<{7}|>{7}|\|{7}) ")


def conflicts(folder: Path) -> Iterator[str]:
    """What an update or a merge has left to be decided: unmerged files, markers in files, rejected hunks."""
    unmerged = {entry.partition("\t")[2] for entry in _git(folder, "--unmerged")}
    for name in sorted(unmerged):
        yield f"{name}: both sides changed it; decide, then `git add {name}`"
    for name in sorted(set(_git(folder, "--cached", "--others", "--exclude-standard")) - unmerged):
        file = folder / name
        if name.endswith(".rej"):
            yield f"{name}: a change that did not fit; put it in by hand, then delete this file"
        elif file.is_file() and not file.is_symlink() and (found := MARKER.search(file.read_bytes())):
            line = file.read_bytes().count(b"\n", 0, found.start()) + 1
            yield f"{name}:{line}: a marker of a conflict; decide between the two sides"


def _git(folder: Path, *options: str) -> list[str]:
    command = ["git", "-C", str(folder), "ls-files", "-z", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        typer.echo(f"error: {done.stderr.strip()}", err=True)
        raise typer.Exit(2)
    return [name for name in done.stdout.split("\0") if name]


def command(
    folder: Annotated[
        Path, typer.Argument(help="A folder in a git repository.", file_okay=False, exists=True)
    ] = Path(),
) -> None:
    """Name what an update has left to be decided.

    Exit codes: 0 nothing; 1 something, which is named; 2 not a git repository.
    """
    found = list(conflicts(folder))
    for line in found:
        typer.echo(line)
    raise typer.Exit(int(bool(found)))
