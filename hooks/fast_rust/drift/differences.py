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

from fast_rust.drift.keys import is_dependency, item_at, keeps, requirement_of, value_at
from fast_rust.files import as_git_has_it
from fast_rust.owned import Key, Owned

LONGEST_VALUE = 60
NO_TOML = "no TOML: "
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


def _short(key: Key, value: object) -> str:
    text = requirement_of(value) if is_dependency(key) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _reason(document: tomlkit.TOMLDocument, key: Key) -> str:
    """What a comment on the line of a key, or of the table that it is written in, gives as the reason."""
    item = item_at(document, key)
    found = REASON.search(item.trivia.comment) if item else None
    return found[1].strip() if found else ""
