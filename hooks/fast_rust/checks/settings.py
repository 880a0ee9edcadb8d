"""The check of settings: a value that is looser than the template's says why."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from fast_rust.checks.findings import Severity
from fast_rust.checks.registry import Violation, check
from fast_rust.checks.workspace import Workspace
from fast_rust.drift.directions import keeps, pattern_of
from fast_rust.standards.lints import template_file

Settings: TypeAlias = Mapping[tuple[str, ...], Any]
# The rest of the file is Jinja.
LIMITS = re.compile(r"(?ms)^\[workspace\.metadata\.perf\]\n.*?(?=^\[)")


@check(
    "DOOR-1",
    then="restore the template's value, or end the line with the reason: `# reason: ...`, at least two words",
    only_own=True,
    severity=Severity.WARNING,
)
def relaxed_settings_have_reasons(workspace: Workspace) -> Iterator[Violation]:
    """A setting, or a limit of `just perf`, must not be looser than the template's without a reason."""
    for path, wanted in _wanted().items():
        table = workspace.table(path)
        for key, value in wanted.items():
            found = table.at(*key)
            if found is not None and not keeps(key, value, found) and not table.has_reason(*key):
                what = f"{path}: {'.'.join(key)} is {found!r}, looser than the template's {value!r}"
                yield Violation(what, path, table.line(*key))


@cache
def _wanted() -> Mapping[str, Settings]:
    """Return the single values of the template by file and key; a list or a table has no one line for a reason."""
    texts = {name: template_file(name).read_text("utf-8") for name in ("clippy.toml", "deny.toml")}
    [texts["Cargo.toml"]] = LIMITS.findall(template_file("Cargo.toml.jinja").read_text("utf-8"))
    return {name: dict(_single_values(tomllib.loads(text))) for name, text in texts.items()}


def _single_values(table: Mapping[str, Any], *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        # A table with a direction is compared as one value.
        if isinstance(value, Mapping) and not pattern_of((*above, name)):
            yield from _single_values(value, *above, name)
        elif not isinstance(value, list | Mapping):
            yield (*above, name), value
