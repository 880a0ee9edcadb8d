"""`fast-rust fleet`."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fast_rust.fleet import bootstrap as bootstrapping
from fast_rust.fleet import inventory, look, renovate, templates
from fast_rust.fleet import report as reporting
from fast_rust.fleet import update as updating
from fast_rust.fleet.journal import Journal, only_run
from fast_rust.fleet.manifest import Crate, Manifest, ManifestError, read_manifest, read_shard
from fast_rust.fleet.outcome import Outcome, State
from fast_rust.fleet.workers import Task, by_repository, run

NEEDS_WORK, COULD_NOT, STOPPED = 1, 2, 3
# A run that was killed and goes on tries these again.
TRIED_AGAIN = {State.ERROR, State.CHECKS_FAILED}
Job = TypeVar("Job")

application = typer.Typer(
    no_args_is_help=True,
    help="""Work on many crates at once, by a manifest of them.

    Exit codes: 0 all is well; 1 some crates need a person, and are named; 2 nothing was begun; 3 a ring was stopped.
    """,
)

ManifestPath = Annotated[Path, typer.Option("--manifest", help="The manifest of the fleet.", dir_okay=False)]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="How many processes work.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcomes as JSON, and nothing else.")]
RingName = Annotated[str | None, typer.Option("--ring", metavar="NAME", help="Only the crates of this ring.")]
Shard = Annotated[str | None, typer.Option("--shard", metavar="I/N", help="Only the crates of this share.")]
To = Annotated[str | None, typer.Option("--to", metavar="vX.Y.Z", help="The release; the newest by default.")]
OtherTemplate = Annotated[
    Path | None,
    typer.Option("--template", help="A checkout whose files, committed or not, are taken for the newest release."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do it all in copies, and change nothing.")]
Push = Annotated[bool, typer.Option("--push", help="Push what is new to `origin`.")]

MANIFEST = Path("fleet.toml")
JOBS = os.cpu_count() or 1


@contextmanager
def _explained() -> Iterator[None]:
    """Say what stands in the way of the whole run, and end with 2."""
    yield


def _read(path: Path, ring: str | None = None, shard: str | None = None) -> Manifest:
    return read_manifest(path).part(ring=ring, shard=read_shard(shard) if shard else None)


@dataclass
class Run:
    """A command at work on a fleet: it shows each crate as it comes, and notes it."""

    manifest: Manifest
    command: str
    jobs: int
    as_json: bool
    resumes: bool = True
    """Whether one that was killed goes on where it was; what only looks begins anew, to show what is so now."""

    def go(
        self,
        options: Mapping[str, Any],
        work: Callable[[Task[Job]], list[Outcome]],
        job_of: Callable[[str], Job],
    ) -> list[Outcome]:
        """Do the work ring by ring, and end the process where there is something left for a person."""
        crates = self.manifest.crates
        given = {**options, "manifest": self.manifest.digest, "crates": [crate.name for crate in crates]}
        given |= {} if self.resumes else {"begun": time.time_ns()}
        with only_run(self.manifest), self._progress() as progress:
            journal = Journal(self.manifest.state_folder / f"{self.command}.jsonl", given)
            for name in [name for name, one in journal.done.items() if one.state in TRIED_AGAIN]:
                del journal.done[name]
            resumed = set(journal.done)
            bar = progress.add_task(self.command, total=len(crates), completed=len(resumed))
            stopped = ""
            for ring, settings in self.manifest.rings.items():
                members = [crate for crate in crates if crate.ring == ring]
                limit = settings.max_failures * len(members)

                def goes_on(members: Sequence[Crate] = members, limit: float = limit) -> bool:
                    return _failures(journal, members) <= limit

                tasks = [
                    Task(group, job_of(ring))
                    for group in by_repository(members)
                    if not stopped and not all(crate.name in resumed for crate in group)
                ]
                with closing(run(tasks, work, self.jobs, goes_on)) as results:
                    for _, outcomes in results:
                        for one in outcomes:
                            journal.note(one)
                            self._show(one)
                        progress.advance(bar, len(outcomes))
                if not stopped and not goes_on():
                    stopped = f"ring {ring} stopped, since too many of its crates fail the checks"
            found = [journal.done.get(crate.name) or _not_reached(crate, stopped) for crate in crates]
            journal.end()
        self._sum_up(found, stopped)
        if stopped:
            raise typer.Exit(STOPPED)
        return found

    def _progress(self) -> Progress:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        is_shown = console.is_terminal and not self.as_json
        return Progress(*columns, console=console, disable=not is_shown, redirect_stdout=sys.stdout.isatty())

    def _show(self, one: Outcome) -> None:
        if not self.as_json:
            print(f"{one.state:17} {one.crate}  {one.detail}".rstrip(), flush=True)

    def _sum_up(self, found: Sequence[Outcome], stopped: str) -> None:
        counts = Counter(str(one.state) for one in found)
        if self.as_json:
            content = {"command": self.command, "summary": counts, "crates": [one.as_dict() for one in found]}
            typer.echo(json.dumps(content, indent=1))
            return
        said = ", ".join(f"{count} {state}" for state, count in counts.most_common())
        typer.echo(f"\n{len(found)} {'crate' if len(found) == 1 else 'crates'}: {said or 'none'}")
        if stopped:
            typer.echo(stopped, err=True)


def _failures(journal: Journal, members: Sequence[Crate]) -> int:
    states = [journal.done[crate.name].state for crate in members if crate.name in journal.done]
    return states.count(State.CHECKS_FAILED)


def _not_reached(crate: Crate, stopped: str) -> Outcome:
    return Outcome(crate.name, State.NOT_REACHED, stopped)


def _end(found: Sequence[Outcome]) -> None:
    if any(one.state.needs_a_person for one in found):
        raise typer.Exit(NEEDS_WORK)


# --- The commands ---


@application.command()
def init(
    source: Annotated[
        Path, typer.Argument(help="A folder of clones, or a CSV file with a column `name`.", exists=True)
    ],
    *,
    template: Annotated[str, typer.Option(help="The address of the template, as crates are to record it.")],
    manifest: ManifestPath = MANIFEST,
) -> None:
    """Write a manifest of what there is."""
    with _explained():
        if manifest.exists():
            raise ManifestError(f"{manifest} is there already: delete it, or name another by --manifest")
        rows = inventory.of_folder(source) if source.is_dir() else inventory.of_csv(source)
        # The folder is found from where the manifest lies.
        folder = os.path.relpath(source, manifest.parent) if source.is_dir() else "."
        manifest.write_text(inventory.manifest_text(template, folder, rows), encoding="utf-8")
        read = read_manifest(manifest)
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
    """Make the crates that do not exist, and adopt those that do."""
    with _explained():
        fleet = _read(manifest, ring, shard)
        release = templates.target_of(fleet, to)
        bootstrapping.require_answers_that_apply(fleet, release)
        wanted = bootstrapping.Wanted(fleet.template, release, push, dry_run)
        name = "bootstrap-trial" if dry_run else "bootstrap"
        options = {"release": release, "push": push}
        found = Run(fleet, name, jobs, as_json).go(options, bootstrapping.bootstrap, lambda _: wanted)
    _end(found)


@contextmanager
def _look(fleet: Manifest, to: str | None, template: Path | None) -> Iterator[look.Wanted]:
    """What to look for; a template's checkout is there as a release meanwhile."""
    templates.refresh(fleet.crates)
    if template is None:
        yield look.Wanted(templates.target_of(fleet, to))
    elif to is not None:
        yield look.Wanted(to, str(template.resolve()))
    else:
        with templates.checkout_as_release(template.resolve()) as (address, commit):
            yield look.Wanted(commit, address, label=str(template))


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
    """Say what an update would do: how far behind, which files, which conflicts. Changes nothing."""
    with _explained():
        fleet = _read(manifest, ring, shard)
        with _look(fleet, to, template) as asked:
            wanted = replace(asked, drift=False)
            found = Run(fleet, "plan", jobs, as_json, resumes=False).go(vars(wanted), look.look, lambda _: wanted)
    _end(found)


@application.command()
def drift(
    *,
    manifest: ManifestPath = MANIFEST,
    ring: RingName = None,
    shard: Shard = None,
    jobs: Jobs = JOBS,
    as_json: AsJson = False,
) -> None:
    """Compare each crate with its release, in what the template owns. Changes nothing."""
    with _explained():
        fleet = _read(manifest, ring, shard)
        templates.refresh(fleet.crates)
        wanted = look.Wanted("", plan=False)
        found = Run(fleet, "drift", jobs, as_json, resumes=False).go(vars(wanted), look.look, lambda _: wanted)
    _end(found)


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
        bool, typer.Option("--one", help="Only the crate in this folder, in its checkout, without a manifest.")
    ] = False,
    jobs: Jobs = JOBS,
    as_json: AsJson = False,
) -> None:
    """Bring crates to a release, each on the branch copier-fast-rust/vX.Y.Z of its clone."""
    if one:
        if ring or shard or push:
            typer.echo("error: --one is about this folder alone: leave out --ring, --shard and --push", err=True)
            raise typer.Exit(COULD_NOT)
        outcome = updating.update_here(Path(), to, dry_run=dry_run)
        typer.echo(json.dumps(outcome.as_dict()) if as_json else f"{outcome.state}: {outcome.detail}".rstrip(": "))
        raise typer.Exit(int(outcome.state.needs_a_person))
    with _explained():
        fleet = _read(manifest, ring, shard)
        if shard and not ring and len(fleet.rings) > 1:
            raise ManifestError("a shard does not know how a ring fares in the others: name one ring, too, by --ring")
        target = templates.target_of(fleet, to)
        logs = fleet.state_folder / "logs"

        def job_of(name: str) -> updating.Wanted:
            settings = fleet.rings[name]
            return updating.Wanted(target, tuple(settings.checks), settings.max_minutes, logs, push, dry_run)

        name = "update-trial" if dry_run else "update"
        found = Run(fleet, name, jobs, as_json).go({"target": target, "push": push}, updating.update, job_of)
    _end(found)


@application.command()
def report(  # noqa: PLR0913
    reports: Annotated[list[Path] | None, typer.Argument(help="With --merge: the fleet.json of each shard.")] = None,
    *,
    merge: Annotated[bool, typer.Option("--merge", help="Join the reports of shards.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Where fleet.json, fleet.md and fleet.html go.")] = Path(),
    manifest: ManifestPath = MANIFEST,
    to: To = None,
    template: OtherTemplate = None,
    shard: Shard = None,
    jobs: Jobs = JOBS,
) -> None:
    """Write what is so as JSON, as Markdown, and as a page for the browser."""
    with _explained():
        if merge != bool(reports):
            raise ManifestError("type the fleet.json of each shard after --merge, or neither")
        if reports:
            made = reporting.merged([reporting.read_report(path) for path in reports])
        else:
            fleet = _read(manifest, None, shard)
            with _look(fleet, to, template) as wanted:
                found = Run(fleet, "report", jobs, as_json=False, resumes=False).go(
                    vars(wanted), look.look, lambda _: wanted
                )
            today = datetime.now(UTC).strftime("%Y-%m-%d")
            made = reporting.Report(
                wanted.label or wanted.target, today, tuple(found), read_shard(shard) if shard else None
            )
        for file in reporting.write_report(made, out):
            typer.echo(file)


@application.command("renovate")
def renovate_preset(*, manifest: ManifestPath = MANIFEST) -> None:
    """Print a preset for Renovate: when it may update which repository."""
    with _explained():
        typer.echo(json.dumps(renovate.preset(_read(manifest)), indent=2))
