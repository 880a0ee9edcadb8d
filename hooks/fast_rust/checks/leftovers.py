"""Checks of what older releases made, and no update can delete safely."""

from collections.abc import Iterator
from pathlib import Path

from fast_rust.checks.findings import Severity
from fast_rust.checks.registry import Violation, check
from fast_rust.checks.tables import read_text
from fast_rust.checks.workspace import Package, Workspace

BENCH, TESTS = "bench", "bench/tests/standards.rs"
STUB = "//! `just rules` runs these checks now."
# How each file begins in the releases that made it; a crate may have a file of that name that is its own.
BEGINNINGS: dict[str, tuple[str, ...]] = {
    ".github/PULL_REQUEST_TEMPLATE.md": (
        "<!-- What changes, and why? -->\n\n## If it touches a hot path\n",
        "<!-- What changes, and why? -->\n\n## What no gate can judge\n",
    ),
    "STANDARDS.md": ("# Standards\n\nWhat this crate is held to, and by what. ",),
    TESTS: (STUB, "//! The standards that are about a crate's files, not its code. "),
    "lints/ast-grep.yml": ("# Rules that clippy has no lint for",),
    "sgconfig.yml": ("# Where ast-grep and editors find the rules. ",),
    "tools/perf.py": ('"""What a change does to speed: base and head, measured on one machine in one run.\n',),
    "tools/pgo.py": ('"""Builds the programs of the workspace with a profile of their own work (PGO), ',),
}
# Additions of a crate to a file, which it has to keep.
KEPT_ELSEWHERE = {
    "lints/ast-grep.yml": "move your own rules to a file in lints/own/, then ",
    TESTS: "move your own tests to another file, then ",
}


@check("TOOL-1", then="delete the file", severity=Severity.WARNING)
def no_file_is_of_an_older_release(workspace: Workspace) -> Iterator[Violation]:
    """The crate has a file of an older template release that its current release does not use."""
    by_folder = {each.folder: each for each in workspace.packages}
    for folder in sorted({workspace.folder, *by_folder}):
        recipes = read_text(folder / "justfile")
        for path, beginnings in BEGINNINGS.items():
            text = read_text(folder / path)
            is_used = path in recipes or (path == TESTS and _is_needed(folder, by_folder, text))
            if text.startswith(beginnings) and not is_used:
                shown = workspace.shown(folder / path)
                action = f"run `git rm {shown}`"
                if path == TESTS:
                    manifest = workspace.shown(folder / BENCH / "Cargo.toml")
                    action += f", and delete `cargo_metadata` and `toml` from {manifest} if nothing else uses them"
                if path == TESTS and _is_alone(folder, by_folder):
                    # Cargo refuses a package without a target.
                    bench = workspace.shown(folder / BENCH)
                    action = f"run `git rm -r {bench}`, and delete {bench} from `members` in Cargo.toml"
                before = "" if text.startswith(STUB) else KEPT_ELSEWHERE.get(path, "")
                yield Violation(f"{shown} is unused", shown, next=before + action)


def _is_needed(folder: Path, packages: dict[Path, Package], text: str) -> bool:
    """Return whether the file is a comment without which the package would have no target."""
    return text.startswith(STUB) and _is_alone(folder, packages)


def _is_alone(folder: Path, packages: dict[Path, Package]) -> bool:
    bench = packages.get(folder / BENCH)
    return bench is not None and all(target.source == folder / TESTS for target in bench.targets)
