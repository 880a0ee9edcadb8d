"""What a check finds: the place, the directives, the message, and what to do next."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether a finding blocks."""

    ERROR = "error"
    WARNING = "warning"
    """Always shown; does not fail."""
    ADVICE = "advice"
    """Shown on request; does not fail."""


@dataclass(frozen=True, order=True)
class Finding:
    """One place that breaks a rule.

    `path` is relative to the root of the workspace, with `/` between its parts. `line` and `column` are counted from
    1; `line` is 0 if a rule is about the entire file, or about something missing from it.
    """

    path: str
    line: int
    column: int
    gate: str
    """As the pages of the standards name it: `standards::release_profile_is_tuned`, `ast-grep::own-clone-in-loop`."""
    directives: tuple[str, ...]
    message: str
    """What is wrong, with the value."""
    next: str
    """What to do; may have several lines."""
    severity: Severity = Severity.ERROR
