"""`fast-rust setup` installs all programs that it can, and names the others."""

import shutil
from pathlib import Path

import pytest

from fast_rust.tools import WHEELS
from support.command import invoke
from support.files import replace_only

TWO_VERSIONS = """\
[package]
name = "a"
version = "0.1.0"

[dependencies]
gungraun = "=0.20.0"

[dev-dependencies]
gungraun = "=0.19.0"
"""


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    """A package with a bench that counts instructions."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lib.rs").touch()
    manifest = '[package]\nname = "totals"\nversion = "0.1.0"\n\n[dev-dependencies]\ngungraun = "=0.20.0"\n'
    (tmp_path / "Cargo.toml").write_text(manifest)
    return tmp_path


def test_it_lists_every_tool_with_its_version(crate: Path) -> None:
    done = invoke("setup", crate)
    assert done.exit_code == 0, done.output
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert rows.keys() == {*WHEELS, "git", "cc", "valgrind", "gungraun-runner"}
    assert (rows["just"], rows["gungraun-runner"]) == ("1.59.0", "0.20.0")


def test_a_crate_that_counts_nothing_needs_no_valgrind(crate: Path) -> None:
    (crate / "Cargo.toml").write_text('[package]\nname = "totals"\nversion = "0.1.0"\n')
    done = invoke("setup", crate)
    assert done.exit_code == 0
    assert "valgrind" not in done.output


@pytest.mark.parametrize("missing", ["git", "cc", "valgrind"])
def test_a_program_that_setup_cannot_install_is_reported(
    crate: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    found = shutil.which
    hidden = {missing, "apt-get"}
    monkeypatch.setattr(shutil, "which", lambda name, **given: None if name in hidden else found(name, **given))
    done = invoke("setup", crate)
    assert done.exit_code == 1
    assert f"error: {missing} is missing: " in done.stderr
    assert "install it (" in done.stderr


def test_the_error_for_a_platform_without_a_wheel_says_how_to_install(
    crate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WHEELS, "cargo-none", "no-such-wheel")
    done = invoke("setup", crate)
    assert done.exit_code == 1
    assert "PyPI has no wheel of it for this platform; run `cargo install --locked cargo-none`" in done.stderr


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("[package\n", "error: cargo cannot read the workspace in "),
        (
            TWO_VERSIONS,
            "error: the packages require gungraun in 2 versions (0.19.0, 0.20.0); require the same",
        ),
    ],
)
def test_a_workspace_that_cannot_be_read_is_an_error(crate: Path, manifest: str, message: str) -> None:
    (crate / "Cargo.toml").write_text(manifest)
    done = invoke("setup", crate)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_runner_that_cannot_be_built_is_an_error(crate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failed build leaves no file."""
    replace_only(crate / "Cargo.toml", "0.20.0", "0.0.0")
    monkeypatch.setenv("FAST_RUST_CACHE_DIR", str(crate / "cache"))
    done = invoke("setup", crate)
    assert done.exit_code == 2
    assert "error: cannot build gungraun-runner 0.0.0: `cargo install" in done.stderr
    assert list((crate / "cache").iterdir()) == []
