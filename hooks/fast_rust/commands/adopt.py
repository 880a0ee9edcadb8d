"""`fast-rust adopt`."""

import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Annotated

import typer

from fast_rust.adopt import adoption, planning
from fast_rust.adopt.adoption import Result
from fast_rust.adopt.enabling import is_judged
from fast_rust.adopt.marks import Mark
from fast_rust.adopt.planning import BRANCH, AdoptError, AdoptionPlan, FileAction, renamed_from, spelling_of
from fast_rust.adopt.tool_output import FIRST_PLACES
from fast_rust.answers import as_answers
from fast_rust.drift.keys import name_of
from fast_rust.owned import Key

NEEDS_WORK = 1
# Gates of which single entries are staged.
UNNAMED = {"cargo-deny", "cargo-shear", "clippy.toml"}
REPLACE = "run `git mv -f {0}.proposed {0}`"
NEXT = {
    "justfile": f"move the recipes that you keep to local.just, under other names than the template's, then {REPLACE}",
    ".github/workflows/ci.yml": "first replace your justfile, since the template's workflow calls the recipes of the"
    f" template's justfile; move your own jobs to another workflow; then {REPLACE}",
}
OTHERWISE = f"to replace yours, {REPLACE}; to keep it, delete the other"


def command(  # noqa: PLR0913  Typer makes an option of each.
    crate: Annotated[Path, typer.Argument(help="Folder of the crate.", file_okay=False, exists=True)],
    *,
    template: Annotated[
        str | None,
        typer.Option(help="Address of the template [default: the repository from which fast-rust was installed]."),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="vX.Y.Z", help="Template release [default: the newest].")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Answer to a question of the template [default: inferred from the crate]; repeatable.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and change nothing.")] = False,
    unstage: Annotated[
        bool,
        typer.Option("--unstage", help="Enable the checks that `adopt` disabled in this crate and that pass now."),
    ] = False,
) -> None:
    """Add the files and checks of the Copier template to an existing crate, on a new git branch; deletes no lines.

    If the code fails a check, the check is disabled, with a comment; `--unstage` enables it once the code passes.

    Exit codes: 0 adopted; 1 adopted, but you have to finish the listed steps; 2 not adopted: the message says why.
    """
    if unstage:
        is_left = _unstage(crate)
    else:
        plan = planning.plan(crate, template or own_address(), to, as_answers(data or []))
        _show(plan, "Plan to adopt" if dry_run else "Adopting")
        is_left = not dry_run and _report(plan.crate.folder, adoption.apply(plan))
        if dry_run:
            typer.echo(
                "\nNothing was changed. To correct an answer, add --data QUESTION=ANSWER; to adopt the crate, run the"
                " same command without --dry-run."
            )
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


MEANINGS = {
    FileAction.ADDED: "a new file",
    FileAction.UNCHANGED: "your file is already the template's",
    FileAction.MERGED: "your file gets keys that it does not have; your own keys stay as they are",
    FileAction.PROPOSED: "your file stays unchanged; the template's is written next to it, with the suffix .proposed",
    FileAction.LEFT_OUT: "not written",
}
NOTES = {FileAction.LEFT_OUT: ", which is needed only at the root of the repository"}
# What keys change that were not there before; all others are read by gates alone.
EFFECTS = {
    ("profile", "bench"): "`cargo bench` uses this profile",
    ("profile", "profiling"): "a new profile; your builds do not use it",
    ("profile", "quick"): "a new profile; your builds do not use it",
    ("workspace", "lints"): "cargo reports these lints in each package that inherits them",
    ("lints",): "the package inherits the lints of its workspace",
    ("workspace", "metadata", "perf"): "limits of `just perf`",
    ("workspace", "metadata", "ci"): "platforms on which CI runs the tests",
    ("workspace", "exclude"): "crates that were not members do not become members",
    ("package", "exclude"): "files that `cargo publish` omits",
}
# How all places of a staged gate are listed.
LISTINGS = {
    "clippy": "cargo clippy --workspace --all-targets --all-features -- --warn {0}",
    "rustc": "cargo clippy --workspace --all-targets --all-features -- --warn {1}",
    "rustdoc": 'RUSTDOCFLAGS="--warn {0}" cargo doc --workspace --all-features --no-deps',
    "rustfmt": "cargo fmt --all -- --check --config disable_all_formatting=false",
    "nextest": "just test` without `test-threads` in `.config/nextest.toml",
    "clippy.toml": "just clippy` without its line in `clippy.toml",
    "cargo-deny": "just audit` without its line in `deny.toml",
    "cargo-shear": "just audit` without its line in `Cargo.toml",
}


def _show(plan: AdoptionPlan, what: str) -> None:
    typer.echo(f"{what} {plan.crate.folder} with release {plan.release}.\n\n## Answers\n")
    typer.echo("| question | answer | reason |\n| --- | --- | --- |")
    for answer in plan.answers:
        value = str(answer.value).lower() if isinstance(answer.value, bool) else answer.value
        typer.echo(f"| {answer.name} | {value} | {answer.reason} |")
    typer.echo("\n## Files\n")
    typer.echo("".join(f"{action}: {MEANINGS[action]}.\n" for action in FileAction if action in plan.actions.values()))
    for path, action in plan.actions.items():
        other = spelling_of(plan.crate.folder, path) or renamed_from(plan.crate.folder, path)
        note = f", because {other} exists" if other else NOTES.get(action, "")
        typer.echo(f"- {action}: {path}{'.proposed' if action is FileAction.PROPOSED else ''}{note}")


def _report(crate: Path, result: Result) -> bool:
    """Print the result, and return whether it needs a person."""
    typer.echo("\n## Rules\n\nThe rules of the standards, and the checks that enforce each:\n")
    typer.echo("| rule | status | checks |\n| --- | --- | --- |")
    for name, how, by in result.directives:
        typer.echo(f"| {name} | {how} | {by} |")
    ways = [how for _, how, _ in result.directives]
    counts = ", ".join(f"{ways.count(way)} {way}" for way in ("enforced", "staged", "review"))
    typer.echo(f"\nOf {len(ways)} rules: {counts}.")
    typer.echo("`staged`: a check is disabled, since the code fails it; `review`: only reviewers can enforce the rule.")
    _show_keys(result)
    _show_staged(result)
    if result.warning:
        typer.echo(f"warning: {result.warning}", err=True)
    typer.echo(
        f"\n## Next\n\nThe changes are committed on the branch {BRANCH}; `git switch -` returns to the previous one.\n"
    )
    # The workflows need the recipes of the template's justfile.
    for path in sorted(result.proposed, key=lambda path: path != "justfile"):
        how = NEXT.get(path, OTHERWISE).format(path)
        if other := spelling_of(crate, path):
            how = f"{how} and `git rm {other}`: keep only one of the two"
        typer.echo(f"- {path}: yours is unchanged, and the template's is in {path}.proposed: {how}")
    if result.staging.places:
        typer.echo(
            "- fix the code for the disabled checks, one check at a time, then run `fast-rust adopt --unstage .`"
        )
    return bool(result.proposed)


def _show_keys(result: Result) -> None:
    if result.keys:
        typer.echo("\n## Keys\n\nAdded to your files:\n")
    for path, keys in result.keys.items():
        tables: dict[Key, list[str]] = {}
        for key in keys:
            tables.setdefault(key[:-1], []).append(name_of(key[-1:]))
        for table, names in tables.items():
            effect = next(
                (f": {said}" for start, said in EFFECTS.items() if (*table, *names)[: len(start)] == start), ""
            )
            inside = f" [{name_of(table)}]" if table else ""
            typer.echo(f"- {path}{inside} {', '.join(names)}{effect}")


def _show_staged(result: Result) -> None:
    if result.staging.places:
        typer.echo("\n## Staged\n\nChecks that the code fails, disabled until it passes, with the number of places:\n")
    for gate, count in result.staging.places.items():
        places = sorted({*result.staging.where.get(gate, ())})
        tool, _, lint = gate.partition("::")
        command = LISTINGS.get(tool, "just rules` without its line in `Cargo.toml").format(gate, lint)
        more = ", ..." if len(places) > FIRST_PLACES else ""
        typer.echo(f"- {gate}: {count}: {', '.join(places[:FIRST_PLACES])}{more}; to list all, run `{command}`")


def _unstage(crate: Path) -> bool:
    """Enable the checks that pass now, print each, and return whether something is left for a person."""
    done = adoption.unstage(crate)
    if not done.before:
        typer.echo("`adopt` disabled no check in this crate, so `--unstage` can enable none.")
        return False
    is_left = bool(done.staging.left)
    for mark, count in done.before.items():
        now = done.now.get(mark, 0)
        name = f"{mark.gate} {mark.text.strip(' #,=')}" if mark.gate in UNNAMED else mark.gate
        if not is_judged(mark.gate, done.staging.unjudged):
            typer.echo(f"disabled {name}: {count} when `adopt` disabled it; the check did not run now")
        elif now > count:
            is_left = True
            typer.echo(
                f"disabled {name}: {count} when `adopt` disabled it, {now} now: the code may not add any;"
                f" {_where(done, mark)}"
            )
        else:
            typer.echo(f"{'disabled' if now else 'enabled':8} {name}: {count} when `adopt` disabled it, {now} now")
    for mark in done.now.keys() - done.before.keys():
        is_left = True
        typer.echo(f"failing  {mark.gate}: the check is enabled, and stays enabled; {_where(done, mark)}")
    for what in done.staging.left:
        typer.echo(f"failing  {what}")
    typer.echo("Review with `git diff`, and commit.")
    return is_left


def _where(done: adoption.Unstaging, mark: Mark) -> str:
    places = done.staging.where.get(mark.gate, ())
    return f"see {', '.join(places)}" if places else "`just check` shows where"
