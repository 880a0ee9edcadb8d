"""Renderings of the template: a crate as its answers would make it today."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from copier import run_copy
from copier.errors import CopierError
from plumbum.commands.processes import ProcessExecutionError

ANSWERS_FILE = ".copier-answers.yml"


class RenderingError(Exception):
    """The template could not be had, or not be rendered."""


@dataclass(frozen=True)
class Answers:
    """What a crate was made from: the template, its release, and the choices."""

    source: str
    release: str
    choices: Mapping[str, Any]

    def with_choice(self, name: str, *, choice: str | bool) -> "Answers":
        return replace(self, choices={**self.choices, name: choice})


def read_answers(crate: Path) -> Answers | None:
    """The answers that a crate has recorded; none where it has not, or not in full."""
    path = crate / ANSWERS_FILE
    recorded = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    match recorded:
        case {"_src_path": str(source), "_commit": str(release), **choices}:
            return Answers(source, release, {str(name): value for name, value in choices.items()})
        case _:
            return None


def render(answers: Answers, folder: Path) -> dict[str, bytes]:
    """Make a crate in an empty folder, without trust, and return its files by their paths.

    Raises RenderingError where the template or its release is not there, or refuses the answers.
    """
    choices = dict(answers.choices)
    try:
        run_copy(answers.source, folder, data=choices, vcs_ref=answers.release, defaults=True, quiet=True)
    except (CopierError, ProcessExecutionError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip("| ")
        message = f"release {answers.release} of the template cannot be rendered from {answers.source}: {reason}"
        raise RenderingError(message) from error
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
