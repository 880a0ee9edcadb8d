"""Renderings of the template: a crate as its answers would make it today."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

ANSWERS_FILE = ".copier-answers.yml"
# Where that name is another template's.
OTHER_ANSWERS_FILE = ".copier-answers.fast-rust.yml"
ANSWERS_FILES = ".copier-answers*.yml"


class RenderingError(Exception):
    """The template could not be had, or not be rendered."""


class AnswersError(Exception):
    """A crate's answers are not there, or cannot be read; the message says what to do."""


@dataclass(frozen=True)
class Answers:
    """What a crate was made from: the template, its release, and the choices."""

    source: str
    release: str
    choices: Mapping[str, Any]

    def with_choice(self, name: str, *, choice: str | bool) -> "Answers":
        return replace(self, choices={**self.choices, name: choice})


def answers_file(crate: Path) -> Path:
    """The file with a crate's answers to this template, or where it would be.

    A crate that several templates have a part in has a file for each, and ours asks for the name of a crate.
    """
    files = [path for path in sorted(crate.glob(ANSWERS_FILES)) if path.is_file()]
    return next((path for path in files if _has_key("crate_name", path)), crate / ANSWERS_FILE)


def is_of_another_template(file: Path) -> bool:
    """Whether a file of answers has those to another template."""
    return _has_key("_src_path", file) and not _has_key("crate_name", file)


def _has_key(name: str, file: Path) -> bool:
    # It may be damaged, so it is no matter for a parser yet.
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return re.search(rf"(?m)^{name}:", text) is not None


def read_answers(crate: Path) -> Answers | None:
    """The answers that a crate has recorded; none where it has not, or not in full."""
    path = answers_file(crate)
    recorded = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    match recorded:
        case {"_src_path": str(source), "_commit": str(release), "crate_name": str(name), **choices}:
            return Answers(source, release, {"crate_name": name, **{str(key): value for key, value in choices.items()}})
        case _:
            return None


def require_answers(crate: Path) -> Answers:
    """The answers that a crate has recorded.

    Raises AnswersError where it has none, or they cannot be read.
    """
    path = answers_file(crate)
    try:
        answers = read_answers(crate)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{path} is damaged ({str(error).splitlines()[0]}): take it from git, `git checkout -- {path}`"
        raise AnswersError(message) from error
    if answers is None:
        what = "lacks `_src_path`, `_commit` or `crate_name`" if path.is_file() else "is not there"
        raise AnswersError(
            f"{path} {what}, so it is not known what this crate was made from: `fast-rust adopt` makes one"
        )
    return answers


def render(answers: Answers, folder: Path, file: str = ANSWERS_FILE) -> dict[str, bytes]:
    """Make a crate in an empty folder, without trust, and return its files by their paths; its answers go to a file.

    Raises RenderingError where the template or its release is not there, or refuses the answers.
    """
    # Copier takes a third of a second to import, and a hook that finds a rendering in the cache needs none.
    from copier import run_copy  # noqa: PLC0415
    from copier.errors import CopierError  # noqa: PLC0415
    from jinja2 import TemplateError as JinjaError  # noqa: PLC0415
    from plumbum.commands.processes import ProcessExecutionError  # noqa: PLC0415

    choices = dict(answers.choices)
    try:
        run_copy(
            answers.source,
            folder,
            data=choices,
            answers_file=file,
            vcs_ref=answers.release,
            defaults=True,
            quiet=True,
        )
    except (CopierError, JinjaError, ProcessExecutionError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip("| ")
        message = f"release {answers.release} of the template cannot be rendered from {answers.source}: {reason}"
        raise RenderingError(message) from error
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
