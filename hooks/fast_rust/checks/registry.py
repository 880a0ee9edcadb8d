"""The checks about a crate's files: each is a function whose docstring is the standard that it demands."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from fast_rust.checks.cargo import Metadata
from fast_rust.checks.findings import Finding, Severity
from fast_rust.checks.workspace import Workspace, read_workspaces


class Violation(NamedTuple):
    """A violation and its place; line 0 is the entire file."""

    what: str
    path: str
    line: int = 0
    next: str = ""
    """What to do, where it depends on the place."""


CheckFunction: TypeAlias = Callable[[Workspace], Iterator[Violation]]


@dataclass(frozen=True)
class Check:
    """One standard about the files of a crate."""

    function: CheckFunction
    directives: tuple[str, ...]
    next: str
    only_own: bool
    """Whether it is about what only the root of a workspace has."""
    severity: Severity

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def standard(self) -> str:
        return (inspect.getdoc(self.function) or "").partition("\n")[0].rstrip(".")


CHECKS: dict[str, Check] = {}


def check(
    *directives: str, then: str, only_own: bool = False, severity: Severity = Severity.ERROR
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check; `then` says what to do where it finds something."""

    def register(function: CheckFunction) -> CheckFunction:
        CHECKS[function.__name__] = Check(function, directives, inspect.cleandoc(then), only_own, severity)
        return function

    return register


def run_checks(path: Path, known: Metadata, *, advice: bool = True) -> list[Finding]:
    """Run all checks over a workspace that cargo knows, and return their findings, in the order of the places.

    Raises WorkspaceError where it cannot be read.
    """
    found: set[Finding] = set()
    for workspace in read_workspaces(path, known):
        for each in CHECKS.values():
            is_meant = advice or each.severity is not Severity.ADVICE
            if is_meant and (workspace.is_own or not each.only_own) and not workspace.is_staged(each.name):
                found.update(_finding(each, violation) for violation in each.function(workspace))
    return sorted(found)


def _finding(each: Check, violation: Violation) -> Finding:
    gate, message = f"standards::{each.name}", f"{each.standard}: {violation.what}"
    action = violation.next or each.next
    return Finding(violation.path, violation.line, 0, gate, each.directives, message, action, each.severity)
