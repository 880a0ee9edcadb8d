"""Runs all checks and rules over a workspace."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Each registers its checks.
from fast_rust.checks import builds, exceptions, hot_paths, tooling  # noqa: F401
from fast_rust.checks.findings import Finding
from fast_rust.checks.registry import run_checks
from fast_rust.checks.rules import run_rules
from fast_rust.checks.tables import Table, words


def find_all(root: Path, *, advice: bool) -> list[Finding]:
    """Return what the checks of files and the rules of ast-grep find, in the order of the places.

    Raises FastRustError where the workspace or a rule of its own cannot be read.
    """
    staged = Table.read(root, "Cargo.toml").at("workspace", "metadata", "staged")
    # A name with a hyphen is a rule's; the checks look for theirs themselves.
    named = staged.items() if isinstance(staged, dict) else ()
    off = [name for name, reason in named if "-" in name and words(reason) > 1]
    with ThreadPoolExecutor(1) as beside:
        rules = beside.submit(run_rules, root, off=off, advice=advice)
        found = run_checks(root, advice=advice)
        return sorted([*found, *rules.result()])
