"""Inspecting crates without changing them: their releases, what an update would do, and their drift.

`drift` compares the files in the working tree, as `fast-rust drift` does. `plan` is about the commit that is checked
out, since `fast-rust fleet update` begins from it; a note lists the files of the plan that differ in the working tree.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fast_rust.answers import Answers, answers_file, require_answers
from fast_rust.drift import differences as drift
from fast_rust.errors import FastRustError
from fast_rust.fleet.checkout import Checkout
from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.outcome import CrateState, Outcome, failed
from fast_rust.fleet.repositories import require_base
from fast_rust.fleet.skeletons import Renderings, Source
from fast_rust.fleet.templates import open_fetched
from fast_rust.fleet.workers import Task
from fast_rust.owned import Part
from fast_rust.releases import Order, Repository
from fast_rust.update.guard import require_restorable
from fast_rust.update.merge import Change, MergeResult, changes
from fast_rust.update.plan import refused_answers

_renderings = Renderings()


@dataclass(frozen=True)
class InspectionOptions:
    """What to inspect, and the release to plan an update to."""

    target: str
    template: str = ""
    """Where the target is; empty where each crate's own template has it."""
    drift: bool = True
    plan: bool = True
    label: str = ""
    """The name of the target for people, where the target is a checkout."""
    unreachable: Mapping[str, str] = field(default_factory=dict)
    """Templates that could not be fetched, with the reason."""

    @property
    def name(self) -> str:
        """Return the name of the target for people."""
        return self.label or self.target


@dataclass(frozen=True)
class Planned:
    """What an update would do to a crate."""

    state: CrateState
    detail: str
    touches: Mapping[str, str]
    notes: tuple[str, ...] = ()


def inspect(task: Task[InspectionOptions]) -> list[Outcome]:
    """Inspect the crates of a repository."""
    return [_inspect(crate, task.job) for crate in task.crates]


def _inspect(crate: Crate, options: InspectionOptions) -> Outcome:
    facts: dict[str, Any] = {"ring": crate.ring, "owner": crate.owner, "freeze": crate.freeze}
    if not crate.repository.is_dir() or (options.drift and not crate.folder.is_dir()):
        return missing(crate, facts)
    try:
        state = CrateState.IN_LINE
        details: list[str] = []
        if options.drift:
            state, details = _drift(crate, options, facts)
        if options.plan:
            planned = _plan(crate, options, facts)
            facts |= {"target": options.name, "touches": planned.touches, "notes": planned.notes}
            state = _combined(state, planned.state) if options.drift else planned.state
            details = [planned.detail, *details, *planned.notes]
    except Exception as error:  # noqa: BLE001  One bad crate never stops the others.
        return replace(failed(crate.name, error), facts=facts)
    if crate.freeze:
        details.append(f"not updated, because fleet.toml freezes it: {crate.freeze}")
    return Outcome(crate.name, state, "; ".join(filter(None, details)), facts)


def missing(crate: Crate, facts: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a crate that is not on this machine."""
    where = crate.folder if crate.repository.is_dir() else crate.repository
    return Outcome(crate.name, CrateState.MISSING, f"{where} does not exist; run `fast-rust fleet bootstrap`", facts)


def _combined(drifted: CrateState, planned: CrateState) -> CrateState:
    """Return the state that a report shows: what needs a person comes first."""
    if planned is CrateState.CONFLICT:
        return planned
    if drifted is CrateState.DRIFT or planned is CrateState.UP_TO_DATE:
        return drifted
    return planned


def _drift(crate: Crate, options: InspectionOptions, facts: dict[str, Any]) -> tuple[CrateState, list[str]]:
    answers = require_answers(crate.folder)
    repository = open_fetched(answers.source, options.unreachable)
    found = list(drift.differences(crate.folder, _renderings.owned(repository, answers)))
    facts |= _release_facts(answers, repository)
    facts["differences"] = [asdict(difference) for difference in found]
    if drifted := [difference for difference in found if difference.is_drift]:
        return CrateState.DRIFT, ["drift in " + ", ".join(dict.fromkeys(difference.path for difference in drifted))]
    return CrateState.IN_LINE, []


def _release_facts(answers: Answers, repository: Repository) -> dict[str, Any]:
    return {"release": answers.release, "behind": _renderings.newer(repository, answers.release)}


# --- What an update would do ---


def _plan(crate: Crate, options: InspectionOptions, facts: dict[str, Any]) -> Planned:
    """Return what `fast-rust fleet update` would do to a crate, by the same rules."""
    checkout = Checkout(crate)
    require_base(crate.repository, checkout.branch, options.target)
    with ExitStack() as stack:
        folder = crate.folder
        if not checkout.has_committed_answers():
            folder = stack.enter_context(checkout.clone())
        try:
            answers = require_answers(folder)
            repository = open_fetched(answers.source, options.unreachable)
            facts |= _release_facts(answers, repository)
            if standing := _standing(answers, repository, options):
                return standing
            before, after, refused = _parts(answers, repository, options)
            if folder == crate.folder and not checkout.has_committed(_changed(before, after)):
                folder = stack.enter_context(checkout.clone())
            found = dict(changes(folder, before, after))
            written = [path for path, change in found.items() if change.result is not MergeResult.KEPT]
            if not checkout.has_room_for(written):
                folder = folder if folder != crate.folder else stack.enter_context(checkout.clone())
                require_restorable(folder, written)
        except FastRustError as error:
            # People know the crate by where it is, not by the clone.
            raise type(error)(str(error).replace(str(folder), str(crate.folder))) from error
        found[answers_file(folder).name] = Change(MergeResult.CHANGED)
    differs = ("computed from the last commit; the uncommitted changes are ignored",)
    return _planned(answers, options, found, (*notes_of(found, refused), *(differs if folder != crate.folder else ())))


def _standing(answers: Answers, repository: Repository, options: InspectionOptions) -> Planned | None:
    """Return why a crate needs no update; none where it needs one."""
    if options.template:
        return None
    match _renderings.order(repository, answers.release, options.target):
        case Order.SAME:
            return Planned(CrateState.UP_TO_DATE, options.target, {})
        case Order.NEWER:
            return Planned(CrateState.AHEAD, ahead_of(answers.release, options.target), {})
        case Order.OLDER:
            return None


def _parts(answers: Answers, repository: Repository, options: InspectionOptions) -> tuple[Part, Part, tuple[str, ...]]:
    """Return the renderings of both releases, and the answers that the newer one refuses."""
    newer = open_fetched(options.template, {}) if options.template else repository
    before, _ = _renderings.part(Source(repository, answers.release), answers)
    after, taken = _renderings.part(Source(newer, options.target, is_update=True), answers)
    return before, after, refused_answers(answers.choices, taken)


def _changed(before: Part, after: Part) -> set[str]:
    return {
        path for path in before.files.keys() | after.files.keys() if before.files.get(path) != after.files.get(path)
    }


def _planned(
    answers: Answers, options: InspectionOptions, found: Mapping[str, Change], notes: tuple[str, ...]
) -> Planned:
    touches = {path: str(change.result) for path, change in sorted(found.items())}
    move = f"{answers.release} to {options.name}"
    conflicts = [path for path, change in found.items() if change.result is MergeResult.CONFLICT]
    if conflicts:
        return Planned(CrateState.CONFLICT, f"{move}, conflicts in {', '.join(conflicts)}", touches, notes)
    count = len(found)
    return Planned(CrateState.BEHIND, f"{move}, {count} {'file' if count == 1 else 'files'}", touches, notes)


def ahead_of(release: str, target: str) -> str:
    """Return the detail of a crate that needs no update, since its release is newer."""
    return f"the crate uses {release}, which is newer than {target}; nothing to update"


def notes_of(found: Mapping[str, Change], refused: tuple[str, ...]) -> tuple[str, ...]:
    """Return notes for a person about an update without a conflict."""
    kept = [f"{path}: {change.reason}" for path, change in found.items() if change.result is MergeResult.KEPT]
    return (
        *kept,
        *(f"the release rejects the crate's answer to the question {name}, so its default is used" for name in refused),
    )
