"""Moves the server of a service from the module src/plumbing into the package server/."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fast_rust import git
from fast_rust.answers import require_answers
from fast_rust.checks.rules import find_ast_grep
from fast_rust.errors import FastRustError
from fast_rust.migrate.manifests import depend_on_package
from fast_rust.update.apply import write_change
from fast_rust.update.merge import Change, MergeResult
from fast_rust.update.plan import UpdatePlan, plan

ANSWER, MODULE, PACKAGE = "server_crate", "src/plumbing", "server"
MANIFESTS = ("Cargo.toml", "bench/Cargo.toml")
# Outside its package, a struct that a release may extend has no literal.
LITERALS = """
id: server-limits
language: rust
rule:
  pattern: $TYPE { $$$FIELDS }
  kind: struct_expression
  WHERE
constraints: { TYPE: { regex: "(^|::)(RequestLimits|ConnectionLimits|Drain)$" } }
rewriters:
  - id: value
    rule:
      kind: field_initializer
      all: [{ has: { field: field, pattern: $NAME } }, { has: { field: value, pattern: $VALUE } }]
    fix: set.$NAME = $VALUE;
  - { id: name, rule: { kind: shorthand_field_initializer, pattern: $NAME }, fix: set.$NAME = $NAME; }
  - { id: comment, rule: { kind: line_comment, pattern: $TEXT }, fix: $TEXT }
transform: { LINES: { rewrite: { rewriters: [value, name, comment], source: $$$FIELDS, joinBy: "\\n" } } }
fix: FIX
"""
STATEMENTS = r"let mut set = $TYPE::default();\n$LINES\nset"
# A literal that is the only expression of a function needs no separate block.
ALONE = "all: [{ inside: { kind: block, inside: { kind: function_item } } }, { nthChild: 1 },"
ALONE += " { nthChild: { position: 1, reverse: true } }]"
TEST = ("cargo", "test", "--workspace", "--all-features")


class MigrationError(FastRustError):
    """Why the server was not moved, and what to do."""


def plan_migration(crate: Path) -> UpdatePlan | None:
    """Plan the move; None where it is made already.

    Raises FastRustError where it cannot be made: edited sources, or a crate that does not pass its tests afterwards.
    """
    choices = require_answers(crate).choices
    if choices["kind"] != "service" or choices.get("adopted"):
        raise MigrationError("the crate has no module src/plumbing; only a service created from the template has it")
    if choices.get(ANSWER):
        return None
    planned = plan(crate, data={ANSWER: "true"} if ANSWER in choices else {})
    if not isinstance(planned, UpdatePlan) or planned.target != planned.answers.release:
        raise MigrationError(
            "the crate does not use the newest template release; run `fast-rust update`, and commit the update first"
        )
    if edited := [path for path, change in planned.changes.items() if _is_kept(path, change)]:
        raise MigrationError(
            f"you edited {edited[0]}, which the migration would delete; move your changes to other files, and commit"
        )
    with TemporaryDirectory(prefix="fast-rust-") as folder, git.scratch_clone(git.top_of(crate), Path(folder)) as clone:
        trial = clone / git.prefix_of(crate)
        before = _rust_files(trial)
        is_formatted = _succeeds(trial, "cargo", "fmt", "--all", "--check")
        manifests = {name: (trial / name).read_text(encoding="utf-8") for name in MANIFESTS if (trial / name).is_file()}
        for path, change in planned.changes.items():
            if path not in MANIFESTS:
                write_change(trial / path, change)
        _rewrite(trial, str(planned.answers.choices["crate_name"]))
        depend_on_package(trial, manifests, PACKAGE)
        if is_formatted:
            _succeeds(trial, "cargo", "fmt", "--all")
        _require_tests(trial)
        return replace(planned, changes=_all_changes(planned, trial, before, manifests), starters={})


def _is_kept(path: str, change: Change) -> bool:
    return path.startswith(f"{MODULE}/") and change.result is not MergeResult.DELETED


def _rust_files(crate: Path) -> dict[str, bytes]:
    names = git.names(crate, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    files = [name for name in names if name.endswith(".rs") and (crate / name).is_file()]
    return {name: (crate / name).read_bytes() for name in files}


# --- The crate's own code ---


def _rewrite(trial: Path, crate_name: str) -> None:
    """Replace the paths of the module by those of the package, and what does not compile outside it."""
    own = re.escape(crate_name.replace("-", "_"))
    module = re.compile(rf"(?<![\w:])(?:crate|(?:::)?{own})::plumbing\b")
    files = {name: text for name, text in _rust_files(trial).items() if not name.startswith(f"{PACKAGE}/")}
    for name, content in files.items():
        text = content.decode("utf-8")
        changed = module.sub("::server", text)
        if name == "src/lib.rs":
            changed = re.sub(r"(?m)^pub mod plumbing;\r?\n", "", changed)
        if changed != text:
            (trial / name).write_bytes(changed.encode())
    for where, fix in ((ALONE, f'"{STATEMENTS}"'), ("", f'"{{\\n{STATEMENTS}\\n}}"')):
        rule = LITERALS.replace("WHERE", where).replace("FIX", fix)
        command = [find_ast_grep(), "scan", f"--inline-rules={rule}", "--update-all", *files]
        done = subprocess.run(command, cwd=trial, check=False, capture_output=True, text=True)
        if done.returncode:
            raise MigrationError(f"ast-grep failed to rewrite the code: {done.stderr.strip()}")


# --- The trial ---


def _succeeds(folder: Path, *command: str) -> bool:
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0


def _require_tests(trial: Path) -> None:
    """Check that the crate passes its tests.

    They are built in the trial's own target folder: in the crate's, cargo would later run them as the crate's tests.
    """
    done = subprocess.run(TEST, cwd=trial, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
        first = next((at for at, line in enumerate(lines) if line.startswith(("error", "---- "))), 0)
        shown = "\n".join(lines[first : first + 12])
        raise MigrationError(
            f"`{' '.join(TEST)}` fails in a copy with the moved server, so nothing was changed:\n{shown}"
        )


def _all_changes(
    planned: UpdatePlan, trial: Path, before: dict[str, bytes], manifests: dict[str, str]
) -> dict[str, Change]:
    """Return the changes of the release with those of the crate's own files."""
    after = {name: content for name, content in _rust_files(trial).items() if before.get(name, content) != content}
    after |= {name: (trial / name).read_bytes() for name in manifests}
    known: dict[str, Any] = {name: Change(MergeResult.CHANGED, content) for name, content in after.items()}
    return dict(sorted({**planned.changes, **known}.items()))
