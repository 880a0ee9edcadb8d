"""Shared fixtures: isolation from the machine, and one rendering of each variant."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from syrupy.assertion import SnapshotAssertion

pytest.register_assert_rewrite("support")

from support.exhaustive import cases, deselect_other_cases
from support.once import once
from support.releases import Releases, shared_releases
from support.template import Template, make_template
from support.texts import TextFile
from support.variants import all_combinations, pairwise_cover
from support.workshop import Workshop, make_workshop


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--exhaustive`."""
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="run what the usual run leaves out",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with an argument `variant` for all variants."""
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", cases(metafunc, pairwise_cover(), all_combinations()), ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the usual tests, or with `--exhaustive` the others."""
    deselect_other_cases(config, items)


@pytest.fixture
def text(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Return what a text is compared with."""
    return snapshot.use_extension(TextFile)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of one test run share."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session", autouse=True)
def _isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the machine's settings of git and Copier, and the variables of a git hook or a make that runs pytest."""
    home = tmp_path_factory.mktemp("home")
    (home / "settings.yml").write_text("{}\n")
    (home / "gitconfig").write_text(
        "[user]\nname = Tess Tester\nemail = tess@example.org\n"
        "[init]\ndefaultBranch = main\n[commit]\ngpgSign = false\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "COPIER_", "MAKE", "MFLAGS"))]:
            patch.delenv(name)
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "settings.yml"))
        patch.setenv("COPIER_CACHE_DIR", str(home / "cache"))
        patch.setenv("FAST_RUST_CACHE_DIR", str(home / "fast-rust"))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        # No test here may need a remote repository.
        patch.setenv("GIT_ALLOW_PROTOCOL", "file")
        patch.setenv("NO_COLOR", "1")
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session", autouse=True)
def _once(tmp_path_factory: pytest.TempPathFactory, _isolation: None) -> Iterator[None]:
    """Cache the work that Copier repeats for each of its runs in this process."""
    with once(tmp_path_factory.mktemp("clones")):
        yield


@pytest.fixture(scope="session")
def template(shared_folder: Path) -> Template:
    """The template of this checkout."""
    folder = shared_folder / "template"
    with FileLock(shared_folder / "template.lock"):
        if folder.exists():
            return Template(folder / "files", folder / "repository", folder / "renderings")
        return make_template(folder)


@pytest.fixture(scope="session")
def releases(shared_folder: Path) -> Releases:
    """All releases of this repository, the working tree as the newest."""
    return shared_releases(shared_folder)


@pytest.fixture(scope="session")
def workshop(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The workshop in which crates are built."""
    return make_workshop(template, tmp_path_factory.mktemp("crates"))
