"""Cargo's version requirements, and whether one keeps the minimum version of another.

The rules are those of the crate `semver`, by which cargo reads requirements.
"""

import re
import sys
from typing import Any, NamedTuple, TypeAlias

Version: TypeAlias = tuple[int, int, int, tuple[Any, ...]]

# No pre-release is after each pre-release of the same version.
NORMAL: tuple[Any, ...] = (1,)
FIRST_PRE_RELEASE: tuple[Any, ...] = (0, ((0, 0, ""),))
LOWEST: Version = (0, 0, 0, FIRST_PRE_RELEASE)
HIGHEST: Version = (sys.maxsize, 0, 0, NORMAL)
# Sources that decide about the version in another place.
SOURCES = ("workspace", "path", "git")
ANY = "*"
COMPARATOR = re.compile(
    r"(?P<operator>\^|~|=|>=|>|<=|<)?\s*(?P<major>\d+|[*xX])(?:\.(?P<minor>\d+|[*xX]))?(?:\.(?P<patch>\d+|[*xX]))?"
    r"(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)


def requirement_of(dependency: Any) -> str | None:  # noqa: ANN401  A value of TOML.
    """Return the requirement of a dependency, or None where its source decides about the version."""
    if not isinstance(dependency, dict):
        return str(dependency)
    if "version" in dependency:
        return str(dependency["version"])
    return None if any(source in dependency for source in SOURCES) else ANY


def is_floor_kept(wanted: str, found: str) -> bool:
    """Return whether each version that `found` admits is at least the minimum of `wanted`, and it admits one.

    A wanted `=1.2.3` is exact: only the same version keeps it.
    """
    floor, minimum = minimum_of(wanted), minimum_of(found)
    if floor is None or minimum is None:
        return False
    if (exact := _exact(wanted)) is not None:
        return _exact(found) == exact
    return minimum >= floor


def with_floor(wanted: str, found: str) -> str:
    """Return the requirement that a looser one becomes: the wanted one, with the upper bounds that still fit."""
    bounds = [part.strip() for part in found.split(",") if part.strip().startswith("<")]
    bounded = ", ".join([wanted, *bounds])
    return bounded if is_floor_kept(wanted, bounded) else wanted


def minimum_of(requirement: str) -> Version | None:
    """Return the lowest version that a requirement admits, or None where it admits none or cargo cannot read it.

    Where the requirement names a pre-release, this may be a lower pre-release of the same version.
    """
    if requirement.strip() == ANY:
        return (0, 0, 0, NORMAL)
    comparators = [_comparator(part.strip()) for part in requirement.split(",")]
    found = [comparator for comparator in comparators if comparator is not None]
    if len(found) < len(comparators):
        return None
    low = max(comparator.low for comparator in found)
    if low[3] != NORMAL and low[:3] not in {comparator.pre_releases_of for comparator in found}:
        low = (*low[:3], NORMAL)
    return low if all(low < comparator.high for comparator in found) else None


class _Comparator(NamedTuple):
    """The versions from `low` to before `high`."""

    low: Version
    high: Version
    pre_releases_of: tuple[int, ...]
    """The version of which cargo takes pre-releases: the one that is named with a pre-release."""


def _comparator(text: str) -> _Comparator | None:
    """Read a comparator; None where cargo could not."""
    if (match := COMPARATOR.fullmatch(text)) is None:
        return None
    parts = [part for name in ("major", "minor", "patch") if (part := match[name])]
    numbers = [int(part) for part in parts if part.isdigit()]
    is_full, is_wildcard = len(numbers) == len(("major", "minor", "patch")), len(numbers) < len(parts)
    if not numbers or any(part.isdigit() for part in parts[len(numbers) :]) or (match["pre"] and not is_full):
        return None
    major, minor, patch = (*numbers, 0, 0)[:3]
    exactly: Version = (major, minor, patch, _pre_release(match["pre"]) if match["pre"] else NORMAL)
    # `1.2` means all versions that begin with it.
    first = exactly if is_full else (major, minor, patch, FIRST_PRE_RELEASE)
    after = _successor(exactly) if is_full else _next(numbers)
    # A caret keeps the first number that is not 0, or the last that is given.
    kept = next((place for place, number in enumerate(numbers, 1) if number), len(numbers))
    ranges: dict[str, tuple[Version, Version]] = {
        "=": (exactly, after),
        ">": (after, HIGHEST),
        ">=": (exactly, HIGHEST),
        "<": (LOWEST, first),
        "<=": (LOWEST, after),
        "~": (exactly, _next(numbers[:2])),
        "^": (first, _next(numbers[:kept])),
    }
    operator = match["operator"] or ("=" if is_wildcard else "^")
    return _Comparator(*ranges[operator], (major, minor, patch) if match["pre"] else ())


def _next(numbers: list[int]) -> Version:
    """Return the first version after all that begin with these numbers."""
    major, minor, patch = (*numbers[:-1], numbers[-1] + 1, 0, 0)[:3]
    return (major, minor, patch, FIRST_PRE_RELEASE)


def _successor(version: Version) -> Version:
    """Return the version right after one."""
    major, minor, patch, pre = version
    if pre == NORMAL:
        return (major, minor, patch + 1, FIRST_PRE_RELEASE)
    return (major, minor, patch, (0, (*pre[1], (0, 0, ""))))


def _pre_release(text: str) -> tuple[Any, ...]:
    """Return a pre-release as a value that sorts as semver has it: numbers before words, fewer parts first."""
    return (0, tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split(".")))


def _exact(requirement: str) -> Version | None:
    """Return the only version that `=1.2.3` admits, or None for any other requirement."""
    match = COMPARATOR.fullmatch(requirement.strip())
    is_full = match is not None and match["operator"] == "=" and (match["patch"] or "").isdigit()
    return minimum_of(requirement) if is_full else None
