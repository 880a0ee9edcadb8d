"""How a crate differs from its release, in what the template owns."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import tomlkit

from fast_rust.adopt.marks import STAGED, counted, marks
from fast_rust.drift.directions import is_dependency, keeps, keeps_if_missing
from fast_rust.drift.keys import name_of, reason_at, spelled, staged_reason, value_at
from fast_rust.drift.requirements import requirement_of
from fast_rust.files import as_git_has_it
from fast_rust.owned import Key, Owned
from fast_rust.without import unwanted_in

LONGEST_VALUE = 60
NOT_TOML = "not valid TOML: "


class State(StrEnum):
    """What happened to something that the template owns."""

    CHANGED = "changed"
    MISSING = "missing"
    LOOSENED = "loosened"
    """A key is looser, with a reason on its line."""


@dataclass(frozen=True)
class Difference:
    """A file, or a key of one, that is not as the release has it."""

    path: str
    state: State
    key: str = ""
    """The key as TOML has it: a part with dots is quoted."""
    wanted: str = ""
    found: str = ""
    reason: str = ""
    parts: Key = ()
    """The parts of the key."""

    @property
    def is_drift(self) -> bool:
        """Return whether a person has to restore it, or to give a reason."""
        return self.state is not State.LOOSENED


def differences(crate: Path, owned: Owned) -> Iterator[Difference]:
    """Yield all differences of a crate from what its release owns.

    Raises WithoutError where the crate names a part that does not exist.
    """
    unwanted = unwanted_in(crate)
    for path, content in owned.files.items():
        file = crate / path
        if not file.is_file():
            if path not in unwanted:
                yield Difference(path, State.MISSING)
        elif as_git_has_it(file.read_bytes()) != as_git_has_it(content):
            yield Difference(path, State.CHANGED)
    named = set()
    for path in owned.shared:
        for difference in _differences_of_keys(crate / path, path, owned.keys(path)):
            named.add((path, *difference.parts[-1:]))
            yield difference
    for mark, count in marks(crate).items():
        # An entry of a list is with its key.
        name = mark.text.partition(" ")[0].strip('",')
        if name != "#" and (mark.file, name) not in named:
            yield Difference(mark.file, State.LOOSENED, name, "on", "off", f"{STAGED}, {counted(count)}")


def _differences_of_keys(file: Path, path: str, keys: Mapping[Key, Any]) -> Iterator[Difference]:
    if not file.is_file():
        yield Difference(path, State.MISSING)
        return
    try:
        text = file.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        yield Difference(path, State.CHANGED, found=f"{NOT_TOML}{error}")
        return
    # A gate without a number was staged by hand.
    staged = value_at(found, ("workspace", "metadata", "staged"))
    for gate, why in staged.items() if isinstance(staged, dict) else ():
        if STAGED not in str(why):
            yield Difference(path, State.LOOSENED, gate, "on", "off", str(why))
    document = None
    for key, wanted in keys.items():
        value = value_at(found, spelled(found, key))
        if value is None and not keeps_if_missing(key, wanted):
            reason = staged_reason(text, key)
            state, found_as = (State.LOOSENED, "off") if reason else (State.MISSING, "")
            yield Difference(path, state, name_of(key), _short(key, wanted), found_as, reason, key)
        elif value is not None and not keeps(key, wanted, value):
            # Reading comments takes ten times as long, and hardly any crate needs it.
            document = document or tomlkit.parse(text)
            reason = reason_at(document, spelled(found, key))
            state = State.LOOSENED if reason else State.CHANGED
            yield Difference(path, state, name_of(key), _short(key, wanted), _short(key, value), reason, key)


def _short(key: Key, value: object) -> str:
    """Return a value for people, cut where it is long."""
    text = requirement_of(value) if is_dependency(key) else json.dumps(value, ensure_ascii=False, default=str)
    text = text or ""
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
