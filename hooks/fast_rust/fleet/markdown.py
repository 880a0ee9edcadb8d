"""The report of a fleet as Markdown."""

from collections.abc import Collection, Iterable, Sequence

from fast_rust.fleet.report import FleetReport


def markdown(report: FleetReport) -> str:
    """Return the report as Markdown, for a pull request, an issue or a terminal."""
    persons = [outcome for outcome in report.crates if outcome.state.needs_a_person]
    sections: list[tuple[str, tuple[str, ...], Collection[Sequence[object]]]] = [
        ("Drift by file", ("file", "crates"), report.drifted_files.items()),
        ("Conflicts of an update", ("crate", "owner", "files"), report.conflicts),
        (
            "Settings less strict than the template's, with a reason",
            ("crate", "key", "value", "reason"),
            report.loosened,
        ),
        ("Frozen", ("crate", "owner", "reason"), report.frozen),
        (
            "Crates that need manual work",
            ("crate", "owner", "state", "detail"),
            [(outcome.crate, outcome.facts.owner or "", outcome.state, outcome.detail) for outcome in persons],
        ),
    ]
    parts = [f"# Fleet of {len(report.crates)} crates, {report.made}", f"Newest release: {report.target}."]
    parts.append(_table(("state", "crates"), report.states.items()))
    parts += ["## Releases", _table(("release", "crates"), report.releases.items())]
    for title, heads, rows in sections:
        parts += [f"## {title}", _table(heads, rows) if rows else "None."]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    # What crates and their owners write is text, never markup.
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
