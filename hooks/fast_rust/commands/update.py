"""`fast-rust update`."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust.answers import answers_file, as_answers, require_answers
from fast_rust.drift.report import inspect
from fast_rust.errors import FastRustError, reason_of
from fast_rust.members import behind
from fast_rust.output import discard_the_rest
from fast_rust.update import journal
from fast_rust.update.apply import apply
from fast_rust.update.merge import MergeResult
from fast_rust.update.plan import Standing, UpdatePlan, plan
from fast_rust.update.target_tool import hand_over

NEEDS_WORK = 1
UNCOMMITTED = (
    "The last update is not committed yet: `fast-rust conflicts` lists its conflicts,"
    " `fast-rust update --abort` undoes it."
)
CrateFolder = Annotated[Path, typer.Argument(help="Folder of the crate.", file_okay=False, exists=True)]


def command(
    crate: CrateFolder = Path(),
    *,
    to: Annotated[
        str | None, typer.Option(metavar="vX.Y.Z", help="Template release to update to [default: the newest].")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Change the answer to a question of the template, such as allocator=mimalloc; repeatable.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes, and change nothing.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Undo an update that you have not committed.")] = False,
) -> None:
    """Update a crate to a newer release of its Copier template: merges the template's changes with yours, like git.

    Exit codes: 0 updated, or nothing to do; 1 updated, but you have to finish the listed steps; 2 not
    updated: the message says why, and nothing was changed.
    """
    if not abort and (code := hand_over(crate, to)) is not None:
        raise typer.Exit(code)
    with journal.only_update(crate):
        is_left = _abort(crate) if abort else _update(crate, to, as_answers(data or []), dry_run=dry_run)
    if not abort and not dry_run:
        _name_members_behind(crate)
    if is_left:
        raise typer.Exit(NEEDS_WORK)


def _name_members_behind(crate: Path) -> None:
    """Print the members below a crate that are of an older release, and how to update them."""
    for member, release in behind(crate):
        typer.echo(
            f"The member {member} still uses the older release {release}; commit, then run `fast-rust update {member}`."
        )


def _abort(crate: Path) -> bool:
    journal.abort(crate)
    typer.echo("The update is undone.")
    return False


def _update(crate: Path, to: str | None, data: dict[str, str], *, dry_run: bool) -> bool:
    """Update a crate, and return whether a person has to finish it."""
    planned = plan(crate, to, data)
    match planned:
        case Standing.UP_TO_DATE:
            typer.echo(f"Up to date with template release {require_answers(crate).release}.")
            if journal.is_pending(crate):
                typer.echo(UNCOMMITTED)
            return False
        case Standing.AHEAD:
            typer.echo("The crate uses a commit after the newest release; nothing to update.")
            return False
        case UpdatePlan():
            try:
                _show(planned, dry_run=dry_run)
            except BrokenPipeError:
                # A reader that has seen enough, such as `head`, does not stop the update.
                discard_the_rest()
            if dry_run:
                typer.echo("\nNothing was changed. To update the crate, run the same command without --dry-run.")
            else:
                _report(planned, apply(planned))
    return planned.needs_a_person and not dry_run


def _show(planned: UpdatePlan, *, dry_run: bool) -> None:
    before, after = planned.answers.release, planned.target
    what = "Plan to update" if dry_run else "Updating"
    if before == after:
        typer.echo(f"{what} the crate to changed answers; it stays on template release {after}.\n")
    else:
        typer.echo(f"{what} the crate from template release {before} to {after}.\n")
    typer.echo("Files:" if planned.changes else "No file changes.")
    for path, change in planned.changes.items():
        typer.echo(f"  {change.result:8}  {path}")
    for path, change in planned.changes.items():
        if change.reason:
            typer.echo(f"{path}: {change.reason}.")
    for path, what in planned.starters.items():
        typer.echo(f"{path} is your file, so the update does not change it: {what}.")
    for name in planned.changed_answers:
        file = answers_file(planned.crate).name
        typer.echo(f"The release rejects your answer to the question `{name}`, and uses its default: see {file}.")
    if any(change.result is MergeResult.CONFLICT and not change.reason for change in planned.changes.values()):
        typer.echo(
            "`conflict`: you and the release changed the same lines; the update leaves conflict markers in the file."
        )
    if planned.changelog:
        typer.echo(f"\n{planned.changelog}")


def _report(planned: UpdatePlan, lock: str) -> None:
    """Print the remaining steps; the update is complete, so an error here does not end the command."""
    try:
        _print_report(planned, lock)
    except (OSError, FastRustError) as error:
        message = "warning: the update is complete, but the list of next steps could not be printed"
        typer.echo(f"{message}: {reason_of(error)}", err=True)


def _print_report(planned: UpdatePlan, lock: str) -> None:
    typer.echo()
    if lock:
        typer.echo(f"Cargo.lock: {lock}")
    if conflicts := planned.having(MergeResult.CONFLICT):
        typer.echo("Resolve the conflicts in these files (search for <<<<<<<), then `git add` them:")
        for path in conflicts:
            typer.echo(f"  {path}")
    else:
        for difference in inspect(planned.crate).drifted:
            typer.echo(
                f"Still {difference.state}: {difference.path} {difference.key}".rstrip()
                + " (run `fast-rust drift` for details)"
            )
    typer.echo(
        "Review with `git status` and `git diff HEAD`, run `just check`, and commit;"
        " `fast-rust update --abort` undoes the update."
    )
