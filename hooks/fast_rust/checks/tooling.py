"""Checks of lints, formatting, toolchain and CI: that the gates are on, and run."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from fast_rust.answers import recorded_answer
from fast_rust.checks.findings import Severity
from fast_rust.checks.registry import Violation, check
from fast_rust.checks.tables import read_text
from fast_rust.checks.workspace import Workspace, files_below
from fast_rust.standards.lints import lints_of_the_standards
from fast_rust.without import unwanted_files

GROUPS = ("complexity", "perf", "style", "suspicious")
RUSTFMT_FILES = {"rustfmt.toml", ".rustfmt.toml"}
# The recipes that each workflow runs, and what each recipe of the justfile has.
STEPS = {"ci": ("format", "clippy", "rules", "doc", "audit", "test", "instructions"), "perf": ("perf",)}
RECIPES = (
    ("check", "lint test doc audit instructions"),
    ("lint", "format clippy rules"),
    ("fmt", "cargo fmt --all"),
    ("format", 'fmt "--check"'),
    ("clippy", "cargo clippy --workspace --all-targets --all-features -- --deny warnings"),
    ("rules", 'fast-rust "check"'),
    ("test", "cargo nextest run --workspace"),
    ("audit", "cargo deny"),
    ("instructions", "cargo bench"),
)
PINNED = re.compile(r"^\./|@[0-9a-fA-F]{40}$|^docker://.*@sha256:[0-9a-f]{64}$")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@check(
    "TOOL-2",
    "TOOL-6",
    then="delete the file, then run `cargo fmt --all`",
    severity=Severity.ADVICE,
)
def formatting_has_no_overrides(workspace: Workspace) -> Iterator[Violation]:
    """A rustfmt.toml should not change the default format."""
    above = [each for each in (workspace.folder, *workspace.folder.parents) if each.is_relative_to(workspace.root)]
    files = {*files_below(workspace.folder), *(folder / name for folder in above for name in RUSTFMT_FILES)}
    for path, number, line in workspace.lines(sorted(file for file in files if file.name in RUSTFMT_FILES)):
        if line:
            yield Violation(f"{path}:{number}: {line}", path, number)


@check(
    "TOOL-1",
    then="""
    paste into its Cargo.toml:

    [lints]
    workspace = true
    """,
)
def lints_are_inherited(workspace: Workspace) -> Iterator[Violation]:
    """Each crate must inherit the lints of its workspace."""
    for package in workspace.packages:
        if package.manifest.at("lints", "workspace") is not True:
            yield Violation(f"{package.name} does not", package.manifest.path)


def _keys_of(workspace: Workspace, tool: str, lint: str) -> tuple[str, ...]:
    table = workspace.manifest.at("workspace", "lints", tool)
    named = {name.replace("-", "_"): name for name in table} if isinstance(table, dict) else {}
    return ("workspace", "lints", tool, named.get(lint.replace("-", "_"), lint))


def is_on(workspace: Workspace, tool: str, lint: str, *, by_itself: bool) -> bool:
    """Return whether a lint warns, or its line says why it does not."""
    keys = _keys_of(workspace, tool, lint)
    entry = workspace.manifest.at(*keys)
    level = entry.get("level") if isinstance(entry, dict) else entry
    return (by_itself if level is None else level != "allow") or workspace.manifest.has_reason(*keys, "level")


@check("TOOL-1", then="enable the lint", only_own=True)
def every_lint_is_enabled(workspace: Workspace) -> Iterator[Violation]:
    """Cargo.toml must enable the lints of the standards."""
    lints = {**lints_of_the_standards(), **{f"clippy::{group}": True for group in GROUPS}}
    for gate, by_itself in lints.items():
        tool, _, lint = gate.partition("::")
        table = "rust" if tool == "rustc" else tool
        # A lint that is set to `allow` is what `exceptions_in_tables_have_reasons` is about.
        is_asked = lint in GROUPS or workspace.manifest.at(*_keys_of(workspace, table, lint)) is None
        if is_asked and not is_on(workspace, table, lint, by_itself=by_itself):
            line = workspace.manifest.line("workspace", "lints", table, lint)
            value = '{ level = "warn", priority = -1 }' if lint in GROUPS else '"warn"'
            action = f"write in [workspace.lints.{table}] of Cargo.toml:\n\n{lint} = {value}\n"
            action += f"\nor, to disable the lint:\n\n{lint} = {value.replace('warn', 'allow')} # reason: ..."
            yield Violation(f"{gate} is disabled without a reason", workspace.manifest.path, line, action)


@check(
    "TOOL-1",
    "TOOL-2",
    "TOOL-4",
    "TOOL-5",
    "OP-1",
    "BENCH-2",
    "BENCH-5",
    then="""
    restore the file with `fast-rust drift --fix` or from git, and put your own jobs into separate files. Write an
    action as `uses: OWNER/NAME@COMMIT # VERSION`, with all 40 digits of the commit
    """,
    only_own=True,
)
def ci_runs_every_gate(workspace: Workspace) -> Iterator[Violation]:
    """CI must run every check of the template, and fail when a check fails."""
    ours = _recipes_of_ci(workspace)
    read = {file: entries(file) for file in [*ours, *workspace.workflows]}
    for file, found in read.items():
        yield from _violations_of(workspace.shown(file), found, is_ours=file in ours)
    for file, recipes in ours.items():
        path, called = workspace.shown(file), set(_recipes_called(read[file] or []))
        for recipe in recipes:
            if recipe not in called:
                yield Violation(f"{path} does not run `just {recipe}`", path)
    for recipe, command in RECIPES:
        if not _recipe_has(workspace.root / "justfile", recipe, command):
            yield Violation(f"the recipe `{recipe}` of the justfile does not run `{command}`", "justfile")


def _recipes_of_ci(workspace: Workspace) -> dict[Path, tuple[str, ...]]:
    """Return the template's part of CI, and the recipes that each file has to run; empty if CI is the crate's."""
    folder = workspace.root / ".github" / "workflows"
    match recorded_answer(workspace.root, "ci", default="github"):
        case "gitlab":
            return {workspace.root / ".gitlab-ci.yml": (*STEPS["ci"], *STEPS["perf"])}
        case "none":
            return {}
    found = {folder / f"{name}.yml": recipes for name, recipes in STEPS.items()}
    unwanted = unwanted_files(workspace.manifest.content, workspace.manifest.path)
    return {file: recipes for file, recipes in found.items() if file.exists() or workspace.shown(file) not in unwanted}


def _recipes_called(found: list[tuple[str, str, int]]) -> Iterator[str]:
    """Yield the words after `just`, and those of a matrix whose recipes a step runs."""
    runs_matrix = False
    for command in (line.split() for key, value, _ in found if key in {"run", "script"} for line in value.splitlines()):
        match command:
            # A line such as `just --show perf` runs no recipe.
            case ["just", first, *rest] if not first.startswith("-"):
                yield from (first, *rest)
                runs_matrix |= "$RECIPES" in command
    if runs_matrix:
        yield from (name for key, value, _ in found if key == "recipes" for name in value.split())


def _violations_of(path: str, found: list[tuple[str, str, int]] | None, *, is_ours: bool) -> Iterator[Violation]:
    if found is None:
        yield Violation(f"{path} is not valid YAML", path)
    for key, value, line in found or ():
        if is_ours and _lets_pass(key, value):
            yield Violation(f"{path}:{line}: `{key}: {value.strip()}` hides a failure", path, line)
        if key == "uses" and not PINNED.search(value):
            yield Violation(f"{path}:{line}: `{key}: {value.strip()}` is not pinned to a commit", path, line)


def entries(workflow: Path) -> list[tuple[str, str, int]] | None:
    """Return each key of a workflow that has a text, a number or a list of these, with each value and its line.

    None where the workflow is not valid YAML.
    """
    try:
        root = yaml.compose(read_text(workflow), Loader=LOADER)
    except yaml.YAMLError:
        return None
    return list(_entries([root] if root else []))


def _entries(nodes: list[yaml.Node]) -> Iterator[tuple[str, str, int]]:
    while nodes:
        match nodes.pop():
            case yaml.MappingNode(value=pairs):
                for key, value in pairs:
                    for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                        if isinstance(one, yaml.ScalarNode):
                            yield str(key.value), one.value, one.start_mark.line + 1
                    nodes.append(value)
            case yaml.SequenceNode(value=items):
                nodes += items


def _lets_pass(key: str, value: str) -> bool:
    plain = re.sub(r"^\$\{\{\s*|\s*\}\}$", "", value.strip())
    match key:
        case "continue-on-error" | "allow_failure":
            return plain != "false"
        case "when":
            return plain in {"manual", "never"}
        case "if":
            return plain == "false"
        case "run" | "script" | "before_script":
            return "|| true" in value
        case _:
            return False


def _recipe_has(justfile: Path, name: str, command: str) -> bool:
    inside = False
    for text in read_text(justfile).splitlines():
        if text[:1] not in {" ", "\t", "#"}:
            inside = re.match(rf"{name}( [^:]*)?:(?!=)", text) is not None
        line = text.partition("#")[0].strip().removeprefix("@")
        # `just` continues after a line that begins with a hyphen.
        if inside and command in line and not line.startswith("-") and "|| true" not in line:
            return True
    return False


@check(
    "BUILD-4",
    then="delete the line; put lints into [workspace.lints] of Cargo.toml, and flags into .cargo/config.toml",
    only_own=True,
)
def ci_leaves_rustflags_alone(workspace: Workspace) -> Iterator[Violation]:
    """A workflow must not set RUSTFLAGS, which would override the flags in .cargo/config.toml."""
    for path, number, line in workspace.lines(workspace.workflows):
        if "RUSTFLAGS" in line:
            yield Violation(f"{path}:{number}: {line}", path, number)


@check(
    "TOOL-1",
    then='set a full version in rust-toolchain.toml, such as `channel = "1.95.0"`',
    only_own=True,
)
def toolchain_is_pinned(workspace: Workspace) -> Iterator[Violation]:
    """The toolchain must be pinned to one Rust release, since each release changes the lints."""
    # Rustup prefers the older name, under which the channel may stand alone.
    older = read_text(workspace.root / "rust-toolchain")
    toolchain = workspace.table("rust-toolchain" if "[toolchain]" in older else "rust-toolchain.toml")
    is_alone = bool(older) and "[toolchain]" not in older
    channel = older.strip() if is_alone else toolchain.at("toolchain", "channel")
    if not isinstance(channel, str) or not re.fullmatch(r"\d+\.\d+\.\d+", channel):
        shown = "not set" if channel is None else f'"{channel}"'
        path = "rust-toolchain" if is_alone else toolchain.path
        line = 1 if is_alone else toolchain.line("toolchain", "channel")
        yield Violation(f"{path}: the channel is {shown}", path, line)
