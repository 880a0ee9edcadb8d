"""Updating the crates of a repository on a separate branch; the working tree and the index are not touched."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from fast_rust import git
from fast_rust.answers import read_answers
from fast_rust.errors import FastRustError
from fast_rust.fleet.branches import Existing, commit_of, existing, is_on_top, push, require_publishable, trailer
from fast_rust.fleet.checkout import missing_in
from fast_rust.fleet.checks import Checks
from fast_rust.fleet.inspection import ahead_of, missing, notes_of
from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.outcome import CrateState, Facts, Outcome, failed, on_one_line
from fast_rust.fleet.repositories import OWN, Workplace, checked_out_branch, clear, require_base, workplace
from fast_rust.fleet.templates import open_fetched
from fast_rust.fleet.workers import Task
from fast_rust.git import GitError
from fast_rust.releases import Order
from fast_rust.update.apply import apply
from fast_rust.update.lockfile import LOCK
from fast_rust.update.merge import MergeResult
from fast_rust.update.plan import OlderReleaseError, Standing, UpdatePlan, plan

REPORT = "UPDATE-CONFLICTS.md"
IDLE = {CrateState.UP_TO_DATE: "nothing", CrateState.AHEAD: "ahead"}


@dataclass(frozen=True)
class UpdateOptions:
    """The release to update to, the checks of it, and whether to push the branch."""

    target: str
    checks: Checks
    push: bool
    dry_run: bool
    unreachable: dict[str, str] = field(default_factory=dict)
    """Templates that could not be fetched, with the reason."""

    @property
    def branch(self) -> str:
        """Return the name of the branch, which is the same in every repository and run."""
        return f"{OWN}/{self.target}"


def update(task: Task[UpdateOptions]) -> list[Outcome]:
    """Update the crates of a repository: a commit for each, on one branch."""
    frozen = [Outcome(crate.name, CrateState.FROZEN, crate.freeze) for crate in task.crates if crate.freeze]
    crates = [crate for crate in task.crates if not crate.freeze]
    if not crates:
        return frozen
    if not crates[0].repository.is_dir():
        return [*frozen, *(missing(crate, _facts(task.job)) for crate in crates)]
    return [*frozen, *_update_repository(crates[0].repository, crates, task.job)]


def _update_repository(repository: Path, crates: Sequence[Crate], options: UpdateOptions) -> list[Outcome]:
    branch = checked_out_branch(repository)
    clear(repository)
    require_base(repository, branch, options.target)
    base = f"refs/heads/{branch}"
    there = existing(repository, base, options.branch)
    if there.is_of_others:
        if all(_is_at(crate, options.target) for crate in crates):
            # The branch was squashed and merged, and not deleted.
            return _all(crates, CrateState.UP_TO_DATE, options.target, options)
        message = f"the branch {there.ref} has commits that fast-rust did not make; merge the branch, or delete it"
        return _all(crates, CrateState.CHANGED_BY_OTHERS, message, options)
    is_complete = {crate.name for crate in crates} <= there.states.keys()
    if there.ref and is_complete and is_on_top(repository, base, there.ref):
        return _existing(repository, crates, there, options)
    return _update(repository, crates, options)


def _all(crates: Iterable[Crate], state: CrateState, detail: str, options: UpdateOptions) -> list[Outcome]:
    return [Outcome(crate.name, state, detail, _facts(options)) for crate in crates]


def _is_at(crate: Crate, release: str) -> bool:
    answers = read_answers(crate.folder)
    return answers is not None and answers.release == release


def _existing(repository: Path, crates: Iterable[Crate], there: Existing, options: UpdateOptions) -> list[Outcome]:
    """Return the outcomes of crates with an unchanged branch, and push it where that is still to do."""
    outcomes = []
    for crate in crates:
        state = there.states[crate.name]
        shown = CrateState.EXISTS if state is CrateState.UPDATED else state
        detail = f"branch {options.branch}" + (f"; see {REPORT} there" if state is CrateState.CONFLICT else "")
        outcomes.append(Outcome(crate.name, shown, detail, _facts(options)))
    has_work = bool({CrateState.UPDATED, CrateState.CONFLICT} & {*there.states.values()})
    return _pushed(repository, outcomes, options) if has_work else outcomes


def _facts(options: UpdateOptions) -> Facts:
    return Facts(target=options.target, branch=options.branch)


def _update(repository: Path, crates: Sequence[Crate], options: UpdateOptions) -> list[Outcome]:
    with workplace(repository) as work:
        if any(_is_due(work, crate, options) for crate in crates):
            require_publishable(repository, options.branch, work.base, is_pushed=options.push)
        before = commit_of(repository, f"refs/heads/{options.branch}")
        outcomes = [_update_in(work, crate, options) for crate in crates]
        if not work.commits:
            return outcomes
        # The branch records what happened to each crate, so that a later run need not try again.
        if idle := [outcome for outcome in outcomes if outcome.state in IDLE]:
            work.extend_last("\n".join(trailer(outcome.crate, IDLE[outcome.state]) for outcome in idle))
        updated = [outcome for outcome in outcomes if outcome.state is CrateState.UPDATED]
        if updated and (failure := options.checks.failure(work.folder, crates)):
            return [_with_failure(outcome, failure) for outcome in outcomes]
        if options.dry_run:
            return outcomes
        work.publish(options.branch, before)
    return _pushed(repository, outcomes, options)


def _is_due(work: Workplace, crate: Crate, options: UpdateOptions) -> bool:
    """Return whether a crate is older than the target, so that a commit is to be expected."""
    try:
        answers = read_answers(work.folder / crate.subdirectory)
        if answers is None:
            return False
        repository = open_fetched(answers.source, options.unreachable)
        return repository.order(answers.release, options.target) is Order.OLDER
    except FastRustError:
        # The update reports it.
        return False


def _update_in(work: Workplace, crate: Crate, options: UpdateOptions) -> Outcome:
    folder = work.folder / crate.subdirectory
    facts = _facts(options)
    if not folder.is_dir():
        return Outcome(crate.name, CrateState.ERROR, missing_in(crate), facts)
    try:
        if (answers := read_answers(folder)) is not None:
            open_fetched(answers.source, options.unreachable)
        planned = plan(folder, options.target, refresh=False)
        # With a target, a crate that is ahead is an OlderReleaseError.
        if isinstance(planned, Standing):
            return Outcome(crate.name, CrateState.UP_TO_DATE, options.target, facts)
        notes = notes_of(planned.changes, planned.changed_answers)
        touches = {path: change.result for path, change in planned.changes.items()}
        facts = replace(facts, release=planned.answers.release, notes=notes, touches=touches)
        return _committed(work, crate, planned, facts)
    except OlderReleaseError:
        release = answers.release if answers else ""
        return Outcome(crate.name, CrateState.AHEAD, ahead_of(release, options.target), facts)
    except FastRustError as error:
        # The branch has only complete updates.
        work.discard()
        # People know the crate by where it is, not by the clone.
        message = str(error).replace(str(work.folder), str(crate.repository))
        return Outcome(crate.name, CrateState.ERROR, on_one_line(message), _facts(options))


def _committed(work: Workplace, crate: Crate, planned: UpdatePlan, facts: Facts) -> Outcome:
    """Commit an update, or the report of its conflicts."""
    folder = work.folder / crate.subdirectory
    move = f"{planned.answers.release} to {planned.target}"
    if conflicts := planned.having(MergeResult.CONFLICT):
        (folder / REPORT).write_text(report(crate, planned), encoding="utf-8")
        subject = f"Record the conflicts of updating {crate.name} from {move}"
        work.commit([_path(crate, REPORT)], f"{subject}\n\n{trailer(crate.name, 'conflict')}")
        return Outcome(crate.name, CrateState.CONFLICT, f"{move}, conflicts in {', '.join(conflicts)}", facts)
    lock = apply(planned)
    notes = [*(facts.notes or ()), *([f"Cargo.lock: {lock}"] if lock else [])]
    body = "".join(f"{note}\n" for note in notes)
    subject = f"Update {crate.name} from {move} of the template"
    written = [_path(crate, path) for path, change in planned.changes.items() if change.result is not MergeResult.KEPT]
    # The lockfile may be that of a workspace above the crate.
    changed = git.names(work.folder, "ls-files", "-z", "--modified")
    locks = [path for path in changed if lock and PurePosixPath(path).name == LOCK]
    work.commit([*written, *locks], f"{subject}\n\n{body}{trailer(crate.name, 'updated')}")
    return Outcome(crate.name, CrateState.UPDATED, "; ".join([move, *notes]), facts)


def _path(crate: Crate, path: str) -> str:
    """Return the path of a crate's file in its repository."""
    return (PurePosixPath(crate.subdirectory) / path).as_posix()


def report(crate: Crate, planned: UpdatePlan) -> str:
    """Return the report of conflicts: both changes of each file, and the commands to run; no conflict markers."""
    conflicts = planned.having(MergeResult.CONFLICT)
    sections = [
        f"# Conflicts of updating {crate.name} from {planned.answers.release} to {planned.target}\n",
        "The crate and the release changed the same lines, so this branch has only this report. To update, run:\n",
        "```sh",
        f"git rm --quiet {REPORT} && git commit --quiet --message 'Start the update'",
        f"fast-rust update --to {planned.target}   # then search for <<<<<<< in the files below",
        "git add --all && git commit\n```\n",
    ]
    for path in conflicts:
        change = planned.changes[path]
        before, own, after = ((side or b"").decode(errors="replace").splitlines() for side in change.sides)
        sections.append(f"## {path}\n")
        if change.reason:
            sections.append(f"{change.reason}\n")
        for title, side in (("The crate changed", own), ("The release changes", after)):
            lines = difflib.unified_diff(before, side, lineterm="", n=1)
            # Indented, so that no line looks like a conflict marker.
            sections.append(f"{title}:\n\n" + "".join(f"    {line}\n" for line in list(lines)[2:]))
    return "\n".join(sections)


def _with_failure(outcome: Outcome, failure: str) -> Outcome:
    if outcome.state is CrateState.UPDATED:
        return Outcome(outcome.crate, CrateState.CHECKS_FAILED, failure, outcome.facts)
    if outcome.state is CrateState.CONFLICT:
        return replace(
            outcome,
            detail=f"{outcome.detail}; no branch was created, since the checks"
            " failed for another crate of its repository",
        )
    return outcome


def _pushed(repository: Path, outcomes: list[Outcome], options: UpdateOptions) -> list[Outcome]:
    """Push the branch, if asked for, and say so in each outcome that it has."""
    if not options.push or options.dry_run:
        return outcomes
    on_branch = {CrateState.UPDATED, CrateState.CONFLICT, CrateState.EXISTS}
    if not commit_of(repository, f"refs/heads/{options.branch}"):
        # It is on the remote only.
        return outcomes
    try:
        push(repository, options.branch)
    except GitError as error:
        message = f"the branch {options.branch} was created, but not pushed: {error}; push it, or run the command again"
        return [
            replace(outcome, state=CrateState.ERROR, detail=on_one_line(message))
            if outcome.state in on_branch
            else outcome
            for outcome in outcomes
        ]
    return [
        replace(outcome, detail=f"{outcome.detail}; pushed") if outcome.state in on_branch else outcome
        for outcome in outcomes
    ]


# --- One crate, for a runner that has its own branches ---


def update_here(folder: Path, target: str | None, *, dry_run: bool = False) -> Outcome:
    """Update the crate in a folder, in its working tree, for a runner that commits the result.

    A conflict changes nothing.
    """
    name = folder.resolve().name
    try:
        planned = plan(folder, target)
        if planned is Standing.UP_TO_DATE:
            return Outcome(name, CrateState.UP_TO_DATE)
        if not isinstance(planned, UpdatePlan):
            return Outcome(
                name, CrateState.AHEAD, "the crate uses a commit after the newest release; nothing to update"
            )
        move = f"{planned.answers.release} to {planned.target}"
        if conflicts := planned.having(MergeResult.CONFLICT):
            detail = f"{move}, conflicts in {', '.join(conflicts)}; nothing was changed"
            return Outcome(name, CrateState.CONFLICT, detail)
        if not dry_run:
            apply(planned)
        notes = notes_of(planned.changes, planned.changed_answers)
        return Outcome(name, CrateState.UPDATED, "; ".join([move, *notes]))
    except OlderReleaseError as error:
        return Outcome(name, CrateState.AHEAD, str(error))
    except FastRustError as error:
        return failed(name, error)
