"""Inspecting crates without changing them: their releases, what an update would do, and their drift.

`drift` compares the files in the working tree, as `fast-rust drift` does. `plan` is about the commit that is checked
out, since `fast-rust fleet update` begins from it; a note lists the files of the plan that differ in the working tree.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from fast_rust.answers import Answers, answers_file, require_answers
from fast_rust.drift import differences as drift
from fast_rust.errors import FastRustError
from fast_rust.fleet.checkout import Checkout
from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.outcome import CrateState, Facts, Outcome, failed
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
    touches: Mapping[str, MergeResult]
    notes: tuple[str, ...] = ()


def inspect(task: Task[InspectionOptions]) -> list[Outcome]:
    """Inspect the crates of a repository."""
    return [_Inspection(crate, task.job).outcome() for crate in task.crates]


class _Inspection:
    """The inspection of a crate; where a step of it fails, the facts that are known already stay."""

    def __init__(self, crate: Crate, options: InspectionOptions) -> None:
        self.crate = crate
        self.options = options
        self.facts = Facts(ring=crate.ring, owner=crate.owner, freeze=crate.freeze)

    def outcome(self) -> Outcome:
        crate, options = self.crate, self.options
        if not crate.repository.is_dir() or (options.drift and not crate.folder.is_dir()):
            return missing(crate, self.facts)
        try:
            state = CrateState.IN_LINE
            details: list[str] = []
            if options.drift:
                state, details = self._drift()
            if options.plan:
                planned = self._plan()
                self.facts = replace(self.facts, target=options.name, touches=planned.touches, notes=planned.notes)
                state = _combined(state, planned.state) if options.drift else planned.state
                details = [planned.detail, *details, *planned.notes]
        except Exception as error:  # noqa: BLE001  One bad crate never stops the others.
            return failed(crate.name, error, self.facts)
        if crate.freeze:
            details.append(f"not updated, because fleet.toml freezes it: {crate.freeze}")
        return Outcome(crate.name, state, "; ".join(filter(None, details)), self.facts)

    def _drift(self) -> tuple[CrateState, list[str]]:
        folder = self.crate.folder
        answers = require_answers(folder)
        repository = open_fetched(answers.source, self.options.unreachable)
        found = tuple(drift.differences(folder, _renderings.owned(repository, answers)))
        self._note_release(answers, repository)
        self.facts = replace(self.facts, differences=found)
        if drifted := [difference.path for difference in found if difference.is_drift]:
            return CrateState.DRIFT, ["drift in " + ", ".join(dict.fromkeys(drifted))]
        return CrateState.IN_LINE, []

    def _plan(self) -> Planned:
        """Return what `fast-rust fleet update` would do to the crate, by the same rules."""
        crate, options = self.crate, self.options
        checkout = Checkout(crate)
        require_base(crate.repository, checkout.branch, options.target)
        with ExitStack() as stack:
            folder = crate.folder
            if not checkout.has_committed_answers():
                folder = stack.enter_context(checkout.clone())
            try:
                answers = require_answers(folder)
                repository = open_fetched(answers.source, options.unreachable)
                self._note_release(answers, repository)
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
        notes = notes_of(found, refused)
        if folder != crate.folder:
            notes = (*notes, "computed from the last commit; the uncommitted changes are ignored")
        return _planned(answers, options, found, notes)

    def _note_release(self, answers: Answers, repository: Repository) -> None:
        newer = tuple(_renderings.newer(repository, answers.release))
        self.facts = replace(self.facts, release=answers.release, behind=newer)


def missing(crate: Crate, facts: Facts) -> Outcome:
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


# --- What an update would do ---


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
    touches = {path: change.result for path, change in sorted(found.items())}
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
