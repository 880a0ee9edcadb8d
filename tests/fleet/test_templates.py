"""A run fetches each template once, in the parent process, and two concurrent runs do not corrupt the mirror."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.small import NEW, OLD, Type, make_crate, make_template, write_manifest
from support.command import COMMAND
from support.files import edit
from support.git import commit_all, git

CRATES = ("orders", "stock", "bills")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("small") / "template")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of each command line of git, recorded by a program on PATH; and an empty cache."""
    file, program = tmp_path / "git.log", tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >>{file}\nexec {shutil.which("git")} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("FAST_RUST_CACHE_DIR", str(tmp_path / "cache"))
    return file


def fetches(log: Path) -> list[str]:
    """Return the commands since the last call that fetched a template, from its address or into its mirror."""
    lines = log.read_text(encoding="utf-8").splitlines()
    log.write_text("", encoding="utf-8")
    is_clone = [line for line in lines if " clone " in line and "--mirror" in line]
    return is_clone + [line for line in lines if " fetch " in line and "/cache/templates/" in line]


@pytest.fixture
def two_addresses(template: Path, tmp_path: Path) -> Path:
    """A fleet whose crates were made from two addresses; the manifest has the first address."""
    second = tmp_path / "second"
    git(tmp_path, "clone", "--quiet", str(template), str(second))
    for number, name in enumerate(CRATES):
        crate = make_crate(template, tmp_path / "clones" / name, level="high")
        address = f"file://{second if number % 2 else template}"
        edit(crate / ".copier-answers.yml", f"_src_path: {template}", f"_src_path: {address}")
        commit_all(crate)
    rows = "".join(f"{name} = {{}}\n" for name in CRATES)
    return write_manifest(tmp_path, f"file://{template}", rows)


def test_each_run_fetches_each_address_once(two_addresses: Path, fleet: Type, log: Path) -> None:
    assert two_addresses.is_file()
    for command in (("plan",), ("drift",), ("report",), ("update",), ("update",)):
        done = fleet(*command, "--jobs", "2")
        assert done.exit_code == 0, (command, done.output)
        found = fetches(log)
        assert len(found) == 2, (command, found)
    # With an explicit release the fetches are the same.
    assert fleet("plan", "--to", NEW).exit_code == 0
    assert len(fetches(log)) == 2


def test_bootstrap_fetches_the_template_once(template: Path, fleet: Type, log: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, f"file://{template}", "".join(f"{name} = {{}}\n" for name in CRATES))
    assert fleet("bootstrap", "--to", OLD, "--jobs", "2").exit_code == 0
    assert len(fetches(log)) == 1
    assert fleet("bootstrap", "--jobs", "2").exit_code == 0
    assert len(fetches(log)) == 1


def test_an_unreachable_address_is_tried_once_and_reported_for_each_crate(
    template: Path, fleet: Type, log: Path, tmp_path: Path
) -> None:
    gone = f"file://{tmp_path / 'gone'}"
    for name in CRATES:
        crate = make_crate(template, tmp_path / "clones" / name)
        edit(crate / ".copier-answers.yml", f"_src_path: {template}", f"_src_path: {gone}")
        commit_all(crate)
    write_manifest(tmp_path, template, "".join(f"{name} = {{}}\n" for name in CRATES))
    for command in ("plan", "drift", "update"):
        done = fleet(command, "--json", "--jobs", "2")
        assert {one["state"] for one in json.loads(done.stdout)["crates"]} == {"error"}
        assert all(gone in one["detail"] for one in json.loads(done.stdout)["crates"])
        assert len(fetches(log)) == 1


def test_a_new_release_is_seen_by_the_next_run(template: Path, fleet: Type, log: Path, tmp_path: Path) -> None:
    ours = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", str(template), str(ours))
    make_crate(ours, tmp_path / "clones" / "orders", NEW)
    crate = tmp_path / "clones" / "orders" / ".copier-answers.yml"
    edit(crate, f"_src_path: {ours}", f"_src_path: file://{ours}")
    commit_all(crate.parent)
    write_manifest(tmp_path, f"file://{ours}", "orders = {}\n")
    assert "up-to-date" in fleet("plan").stdout
    git(ours, "commit", "--quiet", "--allow-empty", "--message", "Later")
    git(ours, "tag", "v0.0.3")
    assert f"{NEW} to v0.0.3" in fleet("plan").stdout
    assert log.exists()


def test_two_runs_at_once_share_a_mirror(two_addresses: Path, template: Path, log: Path, tmp_path: Path) -> None:
    """Both begin with an empty cache, and clone, fetch and read the mirrors of the same addresses."""
    folders = [tmp_path / f"run-{number}" for number in range(2)]
    for folder in folders:
        shutil.copytree(tmp_path / "clones", folder / "clones")
        shutil.copy(two_addresses, folder)
    for _ in range(2):
        runs = [
            subprocess.Popen(
                [COMMAND, "fleet", "update", "--json"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for folder in folders
        ]
        for run in runs:
            output, errors = run.communicate()
            assert run.returncode == 0, output.decode() + errors.decode()
    for mirror in (tmp_path / "cache" / "templates").glob("*.git"):
        assert git(mirror, "fsck", "--strict") == ""
        assert git(mirror, "rev-parse", NEW) == git(template, "rev-parse", NEW)
    assert len(fetches(log)) == 2 * len(folders) * 2
