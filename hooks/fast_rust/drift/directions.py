"""Which values of an owned key are stricter than others: the one table that drift, `--fix` and adoption read.

A crate may always tighten a key; a looser value needs `# reason: ...`. A key without an entry is fixed: any other value
counts as looser. Tests require an entry for each key that a release owns, and a release that owns a key for each entry.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from math import inf, nan
from typing import Any, TypeAlias

from fast_rust.drift.requirements import is_floor_kept, requirement_of
from fast_rust.owned import Key

Value: TypeAlias = Any


@dataclass(frozen=True)
class Direction:
    """How to compare two values of a key."""

    keeps: Callable[[Value, Value], bool]
    """Whether the second value is the first one, which the template wants, or stricter."""
    default: Value = None
    """The value that the tool takes where the key is missing, if a missing key may be stricter."""


def is_same(wanted: Value, found: Value) -> bool:
    """Return whether two values are equal; Python takes True for 1."""
    return isinstance(wanted, bool) == isinstance(found, bool) and bool(wanted == found)


def ranked(*ranks: Value, default: Value = None) -> Direction:
    """Return the direction of values from the loosest to the strictest; a tuple has equal values."""

    def rank(value: Value) -> int:
        rows = (rank if isinstance(rank, tuple) else (rank,) for rank in ranks)
        return next((number for number, row in enumerate(rows) if any(is_same(value, rank) for rank in row)), -1)

    return Direction(lambda wanted, found: 0 <= rank(wanted) <= rank(found), default)


def is_lower(wanted: Value, found: Value) -> bool:
    """Return whether a number is at most the wanted one."""
    return isinstance(found, int | float) and not isinstance(found, bool) and bool(found <= wanted)


# --- Lints and dependencies ---


def level_of(lint: Value) -> Value:
    """Return the level of a lint; the priority and other settings in its table are the crate's."""
    return lint.get("level") if isinstance(lint, dict) else lint


def admits_no_less(wanted: Value, found: Value) -> bool:
    """Return whether a dependency admits no version below the minimum, or its source decides about the version."""
    requirement, floor = requirement_of(found), requirement_of(wanted)
    return requirement is None or floor is None or is_floor_kept(floor, requirement)


# --- Lists and tables ---


def lacking(wanted: list[Value], found: list[Value]) -> list[Value]:
    """Return the entries of a deny list that another list lacks, or has in a weaker form."""
    # `wrappers` are crates that may use a denied crate.
    full = {identity(entry) for entry in found if not (isinstance(entry, dict) and entry.get("wrappers"))}
    return [entry for entry in wanted if entry not in found and identity(entry) not in full]


def identity(entry: Value) -> str:
    """Return what an entry of a list is about: a path or a name, with the versions that it is limited to."""
    if not isinstance(entry, dict):
        return str(entry)
    name = next((str(entry[key]) for key in ("path", "crate", "name") if key in entry), str(entry))
    version = str(entry.get("version", "*"))
    return name if version == "*" else f"{name}@{version}"


def further(wanted: Mapping[str, Value], found: Mapping[str, Value]) -> list[str]:
    """Return the names of the exemptions in a table that are not wanted; an empty or false one has no effect."""
    return [name for name, value in found.items() if value and not is_same(wanted.get(name), value)]


# --- Timeouts: a period, or a table with `period` and `terminate-after` ---

SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
DURATION = re.compile(r"(\d+) *(ms|sec|s|min|m|h) *")


def is_as_soon(wanted: Value, found: Value) -> bool:
    """Return whether a test is reported, stopped and killed as soon as wanted, and then fails as wanted."""
    return all(there <= limit for limit, there in zip(_limits(wanted), _limits(found), strict=True))


def tightened(wanted: Value, found: Value) -> Value:
    """Return a timeout with those limits of another one that are stricter."""
    (period, end, grace, _), (own_period, own_end, own_grace, _) = _limits(wanted), _limits(found)
    table, own = dict(_table(wanted)), _table(found)
    table |= {"period": own["period"]} if own_period < period else {}
    table |= {"grace-period": own["grace-period"]} if own_grace < grace else {}
    # `min` never returns a second argument that is NaN.
    last = min(end, own_end)
    return table | ({"terminate-after": int(last // min(period, own_period))} if last < inf else {})


def _table(timeout: Value) -> Mapping[str, Value]:
    return timeout if isinstance(timeout, dict) else {"period": timeout}


def _limits(timeout: Value) -> tuple[float, float, float, bool]:
    """Return after how many seconds a test is reported, stopped and killed, and whether it passes nevertheless."""
    table = _table(timeout)
    # Without a count no test is ever stopped; nextest takes no period of 0.
    period, count = _seconds(table.get("period")) or nan, table.get("terminate-after", inf)
    end = period * count if isinstance(count, int | float) and count > 0 else nan
    return period, end, _seconds(table.get("grace-period", "10s")), table.get("on-timeout") == "pass"


def _seconds(text: Value) -> float:
    """Return a duration as nextest reads it; NaN where it cannot be read, which no limit admits."""
    parts = DURATION.findall(str(text))
    is_read = parts and DURATION.sub("", str(text)) == ""
    return sum(int(number) * SECONDS[unit] for number, unit in parts) if is_read else nan


# --- The table ---

FIXED, LOWER, FLOOR, TIMEOUT = Direction(is_same), Direction(is_lower), Direction(admits_no_less), Direction(is_as_soon)
LEVELS = ranked("allow", "expect", "warn", "deny", "forbid")
LINT = Direction(lambda wanted, found: LEVELS.keeps(level_of(wanted), level_of(found)))
LONGER = Direction(lambda wanted, found: isinstance(found, list) and not lacking(wanted, found))
EXEMPTIONS = Direction(lambda wanted, found: isinstance(found, dict) and not further(wanted, found), default={})
# A missing key is as strict as the value that the tool has for it.
DENY_LEVEL = ranked("allow", "warn", "deny", default="warn")
FALSE_BY_DEFAULT = ranked((True,), (False,), default=False)

# By the path of a key in its file; `*` is any text in one part of it, and the first pattern that matches counts.
DIRECTIONS: dict[str, Direction] = {
    # Cargo.toml and bench/Cargo.toml
    "dependencies.*": FLOOR,
    "dev-dependencies.*": FLOOR,
    "target.*.dev-dependencies.*": FLOOR,
    "workspace.lints.*.*": LINT,
    "workspace.metadata.perf.*": LOWER,
    "workspace.resolver": ranked("1", "2", "3"),
    # Stripping makes a program smaller, and its backtraces poorer: neither is stricter.
    "profile.release.strip": ranked((True, "symbols")),
    "profile.*.strip": ranked((False, "none")),
    # The profile `quick` trades speed for shorter builds, so neither side is stricter.
    "profile.quick.*": FIXED,
    # Each release wants 1, which is the minimum.
    "profile.*.codegen-units": FIXED,
    "profile.*.debug": ranked(
        (False, 0, "none"), "line-directives-only", "line-tables-only", (1, "limited"), (2, True, "full")
    ),
    "profile.*.inherits": FIXED,
    "profile.*.lto": ranked("off", (False,), "thin", ("fat", True)),
    # A panic that ends the process is not stricter than one that ends a thread.
    "profile.*.panic": FIXED,
    # .config/nextest.toml. The more failures a run waits for, the more it shows.
    "profile.*.fail-fast": ranked((False, {"max-fail": "all"})),
    "profile.*.slow-timeout": TIMEOUT,
    # deny.toml
    "advisories.yanked": DENY_LEVEL,
    "bans.allow-wildcard-paths": FALSE_BY_DEFAULT,
    "bans.deny": LONGER,
    "bans.multiple-versions": DENY_LEVEL,
    "bans.wildcards": ranked("allow", "warn", "deny", default="allow"),
    "licenses.private": EXEMPTIONS,
    "licenses.unused-allowed-license": DENY_LEVEL,
    "sources.unknown-*": DENY_LEVEL,
    # clippy.toml. No pattern for thresholds: some lints report what is below them.
    "allow-*-in-tests": FALSE_BY_DEFAULT,
    "avoid-breaking-exported-api": ranked((True,), (False,)),
    "await-holding-invalid-types": LONGER,
    "disallowed-*": LONGER,
    "large-error-threshold": LOWER,
}


def direction_of(key: Key) -> Direction:
    """Return the direction of an owned key."""
    return DIRECTIONS.get(pattern_of(key), FIXED)


@cache
def pattern_of(key: Key) -> str:
    """Return the pattern of the table that a key matches; empty if it matches none."""
    return next((pattern for pattern in DIRECTIONS if _matches(pattern.split("."), key)), "")


def _matches(pattern: list[str], key: Key) -> bool:
    return len(pattern) == len(key) and all(map(fnmatchcase, key, pattern))


def is_dependency(key: Key) -> bool:
    """Return whether a key is a dependency, of which the template owns the minimum version."""
    return direction_of(key) is FLOOR


def keeps(key: Key, wanted: Value, found: Value) -> bool:
    """Return whether a value is what the template wants, or stricter."""
    return is_same(wanted, found) or direction_of(key).keeps(wanted, found)


def keeps_if_missing(key: Key, wanted: Value) -> bool:
    """Return whether a missing key loosens nothing, because the tool's default is as strict as the template's value.

    A missing dependency is the crate's own decision.
    """
    direction = direction_of(key)
    return direction is FLOOR or (direction.default is not None and direction.keeps(wanted, direction.default))
