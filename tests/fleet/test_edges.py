"""Edge cases in which a fleet once lost an update, left a broken manifest, or ended with a traceback."""

import json
import os
from pathlib import Path

import pytest

from fast_rust.fleet.journal import Journal
from fleet.small import OLD, Type, write_manifest
from support.git import commit_all, git
from support.template import copy


def test_two_worktrees_of_one_repository_are_rejected(fleet: Type, two_releases: Path, tmp_path: Path) -> None:
    """They would share one branch, and the second update would replace the first."""
    crate = tmp_path / "clones" / "one"
    assert copy(two_releases, crate, {"kind": "lib", "sample": False}).exit_code == 0
    git(crate, "init", "--quiet")
    commit_all(crate)
    git(crate, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "clones" / "two"))
    write_manifest(tmp_path, two_releases, "one = {}\ntwo = {}\n")
    before = git(crate, "for-each-ref")
    done = fleet("update")
    assert done.exit_code == 2
    assert "are worktrees of one repository" in done.stderr
    assert git(crate, "for-each-ref") == before


@pytest.mark.parametrize(
    ("name", "text"),
    [("long.csv", f"name,owner\na,{'x' * 200_000}\n"), ("name.csv", "name\na b\n"), ("twice.csv", "name\na\na\n")],
)
def test_a_rejected_list_creates_no_manifest(fleet: Type, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = fleet("init", name, "--template", "/template")
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("*.toml*"))


def test_a_folder_whose_name_is_not_utf8_is_reported(fleet: Type, tmp_path: Path) -> None:
    clone = Path(os.fsdecode(os.fsencode(tmp_path) + b"/clones/b\xff"))
    clone.mkdir(parents=True)
    git(clone, "init", "--quiet")
    (clone / "Cargo.toml").write_text("", encoding="utf-8")
    done = fleet("init", "clones", "--template", "/template")
    assert "Traceback" not in done.output
    assert done.exit_code in {0, 2}
    assert (done.exit_code == 0) == (tmp_path / "fleet.toml").exists()


@pytest.mark.parametrize(
    "damage",
    [
        b'{"crate": "a"}\n',
        b"5\n",
        b"\xff\n",
        b'{"crate": "a", "state": "odd"}\n',
        b'{"crate": "a", "state": "error", "facts": {"touches": 5}}\n',
    ],
    ids=repr,
)
def test_a_damaged_journal_starts_a_new_run(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "update.jsonl"
    journal = Journal(path, {"target": OLD})
    path.write_bytes(path.read_bytes() + damage)
    assert journal.done == {}
    assert Journal(path, {"target": OLD}).done == {}


@pytest.mark.parametrize("key", ["target", "made", "shard", "crates"])
@pytest.mark.parametrize("value", [5, ["a"], {"a": 1}, "x"], ids=repr)
def test_a_damaged_report_is_an_error(fleet: Type, tmp_path: Path, key: str, value: object) -> None:
    content = {"form": 2, "target": "v1", "made": "2026-01-01", "shard": None, "crates": [], key: value}
    (tmp_path / "one.json").write_text(json.dumps(content), encoding="utf-8")
    done = fleet("report", "--merge", "one.json")
    assert "Traceback" not in done.output
    assert not isinstance(done.exception, AttributeError | KeyError | TypeError | ValueError)
