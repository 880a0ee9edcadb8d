"""What happened to a crate: a state, one line for people, and facts for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from fast_rust.drift.differences import Difference
from fast_rust.update.merge import MergeResult

# The number of the form in which outcomes are stored, in journals and reports.
FORM = 2


class CrateState(StrEnum):
    """The state of a crate."""

    CREATED = "created"
    ADOPTED = "adopted"
    EXISTS = "exists"
    UPDATED = "updated"
    UP_TO_DATE = "up-to-date"
    BEHIND = "behind"
    AHEAD = "ahead"
    IN_LINE = "in-line"
    FROZEN = "frozen"
    MISSING = "missing"
    PLANNED = "planned"
    CONFLICT = "conflict"
    DRIFT = "drift"
    CHECKS_FAILED = "checks-failed"
    CHANGED_BY_OTHERS = "changed-by-others"
    NOT_REACHED = "not-reached"
    SKIPPED = "skipped"
    ERROR = "error"

    @property
    def needs_a_person(self) -> bool:
        """Return whether a person has to act."""
        return self in NEEDS_A_PERSON


NEEDS_A_PERSON = {
    CrateState.MISSING,
    CrateState.CONFLICT,
    CrateState.DRIFT,
    CrateState.CHECKS_FAILED,
    CrateState.CHANGED_BY_OTHERS,
    CrateState.NOT_REACHED,
    CrateState.SKIPPED,
    CrateState.ERROR,
}


@dataclass(frozen=True)
class Facts:
    """What a command knows about a crate; None, and not in the JSON, where it did not find out."""

    ring: str | None = None
    owner: str | None = None
    freeze: str | None = None
    """Why fleet.toml freezes the crate; empty where it does not."""
    folder: str | None = None
    release: str | None = None
    behind: tuple[str, ...] | None = None
    """The releases after that of the crate, oldest first."""
    differences: tuple[Difference, ...] | None = None
    target: str | None = None
    branch: str | None = None
    touches: Mapping[str, MergeResult] | None = None
    """What an update does to each file."""
    notes: tuple[str, ...] | None = None
    """Notes for a person about an update."""

    @property
    def conflicts(self) -> list[str]:
        """Return the files in which an update has a conflict."""
        return [path for path, result in (self.touches or {}).items() if result is MergeResult.CONFLICT]


NO_FACTS = Facts()


@dataclass(frozen=True)
class Outcome:
    """What happened to one crate."""

    crate: str
    state: CrateState
    detail: str = ""
    facts: Facts = NO_FACTS

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON has it."""
        known = {name: fact for name, fact in asdict(self.facts).items() if fact is not None}
        return {"crate": self.crate, "state": self.state, "detail": self.detail, "facts": known}

    @staticmethod
    def from_dict(noted: object) -> "Outcome":
        """Read an outcome from JSON.

        Raises ValueError where it is damaged.
        """
        return _OUTCOME.validate_python(noted)


_OUTCOME = TypeAdapter(Outcome)


def failed(crate: str, error: BaseException, facts: Facts = NO_FACTS) -> Outcome:
    """Return the outcome of a crate for which an error ended the work."""
    return Outcome(crate, CrateState.ERROR, on_one_line(str(error)) or type(error).__name__, facts)


def on_one_line(text: str) -> str:
    """Return a message without line ends, as an outcome has it."""
    return " ".join(text.split())
