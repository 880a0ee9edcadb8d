"""Renderings of the template: a crate as its answers would make it today.

Copier runs under our own git configuration and without the user's settings of Copier, so that a rendering depends on
the release and the answers alone.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fast_rust import git
from fast_rust.answers import ANSWERS_FILE, Answers
from fast_rust.errors import FastRustError


class RenderingError(FastRustError):
    """The template is not available, or cannot be rendered."""


class Files(dict[str, bytes]):
    """The files of a rendering, by their paths in it."""

    executables: frozenset[str] = frozenset()


def render(answers: Answers, folder: Path, file: str = ANSWERS_FILE, *, is_asked: bool = False) -> Files:
    """Make a crate in an empty folder, without trust, and return its files by their paths; its answers go to a file.

    With `is_asked` Copier asks a person the questions without an answer; else the defaults are taken.
    Raises RenderingError where the template or its release is not available, or refuses the answers.
    """
    # Copier takes a third of a second to import, and a hook that finds a rendering in the cache needs none.
    from copier import Settings, run_copy  # noqa: PLC0415

    with _copier(answers.source, answers.release):
        run_copy(
            answers.source,
            folder,
            data=dict(answers.choices),
            answers_file=file,
            vcs_ref=answers.release,
            settings=Settings(),
            defaults=not is_asked,
            quiet=True,
        )
    return read_files(folder)


def render_again(folder: Path, source: str, release: str, data: Mapping[str, Any], file: str) -> Files:
    """Make a crate in a folder that has nothing but its recorded answers in `file`, as an update does.

    The release takes the answers that it asks for, and has defaults for those that it refuses; `data` replaces answers.
    Raises RenderingError.
    """
    from copier import Settings, run_recopy  # noqa: PLC0415

    with _copier(source, release):
        run_recopy(
            folder,
            data=dict(data),
            answers_file=file,
            vcs_ref=release,
            settings=Settings(),
            defaults=True,
            skip_answered=True,
            overwrite=True,
            quiet=True,
        )
    return read_files(folder)


def questions_asked(source: str, release: str, data: Mapping[str, Any], folder: Path) -> bytes:
    """Return the file of answers that Copier would record for these answers: those that do not apply are missing.

    Raises RenderingError where an answer is not valid.
    """
    from copier import Settings, run_copy  # noqa: PLC0415

    with _copier(source, release):
        run_copy(
            source,
            folder,
            data=dict(data),
            vcs_ref=release,
            settings=Settings(),
            defaults=True,
            quiet=True,
            # Nothing but the file of answers is rendered, which is quick.
            exclude=["*", f"!/{ANSWERS_FILE}"],
        )
    return (folder / ANSWERS_FILE).read_bytes()


def read_files(folder: Path) -> Files:
    """Return the files below a folder, by their paths in it."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = Files({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
    files.executables = frozenset(path.relative_to(folder).as_posix() for path in paths if os.access(path, os.X_OK))
    return files


@contextmanager
def _copier(source: str, release: str) -> Iterator[None]:
    """Run Copier under our git configuration, and translate its errors."""
    import yaml  # noqa: PLC0415
    from copier.errors import CopierError  # noqa: PLC0415
    from jinja2 import TemplateError as JinjaError  # noqa: PLC0415
    from plumbum import local  # noqa: PLC0415
    from plumbum.commands.processes import ProcessExecutionError  # noqa: PLC0415

    environment = git.our_env()
    try:
        # Plumbum has taken a copy of the environment when it was imported, and starts git from that.
        with local.env():
            for name in set(local.env.keys()) - environment.keys():
                del local.env[name]
            local.env.update(environment)
            yield
    except (CopierError, JinjaError, ProcessExecutionError, ValueError, yaml.YAMLError) as error:
        reason = str(error).strip().splitlines()[-1].strip("| ") if str(error).strip() else type(error).__name__
        raise RenderingError(f"release {release} of the template {source} cannot be rendered: {reason}") from error
