"""The peers that run in Python: `peers.py NAME FILE THREADS` prints `key,count,min,mean,max` for each key.

A peer imports its package when it runs, so that the others do not pay for it.
"""

import csv
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

Rows = Iterable[tuple[Any, ...]]


def duckdb(path: str, threads: int) -> Rows:
    """SQL over a file; DuckDB reads and groups in parallel."""
    peer = import_module("duckdb")
    connection = peer.connect(config={"threads": threads, "preserve_insertion_order": False})
    query = """
        SELECT key, count(*), min(value), avg(value), max(value)
        FROM read_csv(?, delim = ';', header = false, quote = '', escape = '', auto_detect = false,
                      columns = {'key': 'VARCHAR', 'value': 'DOUBLE'})
        GROUP BY key
    """
    rows: Rows = connection.execute(query, [path]).fetchall()
    return rows


def polars(path: str, engine: str) -> Rows:
    """Use a lazy frame; Polars reads the number of threads from POLARS_MAX_THREADS."""
    peer = import_module("polars")
    schema = {"key": peer.String, "value": peer.Float64}
    value = peer.col("value")
    frame = peer.scan_csv(path, separator=";", has_header=False, quote_char=None, schema=schema)
    grouped = frame.group_by("key").agg(
        peer.len(), value.min().alias("min"), value.mean().alias("mean"), value.max().alias("max")
    )
    rows: Rows = grouped.collect(engine=engine).iter_rows()
    return rows


def python(path: str) -> Rows:
    """Use the csv module, and a dictionary of lists."""
    rows: dict[str, list[float]] = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        for key, text in csv.reader(file, delimiter=";", quoting=csv.QUOTE_NONE):
            value = float(text)
            row = rows.get(key)
            if row is None:
                rows[key] = [1, value, value, value]
                continue
            row[0] += 1
            # An `if` takes half the time of a call of `min`.
            if value < row[1]:  # noqa: PLR1730
                row[1] = value
            row[2] += value
            if value > row[3]:  # noqa: PLR1730
                row[3] = value
    return ((key, count, least, total / count, most) for key, (count, least, total, most) in rows.items())


def main() -> None:
    """Run one peer."""
    name, path, threads = sys.argv[1:]
    run: dict[str, Callable[[], Rows]] = {
        "duckdb": lambda: duckdb(path, int(threads)),
        "polars-streaming": lambda: polars(path, "streaming"),
        "polars-in-memory": lambda: polars(path, "in-memory"),
        "python": lambda: python(path),
    }
    for key, count, least, mean, most in run[name]():
        sys.stdout.write(f"{key},{count:.0f},{least:.1f},{mean:.6f},{most:.1f}\n")


if __name__ == "__main__":
    main()
