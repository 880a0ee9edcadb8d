"""`fast-rust update`."""

from pathlib import Path
from typing import Annotated

import typer

from fast_rust import update
from fast_rust.drift_command import inspect
from fast_rust.releases import TemplateError
from fast_rust.rendering import AnswersError, RenderingError, answers_file
from fast_rust.update import Fate, Plan

NEEDS_WORK, COULD_NOT = 1, 2
CrateFolder = Annotated[Path, typer.Argument(help="The folder of the crate.", file_okay=False, exists=True)]


def command(
    crate: CrateFolder = Path(),
    *,
    to: Annotated[str | None, typer.Option(metavar="vX.Y.Z", help="The release; the newest by default.")] = None,
    data: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change an answer.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and do nothing.")] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Bring the crate back, if the update is not committed.")
    ] = False,
) -> None:
    """Take a crate to a newer release of the template; no line of yours is lost.

    Exit codes: 0 updated, or nothing to do; 1 updated, and something is left for you; 2 nothing was changed.
    """
    try:
        if abort:
            update.abort(crate)
            typer.echo("The crate is as it was before the update.")
            return
        plan = update.plan(crate, to, _as_answers(data or []))
        if plan is None:
            typer.echo("Up to date.")
            return
        _show(plan)
        if dry_run:
            return
        _report(plan, update.apply(plan))
    except (AnswersError, RenderingError, TemplateError, update.UpdateError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(COULD_NOT) from error
    if plan.having(Fate.CONFLICT) or plan.having(Fate.KEPT) or plan.changed_answers:
        raise typer.Exit(NEEDS_WORK)


def _as_answers(data: list[str]) -> dict[str, str]:
    if wrong := [pair for pair in data if "=" not in pair]:
        raise update.UpdateError(f"--data {wrong[0]}: type KEY=VALUE")
    return dict(pair.split("=", 1) for pair in data)


def _show(plan: Plan) -> None:
    typer.echo(f"From {plan.answers.release} to {plan.target}.\n")
    if plan.changelog:
        typer.echo(f"{plan.changelog}\n")
    typer.echo("Files:" if plan.changes else "No file changes.")
    for path, change in plan.changes.items():
        typer.echo(f"  {change.fate:8}  {path}")
    for path in plan.having(Fate.KEPT):
        typer.echo(f"{path} is no longer the template's. You had changed it, so it stays: keep it, or delete it.")
    for name in plan.changed_answers:
        file = answers_file(plan.crate).name
        typer.echo(f"The release does not take your answer to `{name}`, and has its default: see {file}.")
    if plan.having(Fate.CONFLICT):
        typer.echo("You and the release changed the same lines of a file marked `conflict`.")


def _report(plan: Plan, lock: str) -> None:
    typer.echo()
    if lock:
        typer.echo(f"Cargo.lock: {lock}")
    if conflicts := plan.having(Fate.CONFLICT):
        typer.echo("Look for <<<<<<< in these, then `git add` them:")
        for path in conflicts:
            typer.echo(f"  {path}")
    else:
        for one in inspect(plan.crate).drifted:
            typer.echo(f"Still {one.state}: {one.path} {one.key}".rstrip() + " (`fast-rust drift` tells more)")
    typer.echo("Look with `git diff`, run `just check`, and commit; `fast-rust update --abort` brings all back.")
