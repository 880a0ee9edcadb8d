"""The settings of the build: the base's profiles build both sides, and the head may not loosen one unseen."""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError

from fast_rust.perf.errors import DoesNotRunError
from fast_rust.perf.workspace import Workspace

Rank: TypeAlias = Callable[[Any], float]

# The profiles that are measured or shipped; the profile `bench` inherits from `release`.
PROFILES = ("release", "bench")
# Settings that make no program slower.
OF_NO_MATTER = {"build-override", "debug", "inherits", "panic", "rpath", "split-debuginfo", "strip"}
LTO = ("off", False, "thin", "fat")
OPT_LEVEL = (0, 1, "z", "s", 2, 3)
# By the key, cargo's default, and a rank that is higher where the program is faster. A key without an entry is loosened
# by any change.
RANKS: dict[str, tuple[Any, Rank]] = {
    "lto": (False, lambda value: _rank(LTO, "fat" if value is True else value)),
    "opt-level": (3, lambda value: _rank(OPT_LEVEL, value)),
    "codegen-units": (16, lambda value: -value if isinstance(value, int) else float("-inf")),
    "debug-assertions": (False, lambda value: -int(value is not False)),
    "overflow-checks": (False, lambda value: -int(value is not False)),
    "incremental": (False, lambda value: -int(value is not False)),
}
# Of cargo's settings; an `[env]` of the head could name another runner, or count less.
MEASURING_TABLES = ("env", "host", "include", "paths", "unstable")
FLAGS = {"incremental", "jobs", "rustdocflags", "rustflags"}
CARGO_SETTINGS = ".cargo/config.toml"
SETTINGS_FILES = (CARGO_SETTINGS, "rust-toolchain.toml", "rust-toolchain")


def _rank(values: tuple[Any, ...], value: object) -> int:
    """Return the place of a value in a list; Python takes True for 1."""
    return next((n for n, each in enumerate(values) if type(each) is type(value) and each == value), -1)


def loosened(base: str, head: str) -> Iterator[str]:
    """Yield each setting of a profile that is looser in the head's manifest than in the base's."""
    before, after = (_profiles(tomlkit.parse(text)) for text in (base, head))
    for profile in PROFILES:
        old, new = _effective(before, profile), _effective(after, profile)
        for path in sorted(old.keys() | new.keys()):
            key = path.rpartition(".")[2]
            was, now = _setting(old, path, key), _setting(new, path, key)
            if was != now and not (key in RANKS and RANKS[key][1](now) >= RANKS[key][1](was)):
                yield f"profile.{profile}.{path} {_shown(was)} → {_shown(now)}"


def _setting(profile: Mapping[str, Any], path: str, key: str) -> Any:  # noqa: ANN401  A value of TOML.
    """Return a setting; a package has that of its profile by default, and the profile that of cargo."""
    return profile.get(path, profile.get(key, RANKS[key][0] if key in RANKS else None))


def changes_of_measuring(base: str, head: str) -> list[str]:
    """Return the tables of cargo's settings that differ and affect how programs are built or run."""
    before, after = (_of_measuring(tomllib.loads(text)) for text in (base, head))
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _of_measuring(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without flags, which are part of the shipped build, and without irrelevant ones."""
    targets = settings.get("target", {})
    found = {f"target.{name}": _without_flags(table) for name, table in targets.items()}
    found |= {key: settings[key] for key in MEASURING_TABLES if key in settings}
    return {key: value for key, value in {**found, "build": _without_flags(settings.get("build", {}))}.items() if value}


def _without_flags(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in FLAGS}


def _profiles(manifest: TOMLDocument) -> dict[str, Any]:
    profiles: dict[str, Any] = manifest.unwrap().get("profile", {})
    return profiles


def _effective(profiles: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """Return the settings of a profile that matter for speed, by their paths."""
    return {**_flat(profiles.get("release", {})), **_flat(profiles.get(profile, {}))}


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key in OF_NO_MATTER:
            continue
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{above}{key}."))
        else:
            found[f"{above}{key}"] = value if isinstance(value, str | int) else repr(value)
    return found


def _shown(value: object) -> str:
    return "not set" if value is None else f'"{value}"' if isinstance(value, str) else str(value).lower()


def keep_settings(workspace: Workspace, *, profiles: bool) -> None:
    """Give the head's manifest in the worktree the base's members, which have its benches, and maybe its profiles.

    Raises DoesNotRunError where the manifest of a side is not valid TOML.
    """
    place = workspace.worktree / workspace.inside / "Cargo.toml"
    text = place.read_text("utf-8")
    try:
        base, head = tomlkit.parse(workspace.base_text("Cargo.toml")), tomlkit.parse(text)
    except TOMLKitError as error:
        raise DoesNotRunError(f"Cargo.toml is not valid TOML: {error}") from error
    if profiles and _profiles(base) != _profiles(head):
        if "profile" in head:
            del head["profile"]
        head["profile"] = _profiles(base)
    ours, theirs = (side.get("workspace", {}).get("members", []) for side in (head, base))
    if "workspace" in head:
        head["workspace"]["members"] = [*ours, *(member for member in theirs if member not in ours)]
    if (kept := tomlkit.dumps(head)) != text:
        place.write_text(kept, "utf-8")


def offences_of(workspace: Workspace) -> Iterator[str]:
    """Yield changes that are refused for any figures: a looser profile, another way to measure.

    Raises DoesNotRunError where settings of cargo are not valid TOML.
    """
    texts = (workspace.base_text("Cargo.toml"), workspace.head_text("Cargo.toml"))
    for setting in loosened(*texts):
        yield f"BUILD-1, OP-2: {setting}: with this build setting, the head builds slower programs"
    inside = workspace.inside.as_posix()
    for path in sorted(workspace.base_files | workspace.head_files):
        folder = path.removesuffix(CARGO_SETTINGS).rstrip("/") or "."
        if path.endswith(CARGO_SETTINGS) and (folder == "." or f"{inside}/".startswith(f"{folder}/")):
            name = os.path.relpath(path, inside)
            try:
                changed = changes_of_measuring(workspace.base_text(name), workspace.head_text(name))
            except tomllib.TOMLDecodeError as error:
                raise DoesNotRunError(f"{path} is not valid TOML: {error}") from error
            if changed:
                yield f"BENCH-2: {path}: [{'], ['.join(changed)}] changed, which may change how the head is measured"


def changed_settings(workspace: Workspace) -> Iterator[str]:
    """Yield a line for each file of settings that differs, and for profiles that do."""
    for path in SETTINGS_FILES:
        if workspace.base_text(path) != workspace.head_text(path):
            yield f"{path} changed: base and head are each built with their own version of it"
    texts = (workspace.base_text("Cargo.toml"), workspace.head_text("Cargo.toml"))
    before, after = (_profiles(tomlkit.parse(text)) for text in texts)
    if before != after:
        yield "profiles of Cargo.toml changed: base and head are both built with the base's profiles"
