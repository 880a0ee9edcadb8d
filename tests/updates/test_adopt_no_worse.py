"""An adoption leaves what a crate builds, and which gates of its own hold, as they were."""

import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from updates.test_adopt import CODE, LIB, MEMBER, PACKAGE, PLAIN, Adopt, Files, make, meet_all, run

from template import Template


@pytest.fixture
def adopt(template: Template, monkeypatch: pytest.MonkeyPatch) -> Adopt:
    """Adopt, as if the code met every gate."""
    meet_all(monkeypatch)
    return lambda crate, *arguments: run("adopt", crate, "--template", template.repository, *arguments)


def loads(folder: Path) -> bool:
    """Whether cargo reads a crate."""
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0


def toml(file: Path) -> dict[str, object]:
    return tomllib.loads(file.read_text())


# --- What is built ---


@pytest.mark.parametrize("kind", ["lib", "cli", "service"])
def test_toolchain_resolver_and_release_profile_stay(tmp_path: Path, adopt: Adopt, kind: str) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    assert adopt(crate, "--data", f"kind={kind}").exit_code == 0
    manifest = toml(crate / "Cargo.toml")
    assert not (crate / "rust-toolchain.toml").exists()
    assert "resolver" not in manifest["workspace"]  # type: ignore[operator]
    assert manifest["profile"].keys() == {"bench", "profiling", "quick"}  # type: ignore[attr-defined]
    done = run("drift", crate)
    assert done.exit_code == 0, done.output


def test_a_crate_below_stays_out_of_the_new_workspace(tmp_path: Path, adopt: Adopt) -> None:
    path = '\n[dependencies]\nderive = { path = "derive" }\n\n[lints.rust]\nunused = "warn"\n'
    below = {name: PACKAGE.replace("word-counts", Path(name).name) for name in ("fuzz", "derive", "a/b")}
    crates = {f"{name}/Cargo.toml": text for name, text in below.items()}
    sources = {f"{name}/src/lib.rs": CODE for name in below}
    own = {"own/Cargo.toml": '[workspace]\nmembers = ["x"]\n', "own/x/Cargo.toml": MEMBER.format("x")}
    files = {**PLAIN, "Cargo.toml": PACKAGE + path, **crates, **sources, **own, "own/x/src/lib.rs": CODE}
    crate = make(tmp_path / "crate", files)
    assert adopt(crate).exit_code == 0
    assert all(loads(crate / name) for name in (*below, "own", "own/x", "."))
    assert toml(crate / "Cargo.toml")["workspace"]["exclude"] == ["a/b", "derive", "fuzz", "own"]  # type: ignore[index]


@pytest.mark.usefixtures("adopt")
def test_what_cargo_cannot_load_is_never_committed(
    tmp_path: Path, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    monkeypatch.setattr(
        "fast_rust.adopt.merging.with_inherited_lints", lambda text: f"{text}\n[workspace.lints]\nx = 1\n"
    )
    done = run("adopt", crate, "--template", template.repository)
    assert done.exit_code == 2
    assert "cargo cannot read the workspace" in done.stderr
    assert "nothing was changed" in done.stderr


# --- Gates of the crate ---

STRICT = '\n[lints.clippy]\nall = "deny"\nunwrap-used = "forbid"\n'


def test_lints_of_the_root_get_no_further_package(tmp_path: Path, adopt: Adopt) -> None:
    root = f'{PACKAGE}{STRICT}\n[workspace]\nmembers = ["reader"]\n'
    files: Files = {"Cargo.toml": root, "src/lib.rs": CODE, "reader/src/lib.rs": CODE}
    crate = make(tmp_path / "crate", {**files, "reader/Cargo.toml": MEMBER.format("reader")})
    assert adopt(crate).exit_code == 0
    assert toml(crate / "Cargo.toml")["lints"] == {"workspace": True}
    assert "lints" not in toml(crate / "reader/Cargo.toml")


def test_lints_of_a_workspace_get_no_further_package(tmp_path: Path, adopt: Adopt) -> None:
    lints = '[workspace]\nmembers = ["reader"]\n\n[workspace.lints.rust]\nunused = "deny"\n'
    files: Files = {"Cargo.toml": lints, "reader/Cargo.toml": MEMBER.format("reader"), "reader/src/lib.rs": CODE}
    crate = make(tmp_path / "dates", files)
    assert adopt(crate).exit_code == 0
    assert "lints" not in toml(crate / "reader/Cargo.toml")


def test_a_denied_group_is_not_weakened_by_single_lints(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", {**PLAIN, "Cargo.toml": PACKAGE + STRICT})
    assert adopt(crate).exit_code == 0
    lints = toml(crate / "Cargo.toml")["workspace"]["lints"]["clippy"]  # type: ignore[index]
    levels = {entry["level"] if isinstance(entry, dict) else entry for entry in lints.values()}
    assert levels == {"deny", "forbid"}
    # The same lint in another spelling.
    assert "unwrap_used" not in lints
    assert run("drift", crate).exit_code == 0


def test_nothing_of_ours_exempts_from_a_gate_of_the_crate(tmp_path: Path, adopt: Adopt) -> None:
    deny = '[licenses]\nallow = ["MIT"]\n\n[bans]\nwildcards = "deny"\n'
    crate = make(tmp_path / "crate", {**PLAIN, "Cargo.toml": PACKAGE + STRICT, "deny.toml": deny})
    assert adopt(crate).exit_code == 0
    assert "allow-unwrap-in-tests" not in toml(crate / "clippy.toml")
    assert "allow-dbg-in-tests" in toml(crate / "clippy.toml")
    after = toml(crate / "deny.toml")
    assert after["licenses"] == {"allow": ["MIT"]}
    assert after["bans"].keys() == {"wildcards", "deny"}  # type: ignore[attr-defined]
    assert run("drift", crate).exit_code == 0


# --- Files ---


def test_workflows_come_only_with_the_recipes_that_they_run(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", {**PLAIN, "justfile": LIB["justfile"]})
    assert adopt(crate).exit_code == 1
    assert {file.name for file in (crate / ".github/workflows").iterdir()} == {"ci.yml.proposed", "perf.yml.proposed"}
    assert yaml.safe_load((crate / ".copier-answers.yml").read_text())["adopted"] is True
