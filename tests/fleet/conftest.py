"""A template with two releases, and the command as a person types it."""

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

from fast_rust.fleet import workers
from fast_rust.main import application
from forks import renew
from template import Template, git, release

Type: TypeAlias = Callable[..., Result]
OLD, NEW = "v0.0.1", "v0.0.2"
COMMAND = str(Path(sys.executable).with_name("fast-rust"))


@pytest.fixture(scope="session")
def two_releases(template: Template, shared_folder: Path) -> Path:
    """The template with a second release, which changes a recipe, a lint and a shared file of each kind."""
    folder = shared_folder / "fleet-template"
    with FileLock(shared_folder / "fleet-template.lock"):
        if not folder.exists():
            part = folder.with_suffix(".part")
            git(template.repository, "clone", "--quiet", ".", str(part))
            change(part / "template" / "justfile", "# Recipes for people", "# Of the second release: the same recipes")
            change(part / "template" / "Cargo.toml.jinja", 'todo = "warn"', 'todo = "deny"')
            change(part / "template" / "bench" / "Cargo.toml.jinja", "publish = false", "publish = false # never")
            release(part, NEW)
            part.rename(folder)
    return folder


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Run `fast-rust fleet` in a folder of its own; its workers are copies of this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "ProcessPoolExecutor", pool_of_copies)

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(application, ["fleet", *map(str, arguments)])

    return run


def pool_of_copies(jobs: int, _: object, begin: Callable[[], None]) -> ProcessPoolExecutor:
    """Make a pool whose workers begin with all modules loaded."""

    def begin_copy() -> None:
        renew()
        begin()

    return ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), begin_copy)


def commit(crate: Path, message: str = "An act of a user") -> None:
    git(crate, "add", "--all", "--force")
    git(crate, "commit", "--quiet", "--message", message)


def write_manifest(folder: Path, template: Path | str, rows: str, head: str = "") -> Path:
    manifest = folder / "fleet.toml"
    manifest.write_text(f'template = "{template}"\nfolder = "clones"\n{head}\n[crates]\n{rows}', encoding="utf-8")
    return manifest
