"""`fast-rust check` names the files of older releases that an update left, and no file of the crate's own."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from fast_rust.checks.everything import check_files
from fast_rust.checks.findings import Severity
from fast_rust.checks.leftovers import BEGINNINGS, TESTS
from support.command import invoke
from support.git import git
from support.releases import Releases, past_releases
from support.template import WORKSPACE_OF_ANOTHER, Template

GATE = "standards::no_file_is_of_an_older_release"
STUB = (Path(__file__).parents[2] / "template" / TESTS).read_text(encoding="utf-8")
OTHER_TEST = "bench/tests/ours.rs"
PROFILES = """
[profile.bench]
lto = "thin"
codegen-units = 1
debug = true
strip = false

[profile.profiling]
inherits = "release"
debug = true
strip = false
"""


def left(crate: Path) -> dict[str, str]:
    """Return the files that the check reports, with the instructions."""
    found = [one for one in check_files(crate, advice=False) if one.gate == GATE]
    assert {one.severity for one in found} <= {Severity.WARNING}
    return {one.path: one.next for one in found}


def made(template: Template, folder: Path, files: Mapping[str, str], **answers: str | bool) -> Path:
    """A crate of this release with some additional files."""
    crate = shutil.copytree(template.rendering({"crate_name": "log-totals", **answers}), folder / "log-totals")
    for path, text in files.items():
        (crate / path).parent.mkdir(parents=True, exist_ok=True)
        (crate / path).write_text(text, encoding="utf-8")
    return crate


@pytest.mark.parametrize("tag", past_releases())
def test_each_file_of_each_release_is_recognized(
    template: Template, releases: Releases, tmp_path: Path, tag: str
) -> None:
    """A file is recognized by its beginning, also with Windows line endings."""
    old = releases.rendering(tag, {"crate_name": "log-totals", "kind": "lib"})
    crate = made(template, tmp_path, {"justfile": "# Ours.\n"})
    expected = {path for path in BEGINNINGS if (old / path).exists()}
    assert TESTS in expected
    shutil.rmtree(crate / "tools", ignore_errors=True)
    for path in expected:
        (crate / path).parent.mkdir(parents=True, exist_ok=True)
        (crate / path).write_bytes((old / path).read_bytes().replace(b"\n", b"\r\n"))
    found = left(crate)
    assert found.keys() == expected
    assert all(f"run `git rm {path}`" in action for path, action in found.items())


def test_every_recognized_file_was_in_a_release(releases: Releases) -> None:
    names = {
        name
        for tag in past_releases()
        for name in git(releases.repository, "ls-tree", "-r", "--name-only", tag).split()
    }
    assert {f"template/{path}" for path in BEGINNINGS} <= names


def test_a_file_that_a_recipe_uses_is_not_reported(template: Template, tmp_path: Path) -> None:
    tools = {path: BEGINNINGS[path][0] for path in ("tools/perf.py", "tools/pgo.py")}
    crate = made(template, tmp_path, {**tools, "justfile": "pgo:\n    python3 tools/pgo.py\n"})
    assert left(crate) == {"tools/perf.py": "run `git rm tools/perf.py`"}


def test_the_crates_own_file_is_not_reported(template: Template, tmp_path: Path) -> None:
    own = dict.fromkeys(BEGINNINGS, "# Ours.\n") | {TESTS: "//! Ours.\n"}
    assert left(made(template, tmp_path, own)) == {}


def test_the_comment_stays_where_the_package_has_no_other_target(template: Template, tmp_path: Path) -> None:
    crate = made(template, tmp_path, {}, sample=False, thin=False)
    assert (crate / TESTS).read_text(encoding="utf-8") == STUB
    assert left(crate) == {}
    (crate / OTHER_TEST).write_text("//! Ours.\n", encoding="utf-8")
    unused = "delete `cargo_metadata` and `toml` from bench/Cargo.toml if nothing else uses them"
    assert left(crate) == {TESTS: f"run `git rm {TESTS}`, and {unused}"}


def test_tests_of_an_older_release_are_reported_with_their_package_if_it_has_no_other_file(
    template: Template, tmp_path: Path
) -> None:
    """Cargo rejects a package without a target."""
    tests = {TESTS: BEGINNINGS[TESTS][1] + "\n"}
    crate = made(template, tmp_path, tests, sample=False, thin=False)
    action = "run `git rm -r bench`, and delete bench from `members` in Cargo.toml"
    assert left(crate) == {TESTS: f"move your own tests to another file, then {action}"}


def test_a_member_of_another_workspace_is_checked(template: Template, tmp_path: Path) -> None:
    crate = made(template, tmp_path, {TESTS: STUB}, kind="lib", place="member", sample=True)
    (tmp_path / "Cargo.toml").write_text(WORKSPACE_OF_ANOTHER + PROFILES, encoding="utf-8")
    (tmp_path / "STANDARDS.md").write_text(BEGINNINGS["STANDARDS.md"][0], encoding="utf-8")
    [(path, action)] = left(tmp_path).items()
    assert path == f"log-totals/{TESTS}"
    assert action.startswith(f"run `git rm log-totals/{TESTS}`, and delete ")
    assert (crate / TESTS).exists()


def test_it_is_reported_without_advice_and_does_not_fail(template: Template, tmp_path: Path) -> None:
    crate = made(
        template, tmp_path, {"sgconfig.yml": BEGINNINGS["sgconfig.yml"][0]}, place="member", kind="lib", sample=True
    )
    (tmp_path / "Cargo.toml").write_text(WORKSPACE_OF_ANOTHER + PROFILES, encoding="utf-8")
    done = invoke("check", "--output-format", "concise", tmp_path)
    assert crate.exists()
    message = (
        "The crate has a file of an older template release that its current release does not use:"
        " log-totals/sgconfig.yml is unused"
    )
    assert done.stdout == f"log-totals/sgconfig.yml: warning[{GATE}] TOOL-1: {message}\n"
    assert done.exit_code == 0
