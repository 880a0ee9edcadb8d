"""Runs all checks and rules over a workspace."""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

from fast_rust.checks.cargo import Metadata, running_metadata
from fast_rust.checks.findings import Finding
from fast_rust.checks.names import current_name
from fast_rust.checks.rules import UNUSED, is_rule, running_rules
from fast_rust.checks.tables import Table, WorkspaceError, words

# Each registers its checks.
MODULES = ("builds", "exceptions", "hot_paths", "leftovers", "settings", "tooling")


def find_all(root: Path, *, advice: bool) -> list[Finding]:
    """Return what the checks of files and the rules of ast-grep find, in the order of the places.

    Raises FastRustError if the workspace or a rule in lints/own cannot be read, or a staged check does not exist.
    """
    staged = Table.read(root, "Cargo.toml").at("workspace", "metadata", "staged")
    named = staged.items() if isinstance(staged, dict) else ()
    # A name with a hyphen is a rule's; the checks look for theirs themselves.
    off = [name for name, reason in named if "-" in name and words(reason) > 1]
    with running_metadata(root.resolve()) as known, running_rules(root, off=off, advice=advice) as rules:
        # While ast-grep runs, which takes longest.
        found = _check_files(root, known, advice=advice)
        found += rules()
        # Last, since ast-grep says what is wrong in a rule that cannot be read.
        _refuse_unknown(root, [name for name, _ in named])
        return sorted(found)


def _refuse_unknown(root: Path, staged: Iterable[str]) -> None:
    checks = sorted(import_module("fast_rust.checks.registry").CHECKS)
    for name in staged:
        if current_name(name) not in {*checks, UNUSED} and not ("-" in name and is_rule(root, name)):
            message = f"{root / 'Cargo.toml'}: unknown name {name!r} in [workspace.metadata.staged]"
            raise WorkspaceError(
                f"{message}; expected a rule of lints/own or of `fast-rust rules`, or one of: {', '.join(checks)}"
            )


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
