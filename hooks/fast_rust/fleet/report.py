"""A true picture of a fleet, as JSON for programs and as Markdown for people."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from fast_rust.drift.differences import State as DriftState
from fast_rust.errors import FastRustError
from fast_rust.files import replace_file
from fast_rust.fleet.outcome import Outcome

FORM = 1
NOT_KNOWN = "not known"


class ReportError(FastRustError):
    """A file that is no report, or does not go with the others."""


@dataclass(frozen=True)
class Report:
    """What was found in each crate, and when."""

    target: str
    made: str
    crates: tuple[Outcome, ...]
    shard: tuple[int, int] | None = None
    """Which share of the fleet it is, of how many."""

    @property
    def releases(self) -> dict[str, int]:
        """How many crates are at each release, oldest first."""
        counts = Counter(str(one.facts.get("release", NOT_KNOWN)) for one in self.crates)
        return dict(sorted(counts.items(), key=lambda pair: _order(pair[0])))

    @property
    def states(self) -> dict[str, int]:
        """How many crates are in each state, the commonest first."""
        return dict(Counter(str(one.state) for one in self.crates).most_common())

    @property
    def drifted_files(self) -> dict[str, int]:
        """In how many crates each file drifted, the commonest first."""
        found = [path for one in self.crates for path in {d["path"] for d in _differences(one, loosened=False)}]
        return dict(sorted(Counter(found).items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def loosened(self) -> list[tuple[str, str, str, str]]:
        """Keys that are loosened with a reason: crate, key, its value, and the reason."""
        return [
            (one.crate, f"{d['path']}: {d['key']}", d["found"], d["reason"])
            for one in self.crates
            for d in _differences(one, loosened=True)
        ]

    @property
    def conflicts(self) -> list[tuple[str, str, str]]:
        """Foreseen conflicts: crate, owner, and the files."""
        return [
            (one.crate, str(one.facts.get("owner", "")), ", ".join(files))
            for one in self.crates
            if (files := [path for path, fate in one.facts.get("touches", {}).items() if fate == "conflict"])
        ]

    @property
    def frozen(self) -> list[tuple[str, str, str]]:
        """Crates that no update touches: crate, owner, and the reason."""
        return [
            (one.crate, str(one.facts["owner"]), str(one.facts["freeze"])) for one in self.crates if _is_frozen(one)
        ]

    def as_json(self) -> str:
        content = {
            "form": FORM,
            "target": self.target,
            "made": self.made,
            "shard": self.shard,
            "crates": [one.as_dict() for one in self.crates],
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _is_frozen(one: Outcome) -> bool:
    return bool(one.facts.get("freeze"))


def _differences(one: Outcome, *, loosened: bool) -> list[Mapping[str, Any]]:
    found = one.facts.get("differences", [])
    return [d for d in found if (d["state"] == DriftState.LOOSENED) is loosened]


def _order(release: str) -> tuple[int, Version, str]:
    try:
        return (0, Version(release), release)
    except InvalidVersion:
        return (1, Version("0"), release)


def read_report(path: Path) -> Report:
    """Read what was written as JSON.

    Raises ReportError.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["form"] != FORM:
            raise ReportError(f"{path} was written by another version of fast-rust: make it anew")
        crates = tuple(Outcome.from_dict(one) for one in content["crates"])
        shard = content["shard"] and tuple(content["shard"])
        return Report(content["target"], content["made"], crates, shard)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path} is no report of a fleet: {error}") from error


def merged(reports: Sequence[Report]) -> Report:
    """The reports of all shards as one.

    Raises ReportError where they are not of one target, one of the shards is not there, or two have the same crate.
    """
    if len(targets := {one.target for one in reports}) > 1:
        raise ReportError(f"these reports are not of one target: {', '.join(sorted(targets))}")
    shards = {one.shard for one in reports if one.shard}
    expected = {(number, count) for _, count in shards for number in range(1, count + 1)}
    if missing := sorted(expected - shards):
        raise ReportError("there is no report of shard " + ", ".join(f"{number}/{count}" for number, count in missing))
    crates = [crate for one in reports for crate in one.crates]
    if doubles := [name for name, times in Counter(crate.crate for crate in crates).items() if times > 1]:
        raise ReportError(f"{doubles[0]} is in more than one of these reports")
    crates.sort(key=lambda crate: crate.crate)
    return Report(reports[0].target, min(one.made for one in reports), tuple(crates))


def markdown(report: Report) -> str:
    """The report for a pull request, a ticket or a terminal."""
    parts = [f"# Fleet of {len(report.crates)} crates, {report.made}", f"Newest release: {report.target}."]
    parts.append(_table(("state", "crates"), report.states.items()))
    parts += ["## Releases", _table(("release", "crates"), report.releases.items())]
    sections: list[tuple[str, tuple[str, ...], Iterable[Sequence[object]]]] = [
        ("Drift by file", ("file", "crates"), report.drifted_files.items()),
        ("Foreseen conflicts", ("crate", "owner", "files"), report.conflicts),
        ("Loosened with a reason", ("crate", "key", "is", "reason"), report.loosened),
        ("Frozen", ("crate", "owner", "reason"), report.frozen),
    ]
    for title, heads, found in sections:
        lines = list(found)
        parts += [f"## {title}", _table(heads, lines) if lines else "None."]
    persons = [one for one in report.crates if one.state.needs_a_person]
    rows = [(one.crate, one.facts.get("owner", ""), one.state, one.detail) for one in persons]
    parts += ["## For a person to do", _table(("crate", "owner", "state", "what"), rows) if rows else "Nothing."]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    # What crates and their owners write is text, never markup.
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report in all its forms."""
    from fast_rust.fleet.page import page  # noqa: PLC0415  It needs this module.

    files = {
        folder / "fleet.json": report.as_json(),
        folder / "fleet.md": markdown(report),
        folder / "fleet.html": page(report),
    }
    for file, text in files.items():
        replace_file(file, text.encode())
    return list(files)
