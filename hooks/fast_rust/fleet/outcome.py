"""What became of a crate: one word, one line for people, and facts for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How it stands with a crate."""

    CREATED = "created"
    ADOPTED = "adopted"
    THERE = "there already"
    UPDATED = "updated"
    UP_TO_DATE = "up to date"
    BEHIND = "behind"
    IN_LINE = "in line"
    FROZEN = "frozen"
    MISSING = "missing"
    WOULD_BE_MADE = "would be made"
    CONFLICT = "conflict"
    DRIFT = "drift"
    CHECKS_FAILED = "checks failed"
    CHANGED_BY_OTHERS = "changed by others"
    NOT_REACHED = "not reached"
    SKIPPED = "skipped"
    ERROR = "error"

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to do something about it."""
        return self in NEEDS_A_PERSON


NEEDS_A_PERSON = {
    State.MISSING,
    State.CONFLICT,
    State.DRIFT,
    State.CHECKS_FAILED,
    State.CHANGED_BY_OTHERS,
    State.NOT_REACHED,
    State.SKIPPED,
    State.ERROR,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one crate."""

    crate: str
    state: State
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(noted: Mapping[str, Any]) -> "Outcome":
        return Outcome(noted["crate"], State(noted["state"]), noted["detail"], noted["facts"])


def failed(crate: str, error: BaseException) -> Outcome:
    """The outcome of a crate that could not be dealt with."""
    text = " ".join(str(error).split()) or type(error).__name__
    return Outcome(crate, State.ERROR, text)
