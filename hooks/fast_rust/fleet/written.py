"""Writing the report of a fleet in all its formats."""

from pathlib import Path

from fast_rust.files import replace_file
from fast_rust.fleet.markdown import markdown
from fast_rust.fleet.page import page
from fast_rust.fleet.report import FleetReport


def write_report(report: FleetReport, folder: Path) -> list[Path]:
    """Write the report as JSON, Markdown and HTML, and return the files."""
    files = {
        folder / "fleet.json": report.as_json(),
        folder / "fleet.md": markdown(report),
        folder / "fleet.html": page(report),
    }
    for file, text in files.items():
        replace_file(file, text.encode())
    return list(files)
