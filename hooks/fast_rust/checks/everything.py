"""Runs all checks and rules over a workspace."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from fast_rust.checks.cargo import Metadata, running_metadata
from fast_rust.checks.findings import Finding
from fast_rust.checks.rules import running_rules
from fast_rust.checks.tables import Table, words

# Each registers its checks.
MODULES = ("builds", "exceptions", "hot_paths", "leftovers", "settings", "tooling")


def find_all(root: Path, *, advice: bool) -> list[Finding]:
    """Return what the checks of files and the rules of ast-grep find, in the order of the places.

    Raises FastRustError if the workspace or a rule in lints/own cannot be read.
    """
    staged = Table.read(root, "Cargo.toml").at("workspace", "metadata", "staged")
    named = staged.items() if isinstance(staged, dict) else ()
    # A name with a hyphen is a rule's; the checks look for theirs themselves.
    off = [name for name, reason in named if "-" in name and words(reason) > 1]
    with running_metadata(root.resolve()) as known, running_rules(root, off=off, advice=advice) as rules:
        # While ast-grep runs, which takes longest.
        found = _check_files(root, known, advice=advice)
        return sorted([*found, *rules()])


def check_files(root: Path, *, advice: bool = True) -> list[Finding]:
    """Return what the checks of files find, in the order of the places.

    Raises FastRustError where the workspace cannot be read.
    """
    with running_metadata(root.resolve()) as known:
        return _check_files(root, known, advice=advice)


def _check_files(root: Path, known: Callable[[], Metadata], *, advice: bool) -> list[Finding]:
    for name in MODULES:
        import_module(f"fast_rust.checks.{name}")
    found: list[Finding] = import_module("fast_rust.checks.registry").run_checks(root, known(), advice=advice)
    return found
