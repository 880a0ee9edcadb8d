"""The check of settings: a value that is looser than the template's says why."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from fast_rust.checks.findings import Severity
from fast_rust.checks.registry import Violation, check
from fast_rust.checks.tables import read_text
from fast_rust.checks.workspace import Workspace
from fast_rust.drift.directions import keeps
from fast_rust.standards.lints import template_file

Settings: TypeAlias = Mapping[tuple[str, ...], Any]
# The rest of the file is Jinja.
LIMITS = re.compile(r"(?ms)^\[workspace\.metadata\.perf\]\n.*?(?=^\[)")


@check(
    "DOOR-1",
    then="set the value of the template, or end the line with `# reason: ...`, of two words or more",
    only_own=True,
    severity=Severity.WARNING,
)
def relaxed_settings_have_reasons(workspace: Workspace) -> Iterator[Violation]:
    """A threshold, or a limit of `just perf`, that is looser than the template's must give a reason."""
    for path, wanted in _wanted().items():
        table = workspace.table(path)
        for key, value in wanted.items():
            found = table.at(*key)
            if found is not None and not keeps(key, value, found) and not table.has_reason(*key):
                what = f"{path}: {'.'.join(key)} is {found!r}, looser than {value!r}"
                yield Violation(what, path, table.line(*key))


@cache
def _wanted() -> Mapping[str, Settings]:
    """Return the single values of the template by file and key; a list or a table has no one line for a reason."""
    texts = {name: read_text(template_file(name)) for name in ("clippy.toml", "deny.toml")}
    limits = LIMITS.search(read_text(template_file("Cargo.toml.jinja")))
    texts["Cargo.toml"] = limits[0] if limits else ""
    return {name: dict(_single_values(tomllib.loads(text))) for name, text in texts.items()}


def _single_values(table: Mapping[str, Any], *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _single_values(value, *above, name)
        elif not isinstance(value, list):
            yield (*above, name), value
