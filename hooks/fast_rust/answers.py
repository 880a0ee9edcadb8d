"""The answers that a crate was made from, in its `.copier-answers.yml`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from fast_rust.errors import FastRustError

ANSWERS_FILE = ".copier-answers.yml"
# Where that name is another template's.
OTHER_ANSWERS_FILE = ".copier-answers.fast-rust.yml"
ANSWERS_FILES = ".copier-answers*.yml"
# A long value continues in indented lines.
SOURCE_LINE = re.compile(r"(?m)^_src_path:.*\n(?:[ \t].*\n)*")


class AnswersError(FastRustError):
    """A crate's answers are missing, or cannot be read; the message says what to do."""


@dataclass(frozen=True)
class Answers:
    """What a crate was made from: the template, its release, and the choices."""

    source: str
    release: str
    choices: Mapping[str, Any]

    def with_choice(self, name: str, *, choice: str | bool) -> "Answers":
        return replace(self, choices={**self.choices, name: choice})


def answers_file(crate: Path) -> Path:
    """Return the file with a crate's answers to this template, or where it would be.

    A crate that several templates have a part in has a file for each, and ours asks for the name of a crate.
    """
    # The usual names come first: others may be backups.
    usual = [crate / ANSWERS_FILE, crate / OTHER_ANSWERS_FILE]
    files = [path for path in (*usual, *sorted(crate.glob(ANSWERS_FILES))) if path.is_file()]
    return next((path for path in files if _has_key("crate_name", path)), crate / ANSWERS_FILE)


def is_of_another_template(file: Path) -> bool:
    """Return whether a file of answers has those to another template."""
    return _has_key("_src_path", file) and not _has_key("crate_name", file)


def _has_key(name: str, file: Path) -> bool:
    # The file may be damaged, so a parser may refuse it.
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return re.search(rf"(?m)^{name}:", text) is not None


def read_answers(crate: Path) -> Answers | None:
    """Return the answers that a crate has recorded; none where it has not, or not in full.

    Raises AnswersError where they cannot be read.
    """
    match _load(answers_file(crate)):
        case {"_src_path": str(source), "_commit": str(release), "crate_name": str(name), **choices}:
            return Answers(source, release, {"crate_name": name, **{str(key): value for key, value in choices.items()}})
        case _:
            return None


def recorded_answer(crate: Path, name: str, *, default: str) -> str:
    """Return a single answer, also of a file that lacks the template or its release.

    Raises AnswersError where the file cannot be read.
    """
    recorded = _load(answers_file(crate))
    return str(recorded.get(name, default)) if isinstance(recorded, dict) else default


def _load(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A date that does not exist is a ValueError.
        message = f"{path} is damaged ({str(error).splitlines()[0]}); run `git checkout -- {path}` to restore it"
        raise AnswersError(message) from error


def require_answers(crate: Path) -> Answers:
    """Return the answers that a crate has recorded.

    Raises AnswersError where it has none, or they cannot be read.
    """
    if (answers := read_answers(crate)) is None:
        path = answers_file(crate)
        what = "lacks `_src_path`, `_commit` or `crate_name`" if path.is_file() else "is missing"
        message = f"{path} {what}, so the crate's template and release are unknown"
        raise AnswersError(
            f"{message}; restore the file from git, or run `fast-rust adopt` in a crate that never had it"
        )
    return answers


def with_source(content: bytes, source: str) -> bytes:
    """Return the content of a file of answers with another address of the template."""
    line = yaml.safe_dump({"_src_path": source}, allow_unicode=True, width=100_000)
    return SOURCE_LINE.sub(lambda _: line, content.decode()).encode()


def as_answers(data: Iterable[str]) -> dict[str, str]:
    """Return the answers that `--data KEY=VALUE` gives.

    Raises AnswersError where a value is missing.
    """
    if wrong := next((pair for pair in data if "=" not in pair), ""):
        raise AnswersError(f"--data {wrong} has no value; write --data {wrong}=VALUE")
    return dict(pair.split("=", 1) for pair in data)
