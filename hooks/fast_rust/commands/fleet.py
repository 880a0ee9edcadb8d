"""`fast-rust fleet`."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fast_rust.fleet import bootstrap as bootstrapping
from fast_rust.fleet import inspection, inventory, renovate, templates
from fast_rust.fleet import update as updating
from fast_rust.fleet.checks import Checks
from fast_rust.fleet.manifest import Manifest, ManifestError, read_manifest, read_shard
from fast_rust.fleet.outcome import Outcome
from fast_rust.fleet.report import FleetReport, merged, read_report
from fast_rust.fleet.repositories import require_separate
from fast_rust.fleet.run import Result, Run
from fast_rust.fleet.workers import Job
from fast_rust.fleet.written import write_report

NEEDS_WORK, STOPPED = 1, 3

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Create, compare and update many crates of one Copier template, as listed in fleet.toml.

    fleet.toml divides the crates into rings: groups that are updated one after the other.

    Exit codes: 0 all crates are done; 1 some crates need manual work, and the output names them; 2 the run did not
    start; 3 the run stopped in a ring, because the checks failed in too many of its crates.
    """,
)

ManifestPath = Annotated[
    Path, typer.Option("--manifest", help="File that lists the crates of the fleet.", dir_okay=False)
]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Number of worker processes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result of each crate as JSON, and nothing else.")]
RingName = Annotated[
    str | None,
    typer.Option(
        "--ring", metavar="NAME", help="Process only the crates of this ring (group of crates in fleet.toml)."
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Process only the I-th of N parts of the fleet, to share the work among machines.",
    ),
]
To = Annotated[
    str | None, typer.Option("--to", metavar="vX.Y.Z", help="Template release to use [default: the newest].")
]
OtherTemplate = Annotated[
    Path | None,
    typer.Option(
        "--template",
        help="Compare with this local checkout of the template, including uncommitted changes, instead of a release.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do the work in temporary clones, and change nothing.")]
Push = Annotated[bool, typer.Option("--push", help="Push the new branches to `origin`.")]

MANIFEST = Path("fleet.toml")
JOBS = os.cpu_count() or 1


def _read(path: Path, ring: str | None = None, shard: str | None = None) -> Manifest:
    return read_manifest(path).part(ring=ring, shard=read_shard(shard) if shard else None)


# --- Showing a run ---


def _go(run: Run[Job], *, as_json: bool) -> Result:
    """Run a command, print each crate when it is done, and the summary."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_shown = console.is_terminal and not as_json
    bars = Progress(*columns, console=console, disable=not is_shown, redirect_stdout=sys.stdout.isatty())
    with bars as progress:
        bar = progress.add_task(run.command, total=len(run.manifest.crates))

        def show(outcome: Outcome) -> None:
            if not as_json:
                print(f"{outcome.state:17} {outcome.crate}  {outcome.detail}".rstrip(), flush=True)
            progress.advance(bar)

        result = run.go(show, lambda count: progress.advance(bar, count))
    _sum_up(run.command, result, as_json=as_json)
    if result.stopped:
        raise typer.Exit(STOPPED)
    return result


def _sum_up(command: str, result: Result, *, as_json: bool) -> None:
    counts = Counter(str(outcome.state) for outcome in result.crates)
    if as_json:
        content = {"command": command, "summary": counts, "crates": [outcome.as_dict() for outcome in result.crates]}
        typer.echo(json.dumps(content, indent=1))
        return
    summary = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    total = len(result.crates)
    typer.echo(f"\n{total} {'crate' if total == 1 else 'crates'}: {summary or 'none'}")
    if result.stopped:
        typer.echo(result.stopped, err=True)


def _end(result: Result) -> None:
    if result.needs_a_person:
        raise typer.Exit(NEEDS_WORK)


# --- The commands ---


@application.command()
def init(
    source: Annotated[Path, typer.Argument(help="Folder of clones, or CSV file with a column `name`.", exists=True)],
    *,
    template: Annotated[str, typer.Option(help="Address of the template that the crates record.")],
    manifest: ManifestPath = MANIFEST,
) -> None:
    """From a folder of clones or a CSV file, write fleet.toml: the list of crates for the other fleet commands."""
    if manifest.exists():
        raise ManifestError(f"{manifest} exists; delete it, or pass another file with --manifest")
    rows = inventory.of_folder(source) if source.is_dir() else inventory.of_csv(source)
    # The folder is relative to the manifest.
    folder = os.path.relpath(source, manifest.parent) if source.is_dir() else "."
    read = inventory.write_manifest(manifest, inventory.manifest_text(template, folder, rows))
    typer.echo(f"{manifest} has {len(read.crates)} crates in {len(read.rings)} rings.")


@application.command()
def bootstrap(  # noqa: PLR0913  Typer makes an option of each.
    *,
    manifest: ManifestPath = MANIFEST,
    to: To = None,
    ring: RingName = None,
    shard: Shard = None,
    push: Push = False,
    dry_run: DryRun = False,
    jobs: Jobs = JOBS,
    as_json: AsJson = False,
) -> None:
    """Create the crates of fleet.toml that do not exist, and adopt those that do not use the template yet."""
    fleet = _read(manifest, ring, shard)
    release = templates.target_of(fleet, to, templates.refresh(fleet, ()))
    bootstrapping.require_answers_that_apply(fleet, release)
    wanted = bootstrapping.BootstrapOptions(fleet.template, release, push, dry_run)
    name = "bootstrap-trial" if dry_run else "bootstrap"
    options = {"release": release, "push": push}
    _end(_go(Run(fleet, name, options, bootstrapping.bootstrap, lambda _: wanted, jobs), as_json=as_json))


@contextmanager
def _inspected(fleet: Manifest, to: str | None, template: Path | None) -> Iterator[inspection.InspectionOptions]:
    """Give what to inspect; a checkout of the template is a release meanwhile."""
    unreachable = templates.refresh(fleet, fleet.crates)
    if template is None:
        target = templates.target_of(fleet, to, unreachable)
        yield inspection.InspectionOptions(target, unreachable=unreachable)
    elif to is not None:
        yield inspection.InspectionOptions(to, str(template.resolve()), unreachable=unreachable)
    else:
        with templates.checkout_as_release(template.resolve()) as (address, commit):
            yield inspection.InspectionOptions(commit, address, label=str(template), unreachable=unreachable)


def _inspect(
    command: str, fleet: Manifest, wanted: inspection.InspectionOptions, jobs: int, *, as_json: bool
) -> Result:
    options: dict[str, Any] = vars(wanted)
    run = Run(fleet, command, options, inspection.inspect, lambda _: wanted, jobs, resumes=False)
    return _go(run, as_json=as_json)


@application.command()
def plan(  # noqa: PLR0913
    *,
    manifest: ManifestPath = MANIFEST,
    to: To = None,
    template: OtherTemplate = None,
    ring: RingName = None,
    shard: Shard = None,
    jobs: Jobs = JOBS,
    as_json: AsJson = False,
) -> None:
    """List, for each crate, the files that an update would change, and those with merge conflicts. Changes nothing."""
    fleet = _read(manifest, ring, shard)
    with _inspected(fleet, to, template) as wanted:
        result = _inspect("plan", fleet, replace(wanted, drift=False), jobs, as_json=as_json)
    _end(result)


@application.command()
def drift(
    *,
    manifest: ManifestPath = MANIFEST,
    ring: RingName = None,
    shard: Shard = None,
    jobs: Jobs = JOBS,
    as_json: AsJson = False,
) -> None:
    """Compare each crate's template-owned files and keys with the template release it uses. Changes nothing."""
    fleet = _read(manifest, ring, shard)
    wanted = inspection.InspectionOptions("", plan=False, unreachable=templates.refresh(fleet, fleet.crates))
    _end(_inspect("drift", fleet, wanted, jobs, as_json=as_json))


@application.command()
def update(  # noqa: PLR0913
    *,
    manifest: ManifestPath = MANIFEST,
    to: To = None,
    ring: RingName = None,
    shard: Shard = None,
    dry_run: DryRun = False,
    push: Push = False,
    one: Annotated[
        bool,
        typer.Option(
            "--one",
            help="Update the crate in this folder, in its working tree; a conflict changes nothing; needs no manifest.",
        ),
    ] = False,
    jobs: Jobs = JOBS,
    as_json: AsJson = False,
) -> None:
    """Update the crates to a template release: commits to the branch copier-fast-rust/vX.Y.Z of each repository."""
    if one:
        if ring or shard or push:
            raise ManifestError("--one updates only the current folder; omit --ring, --shard and --push")
        outcome = updating.update_here(Path(), to, dry_run=dry_run)
        typer.echo(json.dumps(outcome.as_dict()) if as_json else f"{outcome.state}: {outcome.detail}".rstrip(": "))
        raise typer.Exit(int(outcome.state.needs_a_person))
    fleet = _read(manifest, ring, shard)
    if shard and not ring and len(fleet.rings) > 1:
        raise ManifestError(
            "--shard needs --ring if fleet.toml has several rings (groups of crates that are updated in turn), because"
            " a shard cannot see whether the other shards finished a ring; add --ring NAME"
        )
    require_separate(fleet.crates)
    unreachable = templates.refresh(fleet, fleet.crates)
    target = templates.target_of(fleet, to, unreachable)
    logs = fleet.state_folder / "logs"

    def job_of(name: str) -> updating.UpdateOptions:
        settings = fleet.rings[name]
        checks = Checks(tuple(settings.checks), settings.max_minutes, logs)
        return updating.UpdateOptions(target, checks, push, dry_run, unreachable)

    name = "update-trial" if dry_run else "update"
    _end(_go(Run(fleet, name, {"target": target, "push": push}, updating.update, job_of, jobs), as_json=as_json))


@application.command()
def report(  # noqa: PLR0913
    reports: Annotated[
        list[Path] | None, typer.Argument(help="With --merge: the fleet.json that each --shard run wrote.")
    ] = None,
    *,
    merge: Annotated[bool, typer.Option("--merge", help="Merge the reports of --shard runs into one.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for fleet.json, fleet.md and fleet.html.")] = Path(),
    manifest: ManifestPath = MANIFEST,
    to: To = None,
    template: OtherTemplate = None,
    shard: Shard = None,
    jobs: Jobs = JOBS,
) -> None:
    """Write a report as JSON, Markdown and HTML: each crate's release, drift, and what an update would change."""
    if merge != bool(reports):
        raise ManifestError(
            "--merge and the fleet.json files of --shard runs go together; pass both, or neither of them"
        )
    if reports:
        written = merged([read_report(path) for path in reports])
    else:
        fleet = _read(manifest, None, shard)
        with _inspected(fleet, to, template) as wanted:
            result = _inspect("report", fleet, wanted, jobs, as_json=False)
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        written = FleetReport(wanted.name, today, result.crates, read_shard(shard) if shard else None)
    for file in write_report(written, out):
        typer.echo(file)


@application.command("renovate")
def renovate_preset(*, manifest: ManifestPath = MANIFEST) -> None:
    """Print a preset for the bot Renovate, which opens pull requests for updates.

    It has a schedule for each ring (group of crates), and disables updates for crates that fleet.toml freezes.
    """
    typer.echo(json.dumps(renovate.preset(_read(manifest)), indent=2))
