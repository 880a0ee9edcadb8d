"""Cargo's version requirements, and whether one keeps the minimum version of another.

The rules are those of the crate `semver`, by which cargo reads requirements.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Version: TypeAlias = tuple[int, int, int, tuple[Any, ...]]

# No pre-release is after each pre-release of the same version.
NORMAL: tuple[Any, ...] = (1,)
FIRST_PRE_RELEASE: tuple[Any, ...] = (0, ((0, 0, ""),))
LOWEST: Version = (0, 0, 0, FIRST_PRE_RELEASE)
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
    """Return the lowest version that a requirement admits, or None where it admits none or cargo cannot read it."""
    parts = [part.strip() for part in requirement.split(",")]
    if parts == [ANY]:
        return (0, 0, 0, NORMAL)
    comparators = [_comparator(part) for part in parts]
    found = [one for one in comparators if one is not None]
    if len(found) < len(comparators):
        return None
    candidates = {(0, 0, 0, NORMAL), *(version for one in found for version in one.candidates())}
    return min((version for version in candidates if _admits(found, version)), default=None)


@dataclass(frozen=True)
class _Comparator:
    """The versions from `low` to before `high`; of pre-releases, only those of the version in `pre_releases_of`."""

    low: Version
    high: Version | None
    pre_releases_of: tuple[int, int, int] | None
    without_pre_releases: tuple[Version, Version] | None
    """A range in which it admits no pre-release, whatever other comparators say."""

    def admits(self, version: Version) -> bool:
        """Return whether a version is in the range of this comparator."""
        if version[3] != NORMAL and (refused := self.without_pre_releases) and refused[0] <= version < refused[1]:
            return False
        return self.low <= version and (self.high is None or version < self.high)

    def candidates(self) -> Iterator[Version]:
        """Yield the versions that may be the lowest of a requirement with this comparator."""
        major, minor, patch, pre = self.low
        yield self.low
        if pre != NORMAL:
            yield (major, minor, patch, NORMAL)
        if self.pre_releases_of:
            yield (*self.pre_releases_of, FIRST_PRE_RELEASE)


def _admits(comparators: list[_Comparator], version: Version) -> bool:
    is_listed = version[3] == NORMAL or any(one.pre_releases_of == version[:3] for one in comparators)
    return is_listed and all(one.admits(version) for one in comparators)


def _comparator(text: str) -> _Comparator | None:
    """Read a comparator; None where cargo could not."""
    if (match := COMPARATOR.fullmatch(text)) is None:
        return None
    parts = [match[name] for name in ("major", "minor", "patch")]
    is_wildcard = any(part in {"*", "x", "X"} for part in parts)
    numbers = [int(part) for part in parts if part is not None and part.isdigit()]
    after = [part for part in parts[len(numbers) :] if part is not None and part.isdigit()]
    if not numbers or after or (match["pre"] and len(numbers) < len(parts)):
        return None
    operator = match["operator"] or ("=" if is_wildcard else "^")
    pre = _pre_release(match["pre"]) if match["pre"] else NORMAL
    low, high = _range(operator, numbers, pre)
    major, minor, patch = (*numbers, 0, 0)[:3]
    # Of operators with less than three numbers, only the caret admits pre-releases of what is equal to them.
    is_closed = operator != "^" and len(numbers) < len(parts)
    equal = ((major, minor, patch, FIRST_PRE_RELEASE), _next(numbers)) if is_closed else None
    return _Comparator(low, high, (major, minor, patch) if match["pre"] else None, equal)


def _range(operator: str, numbers: list[int], pre: tuple[Any, ...]) -> tuple[Version, Version | None]:
    """Return the first version of a comparator, and the first after it."""
    major, minor, patch = (*numbers, 0, 0)[:3]
    exactly: Version = (major, minor, patch, pre)
    is_full = len(numbers) == len(("major", "minor", "patch"))
    first = exactly if is_full else (major, minor, patch, FIRST_PRE_RELEASE)
    after = _successor(exactly) if is_full else _next(numbers)
    # A caret keeps the first number that is not 0, or the last that is given.
    kept = next((place for place, number in enumerate(numbers, 1) if number), len(numbers))
    ranges: dict[str, tuple[Version, Version | None]] = {
        "=": (exactly, after),
        ">": (after, None),
        ">=": (exactly, None),
        "<": (LOWEST, first),
        "<=": (LOWEST, after),
        "~": (exactly, _next(numbers[:2])),
        "^": (first, _next(numbers[:kept])),
    }
    return ranges[operator]


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
