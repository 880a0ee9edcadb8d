"""Reads which lints of clippy and rustc are gates, without the parsers of the pages, which take longer."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fast_rust.standards.folder import standards_folder

# The list that stands behind `Gate:`, but where only people judge, or the gate is not built yet.
GATES = re.compile(r"(?m)^- Gate: (?:decided|common cases|reason demanded), by (.*(?:\n {2}.*)*)")
LINT = re.compile(r"`(?:clippy|rustc)::[a-z_0-9]+`")

# Lints whose findings are right in about half of the places, or more.
ADVICE = (
    "clippy::allow_attributes",
    "clippy::needless_pass_by_value",
    "clippy::print_stdout",
    "clippy::ref_option",
    "clippy::significant_drop_in_scrutinee",
    "clippy::unused_result_ok",
    "clippy::verbose_file_reads",
    "unreachable_pub",
)


def template_file(name: str) -> Path:
    """Return the path of a file of the template that the wheel has, too."""
    installed = standards_folder() / name
    return installed if installed.is_file() else standards_folder().parent / "template" / name


@cache
def lints_of_the_standards() -> dict[str, bool]:
    """Return all lints that are gates, and whether the compiler warns of each by itself."""
    on = switched_on(_read(template_file("Cargo.toml.jinja")))
    pages = (_read(path) for path in sorted(standards_folder().glob("*.md")))
    gates = (lint.strip("`") for page in pages for text in GATES.findall(page) for lint in LINT.findall(text))
    return {gate: gate not in on for gate in gates}


def switched_on(manifest: str) -> frozenset[str]:
    """The lints that the template's manifest has for every kind of crate, whatever else of it is Jinja."""
    tables = re.findall(r"(?ms)^(\[workspace\.lints\.\w+\]\n.*?)(?=^\s*(?:\[|\{%))", manifest)
    lints: Mapping[str, Mapping[str, object]] = tomllib.loads("\n".join(tables))["workspace"]["lints"]
    return frozenset(f"{'rustc' if tool == 'rust' else tool}::{lint}" for tool in lints for lint in lints[tool])


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
