"""Checks of exceptions: each one says why."""

from collections.abc import Iterator

from fast_rust.checks.registry import Fault, check
from fast_rust.checks.tables import Table, has_reason, read_text, words
from fast_rust.checks.tooling import is_on
from fast_rust.checks.workspace import Workspace, files_below


@check(
    "DOOR-1",
    then="delete the first line, and write `// ast-grep-ignore: rule -- reason` above the lines that need it",
)
def no_file_is_left_out_of_the_rules(workspace: Workspace) -> Iterator[Fault]:
    """An exception is for one place, not for a whole file."""
    for file in files_below(workspace.folder):
        first = read_text(file).partition("\n")[0] if file.suffix == ".rs" else ""
        if "ast-grep-ignore" in first and " -- " not in first:
            yield Fault(workspace.shown(file), workspace.shown(file), 1)


@check(
    "DOOR-1",
    "TOOL-1",
    then='write the entry in clippy.toml as { path = "...", reason = "DIRECTIVE: ..." }',
    only_own=True,
)
def bans_have_reasons(workspace: Workspace) -> Iterator[Fault]:
    """Who meets a ban reads why, and what to use instead."""
    clippy = workspace.table("clippy.toml")
    for key, bans in clippy.content.items():
        for ban in bans if key.startswith("disallowed-") else ():
            if not isinstance(ban, dict) or words(ban.get("reason")) < 2:  # noqa: PLR2004  One word is no reason.
                path = ban.get("path") if isinstance(ban, dict) else ban
                yield Fault(f"clippy.toml: {key}: {path}", clippy.path, _line_with(clippy, str(path)))


@check(
    "DOOR-1",
    then='end the line with `# reason: ...`, or write the advisory as { id = "...", reason = "..." }',
    only_own=True,
)
def exceptions_in_tables_have_reasons(workspace: Workspace) -> Iterator[Fault]:
    """An exception says why."""
    manifest = workspace.manifest
    for tool in ("clippy", "rust", "rustdoc"):
        for lint in manifest.at("workspace", "lints", tool) or ():
            if not is_on(workspace, tool, lint, by_itself=True):
                line = manifest.line("workspace", "lints", tool, lint)
                yield Fault(f"Cargo.toml: {tool}::{lint} is allowed", manifest.path, line)
    deny = workspace.table("deny.toml")
    for entry in deny.at("advisories", "ignore") or ():
        name, reason = (entry.get("id"), entry.get("reason")) if isinstance(entry, dict) else (entry, "")
        line = _line_with(deny, str(name))
        if words(reason) < 2 and not (line and has_reason(deny.text.splitlines()[line - 1])):  # noqa: PLR2004
            yield Fault(f"deny.toml: {name} is ignored", deny.path, line)


def _line_with(table: Table, text: str) -> int:
    lines = enumerate(table.text.splitlines(), 1)
    return next((number for number, line in lines if f'"{text}"' in line.partition("# ")[0]), 0)
