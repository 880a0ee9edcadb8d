"""Compares what was counted with the limits."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fast_rust.perf.errors import NotMeasuredError
from fast_rust.perf.figures import COLUMNS, GATED, Comparison, Measured, Row
from fast_rust.perf.report import cell
from fast_rust.perf.summaries import growth

DEFAULTS = {"instructions": 2.0, "blocks": 8.0, "peak-bytes": 10.0, "cumulative-instructions": 5.0}
# A buffer of this size is always accepted, however small the peak was before.
PEAK_SLACK = 4096
DIRECTIVES = {"instructions": "OP-1, BENCH-2", "blocks": "BENCH-2, BENCH-7", "peak": "BENCH-2, BENCH-7"}


def limits_of(metadata: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return the limits of a bench: those of all benches, overridden for the bench, its function or its file.

    Raises NotMeasuredError where one is not a number.
    """
    table = _table(metadata)
    limits: dict[str, float] = {**DEFAULTS, **{key: value for key, value in table.items() if key != "benches"}}
    for bench, own in sorted(table.get("benches", {}).items()):
        if _is_of(bench, name):
            limits.update(own)
    for key, value in limits.items():
        if key not in DEFAULTS or isinstance(value, bool) or not isinstance(value, (int, float)):
            failure = f"[workspace.metadata.perf] of Cargo.toml has the invalid limit {key} = {value!r}"
            raise NotMeasuredError(f"{failure}; expected a number for one of: {', '.join(DEFAULTS)}")
    return limits


def _table(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    return (metadata.get("metadata") or {}).get("perf") or {}


def _is_of(bench: str, name: str) -> bool:
    """Return whether a measured name is that of a bench, or of a function or case in it."""
    name = name.rpartition(": ")[2]
    return name == bench or name.startswith((f"{bench} ", f"{bench}::"))


def unknown_benches(metadata: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """Yield a line for each bench with limits that was not measured; its name may be misspelled."""
    known = list(names)
    for bench in _table(metadata).get("benches", {}):
        if not any(_is_of(bench, name) for name in known):
            yield f'the limits of [workspace.metadata.perf.benches."{bench}"] apply to no measured benchmark'


def judge(
    comparison: Comparison, counted: Measured, judged: Measured, metadata: Mapping[str, Any], *, cumulative: bool
) -> None:
    """Compare what was counted with the limits; an offence names the directives, and where to look."""
    for name, row in comparison.rows.items():
        limits = limits_of(metadata, name)
        limits["instructions"] = limits["cumulative-instructions" if cumulative else "instructions"]
        if beyond := [line for key in GATED if (line := _offence(row, key, limits))]:
            row.offences = ["\n    ".join([*beyond, *_where_to_look(name, counted, judged)])]
        row.notes += _notes_on_times(row)


def _where_to_look(name: str, counted: Measured, judged: Measured) -> Iterator[str]:
    yield from (f"grew: {line}" for line in growth(counted.files[name], judged.files[name]))
    yield f"look: callgrind_annotate {os.path.relpath(judged.files[name])}"
    target = counted.targets[name].name.removesuffix("_instructions")
    yield f"look: just flame cargo bench --workspace --bench {target}"


def _notes_on_times(row: Row) -> Iterator[str]:
    if {"lower", "upper"} <= row.base.keys() & row.head.keys():
        if row.head["upper"] < row.base["lower"]:
            yield "faster: the confidence intervals do not overlap"
        elif row.head["lower"] > row.base["upper"]:
            yield "slower (only shown, times do not fail the check): the confidence intervals do not overlap"


def _offence(row: Row, key: str, limits: Mapping[str, float]) -> str:
    """Return the figure that exceeds its limit; empty if all are within."""
    base, head = row.base.get(key), row.head.get(key)
    if base is None or head is None:
        return ""
    if key == "blocks":
        most, limit = base + limits["blocks"], f"+{limits['blocks']:g}"
    else:
        percent = limits["instructions" if key == "instructions" else "peak-bytes"]
        most, limit = base * (1 + percent / 100), f"+{percent:g} %"
    if key == "peak":
        most = max(most, base + PEAK_SLACK)
    if head <= most:
        return ""
    return f"{DIRECTIVES[key]}: {row.name}: {COLUMNS[key]} {cell(key, base, head)}, the limit is {limit}"
