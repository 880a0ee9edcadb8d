"""What a person asks for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What to compare, and how."""

    base: str = ""
    """The target of the merge; empty for the default branch."""
    head: str = ""
    """The commit to measure; empty for the working tree."""
    release: bool = False
    """Whether to compare with the last release, by the head's own limits."""
    long: bool = False
    """Whether to take times with criterion's own settings."""
    times: bool = True
    accept: str = ""
    """Why to accept what is beyond a limit."""
