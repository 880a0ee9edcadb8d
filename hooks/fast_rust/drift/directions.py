"""Which values of an owned key are stricter than others: the one table that drift, `--fix` and adoption read.

A crate may always tighten a key; a looser value needs `# reason: ...`. Where no value is stricter than another, the key
is fixed: each other value counts as looser.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from typing import Any, ClassVar, TypeAlias

from fast_rust.drift.requirements import is_floor_kept, requirement_of
from fast_rust.owned import Key

Value: TypeAlias = Any
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
UNITS = {"milli": "ms", "msec": "ms", "sec": "s", "second": "s", "min": "m", "minute": "m", "hr": "h", "hour": "h"}
UNITS |= {"day": "d"}
DURATION = re.compile(r"(\d+)\s*([a-z]+)")


@dataclass(frozen=True)
class Direction:
    """Compares two values of a key; this class is that of a fixed key."""

    _: KW_ONLY
    default: Value = None
    """The value that the tool takes where the key is missing, if a missing key may be stricter."""

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a value is what the template wants, or stricter."""
        return _is_same(wanted, found)


@dataclass(frozen=True)
class Ranked(Direction):
    """Values in chains from loosest to strictest; values of one rank are equal. Across chains none is stricter."""

    chains: tuple[tuple[tuple[Value, ...], ...], ...]

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a chain has both values, and the found one at the same rank or after it."""
        ranks = [(_rank(chain, wanted), _rank(chain, found)) for chain in self.chains]
        return any(found >= wanted >= 0 for wanted, found in ranks)


@dataclass(frozen=True)
class LintLevel(Direction):
    """Levels of lints, plain or in a table; the priority and other settings in a table are the crate's."""

    part: ClassVar = "level"

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether the level of a lint is the wanted one, or higher."""
        return LEVELS.keeps(part_of(wanted, self.part), part_of(found, self.part))


@dataclass(frozen=True)
class Lower(Direction):
    """Numbers of which the lower is stricter."""

    off: tuple[float, ...] = ()
    """Numbers that turn the check off."""

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a number is at most the wanted one."""
        return _is_number(wanted) and _is_number(found) and found <= wanted and found not in self.off


@dataclass(frozen=True)
class Higher(Direction):
    """Numbers, plain or as text, of which the higher is stricter."""

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a number is at least the wanted one."""
        if isinstance(wanted, str) and isinstance(found, str):
            return wanted.isdecimal() and found.isdecimal() and int(found) >= int(wanted)
        return _is_number(wanted) and _is_number(found) and bool(found >= wanted)


@dataclass(frozen=True)
class Longer(Direction):
    """Lists of what is denied or checked: each entry that is missing or weaker loosens them."""

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a list has each wanted entry."""
        return isinstance(wanted, list) and isinstance(found, list) and not self.lacking(wanted, found)

    def lacking(self, wanted: Iterable[Value], found: Iterable[Value]) -> list[Value]:
        """Return the wanted entries that a list lacks, or has in a weaker form."""
        there = list(found)
        return [entry for entry in wanted if not any(_is_entry_kept(entry, other) for other in there)]


@dataclass(frozen=True)
class Shorter(Direction):
    """Lists of what is allowed or skipped: each further entry loosens them."""

    is_all_if_empty: bool = False
    """Whether an empty list allows everything."""

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a list has no other entry than the wanted ones."""
        if not isinstance(wanted, list) or not isinstance(found, list):
            return False
        if self.is_all_if_empty and wanted and not found:
            return False
        return not self.further(wanted, found)

    def further(self, wanted: Iterable[Value], found: Iterable[Value]) -> list[Value]:
        """Return the entries of a list that are not wanted."""
        there = list(wanted)
        return [entry for entry in found if not any(_is_same(entry, other) for other in there)]


@dataclass(frozen=True)
class Table(Direction):
    """Tables whose values have directions themselves; each other value of them is fixed."""

    parts: Mapping[str, Direction] = field(default_factory=dict)

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether each value of a table keeps the wanted one."""
        return isinstance(wanted, dict) and isinstance(found, dict) and not self.looser(wanted, found)

    def looser(self, wanted: Mapping[str, Value], found: Mapping[str, Value]) -> list[str]:
        """Return the names of the values that are looser than wanted."""
        names = dict.fromkeys([*wanted, *found])
        return [name for name in names if not self._is_kept(name, wanted, found)]

    def _is_kept(self, name: str, wanted: Mapping[str, Value], found: Mapping[str, Value]) -> bool:
        direction = self.parts.get(name, FIXED)
        return direction.keeps(wanted.get(name, direction.default), found.get(name, direction.default))


@dataclass(frozen=True)
class Floor(Direction):
    """Dependencies, of which the template owns the minimum version."""

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a dependency admits no version below the minimum, or its source decides about the version."""
        requirement, floor = requirement_of(found), requirement_of(wanted)
        return requirement is None or floor is None or is_floor_kept(floor, requirement)


@dataclass(frozen=True)
class Timeout(Direction):
    """Durations, or tables with `period` and `terminate-after`: sooner is stricter."""

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a test is reported and killed as soon as wanted, and then fails as wanted."""
        pairs = zip(_timeout(wanted), _timeout(found), strict=True)
        return all(there is not None and limit is not None and there <= limit for limit, there in pairs)

    def tightened(self, wanted: Value, found: Value) -> Value:
        """Return the wanted value with the period of the found one, if that is shorter, as often as it fits."""
        (period, end, *_), (own_period, *_) = _timeout(wanted), _timeout(found)
        if not period or not end or not own_period or own_period >= period:
            return wanted
        limits = {"terminate-after": int(end // own_period)} if end < float("inf") else {}
        stricter = {"period": part_of(found, "period"), **limits}
        return {**wanted, **stricter} if isinstance(wanted, dict) else stricter


@dataclass(frozen=True)
class FailFast(Direction):
    """Settings of nextest's `fail-fast`: the more failures a run waits for, the more it shows."""

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a run ends after at least as many failures as wanted."""
        limit, there = _max_fail(wanted), _max_fail(found)
        return limit is not None and there is not None and there >= limit


@dataclass(frozen=True)
class Retries(Direction):
    """Numbers of retries, plain or as `count` of a table: each one hides more failures."""

    part: ClassVar = "count"

    def keeps(self, wanted: Value, found: Value) -> bool:
        """Return whether a test is retried at most as often as wanted."""
        return LOWER.keeps(part_of(wanted, self.part), part_of(found, self.part))


def _is_same(one: Value, other: Value) -> bool:
    # Python takes True for 1.
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _rank(chain: tuple[tuple[Value, ...], ...], value: Value) -> int:
    return next((rank for rank, equal in enumerate(chain) if any(_is_same(value, one) for one in equal)), -1)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def part_of(value: Value, name: str) -> Value:
    """Return a value of a table, or a value that is not in a table itself."""
    return value.get(name) if isinstance(value, dict) else value


def identity(entry: Value) -> str:
    """Return what an entry of a list is about: a path or a name, with the versions that it is limited to."""
    if not isinstance(entry, dict):
        return str(entry)
    name = next((str(entry[key]) for key in ("path", "crate", "name") if key in entry), str(entry))
    version = str(entry.get("version", "*"))
    return name if version == "*" else f"{name}@{version}"


def _is_entry_kept(wanted: Value, found: Value) -> bool:
    # `wrappers` are crates that may use a denied crate.
    allowed, wrappers = (
        set(part_of(one, "wrappers") or ()) if isinstance(one, dict) else set() for one in (wanted, found)
    )
    return identity(wanted) == identity(found) and wrappers <= allowed


def _seconds(text: Value) -> float | None:
    """Return a duration as nextest and cargo-deny read it, or None where it is none."""
    parts = DURATION.findall(text) if isinstance(text, str) else []
    if not parts or DURATION.sub("", text).strip():
        return None
    names = [UNITS.get(unit.removesuffix("s") or unit, unit) for _, unit in parts]
    if any(name not in SECONDS for name in names):
        return None
    return float(sum(int(number) * SECONDS[name] for (number, _), name in zip(parts, names, strict=True)))


def _timeout(value: Value) -> tuple[float | None, float | None, float | None, float | None]:
    """Return after how many seconds a test is reported, stopped and killed, and 1 where it passes nevertheless."""
    table = value if isinstance(value, dict) else {"period": value}
    period, count = _seconds(table.get("period")), table.get("terminate-after")
    grace = _seconds(table.get("grace-period", "10s"))
    passes = 1.0 if "pass" in {table.get("on-timeout"), table.get("result")} else 0.0
    if count is None:
        # Without it no test is ever stopped.
        return period, float("inf"), grace, passes
    return period, period * count if period is not None and _is_number(count) and count > 0 else None, grace, passes


def _max_fail(value: Value) -> float | None:
    match part_of(value, "max-fail"):
        case False | "all":
            return float("inf")
        case True:
            return 1.0
        case int(count):
            return float(count)
        case _:
            return None


# --- The table ---

FIXED = Direction()
LEVELS = Ranked(((("allow",), ("expect",), ("warn",), ("deny",), ("forbid",)),))
LOWER, HIGHER, LONGER, SHORTER = Lower(), Higher(), Longer(), Shorter()
TRUE, FALSE = (Ranked((((not strict,), (strict,)),)) for strict in (True, False))
# A missing key is as strict as the value that the tool has for it.
FALSE_BY_DEFAULT = Ranked(FALSE.chains, default=False)
NONE_BY_DEFAULT = Shorter(default=[])
LEVEL_OF_DENY = Ranked(((("allow",), ("warn",), ("deny",)),), default="warn")
LTO = Ranked(((("off",), (False,), ("thin",), ("fat", True)),))
DEBUG = Ranked(
    (
        (
            (False, 0, "none"),
            ("line-directives-only",),
            ("line-tables-only",),
            (1, "limited"),
            (2, True, "full"),
        ),
    )
)
# What is stripped makes a program smaller, and its backtraces poorer: neither is stricter.
STRIP = Ranked((((False, "none"),), ((True, "symbols"),), (("debuginfo",),)))
# The advisories of which crates are reported; older releases of cargo-deny had levels.
SCOPE = Ranked(
    (
        (("none",), ("workspace",), ("all",)),
        (("none",), ("transitive",), ("all",)),
        (("allow",), ("warn",), ("deny",)),
    )
)
GIT_SPEC = Ranked(((("any",), ("branch",), ("tag",), ("rev",)),), default="any")

# By the path of a key in its file; `*` is any one key, and the first pattern that matches counts.
DIRECTIONS: dict[str, Direction] = {
    # Cargo.toml and bench/Cargo.toml
    "dependencies.*": Floor(),
    "dev-dependencies.*": Floor(),
    "build-dependencies.*": Floor(),
    "target.*.dependencies.*": Floor(),
    "target.*.dev-dependencies.*": Floor(),
    "target.*.build-dependencies.*": Floor(),
    "workspace.dependencies.*": Floor(),
    "workspace.lints.*.*": LintLevel(),
    "workspace.metadata.perf.*": LOWER,
    "workspace.resolver": HIGHER,
    # The profile `quick` trades speed for shorter builds, so neither side is stricter.
    "profile.quick.codegen-units": FIXED,
    "profile.quick.incremental": FIXED,
    "profile.quick.lto": FIXED,
    "profile.quick.opt-level": FIXED,
    "profile.*.codegen-units": Lower(off=(0,)),
    "profile.*.debug": DEBUG,
    "profile.*.debug-assertions": TRUE,
    "profile.*.incremental": FALSE,
    "profile.*.inherits": FIXED,
    "profile.*.lto": LTO,
    # Levels for size are for another purpose than those for speed.
    "profile.*.opt-level": Ranked((((0,), (1,), (2,), (3,)),)),
    "profile.*.overflow-checks": TRUE,
    # A panic that ends the process is no stricter than one that ends a thread.
    "profile.*.panic": FIXED,
    "profile.*.strip": STRIP,
    # .config/nextest.toml
    "profile.*.fail-fast": FailFast(),
    "profile.*.flaky-result": Ranked(((("pass",), ("fail",)),)),
    "profile.*.global-timeout": Timeout(),
    "profile.*.leak-timeout": Timeout(),
    "profile.*.retries": Retries(),
    "profile.*.slow-timeout": Timeout(),
    # deny.toml
    "advisories.disable-yank-checking": FALSE_BY_DEFAULT,
    "advisories.ignore": NONE_BY_DEFAULT,
    "advisories.unmaintained": SCOPE,
    "advisories.unsound": SCOPE,
    "advisories.unused-ignored-advisory": LEVEL_OF_DENY,
    "advisories.yanked": LEVEL_OF_DENY,
    "bans.allow": Shorter(is_all_if_empty=True),
    "bans.allow-wildcard-paths": FALSE_BY_DEFAULT,
    "bans.allow-workspace": FALSE_BY_DEFAULT,
    "bans.deny": LONGER,
    "bans.external-default-features": Ranked(LEVEL_OF_DENY.chains, default="allow"),
    "bans.multiple-versions": LEVEL_OF_DENY,
    "bans.multiple-versions-include-dev": TRUE,
    "bans.skip": NONE_BY_DEFAULT,
    "bans.skip-tree": NONE_BY_DEFAULT,
    "bans.wildcards": Ranked(LEVEL_OF_DENY.chains, default="allow"),
    "bans.workspace-default-features": Ranked(LEVEL_OF_DENY.chains, default="allow"),
    "licenses.private": Table(
        {"ignore": FALSE_BY_DEFAULT, "ignore-sources": NONE_BY_DEFAULT, "registries": NONE_BY_DEFAULT}, default={}
    ),
    "licenses.unused-allowed-license": LEVEL_OF_DENY,
    "sources.allow-git": NONE_BY_DEFAULT,
    "sources.allow-org": Table(dict.fromkeys(("bitbucket", "github", "gitlab"), NONE_BY_DEFAULT), default={}),
    "sources.allow-registry": SHORTER,
    "sources.private": NONE_BY_DEFAULT,
    "sources.required-git-spec": GIT_SPEC,
    "sources.unknown-git": LEVEL_OF_DENY,
    "sources.unknown-registry": LEVEL_OF_DENY,
    # clippy.toml. Most thresholds say how much is too much.
    "avoid-breaking-exported-api": FALSE,
    "await-holding-invalid-types": LONGER,
    "check-incompatible-msrv-in-tests": TRUE,
    "check-inconsistent-struct-field-initializers": TRUE,
    "check-private-items": TRUE,
    "disallowed-fields": LONGER,
    "disallowed-macros": LONGER,
    "disallowed-methods": LONGER,
    "disallowed-names": LONGER,
    "disallowed-types": LONGER,
    "doc-valid-idents": SHORTER,
    "enforced-import-renames": LONGER,
    "excessive-nesting-threshold": Lower(off=(0,)),
    "ignore-interior-mutability": SHORTER,
    "large-error-ignored": NONE_BY_DEFAULT,
    "lint-commented-code": TRUE,
    "max-fn-params-bools": LOWER,
    "max-include-file-size": LOWER,
    "max-struct-bools": LOWER,
    "max-trait-bounds": LOWER,
    "pass-by-value-size-limit": LOWER,
    "standard-macro-braces": LONGER,
    "suppress-restriction-lint-in-const": FALSE_BY_DEFAULT,
    "warn-on-all-wildcard-imports": TRUE,
    # Of these, the lints report what is smaller.
    "const-literal-digits-threshold": HIGHER,
    "max-suggested-slice-pattern-length": HIGHER,
    "min-ident-chars-threshold": HIGHER,
    "too-large-for-stack": HIGHER,
    "trivial-copy-size-limit": HIGHER,
    "unnecessary-box-size": HIGHER,
    "vec-box-size-threshold": HIGHER,
}
# Further keys of clippy.toml, by how their names begin or end and what their values are.
ALLOWING, LIMITING = re.compile(r"(accept-comment|allow|allowed)-.*"), re.compile(r".*-(threshold|max-segments)")
IN_TESTS = "-in-tests"


def direction_of(key: Key, wanted: Value = None) -> Direction:
    """Return the direction of an owned key; `wanted` is the value of the release."""
    if found := _listed(key):
        return found
    match key, wanted:
        case (name,), bool() if ALLOWING.fullmatch(name):
            return FALSE_BY_DEFAULT if name.endswith(IN_TESTS) else FALSE
        case (name,), list() if ALLOWING.fullmatch(name):
            return SHORTER
        case (name,), int() if LIMITING.fullmatch(name) and not isinstance(wanted, bool):
            return LOWER
        case _:
            return FIXED


@cache
def _listed(key: Key) -> Direction | None:
    return next((found for pattern, found in DIRECTIONS.items() if _matches(tuple(pattern.split(".")), key)), None)


def _matches(pattern: Key, key: Key) -> bool:
    return len(pattern) == len(key) and all(part in {"*", name} for part, name in zip(pattern, key, strict=True))


def is_dependency(key: Key) -> bool:
    """Return whether a key is a dependency, of which the template owns the minimum version."""
    return isinstance(_listed(key), Floor)


def keeps(key: Key, wanted: Value, found: Value) -> bool:
    """Return whether a value is what the template wants, or stricter."""
    return _is_same(wanted, found) or direction_of(key, wanted).keeps(wanted, found)


def keeps_if_missing(key: Key, wanted: Value) -> bool:
    """Return whether a key that is missing is no loosening: its tool takes a value as strict as the wanted one.

    A missing dependency is the crate's own decision.
    """
    if is_dependency(key):
        return True
    direction = direction_of(key, wanted)
    return direction.default is not None and direction.keeps(wanted, direction.default)
