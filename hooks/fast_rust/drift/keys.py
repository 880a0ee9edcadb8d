"""Keys of a shared TOML file: their values, which values keep the standards, and restoring them."""

import re
from typing import Any

import tomlkit
from tomlkit.items import Array, Item

from fast_rust.owned import Key

LEVELS = ("allow", "expect", "warn", "deny", "forbid")


def value_at(table: object, key: Key) -> Any:  # noqa: ANN401  A value of TOML.
    """The value of a key of a table; none where it has none."""
    for name in key:
        if not isinstance(table, dict) or name not in table:
            return None
        table = table[name]
    return table


def item_at(document: tomlkit.TOMLDocument, key: Key) -> Item | None:
    """The item of a key, which has its comment; none where its table is written in pieces and the value is plain."""
    table: Any = document
    for name in key[:-1]:
        table = table[name]
    # A table gives plain values for some items, such as yes and no.
    item = table.item(key[-1]) if hasattr(table, "item") else table[key[-1]]
    return item if isinstance(item, Item) else None


def is_dependency(key: Key) -> bool:
    return any(part.endswith("dependencies") for part in key)


def keeps(key: Key, wanted: Any, found: Any) -> bool:  # noqa: ANN401  Values of TOML.
    """Whether a value is what the template wants, or stricter."""
    if is_dependency(key):
        return _is_floor_kept(requirement_of(wanted), requirement_of(found))
    if "lints" in key:
        return _level(found) >= _level(wanted)
    match wanted, found:
        case list(), list():
            return {_identity(entry) for entry in wanted} <= {_identity(entry) for entry in found}
        case int(), int() if key[-1].endswith("-threshold"):
            return found <= wanted
        case _:
            return type(wanted) is type(found) and bool(wanted == found)


def _level(lint: Any) -> int:  # noqa: ANN401  A level, or a table with one.
    level = lint.get("level") if isinstance(lint, dict) else lint
    return LEVELS.index(level) if level in LEVELS else -1


def _identity(entry: Any) -> str:  # noqa: ANN401  An entry of a list, by what it is about.
    return str(entry.get("path", entry.get("name", entry)) if isinstance(entry, dict) else entry)


def requirement_of(dependency: Any) -> str:  # noqa: ANN401  A version, or a table with one.
    return str(dependency.get("version", "") if isinstance(dependency, dict) else dependency)


def _is_floor_kept(wanted: str, found: str) -> bool:
    # From a path, a git repository or the workspace: another place says which version.
    if not found:
        return True
    if wanted.startswith("="):
        return wanted.replace(" ", "") == found.replace(" ", "")
    return _version(found) >= _version(wanted)


def _version(requirement: str) -> list[int]:
    found = re.search(r"\d+(\.\d+)*", requirement)
    return [int(part) for part in found[0].split(".")] if found else []


def restored(text: str, release_text: str, keys: list[Key]) -> str:
    """A shared file with the keys as the release has them; order and comments of all others stay."""
    document, release = tomlkit.parse(text), tomlkit.parse(release_text)
    for key in keys:
        source: Any = release
        target: Any = document
        for name in key[:-1]:
            source = source[name]
            if name not in target:
                target[name] = tomlkit.table(is_super_table=True)
            target = target[name]
        last = key[-1]
        match source[last], target.get(last):
            case wanted, dict() as found if is_dependency(key):
                # Features and the rest are the crate's.
                found["version"] = requirement_of(wanted)
            case wanted, str() if is_dependency(key):
                target[last] = requirement_of(wanted)
            case Array() as wanted, Array() as found:
                present = {_identity(entry) for entry in found.unwrap()}
                for entry in wanted:
                    if _identity(entry) not in present:
                        found.append(entry)
            case wanted, _:
                target[last] = wanted
    return tomlkit.dumps(document)
