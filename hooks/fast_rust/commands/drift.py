"""`fast-rust drift`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fast_rust.drift import fix as fixing
from fast_rust.drift.differences import NOT_TOML, Difference, State
from fast_rust.drift.report import Report, crates_below, inspect
from fast_rust.errors import FastRustError
from fast_rust.without import PARTS

NOT_COMPARED = 2


def _lines(report: Report) -> list[str]:
    lines = [f"{report.crate}: template release {report.release}{_position(report)}"]
    for difference in report.differences:
        what = f"{difference.path}: {difference.key}" if difference.key else difference.path
        values = f"{what} is {difference.found}; the template has {difference.wanted}"
        match difference:
            case Difference(state=State.LOOSENED):
                detail = f"{values} (reason: {difference.reason})"
            case Difference(state=State.CHANGED, key=key) if key:
                detail = values
            case Difference(found=found) if found:
                detail = f"{what} ({found})"
            case _:
                detail = what
        lines.append(f"  {difference.state:9} {detail}")
    if not report.drifted:
        lines.append("  no drift: all template-owned files and keys are as in the release")
    return lines


def _position(report: Report) -> str:
    if report.newer:
        count = len(report.newer)
        return f", {count} {'release' if count == 1 else 'releases'} behind {report.newer[-1]}"
    return f", newer than the release {report.ahead_of}" if report.ahead_of else ""


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "crate": str(report.crate),
        "release": report.release,
        "newer": list(report.newer),
        "differences": [asdict(difference) for difference in report.differences],
    }


def command(  # noqa: PLR0913  Typer makes an option of each.
    path: Annotated[
        Path, typer.Argument(help="Folder of a crate or of a workspace.", file_okay=False, exists=True)
    ] = Path(),
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Restore the template's content where the crate differs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --fix, also overwrite uncommitted changes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys",
            help="Compare only files that you edit too, such as Cargo.toml, and in them only the template's keys.",
        ),
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Print a warning, not an error, for a crate that cannot be compared.")
    ] = False,
    template: Annotated[
        str | None, typer.Option(help="Address of the template [default: the one in .copier-answers.yml].")
    ] = None,
) -> None:
    """Report drift: how the crate's copies of the template's files and keys differ from its template release.

    Exit codes: 0 no drift; 1 drift, or --fix left a file unfixed; 2 a crate could not be compared.
    """
    reports, failed = _inspect(path, template)
    if keys:
        reports = [replace(report, differences=_of_keys(report)) for report in reports]
    if as_json:
        typer.echo(json.dumps({"crates": [_as_json(report) for report in reports], "unclear": failed}, indent=2))
    else:
        typer.echo("\n".join(line for report in reports for line in _lines(report)), nl=bool(reports))
    for message in failed:
        typer.echo(f"{'warning' if lenient else 'error'}: cannot compare {message}", err=True)
    is_drift = _fix(reports, force=force) if fix else any(report.drifted for report in reports)
    if is_drift and not fix:
        typer.echo(_next_step(reports), err=True)
        if parts := sorted(part for part, files in PARTS.items() if _missing(reports) & set(files)):
            line = f"without = {json.dumps(parts)}"
            typer.echo(
                f"If you do not want the missing files, add to [workspace.metadata.fast-rust] of Cargo.toml: {line}",
                err=True,
            )
    if failed and not lenient:
        raise typer.Exit(NOT_COMPARED)
    raise typer.Exit(int(is_drift))


def _next_step(reports: list[Report]) -> str:
    drifted = [difference for report in reports for difference in report.drifted]
    if broken := [difference.path for difference in drifted if difference.found.startswith(NOT_TOML)]:
        return f"Correct {', '.join(broken)}, then run `fast-rust drift` again."
    return (
        "Run `fast-rust drift --fix` to restore the template's content. To keep your value of a key, end its line with"
        " the reason: `# reason: ...`, at least two words."
    )


def _inspect(path: Path, template: str | None) -> tuple[list[Report], list[str]]:
    """Compare all crates below a folder; return the reports, and why the others cannot be compared."""
    reports, failed = [], []
    try:
        crates = crates_below(path)
    except FastRustError as error:
        return [], [f"{path} with its release: {error}"]
    for crate in crates:
        try:
            reports.append(inspect(crate, template))
        except FastRustError as error:
            failed.append(f"{crate} with its release: {error}")
    return reports, failed


def _missing(reports: Sequence[Report]) -> set[str]:
    return {one.path for report in reports for one in report.drifted if one.state is State.MISSING}


def _of_keys(report: Report) -> tuple[Difference, ...]:
    return tuple(difference for difference in report.differences if difference.path in report.owned.shared)


def _fix(reports: Sequence[Report], *, force: bool) -> bool:
    """Restore drifted files, print the result for each, and return whether a file could not be restored."""
    restored, is_left = False, False
    for report in reports:
        for path, reason in fixing.fix(report, force=force):
            what = f"left      {report.crate / path}: {reason}" if reason else f"restored  {report.crate / path}"
            typer.echo(what, err=True)
            restored, is_left = restored or not reason, is_left or bool(reason)
    if restored and not is_left:
        typer.echo("Review the restored files, then commit them.", err=True)
    return is_left
