"""Names of crates that collide with a module, with an import of a file, or with the standard library."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fast_rust.hot.rust import imports
from support.template import Template, copy_in_process
from support.variants import CHECKOUT, domain
from support.workshop import Workshop

# A path that begins with one of these cannot refer to the user's crate.
FIXED = {"", "crate", "self", "super", "std"}
COLLIDING = {
    "lib": ["aggregate", "error", "thread"],
    "cli": ["aggregate", "args", "fs", "io", "platform", "report", "thread"],
    "service": ["aggregate", "config", "metrics", "platform", "routes", "service", "telemetry"],
}


def refused_names() -> set[str]:
    """Return the names that the validator rejects because the crate depends on crates of these names."""
    text = (CHECKOUT / "validators.jinja").read_text(encoding="utf-8")
    found = re.search(r'set dependencies = "([^"]*)"', text)
    assert found
    return {name.replace("-", "_") for name in found[1].split()}


def first_segments(folder: Path) -> Iterator[tuple[str, int, str]]:
    for path in sorted(folder.rglob("*.rs")):
        text = path.read_text(encoding="utf-8")
        for each in imports(text):
            for leaf in each.leaves:
                yield path.relative_to(folder).as_posix(), text.count("\n", 0, each.start) + 1, leaf.path.split("::")[0]


@pytest.mark.parametrize("kind", domain("kind"))
def test_no_import_depends_on_the_name_of_the_crate(template: Template, kind: str) -> None:
    """Each import begins with `::`, a keyword, or a crate whose name is rejected, so every accepted name works."""
    folder = template.rendering({"crate_name": "log-totals", "kind": kind})
    known = FIXED | refused_names() | {"server"}
    assert [found for found in first_segments(folder) if found[2] not in known] == []


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in COLLIDING.items() for name in names])
def test_a_crate_of_a_colliding_name_compiles(
    workshop: Workshop, template: Template, tmp_path: Path, kind: str, name: str
) -> None:
    crate = tmp_path / name
    assert copy_in_process(template.files, crate, {"crate_name": name, "kind": kind}).exit_code == 0
    workshop.run(crate, "cargo", "fmt", "--all", "--check")
    workshop.run(crate, "cargo", "check", "--workspace", "--all-targets")
