"""Looking at a crate without changing it: how far behind it is, what an update would touch, how it drifted."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from packaging.version import Version

from fast_rust.answers import Answers, require_answers
from fast_rust.drift import differences as drift
from fast_rust.files import as_git_has_it
from fast_rust.fleet.forms import Shelf
from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.outcome import Outcome, State, failed
from fast_rust.fleet.workers import Task
from fast_rust.git import merge_file
from fast_rust.releases import Repository

_shelf = Shelf()


@dataclass(frozen=True)
class Wanted:
    """What to look for: the release that crates are to come to, and where it is if not where each was made from."""

    target: str
    template: str = ""
    drift: bool = True
    plan: bool = True
    label: str = ""
    """What people call the release; its name, unless it is a checkout."""


def look(task: Task[Wanted]) -> list[Outcome]:
    """Look at the crates of a repository."""
    return [_look(crate, task.job) for crate in task.crates]


def _look(crate: Crate, wanted: Wanted) -> Outcome:
    facts: dict[str, object] = {"ring": crate.ring, "owner": crate.owner, "freeze": crate.freeze}
    if not crate.folder.is_dir():
        return Outcome(crate.name, State.MISSING, f"{crate.folder} is not there: `fast-rust fleet bootstrap`", facts)
    try:
        answers = require_answers(crate.folder)
        repository = _shelf.repository(answers.source, answers.release)
        facts |= {"release": answers.release, "behind": _behind(repository, answers.release)}
        state, details = State.IN_LINE, []
        if wanted.drift:
            found = list(drift.differences(crate.folder, _shelf.owned(repository, answers)))
            facts["differences"] = [asdict(one) for one in found]
            if drifted := [one for one in found if one.is_drift]:
                state, details = State.DRIFT, ["drift in " + ", ".join(dict.fromkeys(one.path for one in drifted))]
        if wanted.plan:
            planned, fates = _plan(crate, answers, repository, wanted)
            facts |= {"target": wanted.label or wanted.target, "touches": fates}
            if planned is State.CONFLICT or (state is State.IN_LINE and not wanted.drift):
                state, details = planned, [_said(answers.release, wanted.label or wanted.target, fates), *details]
            elif planned is State.BEHIND:
                state = planned if state is State.IN_LINE else state
                details = [_said(answers.release, wanted.label or wanted.target, fates), *details]
    except Exception as error:  # noqa: BLE001  One bad crate never stops the others, and says what it had to say.
        return replace(failed(crate.name, error), facts=facts)
    if crate.freeze:
        details.append(f"frozen: {crate.freeze}")
    return Outcome(crate.name, state, "; ".join(filter(None, details)), facts)


def _behind(repository: Repository, release: str) -> list[str]:
    """The releases after that of a crate."""
    releases = _shelf.releases(repository)
    return releases[releases.index(release) + 1 :] if release in releases else []


def _plan(crate: Crate, answers: Answers, repository: Repository, wanted: Wanted) -> tuple[State, dict[str, str]]:
    """What an update would do: to which files, and whether both sides changed the same lines."""
    newer = _shelf.repository(wanted.template, wanted.target) if wanted.template else repository
    target = replace(answers, release=wanted.target)
    if not wanted.template and (answers.release == wanted.target or _is_newer(answers.release, wanted.target)):
        return State.UP_TO_DATE, {}
    fates = dict(_fates(crate.folder, _shelf.part(repository, answers), _shelf.part(newer, target)))
    return State.CONFLICT if "conflict" in fates.values() else State.BEHIND, fates


def _is_newer(release: str, target: str) -> bool:
    try:
        return Version(release) >= Version(target)
    except ValueError:
        return False


def _said(release: str, target: str, fates: Mapping[str, str]) -> str:
    if release != target and _is_newer(release, target):
        return f"{target} is older than {release}"
    if not fates:
        return release if release == target else f"{release} to {target}, no file changes"
    clashing = [path for path, fate in fates.items() if fate == "conflict"]
    what = (
        f"conflicts in {', '.join(clashing)}" if clashing else f"{len(fates)} {'file' if len(fates) == 1 else 'files'}"
    )
    return f"{release} to {target}, {what}"


def _fates(crate: Path, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """What becomes of each file that the template has a part in and the update changes."""
    for path in sorted(old.keys() | new.keys()):
        file = crate / path
        own = as_git_has_it(file.read_bytes()) if file.is_file() else None
        match old.get(path), own, new.get(path):
            case before, _, after if before == after:
                pass
            case None, None, bytes():
                yield path, "added"
            case _, None, _:
                # What the crate deleted stays so.
                pass
            case before, bytes(), None:
                yield path, "deleted" if own == before else "kept though the release drops it"
            case before, bytes(), bytes(after) if own == before:
                yield path, "replaced"
            case _, bytes(), bytes(after) if own == after:
                pass
            case before, bytes(), bytes(after):
                yield path, "conflict" if merge_file(own, before or b"", after)[1] else "merged"
