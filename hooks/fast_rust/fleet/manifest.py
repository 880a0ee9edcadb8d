"""The manifest of a fleet: its crates, their repositories, and the order of updates."""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StrictFloat, StrictInt, StrictStr, ValidationError
from pydantic_core import PydanticCustomError

from fast_rust.checks.tables import Table
from fast_rust.errors import FastRustError
from fast_rust.owned import Key

ONLY_RING = "all"
ONE_LINE = r"^[^\n]+$"
NO_TEXT = "invalid value; write a string in quotes, or true or false"
# Errors of pydantic in the words of the manifest.
ERRORS = {
    "extra_forbidden": "unknown key; delete it",
    "missing": "this required key is missing; add it",
    "string_type": NO_TEXT,
    "string_pattern_mismatch": "write one line",
    "string_too_short": "the value is empty; write a string",
}


def _answer(value: object) -> str | bool:
    if isinstance(value, str | bool):
        return value
    raise PydanticCustomError("answer", NO_TEXT)


# A union of types would give an error for each of them.
Answers: TypeAlias = dict[str, Annotated[str | bool, PlainValidator(_answer)]]
Text: TypeAlias = Annotated[StrictStr, Field(min_length=1)]


class ManifestError(FastRustError):
    """A manifest has errors: the message has a line for each, with its line number and what to write."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ring(_Strict):
    """Crates that are updated together, before those of the next ring."""

    checks: list[Text] = []
    """The words of a command that has to succeed in each updated crate."""
    max_minutes: Annotated[StrictInt, Field(ge=1)] = 60
    """The time limit for the checks of a crate."""
    max_failures: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.1
    """The maximum share of its crates that may fail the checks; above it, this ring and those after it stop."""
    schedule: list[Text] = ["at any time"]
    """When Renovate may open a pull request, as Renovate's `schedule`."""


class _Defaults(_Strict):
    ring: Text | None = None
    owner: StrictStr = ""
    answers: Answers = {}


class _Row(_Strict):
    path: Text | None = None
    url: StrictStr = ""
    subdirectory: StrictStr = "."
    ring: Text | None = None
    owner: StrictStr | None = None
    freeze: Annotated[StrictStr, Field(min_length=1, pattern=ONE_LINE)] | None = None
    answers: Answers = {}


class _Content(_Strict):
    template: Text
    folder: Text = "."
    defaults: _Defaults = _Defaults()
    rings: dict[str, Ring] = {}
    crates: dict[str, _Row] = {}


@dataclass(frozen=True)
class Crate:
    """A row of the manifest."""

    name: str
    repository: Path
    """The folder of its git repository."""
    subdirectory: str
    url: str
    ring: str
    owner: str
    freeze: str
    """Why no update may touch it; empty where updates may."""
    defaults: Mapping[str, str | bool]
    """Answers for all crates; those that the template does not ask for in this one are left out."""
    answers: Mapping[str, str | bool]
    """Answers of this crate; all of them have to apply."""
    line: int

    @property
    def folder(self) -> Path:
        """Return the folder of the crate."""
        return self.repository / self.subdirectory

    @property
    def given(self) -> Mapping[str, str | bool]:
        """Return all answers; those of the crate override those for all."""
        return {"crate_name": self.name, **self.defaults, **self.answers}


@dataclass(frozen=True)
class Manifest:
    """A fleet."""

    path: Path
    template: str
    rings: Mapping[str, Ring]
    crates: tuple[Crate, ...]
    digest: str

    @property
    def state_folder(self) -> Path:
        """Return the folder of journals and logs: nothing else is written outside the repositories and the cache."""
        return self.path.with_name(f"{self.path.name}.state")

    def part(self, *, ring: str | None = None, shard: tuple[int, int] | None = None) -> "Manifest":
        """Return the crates of a ring, or of a shard.

        Raises ManifestError where the ring does not exist.
        """
        if ring is not None and ring not in self.rings:
            raise ManifestError(f"{self.path}: unknown ring {ring}; expected one of: {', '.join(self.rings)}")
        crates = [crate for crate in self.crates if ring in {None, crate.ring}]
        if shard is not None:
            number, count = shard
            crates = [crate for crate in crates if _share(crate.repository.name, count) == number]
        return replace(self, crates=tuple(crates))


def _share(name: str, count: int) -> int:
    """Return the shard of a repository, from 1; it depends on the name alone, so adding crates moves no other."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % count + 1


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises ManifestError where it does not exist, or has errors.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError as error:
        message = f"{path} does not exist; run `fast-rust fleet init` to write it, or pass another file with --manifest"
        raise ManifestError(message) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(f"{path}: {error}") from error
    table = Table(str(path), text, content)

    def refusal(errors: Iterable[tuple[Key, str]]) -> ManifestError:
        lines = (f"{path}:{table.line(*key) or 1}: {'.'.join(key)}: {what}" for key, what in errors)
        return ManifestError("\n".join(dict.fromkeys(lines)))

    try:
        model = _Content.model_validate(content)
    except ValidationError as error:
        raise refusal(_errors_of_types(error)) from error
    if errors := list(_errors(model)):
        raise refusal(errors)
    base = path.resolve().parent
    rings = model.rings or {ONLY_RING: Ring()}
    crates = tuple(
        _crate(name, row, model, base, table.line("crates", name) or 1) for name, row in model.crates.items()
    )
    template = model.template
    if template.startswith((".", "~")) or (base / template).is_dir():
        template = str((base / Path(template).expanduser()).resolve())
    if doubles := list(_doubles(crates)):
        raise refusal(doubles)
    return Manifest(path.resolve(), template, rings, crates, hashlib.sha256(text.encode()).hexdigest())


def _crate(name: str, row: _Row, model: _Content, base: Path, line: int) -> Crate:
    ring = row.ring or model.defaults.ring or next(iter(model.rings), ONLY_RING)
    owner = model.defaults.owner if row.owner is None else row.owner
    folder = base / Path(model.folder).expanduser()
    # Symlinks are not resolved: one that is replaced is another repository.
    repository = Path(folder / Path(row.path or name).expanduser())
    return Crate(
        name,
        repository,
        str(PurePosixPath(row.subdirectory)),
        row.url,
        ring,
        owner,
        row.freeze or "",
        model.defaults.answers,
        row.answers,
        line,
    )


def _errors_of_types(error: ValidationError) -> Iterator[tuple[Key, str]]:
    for problem in error.errors():
        # Places in a list are numbers.
        key = tuple(part for part in problem["loc"] if isinstance(part, str))
        message = problem["msg"]
        yield key, ERRORS.get(problem["type"]) or message[0].lower() + message[1:]


def _errors(model: _Content) -> Iterator[tuple[Key, str]]:
    """Yield the errors that the types do not find."""
    known = list(model.rings) or [ONLY_RING]
    places = [
        (("defaults",), model.defaults.ring),
        *((("crates", name), row.ring) for name, row in model.crates.items()),
    ]
    for place, ring in places:
        if ring is not None and ring not in known:
            yield (*place, "ring"), f"unknown ring {ring}; add [rings.{ring}], or use one of: {', '.join(known)}"
    for name, row in model.crates.items():
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            yield ("crates", name), "invalid name; use letters, digits, dots, hyphens and underscores"
        part = PurePosixPath(row.subdirectory)
        if part.is_absolute() or ".." in part.parts:
            yield (
                ("crates", name, "subdirectory"),
                "outside the repository; use a path inside it, such as crates/reader",
            )
        if row.url.startswith("-") or "::" in row.url:
            yield ("crates", name, "url"), "not the address of a repository; use https, ssh or a path"


def _doubles(crates: Sequence[Crate]) -> Iterator[tuple[Key, str]]:
    seen: dict[Path, str] = {}
    rings: dict[Path, Crate] = {}
    for crate in crates:
        key = ("crates", crate.name)
        first = rings.setdefault(crate.repository, crate)
        if first.ring != crate.ring:
            yield (
                key,
                f"the crate {first.name} of the same repository is in ring {first.ring}; put both into the same ring",
            )
        if crate.folder in seen:
            yield key, f"the crate {seen[crate.folder]} has the same folder; use another path or subdirectory"
        seen[crate.folder] = crate.name


def read_shard(text: str) -> tuple[int, int]:
    """Read a shard such as `3/10`.

    Raises ManifestError where it is invalid.
    """
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not found or int(found[1]) > int(found[2]):
        raise ManifestError(f"invalid shard {text}; use I/N, such as 1/10 for the first of ten")
    return int(found[1]), int(found[2])
