"""How a crate differs from its release, in what the template owns."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Array, Item

from fast_rust.files import as_git_has_it
from fast_rust.owned import Key, Owned

LONGEST_VALUE = 60
NO_TOML = "no TOML: "
LEVELS = ("allow", "expect", "warn", "deny", "forbid")
REASON = re.compile(r"#.*?\breason: *(\S.*)")


class State(StrEnum):
    """What became of something that the template owns."""

    CHANGED = "changed"
    MISSING = "missing"
    LOOSENED = "loosened with a reason"


@dataclass(frozen=True)
class Difference:
    """A file, or a key of one, that is not as the release has it."""

    path: str
    state: State
    key: str = ""
    wanted: str = ""
    found: str = ""
    reason: str = ""

    @property
    def is_drift(self) -> bool:
        """Whether something should be done about it."""
        return self.state is not State.LOOSENED


def differences(crate: Path, owned: Owned) -> Iterator[Difference]:
    """All differences of a crate from what its release owns."""
    for path, content in owned.files.items():
        file = crate / path
        if not file.is_file():
            yield Difference(path, State.MISSING)
        elif as_git_has_it(file.read_bytes()) != as_git_has_it(content):
            yield Difference(path, State.CHANGED)
    for path in owned.shared:
        yield from _differences_of_keys(crate / path, path, owned.keys(path))


def _differences_of_keys(file: Path, path: str, keys: Mapping[Key, Any]) -> Iterator[Difference]:
    if not file.is_file():
        yield Difference(path, State.MISSING)
        return
    try:
        text = file.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        yield Difference(path, State.CHANGED, found=f"{NO_TOML}{error}")
        return
    # Gates that have no key of their own to loosen.
    staged = value_at(found, ("workspace", "metadata", "staged"))
    for gate, why in staged.items() if isinstance(staged, dict) else ():
        yield Difference(path, State.LOOSENED, gate, "on", "off", str(why))
    for key, wanted in keys.items():
        value = value_at(found, key)
        name = ".".join(key)
        if value is None and not is_dependency(key):
            yield Difference(path, State.MISSING, name, _short(key, wanted))
        elif value is not None and not keeps(key, wanted, value):
            # Reading comments takes ten times as long, and hardly any crate needs it.
            reason = _reason(tomlkit.parse(text), key)
            state = State.LOOSENED if reason else State.CHANGED
            yield Difference(path, state, name, _short(key, wanted), _short(key, value), reason)


def value_at(table: object, key: Key) -> Any:  # noqa: ANN401  A value of TOML.
    """The value of a key of a table; none where it has none."""
    for name in key:
        if not isinstance(table, dict) or name not in table:
            return None
        table = table[name]
    return table


def _short(key: Key, value: object) -> str:
    text = _requirement(value) if is_dependency(key) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _reason(document: tomlkit.TOMLDocument, key: Key) -> str:
    """What a comment on the line of a key, or of the table that it is written in, gives as the reason."""
    item = item_at(document, key)
    found = REASON.search(item.trivia.comment) if item else None
    return found[1].strip() if found else ""


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
        return _is_floor_kept(_requirement(wanted), _requirement(found))
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


def _requirement(dependency: Any) -> str:  # noqa: ANN401  A version, or a table with one.
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


# --- Putting it right ---


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
                found["version"] = _requirement(wanted)
            case wanted, str() if is_dependency(key):
                target[last] = _requirement(wanted)
            case Array() as wanted, Array() as found:
                present = {_identity(entry) for entry in found.unwrap()}
                for entry in wanted:
                    if _identity(entry) not in present:
                        found.append(entry)
            case wanted, _:
                target[last] = wanted
    return tomlkit.dumps(document)
