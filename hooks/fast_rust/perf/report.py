"""The report: a table for people, and a file for programs."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from fast_rust import git
from fast_rust.perf.figures import COLUMNS, GATED, Comparison
from fast_rust.perf.programs import processor, version
from fast_rust.perf.settings import changed_settings
from fast_rust.perf.workspace import Workspace

UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns"))


def _amount(key: str, value: float) -> str:
    """Return a figure as people read it; times are in nanoseconds."""
    if key not in {"median", "p95"}:
        return f"{value:,.0f}"
    size, unit = next((size, unit) for size, unit in UNITS if value >= size or size == 1)
    return f"{value / size:.3g} {unit}"


def cell(key: str, base: float | None, head: float | None) -> str:
    """Return base, head and change, as far as they are known."""
    if base is None or head is None:
        return " → ".join(_amount(key, value) if value is not None else "?" for value in (base, head))
    if base == head:
        return f"{_amount(key, base)} ="
    change = f"{(head / base - 1) * 100:+.2f} %" if base else "new"
    return f"{_amount(key, base)} → {_amount(key, head)} ({change})"


def _table(comparison: Comparison, accepted: str) -> str:
    """Return the Markdown table, with a row for each bench."""
    lines = [["bench", *COLUMNS.values(), "verdict"], ["---", *["---:"] * len(COLUMNS), "---"]]
    for row in comparison.rows.values():
        cells = [row.name]
        for key in COLUMNS:
            known = key in row.base or key in row.head
            text = cell(key, row.base.get(key), row.head.get(key)) if known else ""
            text += f" [changed benchmark: {_amount(key, row.own[key])}]" if key in row.own else ""
            cells.append(text.strip())
        gated = any(key in row.head for key in GATED)
        verdict = ["accepted" if accepted else "**exceeds its limit**"] if row.offences else ["ok"] if gated else []
        lines.append([*cells, "; ".join([*verdict, *row.notes])])
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Return text of others so that it is nothing but text in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _block(text: str) -> list[str]:
    """Return text of others as a block of code, with a fence that does not occur in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", text, fence]


def facts(workspace: Workspace, *, release: bool) -> list[str]:
    """Return what was compared, and by what."""
    is_changed = not workspace.head and git.status(workspace.repository)
    head = workspace.head or git.text(workspace.repository, "rev-parse", "HEAD")
    changed = " with uncommitted changes" if is_changed else ""
    tools = [version("rustc"), version("valgrind") or "no valgrind", processor(), f"{os.cpu_count()} cores"]
    lines = [f"base {workspace.base[:12]}, head {head[:12]}{changed}", ", ".join(tools)]
    judge = f"fast-rust {import_module('importlib.metadata').version('fast-rust')}"
    if release:
        return [
            *lines,
            f"compared with the last release, measured by {judge}, with the limits of the head's Cargo.toml",
        ]
    return [*lines, f"measured by {judge}, with the limits of the base's Cargo.toml", *changed_settings(workspace)]


def write(workspace: Workspace, comparison: Comparison, about: Sequence[str], accepted: str, exit_code: int) -> str:
    """Write the table to the summary of the job, and all figures into target/perf.json; return the table."""
    lines = ["## Performance", "", *(f"- {_escaped(line)}" for line in [*about, *comparison.notes])]
    lines += [f"- accepted because {_escaped(accepted)}"] if accepted and comparison.offences else []
    lines += ["", _table(comparison, accepted)]
    for name, output in comparison.failures.items():
        lines += ["", f"Output of the base's benchmark `{name}`, built with the change:", "", *_block(output)]
    if comparison.offences:
        lines += ["", *_block("\n".join(comparison.offences))]
    text = "\n".join(lines)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    rows = [asdict(row) for row in comparison.rows.values()]
    report = {"version": 1, "exit": exit_code, "base": workspace.base, "about": about, "notes": comparison.notes}
    report.update({"accepted": accepted, "rows": rows})
    (workspace.root / "target" / "perf.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return text
