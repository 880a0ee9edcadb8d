"""`fast-rust adopt`."""

import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Annotated

import typer

from fast_rust.adopt import adoption as adopt
from fast_rust.adopt.adoption import AdoptError, Fate, Plan, Result

NEEDS_WORK = 1
NEXT = {
    "justfile": "move your recipes to local.just under other names, then run `git mv -f {0}.proposed {0}`",
    ".github/workflows/ci.yml": "it calls the recipes of the template's justfile: once those are in place, move your"
    " own jobs to another workflow, then run `git mv -f {0}.proposed {0}`",
}


def command(  # noqa: PLR0913  Typer makes an option of each.
    crate: Annotated[Path, typer.Argument(help="Folder of the crate.", file_okay=False, exists=True)],
    *,
    template: Annotated[
        str | None, typer.Option(help="Address of the template [default: where fast-rust was installed from].")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="vX.Y.Z", help="Template release [default: the newest].")] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Answer that replaces the inferred one; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and change nothing.")] = False,
    unstage: Annotated[
        bool,
        typer.Option("--unstage", help="In an adopted crate, enable the staged gates that the code now satisfies."),
    ] = False,
) -> None:
    """Adopt an existing crate: add the template's files and gates on a separate branch, and keep your lines.

    Exit codes: 0 adopted; 1 adopted, but you have to finish the listed steps; 2 not adopted: the message says why.
    """
    if unstage:
        is_left = _unstage(crate)
    else:
        plan = adopt.plan(crate, template or own_address(), to, _pairs(data or []))
        _show(plan)
        is_left = not dry_run and _report(adopt.apply(plan))
    if is_left:
        raise typer.Exit(NEEDS_WORK)


def own_address() -> str:
    """Return the repository that this program was installed from.

    Raises AdoptError where it is unknown.
    """
    origin = json.loads(distribution("fast-rust").read_text("direct_url.json") or "{}")
    url = str(origin.get("url", "")).removeprefix("file://")
    if not url:
        raise AdoptError("the address of the template is unknown; pass it with --template")
    return url


def _pairs(data: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in data]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise AdoptError(f"--data {wrong[0]} has no value; write --data {wrong[0]}=VALUE")
    return {name: value for name, _, value in pairs}


def _show(plan: Plan) -> None:
    typer.echo(f"Adopting {plan.crate.folder} with release {plan.release}.\n\n## Answers\n")
    typer.echo("| question | answer | reason |\n| --- | --- | --- |")
    for answer in plan.answers:
        value = str(answer.value).lower() if isinstance(answer.value, bool) else answer.value
        typer.echo(f"| {answer.name} | {value} | {answer.ground} |")
    typer.echo("\n## Files\n")
    for path, fate in plan.fates.items():
        typer.echo(f"- {fate}: {path}{'.proposed' if fate is Fate.PROPOSED else ''}")


def _report(result: Result) -> bool:
    """Print the result, and return whether it needs a person."""
    typer.echo("\n## Directives\n\n| directive | status | gates |\n| --- | --- | --- |")
    for name, how, by in result.directives:
        typer.echo(f"| {name} | {how} | {by} |")
    ways = [how for _, how, _ in result.directives]
    counts = ", ".join(f"{ways.count(way)} {way}" for way in ("enforced", "staged", "review"))
    typer.echo(f"\nOf {len(ways)} directives: {counts}.")
    if result.staging.places:
        typer.echo("\n## Staged\n\nDisabled until the code satisfies them:\n")
        for gate, count in result.staging.places.items():
            typer.echo(f"- {gate}: {count}")
    if result.warning:
        typer.echo(f"warning: {result.warning}", err=True)
    typer.echo(f"\n## Next\n\nYou are on the branch {adopt.BRANCH}; `git switch -` returns to the previous branch.\n")
    for path in result.proposed:
        how = NEXT.get(path, "compare the two files; to replace yours, run `git mv -f {0}.proposed {0}`").format(path)
        typer.echo(f"- {path} is only proposed: {how}")
    for what in result.staging.left:
        typer.echo(f"- still failing: {what}")
    typer.echo("- fix the places of the staged gates, one gate at a time, then run `fast-rust adopt --unstage .`")
    return bool(result.proposed or result.staging.left)


def _unstage(crate: Path) -> bool:
    before, staging = adopt.unstage(crate)
    for gate, count in before.items():
        now = staging.places.get(gate, 0)
        typer.echo(f"{'disabled' if now else 'enabled':8} {gate}: {count} when it was staged, {now} now")
    for what in staging.left:
        typer.echo(f"still failing: {what}")
    typer.echo("Review with `git diff`, and commit." if before else "No gate is staged.")
    return bool(staging.left)
