"""Runs all checks and rules over a workspace."""

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from fast_rust.checks.findings import Finding
from fast_rust.checks.rules import run_rules
from fast_rust.checks.tables import Table, words

# Each registers its checks.
MODULES = ("builds", "exceptions", "hot_paths", "tooling")


def find_all(root: Path, *, advice: bool) -> list[Finding]:
    """Return what the checks of files and the rules of ast-grep find, in the order of the places.

    Raises FastRustError where the workspace or a rule of its own cannot be read.
    """
    staged = Table.read(root, "Cargo.toml").at("workspace", "metadata", "staged")
    named = staged.items() if isinstance(staged, dict) else ()
    # A name with a hyphen is a rule's; the checks look for theirs themselves.
    off = [name for name, reason in named if "-" in name and words(reason) > 1]
    with ThreadPoolExecutor(1) as beside:
        rules = beside.submit(run_rules, root, off=off, advice=advice)
        # While ast-grep runs, which takes longest.
        found = check_files(root, advice=advice)
        return sorted([*found, *rules.result()])


def check_files(root: Path, *, advice: bool = True) -> list[Finding]:
    """Return what the checks of files find, in the order of the places.

    Raises FastRustError where the workspace cannot be read.
    """
    for name in MODULES:
        import_module(f"fast_rust.checks.{name}")
    found: list[Finding] = import_module("fast_rust.checks.registry").run_checks(root, advice=advice)
    return found
