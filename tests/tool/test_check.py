"""`fast-rust check` runs checks and rules together, and its exit code shows whether there are errors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from support.command import invoke
from support.template import Template


@pytest.fixture
def crate(template: Template, tmp_path: Path) -> Path:
    """A new library."""
    return shutil.copytree(template.rendering({"crate_name": "totals"}), tmp_path / "totals")


@pytest.fixture
def check(crate: Path) -> Callable[..., Result]:
    """Run the command."""
    return lambda *options: invoke("check", *options, crate)


def break_both(crate: Path) -> None:
    """Break a check of files, and a rule of ast-grep."""
    (crate / "rust-toolchain.toml").write_text('[toolchain]\nchannel = "stable"\n')
    with (crate / "src" / "lib.rs").open("a") as library:
        library.write("\npub fn f() -> Result<(), String> {\n    Ok(())\n}\n")


GATES = {"standards::toolchain_is_pinned", "ast-grep::err-string-result"}


def test_a_new_crate_passes(check: Callable[..., Result]) -> None:
    """The command prints this for a person, and prints nothing for a program."""
    done = check()
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "No errors.\n")
    done = check("--output-format", "concise")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


def test_files_and_code_are_checked_in_one_run(crate: Path, check: Callable[..., Result]) -> None:
    break_both(crate)
    done = check("--output-format", "json")
    assert done.exit_code == 1
    assert {one["gate"] for one in json.loads(done.stdout)} == GATES
    done = check()
    assert done.exit_code == 1
    assert all(f"error[{gate}] " in done.stdout for gate in GATES)
    explain = "just fast-rust explain ast-grep::err-string-result standards::toolchain_is_pinned"
    assert done.stderr == f"\n2 errors. For the reasons, run: {explain}\n"
    named = explain.removeprefix("just fast-rust ").split()
    assert invoke(*named).exit_code == 0


def test_a_staged_gate_is_off(crate: Path, check: Callable[..., Result]) -> None:
    break_both(crate)
    staged = '\n[workspace.metadata.staged]\ntoolchain_is_pinned = "until June"\nerr-string-result = "until July"\n'
    with (crate / "Cargo.toml").open("a") as manifest:
        manifest.write(staged)
    assert check().exit_code == 0
    text = (crate / "Cargo.toml").read_text()
    (crate / "Cargo.toml").write_text(text.replace("until July", "July"))
    gates = [one["gate"] for one in json.loads(check("--output-format", "json").stdout)]
    assert gates == ["standards::exceptions_in_tables_have_reasons", "ast-grep::err-string-result"]


@pytest.mark.parametrize("name", ["toolchain_is_pined", "err-string-results", "todo"])
def test_a_staged_name_that_does_not_exist_is_an_error(crate: Path, check: Callable[..., Result], name: str) -> None:
    (crate / "lints" / "own").mkdir(parents=True)
    for own in ("own-todo", "todo"):
        rule = f"id: {own}\nlanguage: rust\nseverity: error\nrule:\n  pattern: todo!()\n"
        (crate / "lints" / "own" / f"{own}.yml").write_text(rule)
    with (crate / "Cargo.toml").open("a") as manifest:
        manifest.write('\n[workspace.metadata.staged]\nown-todo = "until June"\nunused-suppression = "until June"\n')
    assert check().exit_code == 0
    with (crate / "Cargo.toml").open("a") as manifest:
        manifest.write(f'{name} = "until June"\n')
    done = check()
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"unknown name '{name}' in [workspace.metadata.staged]; expected a rule of lints/own or of " in done.stderr


def test_a_rule_that_is_not_yaml_is_reported_as_such_also_where_names_are_staged(
    crate: Path, check: Callable[..., Result]
) -> None:
    (crate / "lints" / "own").mkdir(parents=True)
    (crate / "lints" / "own" / "broken.yml").write_text("id: [own-todo\n")
    with (crate / "Cargo.toml").open("a") as manifest:
        manifest.write('\n[workspace.metadata.staged]\nown-todo = "until June"\n')
    done = check()
    assert (done.exit_code, done.stdout) == (2, "")
    assert "lints/own/broken.yml" in done.stderr
    assert "unknown name" not in done.stderr


def test_advice_is_printed_on_request_and_never_fails(crate: Path, check: Callable[..., Result]) -> None:
    (crate / "rustfmt.toml").write_text("max_width = 120\n")
    with (crate / "src" / "lib.rs").open("a") as library:
        library.write("\nfn copies(all: &[String]) -> Vec<String> {\n    all.iter().cloned().collect()\n}\n")
    assert check().stdout == ""
    done = check("--advice", "--output-format", "concise")
    assert done.exit_code == 0
    assert "rustfmt.toml:1: advice[standards::formatting_has_no_overrides] TOOL-2, TOOL-6: " in done.stdout
    assert "advice[ast-grep::own-cloned-collect]" in done.stdout


@pytest.mark.parametrize(
    ("release", "warns"), [("v0.0.1", True), ("0.0.1", True), ("v0.0.1-3-gabc1234", False), ("1234567", False)]
)
def test_another_release_is_reported(crate: Path, check: Callable[..., Result], release: str, *, warns: bool) -> None:
    answers = crate / ".copier-answers.yml"
    answers.write_text(f"_commit: '{release}'\n_src_path: gh:org/template\ncrate_name: totals\n")
    done = check()
    assert done.exit_code == 0
    assert (f"the crate uses template release {release}; to check with that release, run: just" in done.stderr) == warns


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("Cargo.toml", "[package\n", "error: "),
        ("lints/own/ours.yml", "id: [\n", "error: ast-grep cannot read the rule file lints/own/ours.yml: "),
        ("clippy.toml", "=\n", "clippy.toml is not valid TOML: "),
    ],
)
def test_an_unreadable_file_is_an_error(
    crate: Path, check: Callable[..., Result], path: str, text: str, message: str
) -> None:
    (crate / path).parent.mkdir(parents=True, exist_ok=True)
    (crate / path).write_text(text)
    done = check()
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert done.stdout == ""
