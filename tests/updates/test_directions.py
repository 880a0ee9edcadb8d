"""Each owned key has a direction: a stricter value is accepted, a looser value without a reason is drift."""

import itertools
import json
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import tomlkit
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fast_rust.adopt.merging import AS_BEFORE, merged
from fast_rust.drift.differences import State, differences
from fast_rust.drift.directions import DIRECTIONS, is_dependency, keeps, keeps_if_missing, pattern_of
from fast_rust.drift.keys import UnclearKeyError, is_restored, name_of, reason_at, restored, value_at
from fast_rust.drift.requirements import is_floor_kept, minimum_of, requirement_of, with_floor
from fast_rust.owned import Key, Owned, find
from support.command import drift
from support.git import commit, git
from support.ownership import shared_keys
from support.releases import past_releases
from support.template import Template
from support.variants import CHECKOUT, domain

# --- The keys that releases own ---


def owned_of(text: str, patterns: list[str]) -> Iterator[tuple[Key, Any]]:
    """Yield the owned keys of a file of the template, with their values, for any answers."""
    text = re.sub(r"\{%.*?%\}|\{#.*?#\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}", "0", re.sub(r"(?<=[\"=])\{\{.*?\}\}", "1.2.3", text))
    header = statement = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("[") and not statement:
            header = line
            continue
        statement += line
        try:
            document = tomllib.loads(header + statement)
        except tomllib.TOMLDecodeError:
            # The list continues on the next lines.
            continue
        statement = ""
        for pattern in patterns:
            yield from find(document, tuple(pattern.split(".")))
    assert not statement


def sources() -> Iterator[tuple[dict[str, list[str]], dict[str, str]]]:
    """Yield the keys that each release owns, by file, with the files of its template that have them."""
    for past in past_releases().values():
        names = set(git(CHECKOUT, "ls-tree", "-r", "--name-only", past, "template").splitlines())
        shared = yaml.safe_load(git(CHECKOUT, "show", f"{past}:ownership.yml"))["shared"]
        found = {path: f"template/{path}" for path in shared}
        found = {path: name if name in names else f"{name}.jinja" for path, name in found.items()}
        texts = {path: git(CHECKOUT, "show", f"{past}:{name}") for path, name in found.items() if name in names}
        yield shared, texts
    shared = yaml.safe_load((CHECKOUT / "ownership.yml").read_text(encoding="utf-8"))["shared"]
    files = {path: next((CHECKOUT / "template").glob(f"{path}*")) for path in shared}
    yield shared, {path: file.read_text(encoding="utf-8") for path, file in files.items()}


@cache
def owned() -> dict[tuple[str, Key], list[Any]]:
    """Return the keys that any release owns, with their different values."""
    found: dict[tuple[str, Key], list[Any]] = {}
    for shared, texts in sources():
        assert texts
        for path, patterns in shared.items():
            for key, value in owned_of(texts.get(path, ""), patterns) if patterns else ():
                values = found.setdefault((path, key), [])
                if value not in values:
                    values.append(value)
    return found


def without_entry(keys: list[Key]) -> list[str]:
    return [name_of(key) for key in keys if not pattern_of(key)]


def unused_entries(keys: list[Key]) -> set[str]:
    return DIRECTIONS.keys() - {pattern_of(key) for key in keys}


def test_each_key_that_a_release_owns_has_an_entry_in_the_table() -> None:
    """The direction of a new key is a decision, and has no default."""
    keys = [key for _, key in owned()]
    assert without_entry(keys) == []
    assert without_entry([*keys, ("profile", "release", "rpath")]) == ["profile.release.rpath"]


def test_each_entry_of_the_table_belongs_to_a_key_that_a_release_owns() -> None:
    keys = [key for _, key in owned()]
    assert unused_entries(keys) == set()
    assert unused_entries([key for key in keys if key != ("workspace", "resolver")]) == {"workspace.resolver"}


@pytest.mark.parametrize(("kind", "place"), list(itertools.product(domain("kind"), domain("place"))))
def test_the_files_of_the_template_have_each_key_that_is_rendered(kind: str, place: str, template: Template) -> None:
    """This shows that the tests above need no rendering of each release."""
    crate, count = template.rendering({"kind": kind, "place": place, "sample": True}), 0
    for path, pattern in shared_keys():
        if (crate / path).exists():
            for key, _ in find(tomllib.loads((crate / path).read_text("utf-8")), tuple(pattern.split("."))):
                assert (path, key) in owned()
                count += 1
    assert count


# --- Stricter and looser values ---

# Values that are stricter and looser than the release's value, by the last part of a key. If no value is stricter, the
# key is fixed; if no value is looser, the release's value is the loosest.
LEVELS = ("allow", "warn", "deny", "forbid")
STRICTER_AND_LOOSER: dict[str, tuple[list[Any], list[Any]]] = {
    "blocks": ([0, 7, 7.5], [9, 8.1]),
    "codegen-units": ([], [2, 16, 256, 0, "1", None]),
    "cumulative-instructions": ([5, 1, 4.9], [6, 5.1]),
    "instructions": ([1, 1.0, 0, 1.99], [3, 2.5, float("inf"), float("nan"), "1", True]),
    "peak-bytes": ([9, 0], [11, 100.5]),
    "large-error-threshold": ([0, 64, 127], [129, 4096, "64"]),
    "resolver": ([], ["1", "2", 3, None]),
    "fail-fast": ([{"max-fail": "all"}], [True, {"max-fail": 1}, {"max-fail": 50}]),
    "slow-timeout": (
        [
            {"period": "30s", "terminate-after": 3},
            {"period": "10s", "terminate-after": 12},
            {"period": "1s", "terminate-after": 1, "grace-period": "0s"},
            {"period": "0m 30sec", "terminate-after": 4},
        ],
        [
            "30s",
            "10s",
            {"period": "30s"},
            {"period": "60s", "terminate-after": 2},
            {"period": "30s", "terminate-after": 5},
            {"period": "1h", "terminate-after": 4},
            {"period": "30s", "terminate-after": 4, "grace-period": "1m"},
            {"period": "30s", "terminate-after": 4, "on-timeout": "pass"},
            {"period": "soon", "terminate-after": 4},
        ],
    ),
    "allow-dbg-in-tests": ([False, None], []),
    "allow-print-in-tests": ([False, None], []),
    "allow-unwrap-in-tests": ([False, None], []),
    "avoid-breaking-exported-api": ([], [True, None]),
    "allow-wildcard-paths": ([False, None], []),
    "multiple-versions": (["warn", "deny", None], ["sometimes"]),
    "wildcards": ([], ["warn", "allow", None]),
    "yanked": ([], ["warn", "allow", None]),
    "unknown-git": ([], ["warn", "allow", None]),
    "unknown-registry": ([], ["warn", "allow", None]),
    "unused-allowed-license": (["warn", "deny", None], [True]),
    "private": (
        [{"ignore": False}, {}, None],
        [{"ignore": True, "registries": ["ours"]}, {"ignore": True, "ignore-sources": ["x"]}, {"other": 1}, True],
    ),
    "inherits": ([], ["dev", None]),
    "panic": ([], ["abort", "unwind", None]),
    "strip": ([], [True, False, "none", "symbols", "debuginfo", None]),
    "incremental": ([], [False, None]),
    "debug": ([1, "limited", 2, True, "full"], [0, False, "none", "line-directives-only", None]),
    "lto": ([True], ["thin", False, "off", None]),
}
# The profile for quick builds trades run time for build time, and both its keys are fixed.
QUICK: dict[str, tuple[list[Any], list[Any]]] = {
    "lto": ([], ["thin", "fat", False, None]),
    "codegen-units": ([], [1, 256, None]),
}
EQUAL = {"strip": [{True, "symbols"}, {False, "none"}], "lto": [{"fat", True}]}


def level_of(lint: Any) -> str:  # noqa: ANN401  A value of TOML.
    return str(lint["level"] if isinstance(lint, dict) else lint)


def stricter(key: Key, wanted: Any) -> list[Any]:  # noqa: ANN401  A value of TOML.
    """Return values that a crate may choose; None is to leave the key out."""
    match wanted:
        case {"path": _}:
            # The crate may choose the location of its packages.
            return [{"path": "../elsewhere"}]
        case _ if is_dependency(key):
            number = str(requirement_of(wanted))
            major, _, rest = number.rpartition(".")
            if number.startswith("="):
                return [None]
            next_one = f"{major}.{int(rest) + 1}"
            return [*requirements("99", f">={number}", f"~{next_one}", next_one, f">={number}, <100", f">{next_one}")]
        case _ if "lints" in key:
            higher = LEVELS[LEVELS.index(level_of(wanted)) :]
            return [*higher[1:], *({"level": one, "priority": 3, "check-cfg": ["cfg(x)"]} for one in higher)]
        case [dict() as first, *_]:
            return [[*wanted, {"path": "a::b"}], ["a::b", *reversed(wanted)], [*wanted, {**first, "version": "1"}]]
        case _:
            return [one for one in table(key)[0] if not is_equal(key, wanted, one)]


def looser(key: Key, wanted: Any) -> list[Any]:  # noqa: ANN401  A value of TOML.
    """Return values that need a reason; None is to leave the key out."""
    match wanted:
        case {"path": _}:
            return []
        case _ if is_dependency(key):
            number = str(requirement_of(wanted)).lstrip("=")
            below = ("0.0.1", "*", f"<{number}", ">=0.0.1", "=0.0.1", "<=0.0.1", ">=99, <98", "nonsense", "")
            return [*requirements(*below), {"features": ["x"]}]
        case _ if "lints" in key:
            lower = LEVELS[: LEVELS.index(level_of(wanted))]
            return [*lower, *({"level": one, "priority": 3} for one in lower), "none", None]
        case [dict() as first, *rest]:
            weaker = [{**first, "version": "<1"}, {**first, "wrappers": ["x"]}]
            return [[], rest, wanted[:-1], [*rest, "a::b"], "a::b", None, *([one, *rest] for one in weaker)]
        case _:
            return [one for one in table(key)[1] if not is_equal(key, wanted, one)]


def requirements(*forms: str) -> Iterator[Any]:
    for form in forms:
        yield form
        yield {"version": form, "features": ["x"]}


def table(key: Key) -> tuple[list[Any], list[Any]]:
    fixed = QUICK if key[:2] == ("profile", "quick") else {}
    return fixed.get(key[-1]) or STRICTER_AND_LOOSER[key[-1]]


def is_equal(key: Key, wanted: Any, other: Any) -> bool:  # noqa: ANN401  Values of TOML.
    same = type(other) is type(wanted) and other == wanted
    return same or any({repr(wanted), repr(other)} <= {repr(one) for one in group} for group in EQUAL.get(key[-1], []))


def is_kept(key: Key, wanted: Any, value: Any) -> bool:  # noqa: ANN401  Values of TOML.
    return keeps_if_missing(key, wanted) if value is None else keeps(key, wanted, value)


def test_a_stricter_value_satisfies_a_key_and_a_looser_value_does_not() -> None:
    """For each value that any release has."""
    for (_, key), values in owned().items():
        for wanted in values:
            assert keeps(key, wanted, wanted)
            assert stricter(key, wanted) or looser(key, wanted), key
            for value in stricter(key, wanted):
                assert is_kept(key, wanted, value), (key, value)
            for value in looser(key, wanted):
                assert not is_kept(key, wanted, value), (key, value)


def _item(value: Any, comment: str = "") -> Any:  # noqa: ANN401  A value of TOML, and an item with it.
    """Return a value as people write it, on one line."""
    if isinstance(value, list):
        item: Any = tomlkit.array()
        for entry in value:
            item.append(_item(entry))
    elif isinstance(value, dict):
        item = tomlkit.inline_table()
        item.update(value)
    else:
        item = tomlkit.item(value)
    if comment:
        item.comment(comment)
    return item


def _with(text: str, values: Mapping[Key, Any], comment: str = "") -> str:
    """Return a file with other values for some keys, each with a comment on its line."""
    document = tomlkit.parse(text)
    for key, value in values.items():
        table: Any = document
        for name in key[:-1]:
            table = table[name]
        if value is None:
            del table[key[-1]]
        else:
            table[key[-1]] = _item(value, comment)
    return tomlkit.dumps(document)


Values: TypeAlias = dict[str, dict[Key, Any]]


@pytest.fixture(scope="module")
def rendering(template: Template) -> Path:
    """A crate of the kind with most keys; read only."""
    return template.rendering({"kind": "service", "place": "repository", "otel": True})


def owned_in(crate: Path) -> Owned:
    patterns: dict[str, tuple[Key, ...]] = {}
    for path, pattern in shared_keys():
        patterns[path] = (*patterns.get(path, ()), tuple(pattern.split(".")))
    return Owned({}, {path: (crate / path).read_bytes() for path in patterns}, patterns, ())


def _rounds(owned: Owned, *, is_stricter: bool, most: int | None = None) -> Iterator[Values]:
    """Yield values for all keys at once, by file, until each key had all of its values, or up to a limit."""
    choose = stricter if is_stricter else looser
    choices = {(path, key): choose(key, value) for path in owned.shared for key, value in owned.keys(path).items()}
    for number in range(max(map(len, choices.values()))):
        if number == most:
            return
        found: Values = {}
        for (path, key), values in choices.items():
            if number < len(values):
                found.setdefault(path, {})[key] = values[number]
        yield found


def _set_all(crate: Path, values: Mapping[str, Mapping[Key, Any]], comment: str = "") -> None:
    for path, of_file in values.items():
        text = (crate / path).read_text(encoding="utf-8")
        (crate / path).write_text(_with(text, of_file, comment), encoding="utf-8")


def _names(values: Mapping[str, Mapping[Key, Any]]) -> set[tuple[str, Key]]:
    return {(path, key) for path, keys in values.items() for key in keys}


def _write(folder: Path, owned: Owned) -> None:
    for path, content in owned.shared.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)


def test_stricter_keys_are_not_drift(rendering: Path, tmp_path: Path) -> None:
    owned = owned_in(rendering)
    for values in _rounds(owned, is_stricter=True):
        _write(tmp_path, owned)
        _set_all(tmp_path, values)
        assert list(differences(tmp_path, owned)) == [], values


def test_looser_keys_are_drift_and_only_they_are_restored(rendering: Path, tmp_path: Path) -> None:
    owned = owned_in(rendering)
    # Stricter keys next to them are kept.
    [own] = _rounds(owned, is_stricter=True, most=1)
    for values in _rounds(owned, is_stricter=False):
        _write(tmp_path, owned)
        _set_all(tmp_path, {path: {**own.get(path, {}), **keys} for path, keys in values.items()})
        found = list(differences(tmp_path, owned))
        assert {(one.path, one.parts) for one in found} == _names(values), values
        assert {one.state for one in found} <= {State.CHANGED, State.MISSING}
        for path, loosened in values.items():
            text, wanted = (tmp_path / path).read_text(encoding="utf-8"), owned.keys(path)
            after = restored(text, owned.shared[path].decode(), loosened)
            assert is_restored(tomllib.loads(text), tomllib.loads(after), wanted, loosened), loosened
            for key, value in loosened.items():
                if not isinstance(value, dict | list) and not is_dependency(key) and key[-1] != "slow-timeout":
                    assert value_at(tomllib.loads(after), key) == wanted[key], key


def test_a_looser_key_with_a_reason_is_not_drift(rendering: Path, tmp_path: Path) -> None:
    owned = owned_in(rendering)
    for values in _rounds(owned, is_stricter=False, most=3):
        given = {
            path: {key: value for key, value in keys.items() if value is not None} for path, keys in values.items()
        }
        _write(tmp_path, owned)
        _set_all(tmp_path, given, "reason: measured twice")
        found = list(differences(tmp_path, owned))
        assert {(one.path, one.parts) for one in found} == _names(given)
        assert {(one.state, one.reason) for one in found} == {(State.LOOSENED, "measured twice")}


# --- With the command ---


@pytest.fixture
def crate(rendering: Path, template: Template, tmp_path: Path) -> Path:
    crate = Path(shutil.copytree(rendering, tmp_path / "crate"))
    answers = crate / ".copier-answers.yml"
    text = re.sub("(?m)^_src_path: .*$", f"_src_path: {template.repository}", answers.read_text(encoding="utf-8"))
    text = re.sub("(?m)^_commit: .*\n", "", text) + "_commit: v0.0.1\n"
    answers.write_text(text, encoding="utf-8")
    git(crate, "init", "--quiet")
    return crate


def test_fix_keeps_stricter_keys(crate: Path) -> None:
    [values] = _rounds(owned_in(crate), is_stricter=True, most=1)
    _set_all(crate, values)
    commit(crate)
    done = drift(crate)
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (
        0,
        ["  no drift: all template-owned files and keys are as in the release"],
    )
    assert drift(crate, "--fix").exit_code == 0
    assert git(crate, "status", "--porcelain") == ""


def test_fix_restores_looser_keys_and_keeps_those_with_a_reason(crate: Path) -> None:
    [values] = _rounds(owned_in(crate), is_stricter=False, most=1)
    _set_all(crate, values)
    commit(crate)
    done = drift(crate, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)["crates"][0]["differences"]
    assert {(one["path"], tuple(one["parts"])) for one in found} == _names(values)
    assert drift(crate, "--fix").exit_code == 0
    assert drift(crate).exit_code == 0
    given = {path: {key: value for key, value in keys.items() if value is not None} for path, keys in values.items()}
    _set_all(crate, given, "reason: measured twice")
    commit(crate)
    done = drift(crate, "--json")
    assert done.exit_code == 0, done.stdout
    found = json.loads(done.stdout)["crates"][0]["differences"]
    assert {(one["state"], one["reason"]) for one in found} == {("loosened", "measured twice")}
    assert drift(crate, "--fix").exit_code == 0
    assert git(crate, "status", "--porcelain") == ""


# --- Values that no release has ---

OTHERS = """
bans.deny: [{ name = "a", wrappers = ["b"] }] < [{ crate = "a" }]; [{ name = "a" }] > [{ name = "a", wrappers = ["b"] }]
bans.deny: ["a"] < [{ name = "a", version = "*" }]; [{ name = "a" }] > [{ name = "a", version = "<1" }]
bans.deny: [{ name = "a", wrappers = ["b"] }] < [{ name = "a", wrappers = ["b"] }, "c"]
bans.multiple-versions: "warn" < "deny"; "deny" > "allow"
profile.release.debug: 0 < 1; 2 > 1; true > "limited"; false < true; "none" < 1
profile.release.lto: "off" < false; false < "thin"; "thin" < true; "thin" > "off"
profile.release.panic: "abort" # "unwind"
profile.release.rpath: true # false
profile.release.strip: "symbols" # "none"; true # "debuginfo"
profile.ci.test-threads: 4 # 8
profile.default.slow-timeout: "1m" < "60s"; "1m" < "1 min"; "1m" > "61s"; "1m" > "60"; "1m" > "60s soon"; "1m" > 60
profile.default.slow-timeout: "1m" > ""; "1m" > "0s"; "1m" > { period = "0s", grace-period = "1h" }
profile.default.slow-timeout: "1m" < { period = "9s", terminate-after = 9 }; "500ms" > "1s"; "1h" < "59m 60s"
profile.default.slow-timeout: { period = "9s", terminate-after = 9 } > { period = "9s", terminate-after = 0 }
licenses.private: { ignore = true } < { ignore = false, registries = [] }; { ignore = true } > { other = 1 }
workspace.lints.rust.unused: "allow" < "expect"; "warn" > "expect"; { level = "deny" } > "warn"
workspace.resolver: "2" < "3"; "2" > "1"
msrv: "1.80" # "1.90"
"""


def _others() -> Iterator[tuple[Key, Any, str, Any]]:
    for line in OTHERS.strip().splitlines():
        name, _, pairs = line.partition(": ")
        for pair in pairs.split("; "):
            match = re.fullmatch(r"(.*?) ([<>#]) ?(.*)", pair)
            assert match, pair
            wanted, found = (tomllib.loads(f"x = {match[number]}")["x"] for number in (1, 3))
            yield tuple(name.split(".")), wanted, match[2], found


@pytest.mark.parametrize(("key", "wanted", "sign", "found"), list(_others()))
def test_other_values_have_a_direction_too(key: Key, wanted: Any, sign: str, found: Any) -> None:  # noqa: ANN401
    """`<`: the second value is stricter. `>`: the second value is looser. `#`: neither value is stricter."""
    assert keeps(key, wanted, wanted)
    assert keeps(key, wanted, found) is (sign == "<")
    assert sign != "#" or not keeps(key, found, wanted)


# --- Requirements of dependencies ---

NUMBERS = st.integers(0, 2)
VERSION = st.builds(
    lambda numbers, pre: ".".join(map(str, numbers)) + (f"-{pre}" if pre and len(numbers) == 3 else ""),
    st.lists(NUMBERS, min_size=1, max_size=3),
    st.sampled_from(["", "", "a", "a.1", "b", "0", "10", "9"]),
)
COMPARATOR = st.builds(
    "{}{}{}".format, st.sampled_from(["", "^", "~", "=", ">", ">=", "<", "<="]), st.sampled_from(["", " "]), VERSION
)
WILDCARD = st.sampled_from(["1.*", "0.*", "1.2.*", "0.*.*"])
REQUIREMENT = st.lists(st.one_of(COMPARATOR, WILDCARD), min_size=1, max_size=3).map(", ".join)
PRE_RELEASES = ("0", "0.0", "9", "9.0", "10", "a", "a.0", "a.1", "a.1.0", "b", "b.0", "c", "")


Comparator: TypeAlias = tuple[str, tuple[int, ...], str]


def _comparators(requirement: str) -> list[Comparator]:
    found = []
    for text in requirement.split(","):
        part = re.fullmatch(r"([\^~=<>]*)\s*([\d.*]+)(?:-(.*))?", text.strip())
        assert part
        numbers = tuple(int(number) for number in part[2].split(".") if number != "*")
        found.append((part[1] or ("=" if "*" in part[2] else "^"), numbers, part[3] or ""))
    return found


def _admits(comparators: list[Comparator], version: tuple[int, int, int, str]) -> bool:
    """Return whether cargo accepts a version, implemented like the crate `semver`, one comparator at a time."""
    tagged = any(pre and numbers == version[:3] for _, numbers, pre in comparators)
    return (not version[3] or tagged) and all(_matches(version, *one) for one in comparators)


@cache
def _order(pre: str) -> tuple[Any, ...]:
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".")]
    return (0, tuple(parts)) if pre else (1,)


def _matches(version: tuple[int, int, int, str], operator: str, numbers: tuple[int, ...], pre: str) -> bool:
    own, is_full = version[: len(numbers)], len(numbers) == 3
    match operator:
        case "=":
            return own == numbers and version[3] == pre
        case ">":
            return own > numbers or (own == numbers and is_full and _order(version[3]) > _order(pre))
        case "<":
            return own < numbers or (own == numbers and is_full and _order(version[3]) < _order(pre))
        case ">=" | "<=":
            return any(_matches(version, one, numbers, pre) for one in ("=", operator[0]))
        case "~":
            is_later = own > numbers or (own == numbers and _order(version[3]) >= _order(pre))
            return own[:2] == numbers[:2] and is_later
    kept = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1) + 1
    is_later = own > numbers or (own == numbers and (not is_full or _order(version[3]) >= _order(pre)))
    return is_later and own[:kept] == numbers[:kept]


GRID = [
    (major, minor, patch, pre) for major, minor, patch in itertools.product(range(4), repeat=3) for pre in PRE_RELEASES
]


@settings(max_examples=250, deadline=None)
@given(requirement=REQUIREMENT)
def test_the_minimum_of_a_requirement_is_the_lowest_version_that_it_admits(requirement: str) -> None:
    comparators = _comparators(requirement)
    admitted = [version for version in GRID if _admits(comparators, version)]
    found = minimum_of(requirement)
    lowest = min(((*version[:3], _order(version[3])) for version in admitted), default=None)
    if lowest is None:
        # With a pre-release, another part may exclude the minimum.
        assert found is None or "-" in requirement
    else:
        assert found is not None
        # The grid lacks some pre-releases that a bound may have.
        assert found[:3] == lowest[:3]
        assert found <= lowest


REQUIREMENTS = """
0.8 | kept: 0.8 0.8.0 0.8.1 0.9 1 99 >=0.8 >0.8 >0.7 ~0.8 ~0.8.3 =0.8 =0.8.2 0.8.* 1.* ^0.8 ^1.0.0-a
0.8 | kept: >=0.8,<0.9 >=0.7,>=0.8 >=0.8,<1.0.0-b 1,<1.5
0.8 | lost: <0.8 <=0.8 <1 * 0.* 0 0.7 0.7.99 >=0.7 >0.7.9 ~0.7 ~0 =0.7 =0.7.9 0.8.0-a >=0.8.0-a >0.8.0-a
0.8 | lost: >=0.9,<0.9 1,<1 >0.7.9,<0.8.0-b nonsense >=0.8<0.9 0.8.0.1 0.8-a 1.*.2 ,0.8 0.8, *,1 =
1.0.0-rc.2 | kept: 1.0.0-rc.2 1.0.0-rc.10 1 =1.0.0 ^1.2 >1.0.0-rc.2
1.0.0-rc.2 | lost: 1.0.0-rc.1 1.0.0-beta >=1.0.0-alpha.99 0.9 <1
0.0.3 | kept: 0.0.3 ^0.0.4 0.1 =0.0.3
0.0.3 | lost: 0.0.2 0.0 0
=0.20.0 | kept: =0.20.0 =0.20.0+build
=0.20.0 | lost: 0.20.0 =0.20 =0.20.1 >=0.20.0 ^0.20.0 ~0.20.0 >=0.20.0,<=0.20.0 =0.20.0-a
"""


def _requirements() -> Iterator[tuple[str, str, bool]]:
    for line in REQUIREMENTS.strip().splitlines():
        wanted, _, rest = line.partition(" | ")
        word, _, requirements = rest.partition(": ")
        yield from ((wanted, one, word == "kept") for one in requirements.split(" "))


@pytest.mark.parametrize(("wanted", "found", "is_kept"), list(_requirements()))
def test_a_requirement_keeps_the_minimum_if_every_version_that_it_admits_does(
    wanted: str, found: str, is_kept: bool
) -> None:
    assert is_floor_kept(wanted, found) is is_kept
    spaced = re.sub("([<>=^~]+)", r"\1 ", found).replace(",", " , ")
    assert is_floor_kept(wanted, spaced) is is_kept
    assert is_floor_kept(wanted, with_floor(wanted, found))


def test_an_upper_bound_that_is_still_valid_is_kept() -> None:
    assert with_floor("1.2", ">=1, <1.5") == "1.2, <1.5"
    assert with_floor("1.2", ">=1, <1.2") == "1.2"
    assert with_floor("=1.2.0", ">=1, <2") == "=1.2.0"


@pytest.mark.parametrize("found", [{"workspace": True}, {"path": ".."}, {"git": "https://example.org/x", "rev": "a"}])
def test_a_source_with_its_version_elsewhere_keeps_the_minimum(found: dict[str, Any]) -> None:
    assert keeps(("dependencies", "tokio"), "1.54", found)
    assert not keeps(("dependencies", "tokio"), "1.54", {**found, "version": "1.0"})
    assert not keeps(("dependencies", "tokio"), "1.54", {"features": ["net"]})


# --- Notations of a key ---

RELEASE = '[a]\nx = 1\n[profile.b]\ndebug = 1 # Ours.\nlto = "fat"\n[dependencies]\n'
WRITTEN = {
    "in its table": '[profile.b]\nlto = "off"{}\n',
    "by a dotted key": '[profile]\nb.lto = "off"{}\n',
    "at the top": 'profile.b.lto = "off"{}\n',
    "by quoted names": '["profile".\'b\']\n"lto" = "off"{}\n',
    "in a table in pieces": '[profile.a]\nlto = "off"\n[x]\ny = 1\n[profile.b]\nlto = false{}\n[z]\n[profile.c]\n',
    "in a table that comes first": '[profile.b]\nlto = "off"{}\n[profile]\nx = 1\n',
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_key_in_any_notation_is_found_with_its_reason_and_restored(text: str) -> None:
    key: Key = ("profile", "b", "lto")
    assert reason_at(tomlkit.parse(text.format("")), key) == ""
    assert reason_at(tomlkit.parse(text.format(" # why, reason: it is slow")), key) == "it is slow"
    before = tomllib.loads(text.format(""))
    after = tomllib.loads(restored(text.format(" # ours"), RELEASE, [key]))
    assert is_restored(before, after, {key: "fat"}, [key])


@pytest.mark.parametrize("above", ["", "[x]\ny = 1\n"])
def test_a_reason_may_be_on_the_line_of_a_header_or_of_the_value_in_its_table(above: str) -> None:
    lint: Key = ("workspace", "lints", "clippy", "todo")
    for text in (
        '[workspace.lints.clippy.todo] # reason: a b\nlevel = "allow"\n',
        '[workspace.lints.clippy.todo]\nlevel = "allow" # reason: a b\n',
        '[workspace.lints.clippy]\ntodo = { level = "allow" } # reason: a b\n',
        '[workspace.lints.clippy]\ntodo.level = "allow" # reason: a b\n',
    ):
        assert reason_at(tomlkit.parse(above + text), lint) == "a b", text
    timeout = '[profile.ci.slow-timeout]\nperiod = "9h" # reason: a b\n'
    assert reason_at(tomlkit.parse(above + timeout), ("profile", "ci", "slow-timeout")) == "a b"
    for text in ('[dependencies.x]\nversion = "1" # reason: a b\n', '[dependencies]\nx = "1" # reason: a b\n'):
        assert reason_at(tomlkit.parse(above + text), ("dependencies", "x")) == "a b", text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = [ # reason: a b\n  1,\n]\n", "a b"),
        ("x = [\n  1,\n] # reason: a b\n", "a b"),
        ("x = [1] # reason: a b\n", "a b"),
        ("x = [\n  1, # reason: a b\n]\n", ""),
        ('x = ["# reason: a b"]\n', ""),
        ("# reason: a b\nx = [1]\n", ""),
        ("x = [1] # reason:\n", ""),
        ("x = [1] # reason: big\n", ""),
        ("x = [1] # reason: #1 # see #2\n", ""),
        ("x = [1] # reason: see #2\n", "see #2"),
        ("x = [1] # reason: big # COLL-1: a list\n", ""),
        ("x = [1] # no reason\n", ""),
    ],
)
def test_the_reason_of_a_list_is_on_its_first_or_last_line(text: str, reason: str) -> None:
    assert reason_at(tomlkit.parse(text), ("x",)) == reason


@pytest.mark.parametrize("name", ["a.b", "a b", "'", '"', "'\"", "ü", "", "\n"])
def test_a_key_with_dots_or_quotes_is_restored(name: str) -> None:
    key: Key = ("target", name, "dev-dependencies", "x.y")
    release = tomlkit.dumps({"target": {name: {"dev-dependencies": {"x.y": "1.2"}}}})
    text = tomlkit.dumps({"target": {name: {"dev-dependencies": {"x.y": "1.0", "z": "1"}}}})
    after = tomllib.loads(restored(text, release, [key]))
    assert after == {"target": {name: {"dev-dependencies": {"x.y": "1.2", "z": "1"}}}}
    assert value_at(tomllib.loads(f"{name_of(key)} = 1"), key) == 1


def test_a_value_instead_of_a_table_is_kept() -> None:
    with pytest.raises(UnclearKeyError, match=r"`profile` is not a table, so `profile\.b\.lto` cannot be set in it"):
        restored("profile = 1\n", RELEASE, [("profile", "b", "lto")])


def test_lists_of_tables_with_headers_are_restored_and_may_have_reasons() -> None:
    key: Key = ("bans", "deny")
    release = '[bans]\ndeny = [{ name = "a" }, { name = "b" }]\n'
    text = '[bans]\nx = 1\n[[bans.deny]]\nname = "a"\nwrappers = ["w"]\n\n[[bans.deny]]\nname = "c"\n\n[z]\n'
    after = tomllib.loads(restored(text, release, [key]))
    assert after == {"bans": {"x": 1, "deny": [{"name": "a"}, {"name": "c"}, {"name": "b"}]}, "z": {}}
    assert reason_at(tomlkit.parse(text), key) == ""
    assert reason_at(tomlkit.parse(text.replace("[[bans.deny]]", "[[bans.deny]] # reason: a b", 1)), key) == "a b"


@pytest.mark.parametrize(
    ("found", "after"),
    [
        ('"10s"', {"period": "10s", "terminate-after": 12}),
        ('{ period = "7s" }', {"period": "7s", "terminate-after": 17}),
        ('{ period = "10s", terminate-after = 100, grace-period = "1h" }', {"period": "10s", "terminate-after": 12}),
        ('{ period = "60s", terminate-after = 1 }', {"period": "30s", "terminate-after": 2}),
        (
            '{ period = "30s", terminate-after = 9, grace-period = "1s" }',
            {"period": "30s", "terminate-after": 4, "grace-period": "1s"},
        ),
        ('{ period = "0s", grace-period = "1h" }', {"period": "30s", "terminate-after": 4}),
        ('"soon"', {"period": "30s", "terminate-after": 4}),
    ],
)
def test_a_stricter_part_of_a_looser_timeout_is_kept(found: str, after: dict[str, Any]) -> None:
    release = '[profile.ci]\nslow-timeout = { period = "30s", terminate-after = 4 }\n'
    key: Key = ("profile", "ci", "slow-timeout")
    text = f"[profile.ci]\nslow-timeout = {found} # ours\n"
    assert not keeps(key, {"period": "30s", "terminate-after": 4}, tomllib.loads(f"x = {found}")["x"])
    assert value_at(tomllib.loads(restored(text, release, [key])), key) == after
    assert keeps(key, {"period": "30s", "terminate-after": 4}, after)


@pytest.mark.parametrize("found", ['{ ignore = true, registries = ["x"] }', '{ ignore = false, registries = ["x"] }'])
def test_a_stricter_part_of_a_looser_table_is_kept(found: str) -> None:
    key: Key = ("licenses", "private")
    after = restored(f"[licenses]\nprivate = {found}\n", "[licenses]\nprivate = { ignore = true }\n", [key])
    assert value_at(tomllib.loads(after), key) == {"ignore": "true" in found}


# --- Adoption ---

OURS = """
[profile.b]
debug = 0
lto = true

[bans]
deny = [
    { name = "b" }, # no
]
skip = ["c"]
"""
THEIRS = """
[profile.b]
debug = 1
lto = "fat"
codegen-units = 1
[bans]
deny = [{ name = "a" }]
skip = []
"""


def test_adoption_keeps_stricter_values_and_gives_looser_values_a_reason() -> None:
    wanted = tomllib.loads(THEIRS)
    keys = {
        key: value for pattern in ("profile.*.*", "bans.*") for key, value in find(wanted, tuple(pattern.split(".")))
    }
    lines = merged(OURS, THEIRS, keys, with_dependencies=True).splitlines()
    for line in OURS.splitlines():
        assert any(found.startswith(line) for found in lines), line
    assert f"debug = 0 # reason: {AS_BEFORE}" in lines
    assert f'skip = ["c"] # reason: {AS_BEFORE}' in lines
    assert "lto = true" in lines
    found = tomllib.loads("\n".join(lines))
    assert found["profile"]["b"]["codegen-units"] == 1
    assert [one["name"] for one in found["bans"]["deny"]] == ["b", "a"]


def test_adoption_writes_the_reason_of_a_looser_value_after_its_inline_table() -> None:
    """A comment within an inline table is invalid."""
    ours = 'sources = { unknown-git = "allow", unknown-registry = "deny" }\n'
    release = '[sources]\nunknown-git = "deny"\nunknown-registry = "deny"\n'
    wanted: dict[Key, Any] = {("sources", name): "deny" for name in ("unknown-git", "unknown-registry")}
    text = merged(ours, release, wanted, with_dependencies=True)
    assert text == f"{ours.rstrip()} # reason: {AS_BEFORE}\n"
    assert reason_at(tomlkit.parse(text), ("sources", "unknown-git")) == AS_BEFORE


def test_adoption_adds_a_table_with_dots_in_its_name_with_its_comments() -> None:
    release = "[profile.'a.b'] # Ours.\nlto = true # Why.\n"
    wanted: dict[Key, Any] = {("profile", "a.b", "lto"): True}
    assert merged("[x]\ny = 1\n", release, wanted, with_dependencies=True) == f"[x]\ny = 1\n\n{release}"


def test_adoption_never_replaces_a_weaker_entry() -> None:
    ours = '[bans]\ndeny = [{ name = "a", wrappers = ["b"] }]\n'
    text = merged(
        ours, '[bans]\ndeny = [{ name = "a" }]\n', {("bans", "deny"): [{"name": "a"}]}, with_dependencies=True
    )
    assert text == ours.replace("]\n", f"] # reason: {AS_BEFORE}\n").replace(f"[bans] # reason: {AS_BEFORE}", "[bans]")
