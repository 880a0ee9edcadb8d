"""Prints findings: for a person, for a log, for GitHub, and for programs."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum

from fast_rust.checks.findings import Finding, Severity
from fast_rust.version import own_version


class Format(StrEnum):
    """How findings are printed."""

    FULL = "full"
    CONCISE = "concise"
    GITHUB = "github"
    JSON = "json"
    SARIF = "sarif"


# As GitHub and SARIF call them.
GITHUB_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.ADVICE: "notice"}
SARIF_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.ADVICE: "note"}


def default_format() -> Format:
    """Return the format that shows findings best where this runs."""
    return Format.GITHUB if os.environ.get("GITHUB_ACTIONS") == "true" else Format.FULL


def render(findings: Sequence[Finding], how: Format) -> str:
    """Return findings as text in one of the formats; empty without findings, except for JSON and SARIF."""
    renderers: dict[Format, Callable[[Sequence[Finding]], str]] = {
        Format.FULL: lambda those: "\n\n".join(map(_full, those)),
        Format.CONCISE: lambda those: "\n".join(map(_concise, those)),
        Format.GITHUB: lambda those: "\n".join(map(_github, those)),
        Format.JSON: lambda those: json.dumps([asdict(finding) for finding in those], indent=2, ensure_ascii=False),
        Format.SARIF: _sarif,
    }
    return renderers[how](findings)


def _place(finding: Finding) -> str:
    numbers = [str(number) for number in (finding.line, finding.column) if number]
    return ":".join([finding.path, *numbers])


def _message(finding: Finding) -> str:
    return ": ".join(filter(None, [", ".join(finding.directives), finding.message]))


def _full(finding: Finding) -> str:
    lines = [f"{finding.severity}[{finding.gate}] {_place(finding)}", *_indented(_message(finding))]
    return "\n".join([*lines, *_indented(f"Next: {finding.next}")] if finding.next else lines)


def _indented(text: str) -> Iterable[str]:
    return (f"  {line}".rstrip() for line in text.splitlines())


def _concise(finding: Finding) -> str:
    return f"{_place(finding)}: {finding.severity}[{finding.gate}] {' '.join(_message(finding).split())}"


def _github(finding: Finding) -> str:
    """Return a workflow command, which shows the finding at its line of a pull request."""
    level = GITHUB_LEVELS[finding.severity]
    place = {"file": finding.path, "line": finding.line, "col": finding.column, "title": finding.gate}
    properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in place.items() if value)
    text = f"{_message(finding)}\n{finding.next}".rstrip()
    return f"::{level} {properties}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _sarif(findings: Sequence[Finding]) -> str:
    """Return a log in SARIF 2.1.0, which code scanning reads."""
    results = [
        {
            "ruleId": finding.gate,
            "level": SARIF_LEVELS[finding.severity],
            "message": {"text": f"{_message(finding)}\n{finding.next}".rstrip()},
            "locations": [{"physicalLocation": _location(finding)}],
        }
        for finding in findings
    ]
    driver = {
        "name": "fast-rust",
        "version": own_version(),
        "rules": [{"id": gate} for gate in sorted({finding.gate for finding in findings})],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=2, ensure_ascii=False)


def _location(finding: Finding) -> dict[str, object]:
    region = {"startLine": finding.line, "startColumn": finding.column}
    place: dict[str, object] = {"artifactLocation": {"uri": finding.path}}
    # Line 0 means the entire file; SARIF then has no region.
    known = {name: number for name, number in region.items() if number}
    return {**place, "region": known} if finding.line else place
