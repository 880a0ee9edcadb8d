"""Caches work that Copier repeats in the process of the tests.

Each rendering begins with a clone of the template, reads its questions, and compiles all its texts, and an update makes
six renderings; this takes nine tenths of the time of both. The cache keys contain all inputs, so results are the same.
A test in a separate process has no cache: some tests render every variant in this way, and update a crate of each kind,
and compare the files.
"""

import copy
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml
from copier._main import Worker
from copier._template import load_template_config
from copier._vcs import clone
from jinja2 import Environment
from pathspec import PathSpec
from plumbum import ProcessExecutionError, local


@contextmanager
def once(folder: Path) -> Iterator[None]:
    """Cache the results of Copier; clones are in the folder."""
    clones = Clones(folder, clone)
    with pytest.MonkeyPatch.context() as patch:
        _install(patch, clones)
        yield
    clones.require_unchanged()


def _install(patch: pytest.MonkeyPatch, clones: "Clones") -> None:
    patch.setattr(Environment, "compile", _compiling(Environment.compile))
    patch.setattr(PathSpec, "from_lines", _matching(PathSpec.from_lines))
    patch.setattr(yaml, "safe_load", _loading(yaml.safe_load))
    patch.setattr("copier._template.load_template_config", _asking(load_template_config))
    patch.setattr("copier._template.clone", clones)
    write_mode = Worker._sync_git_index_executable_bit  # noqa: SLF001  Copier calls git there.
    patch.setattr(Worker, "_sync_git_index_executable_bit", _keeping_modes(write_mode))


def _compiling(compile_again: Callable[..., Any]) -> Callable[..., Any]:
    """Compile each text once: Copier makes a new environment for each rendering, without compiled templates."""
    compiled: dict[object, Any] = {}

    def compile_once(
        self: Environment,
        source: Any,  # noqa: ANN401
        name: str | None = None,
        filename: str | None = None,
        **named: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if named or not isinstance(source, str):
            return compile_again(self, source, name, filename, **named)
        signs = (self.block_start_string, self.variable_start_string, self.comment_start_string)
        key = (source, name, *signs, self.keep_trailing_newline, type(self), *sorted(self.extensions))
        if key not in compiled:
            compiled[key] = compile_again(self, source, name, filename)
        # The file of a release is in another folder each time, and Jinja asks the code for its path.
        return compiled[key].replace(co_filename=filename or "<template>")

    return compile_once


def _matching(read_anew: Callable[..., PathSpec[Any]]) -> Any:  # noqa: ANN401
    read: dict[object, PathSpec[Any]] = {}

    def from_lines(factory: Any, lines: Iterable[str]) -> PathSpec[Any]:  # noqa: ANN401
        key = (factory, *lines)
        if key not in read:
            read[key] = read_anew(factory, key[1:])
        return read[key]

    return from_lines


def _loading(load_anew: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Parse each text once, except a text that is not YAML."""
    loaded: dict[str, Any] = {}

    def safe_load(stream: Any) -> Any:  # noqa: ANN401
        if not isinstance(stream, str):
            return load_anew(stream)
        if stream not in loaded:
            loaded[stream] = load_anew(stream)
        return copy.deepcopy(loaded[stream])

    return safe_load


def _asking(load_anew: Callable[..., Any]) -> Callable[..., Any]:
    """Read the same questions once, except those that include other files."""
    loaded: dict[bytes, Any] = {}

    def load(path: Path, *given: Any, **named: Any) -> Any:  # noqa: ANN401
        text = path.read_bytes()
        if b"!include" in text:
            return load_anew(path, *given, **named)
        if text not in loaded:
            loaded[text] = load_anew(path, *given, **named)
        return copy.deepcopy(loaded[text])

    return load


def _keeping_modes(write_mode: Callable[..., None]) -> Callable[..., None]:
    """Ask git once for each rendering whether it stores modes, and not once for each file."""

    def sync(self: Worker, path: Path, mode: int) -> None:
        if "modes_are_kept" not in self.__dict__:
            asked = local["git"]["-C", self.subproject.local_abspath, "config", "--type=bool", "core.fileMode"]
            try:
                self.__dict__["modes_are_kept"] = asked().strip() != "false"
            except ProcessExecutionError:
                self.__dict__["modes_are_kept"] = True
        if not self.__dict__["modes_are_kept"]:
            write_mode(self, path, mode)

    return sync


@dataclass
class Clones:
    """Clones of local repositories: one for each state of a repository, release and configuration of git."""

    folder: Path
    clone_again: Callable[..., str]
    _made: dict[object, Path] = field(default_factory=dict)

    def __call__(self, url: str, ref: str = "HEAD", location: str | None = None) -> str:
        repository = Path(url)
        # A clone of HEAD may contain uncommitted changes.
        if ref == "HEAD" or not (repository / ".git").is_dir():
            return self.clone_again(url, ref, location)
        key = (str(repository), ref, _state_of(repository / ".git"), _configuration())
        if key not in self._made:
            folder = Path(mkdtemp(dir=self.folder))
            self.clone_again(url, ref, str(folder))
            self._made[key] = folder
        return str(self._made[key])

    def require_unchanged(self) -> None:
        """Assert that no test has written to a clone that others read."""
        for made in self._made.values():
            command = ["git", "-C", str(made), "status", "--porcelain", "--ignored"]
            assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "", made


def _state_of(git_folder: Path) -> tuple[object, ...]:
    """Return all that determines a clone of a repository: refs, configuration, and whether git trusts its owner."""
    files = [git_folder / name for name in ("HEAD", "config", "packed-refs", "shallow")]
    files += [path for path in sorted((git_folder / "refs").rglob("*")) if path.is_file()]
    owners = [folder.stat().st_uid for folder in (git_folder, git_folder.parent)]
    return (os.geteuid(), *owners, *((str(path), path.read_bytes()) for path in files if path.is_file()))


def _configuration() -> tuple[tuple[str, object], ...]:
    """Return everything that determines git's behaviour: its variables, and the files that they name."""
    given = {name: value for name, value in local.env.items() if name.startswith(("GIT_", "HOME", "XDG_", "PATH"))}
    places = [given.get("GIT_CONFIG_GLOBAL", ""), str(Path(given.get("HOME", "/")) / ".gitconfig")]
    texts = [(place, Path(place).read_bytes()) for place in places if place and Path(place).is_file()]
    return (*sorted(given.items()), *texts)
