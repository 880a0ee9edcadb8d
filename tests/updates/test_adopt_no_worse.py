"""An adoption does not change the build of a crate, or the results of the crate's own gates."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from fast_rust.adopt import staging
from support.adoption import CODE, LIB, MEMBER, OTHERS, PACKAGE, PLAIN, WORKSPACE, Adopt, Files, make, meet_all
from support.command import drift, invoke
from support.files import read_tree, replace_only
from support.git import commit, git, release
from support.template import Template


def loads(folder: Path) -> bool:
    """Return whether cargo can read a crate."""
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0


def toml(file: Path) -> dict[str, object]:
    return tomllib.loads(file.read_text())


# --- The build ---


@pytest.mark.parametrize("kind", ["lib", "cli", "service"])
def test_toolchain_resolver_and_release_profile_stay(tmp_path: Path, adopt: Adopt, kind: str) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    assert adopt(crate, "--data", f"kind={kind}").exit_code == 0
    manifest = toml(crate / "Cargo.toml")
    assert not (crate / "rust-toolchain.toml").exists()
    assert "resolver" not in manifest["workspace"]  # type: ignore[operator]
    assert manifest["profile"].keys() == {"bench", "profiling", "quick"}  # type: ignore[attr-defined]
    done = drift(crate)
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
def test_a_workspace_that_cargo_cannot_read_is_never_committed(
    tmp_path: Path, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    monkeypatch.setattr(
        "fast_rust.adopt.merging.with_inherited_lints", lambda text: f"{text}\n[workspace.lints]\nx = 1\n"
    )
    done = invoke("adopt", crate, "--template", template.repository)
    assert done.exit_code == 2
    assert "cargo cannot read the workspace" in done.stderr
    assert "nothing was changed" in done.stderr


def leaves(table: object, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the keys of a document."""
    if not isinstance(table, dict):
        return {above}
    return {leaf for name, value in table.items() for leaf in leaves(value, (*above, name))}


def test_each_key_and_file_that_is_added_is_in_the_report(tmp_path: Path, adopt: Adopt) -> None:
    files = {**PLAIN, "deny.toml": '[bans]\nwildcards = "deny"\n', "clippy.toml": OTHERS["clippy.toml"]}
    crate = make(tmp_path / "crate", files)
    before = read_tree(crate)
    done = adopt(crate)
    after = read_tree(crate)
    assert all(f"- added: {path}\n" in done.stdout for path in after.keys() - before.keys())
    for path in ("Cargo.toml", "clippy.toml", "deny.toml"):
        old, new = (leaves(tomllib.loads(tree[path].decode())) for tree in (before, after))
        assert new > old
        for key in new - old:
            table = rf" \[{'.'.join(key[:-1])}\]" if key[:-1] else ""
            assert re.search(rf"- {path}{table} .*\b{key[-1]}\b", done.stdout), key
    assert "- clippy.toml allow" not in done.stdout
    assert "[profile.bench] lto, codegen-units, debug, strip: `cargo bench` uses this profile" in done.stdout


# --- Gates of the crate ---

STRICT = '\n[lints.clippy]\nall = "deny"\nunwrap-used = "forbid"\n'


def test_lints_of_the_root_do_not_apply_to_further_packages(tmp_path: Path, adopt: Adopt) -> None:
    root = f'{PACKAGE}{STRICT}\n[workspace]\nmembers = ["reader"]\n'
    files: Files = {"Cargo.toml": root, "src/lib.rs": CODE, "reader/src/lib.rs": CODE}
    crate = make(tmp_path / "crate", {**files, "reader/Cargo.toml": MEMBER.format("reader")})
    assert adopt(crate).exit_code == 0
    assert toml(crate / "Cargo.toml")["lints"] == {"workspace": True}
    assert "lints" not in toml(crate / "reader/Cargo.toml")


def test_lints_of_a_workspace_do_not_apply_to_further_packages(tmp_path: Path, adopt: Adopt) -> None:
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
    # The same lint with a hyphen instead of an underscore.
    assert "unwrap_used" not in lints
    assert drift(crate).exit_code == 0


def test_our_settings_add_no_exception_to_a_gate_of_the_crate(tmp_path: Path, adopt: Adopt) -> None:
    deny = '[licenses]\nallow = ["MIT"]\n\n[bans]\nwildcards = "deny"\n'
    crate = make(tmp_path / "crate", {**PLAIN, "Cargo.toml": PACKAGE + STRICT, "deny.toml": deny})
    assert adopt(crate).exit_code == 0
    assert "allow-unwrap-in-tests" not in toml(crate / "clippy.toml")
    assert "allow-dbg-in-tests" in toml(crate / "clippy.toml")
    after = toml(crate / "deny.toml")
    assert after["licenses"] == {"allow": ["MIT"]}
    assert after["bans"].keys() == {"wildcards", "deny"}  # type: ignore[attr-defined]
    assert drift(crate).exit_code == 0


# --- Names ---


@pytest.mark.parametrize("name", ["csv", "Word_Counts", "x"])
def test_a_crate_that_exists_keeps_its_name(tmp_path: Path, adopt: Adopt, name: str) -> None:
    crate = make(tmp_path / "word-counts", {**PLAIN, "Cargo.toml": PACKAGE.replace("word-counts", name)})
    done = adopt(crate)
    assert done.exit_code == 0, done.output
    assert yaml.safe_load((crate / ".copier-answers.yml").read_text())["crate_name"] == name
    assert drift(crate).exit_code == 0


def test_a_workspace_in_a_folder_of_any_name_is_adopted(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", WORKSPACE)
    assert adopt(crate).exit_code == 0


# --- Files ---


def test_workflows_are_added_only_with_the_recipes_that_they_run(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", {**PLAIN, "justfile": LIB["justfile"]})
    assert adopt(crate).exit_code == 1
    assert {file.name for file in (crate / ".github/workflows").iterdir()} == {"ci.yml.proposed", "perf.yml.proposed"}
    assert yaml.safe_load((crate / ".copier-answers.yml").read_text())["adopted"] is True


SPELLINGS = {
    "Justfile": ("justfile", "Justfile"),
    ".justfile": ("justfile", ".justfile"),
    "CI.yml": (".github/workflows/ci.yml", ".github/workflows/CI.yml"),
    "ci.yaml": (".github/workflows/ci.yml", ".github/workflows/ci.yaml"),
    "renovate.json5": (".github/renovate.json", "renovate.json5"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_another_spelling_of_our_file_name_is_recognized_and_reported(tmp_path: Path, adopt: Adopt, name: str) -> None:
    ours, theirs = SPELLINGS[name]
    crate = make(tmp_path / "crate", {**PLAIN, theirs: "# mine\n"})
    done = adopt(crate)
    assert done.exit_code == 1
    assert not (crate / ours).exists()
    assert (crate / theirs).read_text() == "# mine\n"
    assert f"- proposed: {ours}.proposed, because {theirs} exists\n" in done.stdout
    assert f"`git rm {theirs}`: keep only one of the two" in done.stdout


def test_a_renamed_file_is_reported(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", {**PLAIN, ".clippy.toml": "msrv = '1.80'\n"})
    assert "- merged: clippy.toml, because .clippy.toml exists\n" in adopt(crate).stdout


@pytest.mark.parametrize("own", ["", 'exclude = ["/big"]\n', 'include = ["/src"]\n', "publish = false\n"])
def test_the_published_package_gets_no_further_file(tmp_path: Path, adopt: Adopt, own: str) -> None:
    crate = make(tmp_path / "crate", {**PLAIN, "Cargo.toml": PACKAGE + own, "big/x": ""})

    def packaged() -> set[str]:
        command = ["cargo", "package", "--list", "--offline"]
        return set(subprocess.run(command, cwd=crate, check=True, capture_output=True, text=True).stdout.split())

    before = packaged()
    assert adopt(crate).exit_code == 0
    assert own.startswith("publish") or packaged() == before
    assert own.rstrip("]\n") in (crate / "Cargo.toml").read_text()
    assert ("exclude" in toml(crate / "Cargo.toml")["package"]) == (own in ("", 'exclude = ["/big"]\n'))  # type: ignore[operator]


# --- Shapes of repositories ---


def test_a_crate_below_the_root_of_its_repository_has_no_workflows(tmp_path: Path, adopt: Adopt) -> None:
    top = make(tmp_path / "all", {f"rust/{path}": text for path, text in PLAIN.items()})
    done = adopt(top / "rust")
    assert done.exit_code == 0, done.output
    assert not (top / "rust/.github").exists()
    assert "- left out: .github/workflows/ci.yml, which is needed only at the root of the repository\n" in done.stdout
    assert drift(top / "rust").exit_code == 0


def test_a_member_next_to_the_root_is_adopted(tmp_path: Path, adopt: Adopt) -> None:
    member = f'{MEMBER.format("reader")}workspace = "../root"\n'
    files = {"root/Cargo.toml": '[workspace]\nmembers = ["../reader"]\n', "reader/Cargo.toml": member}
    top = make(tmp_path / "all", {**files, "reader/src/lib.rs": CODE})
    done = adopt(top / "root")
    assert done.exit_code == 0, done.output
    assert toml(top / "reader/Cargo.toml")["lints"] == {"workspace": True}


def test_a_workspace_without_a_root_package_has_the_identity_of_its_crates(tmp_path: Path, adopt: Adopt) -> None:
    files = {"Cargo.toml": '[workspace]\nmembers = ["reader"]\n', "reader/Cargo.toml": PACKAGE}
    done = adopt(make(tmp_path / "all", {**files, "reader/src/lib.rs": CODE}), "--dry-run")
    assert "| license | MIT OR Apache-2.0 | [package] license MIT/Apache-2.0 |" in done.stdout
    assert "has no license" not in done.stdout


@pytest.mark.parametrize(("promised", "msrv"), [("1", "1.85"), ("1.99", "1.99"), ("1.90.1", "1.90")])
def test_any_rust_version_of_the_crate_is_accepted(tmp_path: Path, adopt: Adopt, promised: str, msrv: str) -> None:
    manifest = f'{PACKAGE.replace("2021", "2015")}rust-version = "{promised}"\n'
    done = adopt(make(tmp_path / "all", {**PLAIN, "Cargo.toml": manifest}), "--dry-run")
    assert f"| msrv | {msrv} |" in done.stdout


def test_the_gates_run_with_the_submodules(tmp_path: Path, template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make(tmp_path / "data", {"data.txt": "1\n"})
    crate = make(tmp_path / "crate", PLAIN)
    git(crate, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "data")
    commit(crate)
    meet_all(monkeypatch)
    found = []
    monkeypatch.setattr(staging, "before", lambda folder, *_: found.append((folder / "data/data.txt").read_text()))
    assert invoke("adopt", crate, "--template", template.repository).exit_code == 0
    assert found == ["1\n"]


# --- A next release ---

SHAPES: dict[str, Files] = {
    "plain": PLAIN,
    "lints": {**PLAIN, "Cargo.toml": PACKAGE + STRICT},
    "release": {**PLAIN, "Cargo.toml": f"{PACKAGE}\n[profile.release]\nlto = true\n\n[dependencies]\n"},
    "windows": {**PLAIN, "Cargo.toml": PACKAGE.replace("\n", "\r\n")},
    "workspace": WORKSPACE,
    "own files": {**PLAIN, "clippy.toml": OTHERS["clippy.toml"], "deny.toml": '[bans]\ndeny = ["openssl"]\n'},
}


@pytest.mark.usefixtures("adopt")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_next_release_has_no_conflict_in_a_key_that_the_crate_did_not_change(
    tmp_path: Path, template: Template, shape: str
) -> None:
    repository = Path(shutil.copytree(template.repository, tmp_path / "template", symlinks=True))
    crate = make(tmp_path / "word-counts", SHAPES[shape])
    assert invoke("adopt", crate, "--template", repository).exit_code == 0
    before = toml(crate / "Cargo.toml")
    for path, old, new in (
        (
            "Cargo.toml.jinja",
            'exit = "warn" # ERR-7: return',
            'get_unwrap = "warn"\nexit = "warn" # ERR-7: so return',
        ),
        ("Cargo.toml.jinja", "instructions = 2.0", "instructions = 1.5"),
        ("Cargo.toml.jinja", "[profile.bench]\n", "[profile.bench]\nincremental = false\n"),
        ("clippy.toml", "allow-dbg-in-tests", "large-types-passed-by-value = 128\nallow-dbg-in-tests"),
        ("clippy.toml", "large-error-threshold = 128", "large-error-threshold = 64"),
        ("deny.toml", 'yanked = "deny"', 'yanked = "deny"\nunsound = "all"'),
        ("deny.toml", 'name = "fxhash"', 'name = "fxhasher"'),
    ):
        replace_only(repository / "template" / path, old, new)
    release(repository, "v0.0.2")
    done = invoke("update", crate, "--data", "description=Other")
    assert done.exit_code == 0, done.output
    after = toml(crate / "Cargo.toml")
    assert after["workspace"]["lints"]["clippy"]["get_unwrap"] == "warn"  # type: ignore[index]
    assert after["workspace"]["metadata"]["perf"]["instructions"] == 1.5  # type: ignore[index]
    assert after.get("package") == before.get("package")
    assert after["profile"].get("release") == before["profile"].get("release")  # type: ignore[attr-defined]
    done = drift(crate)
    assert done.exit_code == 0, done.output
