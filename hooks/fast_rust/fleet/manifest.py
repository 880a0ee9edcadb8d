"""The manifest of a fleet: its crates, their repositories, and the order of updates."""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from fast_rust.errors import FastRustError

Key: TypeAlias = tuple[str, ...]
Given: TypeAlias = Mapping[str, str | bool]
TheAnswers: TypeAlias = dict[str, StrictStr | StrictBool]
Text: TypeAlias = Annotated[StrictStr, Field(min_length=1)]

ONLY_RING = "all"
ONE_LINE = r"^[^\n]+$"
KEY = r"(?:[\w-]+|\"[^\"]*\"|'[^']*')"
HEADER = re.compile(rf"\s*\[\[?\s*({KEY}(?:\s*\.\s*{KEY})*)\s*\]\]?\s*(?:#.*)?$")
ASSIGNMENT = re.compile(rf"\s*({KEY}(?:\s*\.\s*{KEY})*)\s*=")


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
    max_failures: Annotated[StrictFloat | StrictInt, Field(ge=0, le=1)] = 0.1
    """The maximum share of its crates that may fail the checks; above it, this ring and those after it stop."""
    schedule: list[Text] = ["at any time"]
    """When Renovate may open a pull request, as Renovate's `schedule`."""


class _Defaults(_Strict):
    ring: Text | None = None
    owner: StrictStr = ""
    answers: TheAnswers = {}


class _Row(_Strict):
    path: Text | None = None
    url: StrictStr = ""
    subdirectory: StrictStr = "."
    ring: Text | None = None
    owner: StrictStr | None = None
    freeze: Annotated[StrictStr, Field(min_length=1, pattern=ONE_LINE)] | None = None
    answers: TheAnswers = {}


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
    defaults: Given
    """Answers for all crates; those that the template does not ask for in this one are left out."""
    answers: Given
    """Answers of this crate; all of them have to apply."""
    line: int

    @property
    def folder(self) -> Path:
        """Return the folder of the crate."""
        return self.repository / self.subdirectory

    @property
    def given(self) -> Given:
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
    lines = _lines(text)

    def error_at(key: Key, what: str) -> str:
        return f"{path}:{_line(lines, key)}: {'.'.join(key) or 'the manifest'}: {what}"

    try:
        model = _Content.model_validate(content)
    except ValidationError as error:
        errors = [
            error_at(_key(problem["loc"], content), _said(problem["type"], problem["msg"]))
            for problem in error.errors()
        ]
        raise ManifestError("\n".join(dict.fromkeys(errors))) from error
    if errors := [error_at(key, what) for key, what in _errors(model)]:
        raise ManifestError("\n".join(errors))
    base = path.resolve().parent
    rings = model.rings or {ONLY_RING: Ring()}
    crates = tuple(_crate(name, row, model, base, _line(lines, ("crates", name))) for name, row in model.crates.items())
    template = model.template
    if template.startswith((".", "~")) or (base / template).is_dir():
        template = str((base / Path(template).expanduser()).resolve())
    if doubles := list(_doubles(crates)):
        raise ManifestError("\n".join(error_at(("crates", crate.name), what) for crate, what in doubles))
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


def _doubles(crates: Sequence[Crate]) -> Iterator[tuple[Crate, str]]:
    seen: dict[Path, str] = {}
    rings: dict[Path, Crate] = {}
    for crate in crates:
        first = rings.setdefault(crate.repository, crate)
        if first.ring != crate.ring:
            yield (
                crate,
                f"the crate {first.name} of the same repository is in ring {first.ring}; put both into the same ring",
            )
        if crate.folder in seen:
            yield crate, f"the crate {seen[crate.folder]} has the same folder; use another path or subdirectory"
        seen[crate.folder] = crate.name


def _said(kind: str, message: str) -> str:
    """Return an error of pydantic in the words of the manifest."""
    match kind:
        case "extra_forbidden":
            return "unknown key; delete it"
        case "missing":
            return "this required key is missing; add it"
        case "string_type" | "bool_type":
            return "invalid value; write a string in quotes, or true or false"
        case "string_pattern_mismatch":
            return "write one line"
        case "string_too_short":
            return "the value is empty; write a string"
        case _:
            return message[0].lower() + message[1:]


def _key(place: tuple[str | int, ...], content: object) -> Key:
    """Return the key of an error of pydantic, which adds the names of types where there are several."""
    key: list[str] = []
    for part in place:
        match content, part:
            case dict(), str() if part in content:
                content = content[part]
                key.append(part)
            case dict(), str() if part == place[-1] and " " not in part and part not in {"str", "bool"}:
                key.append(part)
            case _:
                pass
    return tuple(key)


def _lines(text: str) -> dict[Key, int]:
    """Return the line of each table and key, which TOML parsers do not keep."""
    found: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.match(line):
            table = _parts(header[1])
            found.setdefault(table, number)
        elif assignment := ASSIGNMENT.match(line):
            found.setdefault((*table, *_parts(assignment[1])), number)
    return found


def _parts(dotted: str) -> Key:
    parts: list[str] = []
    node: object = tomllib.loads(f"{dotted} = 0")
    while isinstance(node, dict):
        [(name, node)] = node.items()
        parts.append(name)
    return tuple(parts)


def _line(lines: Mapping[Key, int], key: Key) -> int:
    """Return the line of a key, or of the table that it is in."""
    return next((lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in lines), 1)


def read_shard(text: str) -> tuple[int, int]:
    """Read a shard such as `3/10`.

    Raises ManifestError where it is invalid.
    """
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not found or int(found[1]) > int(found[2]):
        raise ManifestError(f"invalid shard {text}; use I/N, such as 1/10 for the first of ten")
    return int(found[1]), int(found[2])
