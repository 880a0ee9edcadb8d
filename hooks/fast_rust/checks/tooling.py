"""Checks of lints, formatting, toolchain and CI: that the gates are on, and run."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fast_rust.checks.findings import Severity
from fast_rust.checks.registry import Fault, check
from fast_rust.checks.tables import read_text
from fast_rust.checks.workspace import Workspace, files_below
from fast_rust.standards.documents import switched_on
from fast_rust.standards.pages import standards_folder

GROUPS = ("complexity", "perf", "style", "suspicious")
# The list that stands behind `Gate:`, but where only people judge, or the gate is not built yet.
GATES = re.compile(r"(?m)^- Gate: (?:decided|common cases|reason demanded), by (.*(?:\n {2}.*)*)")
LINT = re.compile(r"`(?:clippy|rustc)::[a-z_0-9]+`")
RUSTFMT_FILES = {"rustfmt.toml", ".rustfmt.toml"}
# Of CI: the workflow, and the recipe that it runs; of the justfile: the recipe, and what is in it.
STEPS = (("ci", "lint"), ("ci", "test"), ("ci", "audit"), ("ci", "instructions"), ("perf", "perf"))
RECIPES = (
    ("check", "lint test doc audit instructions"),
    ("lint", "cargo fmt --all --check"),
    ("lint", "cargo clippy --workspace --all-targets --all-features -- --deny warnings"),
    ("lint", "ast-grep scan"),
    ("lint", "exit $status"),
    ("test", "cargo nextest run --workspace"),
    ("audit", "cargo deny"),
    ("instructions", "cargo bench"),
)
LETS_PASS = ("continue-on-error", "|| true", "if: false")


@check(
    "TOOL-2",
    "TOOL-6",
    then="delete the file, then type `cargo fmt --all`",
    severity=Severity.ADVICE,
)
def formatting_has_no_overrides(workspace: Workspace) -> Iterator[Fault]:
    """All code has the default format."""
    above = [each for each in (workspace.folder, *workspace.folder.parents) if each.is_relative_to(workspace.root)]
    files = {*files_below(workspace.folder), *(folder / name for folder in above for name in RUSTFMT_FILES)}
    for path, number, line in workspace.lines(sorted(file for file in files if file.name in RUSTFMT_FILES)):
        if line:
            yield Fault(f"{path}:{number}: {line}", path, number)


@check(
    "TOOL-1",
    then="""
    paste into its Cargo.toml:

    [lints]
    workspace = true
    """,
)
def lints_are_inherited(workspace: Workspace) -> Iterator[Fault]:
    """The lints of the workspace hold for each of its crates."""
    for package in workspace.packages:
        if package.manifest.at("lints", "workspace") is not True:
            yield Fault(f"{package.name} does not inherit them", package.manifest.path)


@cache
def lints_of_the_standards() -> dict[str, bool]:
    """Return all lints that are gates, and whether the compiler warns of each by itself."""
    installed = standards_folder() / "Cargo.toml.jinja"
    template = standards_folder().parent / "template" / "Cargo.toml.jinja"
    on = switched_on(read_text(installed if installed.is_file() else template))
    pages = (read_text(path) for path in sorted(standards_folder().glob("*.md")))
    gates = (lint.strip("`") for page in pages for text in GATES.findall(page) for lint in LINT.findall(text))
    return {gate: gate not in on for gate in gates}


def is_on(workspace: Workspace, tool: str, lint: str, *, by_itself: bool) -> bool:
    """Return whether a lint warns, or its line says why it does not."""
    keys = ("workspace", "lints", tool, lint)
    entry = workspace.manifest.at(*keys)
    level = entry.get("level") if isinstance(entry, dict) else entry
    return (by_itself if level is None else level != "allow") or workspace.manifest.has_reason(*keys)


@check(
    "TOOL-1",
    then="""
    paste into [workspace.lints.clippy] or [workspace.lints.rust] of Cargo.toml, with its name:

    LINT = "warn"

    or, where the crate cannot keep it:

    LINT = "allow" # reason: ...
    """,
    only_own=True,
)
def every_gate_is_there(workspace: Workspace) -> Iterator[Fault]:
    """The lints of the standards are on."""
    lints = {**lints_of_the_standards(), **{f"clippy::{group}": True for group in GROUPS}}
    for gate, by_itself in lints.items():
        tool, _, lint = gate.partition("::")
        table = "rust" if tool == "rustc" else tool
        if not is_on(workspace, table, lint, by_itself=by_itself):
            line = workspace.manifest.line("workspace", "lints", table, lint)
            yield Fault(f"{gate} is off", workspace.manifest.path, line)


@check(
    "TOOL-1",
    "TOOL-2",
    "TOOL-4",
    "TOOL-5",
    "OP-1",
    "BENCH-2",
    "BENCH-5",
    then="""
    take ci.yml and perf.yml of .github/workflows or the justfile back from git; other jobs go to a separate workflow.
    Write an action as `uses: OWNER/NAME@COMMIT # VERSION`, with all 40 digits of the commit
    """,
    only_own=True,
)
def ci_runs_every_gate(workspace: Workspace) -> Iterator[Fault]:
    """CI runs every gate, and nothing lets it pass."""
    folder = workspace.root / ".github" / "workflows"
    ours = [folder / "ci.yml", folder / "perf.yml"]
    for path, number, line in workspace.lines(ours):
        if any(each in line for each in LETS_PASS):
            yield Fault(f"{path}:{number}: {line}", path, number)
    for path, number, line in workspace.lines(workspace.workflows):
        if _is_unpinned_action(line):
            yield Fault(f"{path}:{number}: {line}", path, number)
    for name, step in STEPS:
        steps = {line.removeprefix("- ") for _, _, line in workspace.lines([folder / f"{name}.yml"])}
        if f"run: just {step}" not in steps:
            path = workspace.shown(folder / f"{name}.yml")
            yield Fault(f"{path} has no step `run: just {step}`", path)
    for recipe, command in RECIPES:
        if not _recipe_has(workspace.root / "justfile", recipe, command):
            yield Fault(f"recipe `{recipe}` of the justfile has no `{command}`", "justfile")


def _is_unpinned_action(line: str) -> bool:
    _, found, action = line.removeprefix("- ").partition("uses:")
    is_action = bool(found) and not action.strip().strip("\"'").startswith("./")
    return is_action and not re.search(r"@[0-9a-fA-F]{40}[\"']?$", action.strip())


def _recipe_has(justfile: Path, name: str, command: str) -> bool:
    inside = False
    for text in read_text(justfile).splitlines():
        if text[:1] not in {" ", "\t", "#"}:
            inside = text.startswith(f"{name}:")
        line = text.partition("#")[0].strip().removeprefix("@")
        # `just` goes on after a line that begins with a hyphen.
        if inside and command in line and not line.startswith("-") and "|| true" not in line:
            return True
    return False


@check(
    "BUILD-4",
    then="delete the line; lints belong to [workspace.lints] of Cargo.toml, flags to .cargo/config.toml",
    only_own=True,
)
def ci_leaves_rustflags_alone(workspace: Workspace) -> Iterator[Fault]:
    """CI builds for the processor of .cargo/config.toml, which RUSTFLAGS would override."""
    for path, number, line in workspace.lines(workspace.workflows):
        if "RUSTFLAGS" in line:
            yield Fault(f"{path}:{number}: {line}", path, number)


@check(
    "TOOL-1",
    then='name a release in rust-toolchain.toml, all three parts of it, such as `channel = "1.95.0"`',
    only_own=True,
)
def toolchain_is_pinned(workspace: Workspace) -> Iterator[Fault]:
    """Everybody has the same lints, which change with each release of Rust."""
    toolchain = workspace.table("rust-toolchain.toml")
    channel = toolchain.at("toolchain", "channel")
    if not isinstance(channel, str) or not re.fullmatch(r"\d+\.\d+\.\d+", channel):
        shown = "not set" if channel is None else f'"{channel}"'
        line = toolchain.line("toolchain", "channel")
        yield Fault(f"rust-toolchain.toml: the channel is {shown}", toolchain.path, line)
