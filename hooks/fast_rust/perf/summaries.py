"""Reads what gungraun and callgrind wrote."""

import json
import re
from collections import Counter
from pathlib import Path

from fast_rust.perf.errors import NotMeasuredError
from fast_rust.perf.figures import Figures

SUMMARY_VERSION = "7"
METRICS = {"instructions": "Ir", "cycles": "EstimatedCycles", "blocks": "TotalBlocks", "peak": "AtTGmaxBytes"}
FUNCTION = re.compile(r"(?:(\(\d+\))( ?))?(.*)")


def read_summary(path: Path) -> tuple[str, Figures]:
    """Return the name of a bench and what it counted, of a summary in version 7 of gungraun's format.

    Raises NotMeasuredError where the file has another format.
    """
    summary = json.loads(path.read_text("utf-8"))
    if summary.get("version") != SUMMARY_VERSION:
        found = summary.get("version")
        failure = f"{path} has the format version {found}; fast-rust reads only version {SUMMARY_VERSION}"
        raise NotMeasuredError(f"{failure}; run `just setup`, or update the crate to a newer release of the template")
    try:
        totals = [profile["data"]["total"]["metrics"] for profile in summary["profiles"]]
        values = {name: metric["values"]["new"] for metrics in totals for name, metric in metrics.items()}
        name = " ".join(filter(None, [summary["module_path"], summary["id"]]))
    except (KeyError, TypeError) as failure:
        raise NotMeasuredError(
            f"{path} cannot be read: {failure!r}; update the crate to a newer release of the template"
        ) from failure
    figures = {ours: float(values[theirs]) for ours, theirs in METRICS.items() if theirs in values}
    if {"LLhits", "RamHits"} <= values.keys():
        figures["misses"] = float(values["LLhits"] + values["RamHits"])
    if not figures:
        raise NotMeasuredError(
            f"{path} has neither instructions, counted by callgrind, nor heap blocks, counted by DHAT"
        )
    return name, figures


def cost_by_function(path: Path) -> Counter[str]:
    """Return the instructions of each function itself, of a file that callgrind wrote."""
    costs: Counter[str] = Counter()
    names: dict[str, str] = {}
    function, column, skip = "", 0, False
    for line in path.read_text("utf-8", "replace").splitlines():
        if line.startswith("events:"):
            column = line.split()[1:].index("Ir") + 1
        elif line.startswith("fn="):
            number, _, name = FUNCTION.findall(line[3:])[0]
            function = names.setdefault(number, name) if number else name
        elif line.startswith("calls="):
            # The next line is the cost of the callee, which is listed at its definition.
            skip = True
        elif line[:1].isdigit() or line[:1] in {"+", "-", "*"}:
            fields = line.split()
            costs[function] += int(fields[column]) if not skip and len(fields) > column else 0
            skip = False
    return costs


def growth(base: Path, head: Path) -> list[str]:
    """Return the five functions that grew most."""
    grown = cost_by_function(head)
    grown.subtract(cost_by_function(base))
    return [f"{cost:+,} {name}" for name, cost in grown.most_common(5) if cost > 0]
