"""docs/compare-generator.md times the commands that users type, and divides the time into parts."""

import subprocess
from pathlib import Path

import pytest
import yaml

from generator import (
    AIMS,
    NAME,
    PARTS,
    Contestant,
    Releases,
    contestants,
    look_inside,
    make_liquid_template,
    make_releases,
    page,
    time_all,
)
from support.git import git


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """The last two releases; the newer one has the files of this checkout."""
    try:
        return make_releases(tmp_path_factory.mktemp("releases") / "template")
    except ValueError as error:
        pytest.skip(f"NOT TESTED: {error}")


@pytest.fixture(scope="module")
def found(releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> list[Contestant]:
    """The timed commands, except cargo-generate, which would have to be built."""
    return contestants(tmp_path_factory.mktemp("generator"), releases, cargo_generate=None)


def test_the_page_times_each_command(releases: Releases, found: list[Contestant]) -> None:
    text = page(releases, found, time_all(found, runs=1), runs=1)
    assert [one.name for one in found if f"| `{one.name}` |" not in text] == []
    assert [part for part in PARTS.values() if f"| {part} |" not in text] == []
    assert [aim for aim in AIMS if f"The aim for `{aim}` is less than" not in text] == []


def test_the_update_reaches_the_newer_release(releases: Releases, found: list[Contestant]) -> None:
    [update] = [one for one in found if one.name == "copier update"]
    update.prepare()
    before = (update.folder / ".copier-answers.yml").read_text(encoding="utf-8")
    subprocess.run(update.command, cwd=update.inside, check=True, capture_output=True)
    after = (update.folder / ".copier-answers.yml").read_text(encoding="utf-8")
    assert [yaml.safe_load(text)["_commit"] for text in (before, after)] == [releases.old, releases.new]
    assert git(update.folder, "ls-files", "--unmerged") == ""


def test_the_parts_add_up_to_a_copy(found: list[Contestant]) -> None:
    """Git is started, every part is listed, and every part takes some time."""
    spent = look_inside(found[0], runs=1)
    assert spent.keys() == {*PARTS, "processes"}
    assert min(spent.values()) > 0


def test_the_template_of_cargo_generate_has_the_same_files(found: list[Contestant], tmp_path: Path) -> None:
    copy = found[0]
    copy.prepare()
    subprocess.run(copy.command, check=True)
    make_liquid_template(copy.folder, tmp_path / "liquid")
    made = {path.relative_to(copy.folder) for path in copy.folder.rglob("*") if path.is_file()}
    assert set(git(tmp_path / "liquid", "ls-files").splitlines()) == {str(path) for path in made} | {
        "cargo-generate.toml"
    }
    manifest = (tmp_path / "liquid" / "Cargo.toml").read_text(encoding="utf-8")
    assert "{{project-name}}" in manifest
    assert NAME not in manifest
