"""The renderings of a crate without rendering it: those of another crate with the same choices and its own identity.

Copier takes a quarter of a second for a rendering. A thousand crates have a few dozen sets of choices and two releases,
so those are rendered, with a made-up identity; each file is kept as a skeleton with blanks for the identity. Skeletons
are used only after they gave, for a first crate of those choices, byte for byte what Copier renders, and only for an
identity that the release accepts; otherwise Copier renders each crate, in the way of `fast-rust update`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from fast_rust.answers import ANSWERS_FILE, Answers
from fast_rust.cache import cache_folder
from fast_rust.files import replace_file
from fast_rust.fleet.identity import accepts_identity
from fast_rust.owned import IDENTITY, Owned, Part, cached, cached_rendering, owned_by, part_of, with_made_up_identity
from fast_rust.releases import Order, Repository
from fast_rust.rendering import render, render_again

# How templates write an answer.
STYLES: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "quoted": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "underscores": lambda text: text.replace("-", "_"),
    "capitals": lambda text: text.replace("-", "_").upper(),
}
MARKED = re.compile(rb"zq", re.IGNORECASE)


@dataclass(frozen=True)
class Skeleton:
    """A file with blanks: its texts and, between two of them, an answer and its style."""

    texts: tuple[str, ...]
    blanks: tuple[tuple[str, str], ...]

    def filled(self, choices: Mapping[str, Any]) -> bytes:
        """Return the file of a crate with these choices."""
        answers = [STYLES[style](str(choices[name])) for name, style in self.blanks]
        pairs = zip(self.texts, (*answers, ""), strict=True)
        return "".join(text + answer for text, answer in pairs).encode(errors="surrogateescape")


def skeleton_of(content: bytes) -> Skeleton | None:
    """Return the skeleton of a file with the made-up identity; none where the identity is in it in an unknown style."""
    # A managed file may be in any encoding.
    text = content.decode(errors="surrogateescape")
    if not MARKED.search(content):
        return Skeleton((text,), ())
    written: dict[str, tuple[str, str]] = {}
    for name, answer in IDENTITY.items():
        for style, write in STYLES.items():
            written.setdefault(write(answer), (name, style))
    longest_first = sorted(written, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", text)
    skeleton = Skeleton(tuple(pieces[::2]), tuple(written[piece] for piece in pieces[1::2]))
    return None if any(MARKED.search(text.encode(errors="surrogateescape")) for text in skeleton.texts) else skeleton


@dataclass(frozen=True)
class Source:
    """A release that a crate is rendered by."""

    repository: Repository
    release: str
    is_update: bool = False
    """Whether it takes the answers as an update does: it has defaults for those that it refuses."""


@dataclass(frozen=True)
class _Prepared:
    """What all crates with the same choices have in common in a release."""

    part: Part
    """With the made-up identity."""
    taken: Mapping[str, Any]
    """The answers that the release took."""
    skeletons: Mapping[str, Skeleton] | None
    """None where Copier has to render each crate."""


class Renderings:
    """The renderings that a process has made, with the repositories that it has read."""

    def __init__(self) -> None:
        """Begin with none."""
        self._releases: dict[Path, list[str]] = {}
        self._orders: dict[tuple[Path, str, str], Order] = {}
        self._owned: dict[str, Owned] = {}
        self.prepared: dict[str, _Prepared] = {}

    def newer(self, repository: Repository, release: str) -> list[str]:
        """Return the releases after one, which may be a commit between two of them; oldest first."""
        if repository.folder not in self._releases:
            self._releases[repository.folder] = repository.releases()
        releases = self._releases[repository.folder]
        if release in releases:
            return releases[releases.index(release) + 1 :]
        return [candidate for candidate in releases if self.order(repository, release, candidate) is Order.OLDER]

    def order(self, repository: Repository, release: str, other: str) -> Order:
        """Return whether a release is older or newer than another."""
        key = (repository.folder, release, other)
        if key not in self._orders:
            self._orders[key] = repository.order(release, other)
        return self._orders[key]

    def owned(self, repository: Repository, answers: Answers) -> Owned:
        """Return the files and keys that a release owns in a crate, with placeholder answers."""
        name = _name(Source(repository, answers.release), answers)
        if name not in self._owned:
            self._owned[name] = owned_by(repository, answers)
        return self._owned[name]

    def part(self, source: Source, answers: Answers) -> tuple[Part, Mapping[str, Any]]:
        """Return the rendering of a release for a crate's answers, and the answers that it took."""
        if not accepts_identity(source.repository, source.release, answers.choices):
            return _rendered(source, answers)
        name = _name(source, answers)
        if name not in self.prepared:
            self.prepared[name] = _prepared(source, answers)
        prepared = self.prepared[name]
        if prepared.skeletons is None:
            return _rendered(source, answers)
        part = replace(prepared.part, files=_filled(prepared.skeletons, answers), of_the_crate={})
        return part, {**prepared.taken, **_identity(answers)}


def _identity(answers: Answers) -> dict[str, Any]:
    return {name: answer for name, answer in answers.choices.items() if name in IDENTITY and answer}


def _filled(skeletons: Mapping[str, Skeleton], answers: Answers) -> dict[str, bytes]:
    return {path: skeleton.filled(answers.choices) for path, skeleton in skeletons.items()}


def _name(source: Source, answers: Answers) -> str:
    """Return one name for all crates with the same choices; whether an identity is empty is one of the choices."""
    choices = {name: bool(value) if name in IDENTITY else value for name, value in answers.choices.items()}
    # A release is one commit as long as a process lives, so git is not asked for each crate.
    key = [str(source.repository.folder), source.release, source.is_update, choices]
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()


def _prepared(source: Source, answers: Answers) -> _Prepared:
    """Return the skeletons of a release, if they give what Copier renders for these answers; tried once a machine."""
    commit = source.repository.commit(source.release)
    made_up = with_made_up_identity(source.repository, answers)
    if source.is_update:
        rendering = cached(["update", commit, made_up.choices], lambda folder: _render_again(source, made_up, folder))
    else:
        rendering = cached_rendering(made_up, commit)
    part = part_of(source.repository, commit, rendering)
    skeletons = {path: skeleton for path, content in part.files.items() if (skeleton := skeleton_of(content))}
    taken = yaml.safe_load(part.answers)
    if skeletons.keys() != part.files.keys():
        return _Prepared(part, taken, None)
    contents = sorted((path, hashlib.sha256(content).hexdigest()) for path, content in part.files.items())
    digest = hashlib.sha256(json.dumps([commit, source.is_update, contents]).encode()).hexdigest()[:24]
    note = cache_folder() / "skeletons" / digest
    if not note.exists():
        is_same = _filled(skeletons, answers) == _rendered(source, answers)[0].files
        replace_file(note, yaml.safe_dump({"exact": is_same}).encode())
    is_exact = yaml.safe_load(note.read_text(encoding="utf-8"))["exact"]
    return _Prepared(part, taken, skeletons if is_exact else None)


def _rendered(source: Source, answers: Answers) -> tuple[Part, Mapping[str, Any]]:
    """Let Copier render a crate, as `fast-rust update` does."""
    local = replace(answers, source=str(source.repository.folder))
    with TemporaryDirectory(prefix="fast-rust-") as parent:
        folder = Path(parent) / "crate"
        folder.mkdir()
        rendering = _render_again(source, local, folder) if source.is_update else render(local, folder)
    return part_of(source.repository, source.release, rendering), yaml.safe_load(rendering[ANSWERS_FILE])


def _render_again(source: Source, answers: Answers, folder: Path) -> dict[str, bytes]:
    """Render a release from recorded answers, in an empty folder; the release that recorded them has no effect."""
    recorded = {"_commit": source.release, "_src_path": answers.source, **answers.choices}
    (folder / ANSWERS_FILE).write_text(yaml.safe_dump(recorded, allow_unicode=True), encoding="utf-8")
    return render_again(folder, str(source.repository.folder), source.release, {}, ANSWERS_FILE)
