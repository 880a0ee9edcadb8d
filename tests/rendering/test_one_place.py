"""Data that is necessarily in two places is equal in both."""

import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from fast_rust.hot.names import KEYWORDS
from fast_rust.perf.verdict import DEFAULTS
from support.template import Template
from support.variants import CHECKOUT, domain

DEPENDENCIES = {"dependencies", "dev-dependencies", "build-dependencies"}


def requirements(table: dict[str, Any]) -> dict[str, str]:
    """Return the versions that a manifest requires, by crate."""
    found: dict[str, str] = {}
    for name, value in table.items():
        if name in DEPENDENCIES and isinstance(value, dict):
            for crate, needed in value.items():
                version = needed if isinstance(needed, str) else needed.get("version", "")
                found |= {crate: version} if version else {}
        elif isinstance(value, dict):
            found |= requirements(value)
    return found


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the manifests of a rendered crate."""
    return {str(path): tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("Cargo.toml"))}


def test_each_crate_is_required_at_one_version(template: Template) -> None:
    """In all packages of all kinds; `version.workspace` is not counted."""
    found: dict[str, set[str]] = defaultdict(set)
    for kind in domain("kind"):
        for manifest in manifests(template.rendering({"crate_name": "totals", "kind": kind})).values():
            for crate, version in requirements(manifest).items():
                found[crate].add(version)
    assert len(found) > 20
    assert {crate: versions for crate, versions in found.items() if len(versions) > 1} == {}


@pytest.mark.parametrize("kind", domain("kind"))
def test_the_limits_of_perf_are_those_of_the_tool(template: Template, kind: str) -> None:
    manifest = tomllib.loads((template.rendering({"crate_name": "totals", "kind": kind}) / "Cargo.toml").read_text())
    assert manifest["workspace"]["metadata"]["perf"] == DEFAULTS


def test_the_keywords_of_rust_are_the_same_for_crates_and_modules() -> None:
    text = (CHECKOUT / "validators.jinja").read_text(encoding="utf-8")
    found = re.search(r'set keywords = "([^"]*)"', text)
    assert found
    assert set(found[1].split()) == KEYWORDS
