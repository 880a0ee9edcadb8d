"""Whole texts that updates, drift and adoption print; `tests/tool/test_texts.py` says how to renew them."""

import re
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from support.adoption import CLI, PACKAGE, Adopt, make
from support.command import invoke
from support.git import commit
from support.texts import printed
from updates.bench import CHANGED, Bench, conflict


@pytest.mark.parametrize("has_conflict", [False, True], ids=["clean", "conflict"])
@pytest.mark.parametrize("option", ["", "--dry-run"], ids=["update", "dry-run"])
def test_update(
    next_release: Bench, option: str, text: SnapshotAssertion, tmp_path: Path, *, has_conflict: bool
) -> None:
    if has_conflict:
        conflict(next_release)
    assert printed(next_release.fast_rust(*filter(None, [option])), tmp_path) == text


def test_after_a_conflict(next_release: Bench, text: SnapshotAssertion, tmp_path: Path) -> None:
    conflict(next_release)
    next_release.fast_rust()
    steps = [invoke("conflicts", next_release.crate), next_release.update(), next_release.update("--abort")]
    assert "\n".join(printed(done, tmp_path) for done in steps) == text


@pytest.mark.parametrize("arguments", ["--to next", "--data msrv"], ids=["release", "answer"])
def test_a_wrong_value(next_release: Bench, arguments: str, text: SnapshotAssertion, tmp_path: Path) -> None:
    assert printed(next_release.fast_rust(*arguments.split()), tmp_path) == text


def test_uncommitted_changes(next_release: Bench, text: SnapshotAssertion, tmp_path: Path) -> None:
    next_release.publish()
    next_release.act(CHANGED)
    assert printed(next_release.update(), tmp_path) == text


@pytest.mark.parametrize("option", ["", "--fix"], ids=["drift", "fix"])
def test_drift(bench: Bench, option: str, text: SnapshotAssertion, tmp_path: Path) -> None:
    bench.act(CHANGED)
    (bench.crate / "deny.toml").unlink()
    manifest = bench.crate / "Cargo.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('lto = "fat"', 'lto = "off"'), encoding="utf-8")
    commit(bench.crate)
    assert printed(invoke("drift", *filter(None, [option]), bench.crate), tmp_path) == text


@pytest.mark.parametrize("option", ["", "--dry-run"], ids=["adopt", "dry-run"])
def test_adopt(tmp_path: Path, adopt: Adopt, option: str, text: SnapshotAssertion) -> None:
    crate = make(tmp_path / "word-counts", CLI)
    whole = printed(adopt(crate, *filter(None, [option])), tmp_path)
    # Without the table of all rules.
    assert re.sub(r"(?m)^\| [A-Z]+-\d+ .*\n", "", whole) == text


def test_adopt_refuses(tmp_path: Path, adopt: Adopt, text: SnapshotAssertion) -> None:
    crate = make(tmp_path / "word-counts", {"Cargo.toml": PACKAGE, "src/lib.rs": "", "src/main.rs": "fn main() {}\n"})
    (crate / "src" / "lib.rs").write_text("//! Changed.\n", encoding="utf-8")
    assert printed(adopt(crate), tmp_path) == text
