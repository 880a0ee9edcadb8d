"""The report of a fleet, with its form as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version
from pydantic import TypeAdapter, ValidationError

from fast_rust.errors import FastRustError
from fast_rust.fleet.outcome import FORM, CrateState, Outcome

NOT_KNOWN = "not known"


class ReportError(FastRustError):
    """A file that is not a report, or does not belong to the others."""


@dataclass(frozen=True)
class FleetReport:
    """The outcome of each crate, and the day of the report."""

    target: str
    made: str
    crates: tuple[Outcome, ...]
    shard: tuple[int, int] | None = None
    """The number of the shard, and of all shards."""

    @property
    def releases(self) -> dict[str, int]:
        """Return the number of crates at each release, oldest first."""
        counts = Counter(outcome.facts.release or NOT_KNOWN for outcome in self.crates)
        return dict(sorted(counts.items(), key=lambda pair: _order(pair[0])))

    @property
    def states(self) -> dict[CrateState, int]:
        """Return the number of crates in each state, the most frequent first."""
        return dict(Counter(outcome.state for outcome in self.crates).most_common())

    @property
    def drifted_files(self) -> dict[str, int]:
        """Return the number of crates in which each file drifted, the most frequent first."""
        found = [
            path
            for outcome in self.crates
            for path in {difference.path for difference in outcome.facts.differences or () if difference.is_drift}
        ]
        return dict(sorted(Counter(found).items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def loosened(self) -> list[tuple[str, str, str, str]]:
        """Return the keys that are loosened with a reason: crate, key, value and reason."""
        return [
            (outcome.crate, f"{difference.path}: {difference.key}", difference.found, difference.reason)
            for outcome in self.crates
            for difference in outcome.facts.differences or ()
            if not difference.is_drift
        ]

    @property
    def conflicts(self) -> list[tuple[str, str, str]]:
        """Return the conflicts that an update would have: crate, owner and files."""
        return [
            (outcome.crate, outcome.facts.owner or "", ", ".join(outcome.facts.conflicts))
            for outcome in self.crates
            if outcome.facts.conflicts
        ]

    @property
    def frozen(self) -> list[tuple[str, str, str]]:
        """Return the frozen crates: crate, owner and reason."""
        return [
            (outcome.crate, outcome.facts.owner or "", outcome.facts.freeze)
            for outcome in self.crates
            if outcome.facts.freeze
        ]

    def as_json(self) -> str:
        """Return the report for programs, and for a merge."""
        content = {
            "form": FORM,
            "target": self.target,
            "made": self.made,
            "shard": self.shard,
            "crates": [outcome.as_dict() for outcome in self.crates],
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


_REPORT = TypeAdapter(FleetReport)


def _order(release: str) -> tuple[int, Version, str]:
    try:
        return (0, Version(release), release)
    except InvalidVersion:
        return (1, Version("0"), release)


def read_report(path: Path) -> FleetReport:
    """Read a report from its JSON.

    Raises ReportError.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["form"] != FORM:
            raise ReportError(
                f"{path} has the report format of another fast-rust version; run `fast-rust fleet report` again"
            )
        return _REPORT.validate_python(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else error
        raise ReportError(f"{path} is not a valid report of `fast-rust fleet report`: {what}") from error


def merged(reports: Sequence[FleetReport]) -> FleetReport:
    """Merge the reports of all shards.

    Raises ReportError where their targets differ, a shard is missing, or two have the same crate.
    """
    if len(targets := {report.target for report in reports}) > 1:
        raise ReportError(
            "these reports are about different template releases:"
            f" {', '.join(sorted(targets))}; write them for the same one"
        )
    shards = {report.shard for report in reports if report.shard}
    expected = {(number, count) for _, count in shards for number in range(1, count + 1)}
    if missing := sorted(expected - shards):
        names = ", ".join(f"{number}/{count}" for number, count in missing)
        raise ReportError(f"the report of shard {names} is missing; pass its fleet.json, too")
    crates = [crate for report in reports for crate in report.crates]
    if doubles := [name for name, times in Counter(crate.crate for crate in crates).items() if times > 1]:
        raise ReportError(
            f"the crate {doubles[0]} is in more than one of these reports; pass the report of each shard once"
        )
    crates.sort(key=lambda crate: crate.crate)
    return FleetReport(reports[0].target, min(report.made for report in reports), tuple(crates))
