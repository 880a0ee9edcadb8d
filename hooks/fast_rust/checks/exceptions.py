"""Checks of exceptions: each one says why."""

from collections.abc import Iterator

from fast_rust.checks.registry import Violation, check
from fast_rust.checks.tables import Table, has_reason, read_text, words
from fast_rust.checks.tooling import GROUPS, is_on
from fast_rust.checks.workspace import Workspace, files_below


@check(
    "DOOR-1",
    then="delete the first line, and write `// ast-grep-ignore: rule -- reason` above the lines that need it",
)
def no_file_suppresses_a_rule(workspace: Workspace) -> Iterator[Violation]:
    """`ast-grep-ignore` must suppress a rule for one line, not for an entire file."""
    for file in files_below(workspace.folder):
        first, second = [*(read_text(file).splitlines() if file.suffix == ".rs" else []), "", ""][:2]
        # Above an empty line, it is for the whole file.
        if "ast-grep-ignore" in first and (" -- " not in first or not second.strip()):
            yield Violation(workspace.shown(file), workspace.shown(file), 1)


@check(
    "DOOR-1",
    "TOOL-1",
    then='write the entry in clippy.toml as { path = "...", reason = "DIRECTIVE: ..." }',
    only_own=True,
)
def bans_have_reasons(workspace: Workspace) -> Iterator[Violation]:
    """Each `disallowed-*` entry of clippy.toml must give a reason, and say what to use instead."""
    for clippy in map(workspace.table, ("clippy.toml", ".clippy.toml")):
        for key, bans in clippy.content.items():
            for ban in bans if key.startswith("disallowed-") and isinstance(bans, list) else ():
                path, reason = (ban.get("path"), ban.get("reason")) if isinstance(ban, dict) else (ban, "")
                if words(reason) < 2:  # noqa: PLR2004  One word does not give a reason.
                    yield Violation(f"{clippy.path}: {key}: {path}", clippy.path, _line_with(clippy, str(path)))


@check(
    "DOOR-1",
    then="""
    end the line with `# reason: ...`; write an advisory as { id = "...", reason = "..." }, and an entry of
    [workspace.metadata.staged] as CHECK = "REASON"; a reason has two words or more
    """,
    only_own=True,
)
def exceptions_in_tables_have_reasons(workspace: Workspace) -> Iterator[Violation]:
    """An exception must give a reason."""
    manifest = workspace.manifest
    for tool in ("clippy", "rust", "rustdoc"):
        lints = manifest.at("workspace", "lints", tool)
        for lint in lints if isinstance(lints, dict) else ():
            is_group = tool == "clippy" and lint in GROUPS
            if not is_group and not is_on(workspace, tool, lint, by_itself=True):
                line = manifest.line("workspace", "lints", tool, lint)
                yield Violation(f"Cargo.toml: {tool}::{lint} is set to `allow` without a reason", manifest.path, line)
    staged = manifest.at("workspace", "metadata", "staged")
    for gate, reason in staged.items() if isinstance(staged, dict) else ():
        if words(reason) < 2:  # noqa: PLR2004
            line = manifest.line("workspace", "metadata", "staged", gate)
            yield Violation(
                f"Cargo.toml: [workspace.metadata.staged] disables the check {gate} without a reason",
                manifest.path,
                line,
            )
    deny = workspace.table("deny.toml")
    ignored = deny.at("advisories", "ignore")
    for entry in ignored if isinstance(ignored, list) else ():
        name, reason = (entry.get("id"), entry.get("reason")) if isinstance(entry, dict) else (entry, "")
        line = _line_with(deny, str(name))
        if words(reason) < 2 and not (line and has_reason(deny.text.splitlines()[line - 1])):  # noqa: PLR2004
            yield Violation(f"deny.toml: the advisory {name} is ignored without a reason", deny.path, line)


def _line_with(table: Table, text: str) -> int:
    lines = enumerate(table.text.splitlines(), 1)
    return next((number for number, line in lines if f'"{text}"' in line.partition("# ")[0]), 0)
