"""Fixtures: a template with two releases, and the command as a person types it."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from fast_rust.fleet import workers
from fleet.small import NEW, Type
from support.command import invoke
from support.files import edit
from support.forks import renew
from support.git import git, release
from support.template import Template


@pytest.fixture(scope="session")
def two_releases(template: Template, shared_folder: Path) -> Path:
    """A template with a second release, which changes a recipe, a lint and a shared file of each kind."""
    folder = shared_folder / "fleet-template"
    with FileLock(shared_folder / "fleet-template.lock"):
        if not folder.exists():
            part = folder.with_suffix(".part")
            git(template.repository, "clone", "--quiet", ".", str(part))
            files = part / "template"
            edit(files / "justfile", "# Recipes for people", "# Of the second release: the same recipes")
            edit(files / "Cargo.toml.jinja", 'todo = "warn"', 'todo = "deny"')
            edit(files / "bench" / "Cargo.toml.jinja", "publish = false", "publish = false # never")
            release(part, NEW)
            part.rename(folder)
    return folder


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Run `fast-rust fleet` in a separate folder; its workers are copies of this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "ProcessPoolExecutor", pool_of_copies)
    return partial(invoke, "fleet")


def pool_of_copies(jobs: int, _: object, begin: Callable[[], None]) -> ProcessPoolExecutor:
    """Make a pool whose workers begin with all modules loaded."""

    def begin_copy() -> None:
        renew()
        begin()

    return ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), begin_copy)
