"""The figures of a bench on each side, and the notes about them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Figures: TypeAlias = dict[str, float]

GATED = ("instructions", "blocks", "peak")
COLUMNS = {
    "median": "median",
    "p95": "p95 of sample means",
    "instructions": "instructions",
    "cycles": "estimated cycles",
    "misses": "cache misses",
    "blocks": "heap blocks",
    "peak": "peak bytes",
}


@dataclass(frozen=True, order=True)
class Target:
    """A bench of the workspace, as `cargo bench --package P --bench N` names it."""

    package: str
    name: str

    @property
    def counts(self) -> bool:
        """Whether the bench counts instructions; the others take the time."""
        return self.name.endswith("_instructions")

    def named(self, bench: str, *, many: bool) -> str:
        """Return the name of a bench of this target in the table, with the package where several have benches."""
        return f"{self.package}: {bench}" if many else bench


@dataclass
class Row:
    """A bench of the table."""

    name: str
    base: Figures = field(default_factory=dict)
    head: Figures = field(default_factory=dict)
    own: Figures = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    offences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """The counts of the benches of one side, and the paths of callgrind's files."""

    figures: dict[str, Figures]
    files: dict[str, Path]
    targets: dict[str, Target]


@dataclass
class Comparison:
    """What is known of all benches, and of how they were built."""

    rows: dict[str, Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """What was printed last by benches of the base that do not build or run on the head, by their names."""
    refusals: list[str] = field(default_factory=list)
    """Offences whatever the figures are: changed settings, and benches that fail."""

    def row(self, name: str) -> Row:
        """Return the row of a bench, a new one if it has none."""
        return self.rows.setdefault(name, Row(name))

    @property
    def offences(self) -> list[str]:
        """All that is beyond a limit."""
        return [*self.refusals, *(offence for row in self.rows.values() for offence in row.offences)]
