"""`fast-rust drift`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fast_rust.drift import fix as fixing
from fast_rust.drift.differences import Difference, State
from fast_rust.drift.report import Report, crates_below, inspect
from fast_rust.errors import FastRustError

COULD_NOT_TELL = 2


def _lines(report: Report) -> list[str]:
    behind = f", {len(report.newer)} behind {report.newer[-1]}" if report.newer else ""
    lines = [f"{report.crate}: {report.release}{behind}"]
    for one in report.differences:
        what = f"{one.path}: {one.key}" if one.key else one.path
        match one:
            case Difference(state=State.LOOSENED):
                lines.append(f"  loosened  {what} is {one.found}, not {one.wanted} (reason: {one.reason})")
            case Difference(state=State.CHANGED, key=key) if key:
                lines.append(f"  changed   {what} is {one.found}, not {one.wanted}")
            case Difference(found=found) if found:
                lines.append(f"  {one.state:9} {what} ({found})")
            case _:
                lines.append(f"  {one.state:9} {what}")
    if not report.drifted:
        lines.append("  in line with its release")
    return lines


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "crate": str(report.crate),
        "release": report.release,
        "newer": list(report.newer),
        "differences": [asdict(one) for one in report.differences],
    }


def command(  # noqa: PLR0913  Typer makes an option of each.
    path: Annotated[
        Path, typer.Argument(help="A crate, or a workspace of them.", file_okay=False, exists=True)
    ] = Path(),
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Put back what the template owns, and nothing else.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --fix: also over work that is not committed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Only the keys of files that are shared.")] = False,
    lenient: Annotated[bool, typer.Option("--lenient", help="Where it could not tell, warn and exit with 0.")] = False,
    template: Annotated[str | None, typer.Option(help="The template's address, in place of the recorded one.")] = None,
) -> None:
    """Compare a crate with its release, in what the template owns.

    Exit codes: 0 in line; 1 drift; 2 could not tell.
    """
    reports, unclear = [], []
    for crate in crates_below(path):
        try:
            report = inspect(crate, template)
            shared = tuple(one for one in report.differences if one.path in report.owned.shared)
            reports.append(replace(report, differences=shared) if keys else report)
        except FastRustError as error:
            unclear.append(f"{crate}: {error}")
    if as_json:
        typer.echo(json.dumps({"crates": [_as_json(one) for one in reports], "unclear": unclear}, indent=2))
    else:
        typer.echo("\n".join(line for report in reports for line in _lines(report)))
    for message in unclear:
        typer.echo(f"{'warning' if lenient else 'error'}: could not tell: {message}", err=True)
    is_drift = _fix(reports, force=force) if fix else any(report.drifted for report in reports)
    if is_drift and not fix:
        message = "Put it back with `fast-rust drift --fix`, or give the reason on the line of a key: `# reason: ...`."
        typer.echo(message, err=True)
    if unclear and not lenient:
        raise typer.Exit(COULD_NOT_TELL)
    raise typer.Exit(int(is_drift))


def _fix(reports: Sequence[Report], *, force: bool) -> bool:
    """Put all right, say what was done, and whether something is left."""
    is_left = False
    for report in reports:
        written, left = fixing.fix(report, force=force)
        for path in written:
            typer.echo(f"put back  {report.crate / path}", err=True)
        for path, reason in left.items():
            typer.echo(f"left      {report.crate / path}: {reason}", err=True)
        is_left = is_left or bool(left)
    return is_left
