"""Files of a crate without rendering it: the rendering of another with the same choices, with its identity put in.

Rendering takes Copier a quarter of a second. A thousand crates have a few dozen choices and two releases, so those are
rendered; what has an identity in it is kept as a form with blanks, and filled in. A form is used only after it gave,
for a first crate of those choices, byte for byte what Copier makes; where it does not, Copier renders each crate.
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

from fast_rust.answers import Answers
from fast_rust.cache import cache_folder
from fast_rust.files import replace_file
from fast_rust.owned import IDENTITY, Owned, owned_by
from fast_rust.releases import Repository, open_repository
from fast_rust.rendering import render

# How templates write an answer.
STYLES: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "quoted": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "underscores": lambda text: text.replace("-", "_"),
    "capitals": lambda text: text.replace("-", "_").upper(),
}
MARKED = re.compile(rb"zq", re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """A file with blanks: its texts and, between any two of them, an answer and how it is written."""

    texts: tuple[str, ...]
    blanks: tuple[tuple[str, str], ...]

    def filled(self, choices: Mapping[str, Any]) -> bytes:
        answers = [STYLES[style](str(choices[name])) for name, style in self.blanks]
        pairs = zip(self.texts, (*answers, ""), strict=True)
        return "".join(text + answer for text, answer in pairs).encode()


def form_of(content: bytes) -> Form | None:
    """The form of a file of the crate with the made-up identity; none where that is in it in an unknown way."""
    written: dict[str, tuple[str, str]] = {}
    for name, answer in IDENTITY.items():
        for style, write in STYLES.items():
            written.setdefault(write(answer), (name, style))
    longest_first = sorted(written, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", content.decode())
    form = Form(tuple(pieces[::2]), tuple(written[piece] for piece in pieces[1::2]))
    return None if any(MARKED.search(text.encode()) for text in form.texts) else form


class Shelf:
    """What a process has rendered, read and looked up so far."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._repositories: dict[str, Repository] = {}
        self._releases: dict[Path, list[str]] = {}
        self._owned: dict[str, Owned] = {}
        self.forms: dict[str, dict[str, Form] | None] = {}

    def repository(self, address: str, needed: str) -> Repository:
        if address not in self._repositories:
            self._repositories[address] = open_repository(address, needed=needed)
        return self._repositories[address]

    def releases(self, repository: Repository) -> list[str]:
        if repository.folder not in self._releases:
            self._releases[repository.folder] = repository.releases()
        return self._releases[repository.folder]

    def owned(self, repository: Repository, answers: Answers) -> Owned:
        """What a release owns in a crate; the identity in it is made up."""
        name = _name(repository, answers)
        if name not in self._owned:
            self._owned[name] = owned_by(repository, answers)
        return self._owned[name]

    def part(self, repository: Repository, answers: Answers) -> dict[str, bytes]:
        """The managed and the shared files that a release makes of a crate's answers, with its identity."""
        owned = self.owned(repository, answers)
        name = _name(repository, answers)
        if name not in self.forms:
            self.forms[name] = _tried_forms(repository, answers, owned)
        forms = self.forms[name]
        if forms is None:
            return _rendered(repository, answers, owned)
        return {**owned.files, **{path: form.filled(answers.choices) for path, form in forms.items()}}


def _name(repository: Repository, answers: Answers) -> str:
    """One name for all crates of the same choices; whether an answer is empty is one of them."""
    choices = {name: bool(value) if name in IDENTITY else value for name, value in answers.choices.items()}
    # One release is one commit as long as a process lives, so git need not be asked for each crate.
    key = [str(repository.folder), answers.release, choices]
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()


def _tried_forms(repository: Repository, answers: Answers, owned: Owned) -> dict[str, Form] | None:
    """The forms of the shared files, if they give what Copier makes of these answers; tried once on a machine."""
    forms = {path: form for path, content in owned.shared.items() if (form := form_of(content))}
    if forms.keys() != owned.shared.keys():
        return None
    parts = {**owned.files, **owned.shared}
    contents = sorted((path, hashlib.sha256(content).hexdigest()) for path, content in parts.items())
    digest = hashlib.sha256(json.dumps([repository.commit(answers.release), contents]).encode()).hexdigest()[:24]
    note = cache_folder() / "forms" / digest
    if not note.exists():
        rendered = _rendered(repository, answers, owned)
        is_same = {**owned.files, **{path: form.filled(answers.choices) for path, form in forms.items()}} == rendered
        replace_file(note, yaml.safe_dump({"exact": is_same}).encode())
    return forms if yaml.safe_load(note.read_text(encoding="utf-8"))["exact"] else None


def _rendered(repository: Repository, answers: Answers, owned: Owned) -> dict[str, bytes]:
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        rendering = render(replace(answers, source=str(repository.folder)), Path(folder) / "crate")
    return {path: rendering[path] for path in (*owned.files, *owned.shared) if path in rendering}
