"""What happened to a crate: a state, one line for people, and facts for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

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
class Outcome:
    """What happened to one crate."""

    crate: str
    state: CrateState
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON has it."""
        return asdict(self)

    @staticmethod
    def from_dict(noted: Mapping[str, Any]) -> "Outcome":
        """Read an outcome from JSON."""
        return Outcome(noted["crate"], CrateState(noted["state"]), noted["detail"], noted["facts"])


def failed(crate: str, error: BaseException) -> Outcome:
    """Return the outcome of a crate for which an error ended the work."""
    text = " ".join(str(error).split()) or type(error).__name__
    return Outcome(crate, CrateState.ERROR, text)
