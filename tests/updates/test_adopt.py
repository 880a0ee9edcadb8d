"""`fast-rust adopt` applies the standards to a crate of other authors, on a branch, and removes no line of it."""

import os
import random
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fast_rust.adopt import staging
from fast_rust.adopt.enabling import unstaged
from fast_rust.adopt.inference import infer, read_crate
from fast_rust.adopt.merging import AS_BEFORE, merged
from fast_rust.adopt.planning import BRANCH
from fast_rust.adopt.staging import Staging
from fast_rust.answers import ANSWERS_FILE, OTHER_ANSWERS_FILE
from fast_rust.main import application
from support.adoption import CLI, KINDS, LIB, OTHERS, PACKAGE, PLAIN, SERVICE, WORKSPACE, Adopt, make, meet_all
from support.command import drift, invoke
from support.files import read_tree, replace_only
from support.forks import run_here
from support.git import commit, git, release
from support.template import Template
from updates.answers import ANOTHER
from updates.disks import SmallDisk


@dataclass(frozen=True)
class Adopted:
    """A crate of other authors on its new branch, with its files before, and the output of the command."""

    kind: str
    crate: Path
    before: Mapping[str, bytes]
    said: str


@pytest.fixture(scope="module", params=KINDS)
def adopted(request: pytest.FixtureRequest, template: Template, tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    """A crate of each kind after its adoption; read only."""
    crate = make(tmp_path_factory.mktemp("adopted") / "crate", KINDS[request.param])
    before = read_tree(crate)
    with pytest.MonkeyPatch.context() as patch:
        meet_all(patch)
        done = invoke("adopt", crate, "--template", template.repository)
    assert done.exit_code == 1, done.output
    return Adopted(request.param, crate, before, done.stdout)


def answers_of(crate: Path) -> dict[str, object]:
    answers: dict[str, object] = yaml.safe_load((crate / ANSWERS_FILE).read_text())
    return answers


# --- Answers ---


def test_answers_are_read_from_the_crate(adopted: Adopted) -> None:
    expected = {
        "crate_name": "word-counts",
        "kind": adopted.kind,
        "place": "repository",
        "sample": False,
        "adopted": True,
        "description": "Counts words",
        "copyright_holder": "Ada <ada@example.org>",
        "repository_url": "https://example.org/ada/word-counts",
        "license": "MIT OR Apache-2.0",
    }
    of_kind = {
        "lib": {"msrv": "1.85", "publish": False},
        "cli": {"allocator": "mimalloc", "panic": "abort", "publish": False, "container": False},
        "service": {"allocator": "system", "panic": "unwind", "container": False},
    }
    answers = answers_of(adopted.crate)
    assert {name: answers[name] for name in expected} == expected
    assert of_kind[adopted.kind].items() <= answers.items()
    assert f"| kind | {adopted.kind} | " in adopted.said


@pytest.mark.usefixtures("adopt")
def test_the_address_of_the_template_is_recorded_and_not_that_of_the_mirror(tmp_path: Path, template: Template) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    address = f"file://{template.repository}"
    assert invoke("adopt", crate, "--template", address).exit_code == 0
    assert answers_of(crate)["_src_path"] == address


def test_the_answers_to_another_template_are_kept(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", {**PLAIN, ANSWERS_FILE: ANOTHER})
    assert adopt(crate).exit_code == 0
    assert (crate / ANSWERS_FILE).read_text() == ANOTHER
    assert yaml.safe_load((crate / OTHER_ANSWERS_FILE).read_text())["crate_name"] == "word-counts"
    assert drift(crate).exit_code == 0


def test_an_explicit_answer_replaces_the_inferred_one(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    done = adopt(crate, "--data", "kind=cli", "--data", "copyright_holder=Bob")
    assert done.exit_code == 0, done.output
    assert answers_of(crate).items() >= {"kind": "cli", "copyright_holder": "Bob", "panic": "unwind"}.items()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("msrv=1.40", "type a version from 1.85"),
        ("panic=abort", "does not ask for `panic` in a crate of kind `lib`"),
        ("sample=true", "`adopt` sets the answer to `sample` itself"),
        ("kind", "has no value"),
        ("kind=gui", "kind"),
    ],
)
def test_an_invalid_answer_is_rejected(tmp_path: Path, adopt: Adopt, given: str, message: str) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    before = read_tree(crate)
    done = adopt(crate, "--data", given)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert read_tree(crate) == before


# --- Files ---


def test_nothing_is_overwritten(adopted: Adopted) -> None:
    """Files stay byte for byte; manifests keep each line, except lines that two tables of lints cannot both have."""
    after = read_tree(adopted.crate)
    spelled = {"[lints.clippy]": "[workspace.lints.clippy]", 'pedantic = "warn"': "pedantic = { level ="}
    for path, content in adopted.before.items():
        if path in {"Cargo.toml", "clippy.toml"}:
            tomllib.loads(after[path].decode())
            lines = after[path].decode().splitlines()
            for line in content.decode().splitlines():
                kept = spelled.get(line, line)
                assert any(one.startswith(kept) for one in lines), f"{path}: {line}"
        else:
            assert after[path] == content
    added = after.keys() - adopted.before.keys()
    assert not any(path.startswith(("src/", "README", "LICENSE", "CHANGELOG")) for path in added)


def test_the_previous_branch_is_unchanged(adopted: Adopted, tmp_path: Path) -> None:
    crate = Path(shutil.copytree(adopted.crate, tmp_path / "crate"))
    assert git(crate, "branch", "--show-current").strip() == BRANCH
    assert git(crate, "status", "--porcelain") == ""
    git(crate, "checkout", "--quiet", "-")
    assert read_tree(crate) == adopted.before


def test_an_existing_file_with_the_name_of_ours_gets_a_proposal_next_to_it(
    adopted: Adopted, tmp_path: Path, template: Template
) -> None:
    crate = Path(shutil.copytree(adopted.crate, tmp_path / "crate"))
    for path in ("justfile", ".github/workflows/ci.yml"):
        ours = template.rendering({"crate_name": "x9", "kind": "lib"}) / path
        assert (crate / f"{path}.proposed").read_bytes() == ours.read_bytes()
        assert f"{path}: yours is unchanged" in adopted.said
    assert drift(crate).exit_code == 1
    # The workflow perf.yml is also only proposed, because it needs our justfile.
    for path in ("justfile", ".github/workflows/ci.yml", ".github/workflows/perf.yml"):
        git(crate, "mv", "-f", f"{path}.proposed", path)
    assert drift(crate).exit_code == 0


def test_ci_is_only_proposed_without_the_recipes_that_it_runs(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", {**PLAIN, "justfile": OTHERS["justfile"]})
    assert adopt(crate).exit_code == 1
    assert not (crate / ".github/workflows/ci.yml").exists()
    assert (crate / ".github/workflows/ci.yml.proposed").exists()


def test_a_plain_crate_has_no_drift_after_the_adoption(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    assert adopt(crate).exit_code == 0
    done = drift(crate)
    assert done.exit_code == 0, done.output


def test_a_looser_value_is_kept_with_a_reason_that_drift_accepts(adopted: Adopted) -> None:
    assert f"large-error-threshold = 256 # reason: {AS_BEFORE}\n" in (adopted.crate / "clippy.toml").read_text()
    said = drift(adopted.crate).stdout
    assert f"loosened  clippy.toml: large-error-threshold is 256; the template has 128 (reason: {AS_BEFORE})" in said
    if adopted.kind == "cli":
        assert 'lto = "thin"   # quick enough\n' in (adopted.crate / "Cargo.toml").read_text()


def test_lists_are_merged(adopted: Adopted) -> None:
    bans = tomllib.loads((adopted.crate / "clippy.toml").read_text())["disallowed-methods"]
    assert [ban["path"] for ban in bans][:2] == ["std::env::set_var", "std::sync::mpsc::channel"]


def test_a_group_of_lints_has_a_lower_priority_than_single_lints(adopted: Adopted) -> None:
    lints = tomllib.loads((adopted.crate / "Cargo.toml").read_text())["workspace"]["lints"]["clippy"]
    assert lints["pedantic"] == {"level": "warn", "priority": -1}
    assert lints["unwrap_used"] == "warn"


def test_a_hidden_configuration_file_is_renamed_to_the_name_of_ours(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", {**PLAIN, ".clippy.toml": "# Ours.\nmsrv = '1.80'\n"})
    assert adopt(crate).exit_code == 0
    assert not (crate / ".clippy.toml").exists()
    assert (crate / "clippy.toml").read_text().startswith("# Ours.\nmsrv = '1.80'\n")


def test_line_endings_are_kept(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    (crate / "Cargo.toml").write_bytes(PACKAGE.replace("\n", "\r\n").encode())
    commit(crate)
    assert adopt(crate).exit_code == 0
    text = (crate / "Cargo.toml").read_bytes()
    assert text.startswith(PACKAGE.replace("\n", "\r\n").rstrip().encode())
    assert text.count(b"\r\n") == text.count(b"\n")


def test_tables_in_an_unusual_order_are_merged() -> None:
    text = (
        '[workspace]\nmembers = ["a"]\nresolver = "2"\n[package]\nname = "x"\n[workspace.lints.clippy]\nexit = "deny"\n'
    )
    ours = '[workspace]\nresolver = "3"\n[workspace.lints.clippy]\nexit = "warn"\ntodo = "warn" # ERR-7\n'
    keys = {
        ("workspace", "resolver"): "3",
        ("workspace", "lints", "clippy", "exit"): "warn",
        ("workspace", "lints", "clippy", "todo"): "warn",
    }
    after = merged(text, ours, keys, with_dependencies=False)
    lints = {"clippy": {"exit": "deny", "todo": "warn"}}
    assert tomllib.loads(after) == {
        "workspace": {"members": ["a"], "resolver": "2", "lints": lints},
        "package": {"name": "x"},
    }
    assert f'resolver = "2" # reason: {AS_BEFORE}\n' in after
    assert all(line in after for line in text.splitlines())


def test_a_reason_for_a_boolean_value_is_found() -> None:
    text, key = "[profile.release]\nlto = false # small\n", ("profile", "release", "lto")
    after = merged(text, '[profile.release]\nlto = "fat"\n', {key: "fat"}, with_dependencies=False)
    assert after == f"[profile.release]\nlto = false # small # reason: {AS_BEFORE}\n"


# --- Workspaces ---


def test_a_workspace_is_adopted_with_all_its_crates(tmp_path: Path, adopt: Adopt) -> None:
    root = make(tmp_path / "dates", WORKSPACE)
    assert adopt(root).exit_code == 0
    manifest = tomllib.loads((root / "Cargo.toml").read_text())
    assert manifest["workspace"]["members"] == ["crates/*"]
    assert '\nresolver = "2"\n' in (root / "Cargo.toml").read_text()
    assert tomllib.loads((root / "crates/reader/Cargo.toml").read_text())["lints"] == {"workspace": True}
    # The member keeps its own table: a check reports that it does not inherit ours.
    assert (root / "crates/counter/Cargo.toml").read_text() == WORKSPACE["crates/counter/Cargo.toml"]
    assert answers_of(root).items() >= {"crate_name": "dates", "kind": "cli"}.items()
    assert read_crate(root).packages


def test_a_member_needs_a_workspace_with_lints(tmp_path: Path, adopt: Adopt) -> None:
    root = make(tmp_path / "dates", WORKSPACE)
    done = adopt(root / "crates/reader")
    assert done.exit_code == 2
    assert f"fast-rust adopt {root}" in done.stderr.replace("\n", " ")


def test_a_member_joins_a_workspace_that_is_adopted(tmp_path: Path, adopt: Adopt) -> None:
    root = make(tmp_path / "dates", WORKSPACE)
    assert adopt(root).exit_code == 0
    git(root, "branch", "--move", "main-now")
    done = adopt(root / "crates/reader")
    assert done.exit_code == 0, done.output
    members = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["members"]
    assert members == ["crates/*"]
    assert not (root / "crates/reader/bench").exists()
    assert answers_of(root / "crates/reader")["place"] == "member"


# --- Errors before any file is written ---


def dirty(crate: Path) -> None:
    (crate / "notes.txt").write_text("mine")


def with_branch(crate: Path) -> None:
    git(crate, "branch", BRANCH)


def without_git(crate: Path) -> None:
    shutil.rmtree(crate / ".git")


def ignored_file_of_ours(crate: Path) -> None:
    (crate / ".gitignore").write_text("/target\n/justfile\n")
    commit(crate)
    (crate / "justfile").write_text("mine:\n")


def adopted_before(crate: Path) -> None:
    (crate / ANSWERS_FILE).write_text("crate_name: word-counts\n")
    commit(crate)


def bad_bans(crate: Path) -> None:
    (crate / "clippy.toml").write_text("disallowed-methods = [\n")
    commit(crate)


def hostile(manifest: str) -> Callable[[Path], None]:
    def act(crate: Path) -> None:
        (crate / "Cargo.toml").write_text(manifest)
        commit(crate)

    return act


def linked(crate: Path) -> None:
    elsewhere = crate.parent / "clippy.toml"
    elsewhere.write_text('msrv = "1.70.0"\n')
    (crate / "clippy.toml").symlink_to(elsewhere)
    commit(crate)


def proposed_before(crate: Path) -> None:
    for name in ("justfile", "justfile.proposed"):
        (crate / name).write_text("mine:\n")
    commit(crate)


def broken_index(crate: Path) -> None:
    (crate / "notes.txt").write_text("mine")
    (crate / ".git" / "index").write_bytes(b"none")


REFUSALS: dict[str, tuple[Callable[[Path], None], str]] = {
    "dirty": (dirty, "the working tree has uncommitted changes (notes.txt); commit them, or run `git stash -u`"),
    "branch": (with_branch, f"`git branch --delete --force {BRANCH}`"),
    "no_git": (without_git, "`git init`"),
    "ignored": (ignored_file_of_ours, "justfile, which git ignores"),
    "adopted": (adopted_before, "`fast-rust update`"),
    "no_manifest": (lambda crate: (crate / "Cargo.toml").unlink(), "Cargo.toml does not exist"),
    "no_package": (hostile("[dependencies]\n"), "neither [package] nor [workspace]"),
    "no_toml": (hostile("[package\nname"), "is not valid TOML"),
    "path_in_name": (hostile(PACKAGE.replace("word-counts", "../evil")), "cargo cannot read the workspace"),
    "bad_bans": (bad_bans, "clippy.toml: "),
    "linked": (linked, "clippy.toml is a symlink"),
    "proposed": (proposed_before, "justfile.proposed exists"),
    "broken_index": (broken_index, "git status"),
    "package_is_text": (hostile('package = "x"\n'), "cargo cannot read the workspace"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_obstacle_is_reported_and_no_file_is_written(tmp_path: Path, adopt: Adopt, name: str) -> None:
    act, message = REFUSALS[name]
    crate = make(tmp_path / "crate", PLAIN)
    act(crate)
    before = read_tree(tmp_path)
    done = adopt(crate)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.output
    assert read_tree(tmp_path) == before


def test_a_second_adoption_is_an_error(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    assert adopt(crate).exit_code == 0
    done = adopt(crate)
    assert done.exit_code == 2
    assert BRANCH in done.stderr


def test_missing_tools_are_reported_before_any_change(
    tmp_path: Path, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **given: None if name == "cargo-shear" else real(name, **given))
    done = invoke("adopt", crate, "--template", template.repository)
    assert done.exit_code == 2
    assert "they are not installed: cargo-shear" in done.stderr


def test_a_dry_run_writes_nothing(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", CLI)
    before = read_tree(crate)
    done = adopt(crate, "--dry-run")
    assert done.exit_code == 0
    assert "- proposed: justfile.proposed" in done.stdout
    assert read_tree(crate) == before
    assert git(crate, "branch", "--list", BRANCH) == ""


@pytest.mark.usefixtures("adopt")
def test_a_release_without_adopt_is_reported(tmp_path: Path, template: Template) -> None:
    repository = Path(shutil.copytree(template.repository, tmp_path / "template", symlinks=True))
    replace_only(repository / "copier.yml", "\nadopted:", "\nother:")
    release(repository, "v0.0.0")
    crate = make(tmp_path / "crate", PLAIN)
    done = invoke("adopt", crate, "--template", repository, "--to", "v0.0.0")
    assert done.exit_code == 2
    assert "release v0.0.0 of the template does not support `fast-rust adopt`" in " ".join(done.stderr.split())


# --- Repositories and hooks of users ---


def state_of(crate: Path) -> dict[str, object]:
    """Return the state that an error must not change: refs, HEAD, index and working tree, without unused objects."""
    git_folder = crate / ".git"
    files = {path: content for path, content in read_tree(crate).items() if not path.startswith(".git/")}
    states = [(git_folder / name).read_bytes() for name in ("HEAD", "index")]
    locks = [str(path) for path in git_folder.rglob("*.lock")]
    return {"refs": git(crate, "for-each-ref"), "files": files, "states": states, "locks": locks}


def hook(crate: Path, name: str, text: str) -> None:
    file = crate / ".git" / "hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def no_identity(crate: Path, config: Path) -> None:
    config.write_text("[user]\nuseConfigOnly = true\n")
    assert crate.is_dir()


def missing_key(crate: Path, config: Path) -> None:
    program = config.with_name("gpg")
    program.write_text('#!/bin/sh\necho "no secret key" >&2\nexit 1\n')
    program.chmod(0o755)
    git(crate, "config", "commit.gpgSign", "true")
    git(crate, "config", "gpg.program", str(program))


def hook_that_refuses(crate: Path, _config: Path) -> None:
    hook(crate, "reference-transaction", "echo ask the release team >&2; exit 1")


def branch_below(crate: Path, _config: Path) -> None:
    git(crate, "branch", f"{BRANCH}/spike")


def of_another_owner(crate: Path, _config: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a repository to somebody else")
    for path in (crate, crate / ".git"):
        os.chown(path, 65534, 65534)


PREFLIGHT: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "identity": (no_identity, "no email was given"),
    "signature": (missing_key, "no secret key"),
    "hook": (hook_that_refuses, "ask the release team"),
    "branch": (branch_below, f"refs/heads/{BRANCH}"),
    "owner": (of_another_owner, "safe.directory"),
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git configuration of the user, which tests may write."""
    file = tmp_path / "gitconfig"
    shutil.copy(os.environ["GIT_CONFIG_GLOBAL"], file)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    return file


@pytest.mark.parametrize("name", PREFLIGHT)
def test_an_obstacle_to_the_commit_is_reported_before_the_gates(
    tmp_path: Path, template: Template, config: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    before = state_of(crate)
    prepare, message = PREFLIGHT[name]
    prepare(crate, config)
    before = before if name == "owner" else state_of(crate)
    monkeypatch.setattr(staging, "before", lambda *_: pytest.fail("the checks ran"))
    done = invoke("adopt", crate, "--template", template.repository)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    if name == "owner":
        for path in (crate, crate / ".git"):
            os.chown(path, 0, 0)
    else:
        assert "nothing was changed" in done.stderr
    assert state_of(crate) == before


def test_unstaging_reports_why_git_rejects_a_repository(tmp_path: Path, config: Path) -> None:
    assert config.is_file()
    crate = make(tmp_path / "crate", PLAIN)
    before = state_of(crate)
    of_another_owner(crate, config)
    done = invoke("adopt", "--unstage", crate)
    assert done.exit_code == 2
    assert "safe.directory" in done.stderr
    for path in (crate, crate / ".git"):
        os.chown(path, 0, 0)
    assert state_of(crate) == before


def test_a_hook_that_fails_after_the_switch_is_a_warning(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    hook(crate, "post-checkout", "echo no node_modules here >&2; exit 1")
    done = adopt(crate)
    assert done.exit_code == 0, done.output
    assert (
        f"warning: git switched to the branch {BRANCH}, but a git hook failed after that: no node_modules here"
        in done.stderr
    )
    assert git(crate, "branch", "--show-current").strip() == BRANCH
    assert git(crate, "status", "--porcelain") == ""


def test_a_hook_that_changes_files_after_the_switch_is_reported(tmp_path: Path, adopt: Adopt) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    hook(crate, "post-checkout", "echo built >built.txt; exit 1")
    done = adopt(crate)
    assert done.exit_code == 0, done.output
    assert "files have changed, such as built.txt" in done.stderr


def test_a_failed_switch_reports_the_branch_and_the_command(
    tmp_path: Path, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process writes a file with the name of ours while the gates run."""
    crate = make(tmp_path / "crate", PLAIN)

    def stage(*_: object) -> Staging:
        (crate / "justfile").write_text("mine:\n")
        return Staging({}, ())

    meet_all(monkeypatch)
    monkeypatch.setattr(staging, "stage", stage)
    before = {**state_of(crate)["files"], "justfile": b"mine:\n"}  # type: ignore[dict-item]
    head = git(crate, "rev-parse", "HEAD")
    done = invoke("adopt", crate, "--template", template.repository)
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert f"the adoption is committed on the branch {BRANCH}, but git could not switch to it" in said
    assert f"run `git switch {BRANCH}`" in said
    assert "nothing was changed" not in said
    assert git(crate, "rev-parse", "HEAD") == head
    assert state_of(crate)["files"] == before
    (crate / "justfile").unlink()
    git(crate, "switch", "--quiet", BRANCH)
    assert answers_of(crate)["adopted"] is True


@pytest.mark.parametrize("name", ["filter", "excludes", "line-endings", "hooks", "sha256", "template"])
def test_no_setting_of_the_user_changes_the_adopted_files(
    tmp_path: Path, adopt: Adopt, config: Path, name: str
) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    assert adopt(make(tmp_path / "twin", PLAIN)).exit_code == 0
    expected = set(git(tmp_path / "twin", "ls-tree", "-r", "HEAD").splitlines())

    def setting(key: str, value: str) -> None:
        git(tmp_path, "config", "--file", str(config), key, value)

    match name:
        case "filter":
            # Only the smudge filter of a required filter driver, which would stop a clone that runs it.
            (tmp_path / "attributes").write_text("*.md filter=x\n")
            setting("core.attributesFile", str(tmp_path / "attributes"))
            setting("filter.x.clean", "cat")
            setting("filter.x.smudge", "cat")
            setting("filter.x.required", "true")
        case "excludes":
            (tmp_path / "ignore").write_text("justfile\n*.toml\nbench\n")
            setting("core.excludesFile", str(tmp_path / "ignore"))
        case "line-endings":
            setting("core.autocrlf", "true")
            setting("core.safecrlf", "true")
        case "hooks":
            for one in ("pre-commit", "commit-msg", "post-commit"):
                hook(crate, one, "exit 1")
        case "sha256":
            setting("init.defaultObjectFormat", "sha256")
        case "template":
            (tmp_path / "git-template" / "info").mkdir(parents=True)
            (tmp_path / "git-template" / "info" / "exclude").write_text("*\n")
            setting("init.templateDir", str(tmp_path / "git-template"))
    done = adopt(crate)
    assert done.exit_code == 0, done.output
    assert git(crate, "status", "--porcelain") == ""
    assert set(git(crate, "ls-tree", "-r", "HEAD").splitlines()) == expected
    assert git(crate, "log", "-1", "--format=%an").strip() == "Tess Tester"


# --- After the adoption ---


@pytest.mark.usefixtures("adopt")
def test_an_update_reaches_an_adopted_crate(tmp_path: Path, template: Template) -> None:
    repository = Path(shutil.copytree(template.repository, tmp_path / "template", symlinks=True))
    crate = make(tmp_path / "crate", PLAIN)
    assert invoke("adopt", crate, "--template", repository).exit_code == 0
    for path, old, new in (
        ("justfile", "# Format the code.", "# Format all code."),
        ("Cargo.toml.jinja", 'exit = "warn"', 'get_unwrap = "warn" # ERR-7: likewise\nexit = "warn"'),
    ):
        replace_only(repository / "template" / path, old, new)
    release(repository, "v0.0.2")
    before = read_tree(crate)
    done = invoke("update", crate)
    assert done.exit_code == 0, done.output
    assert "# Format all code." in (crate / "justfile").read_text()
    assert tomllib.loads((crate / "Cargo.toml").read_text())["workspace"]["lints"]["clippy"]["get_unwrap"] == "warn"
    assert read_tree(crate).keys() == before.keys()
    assert all(line in (crate / "Cargo.toml").read_text() for line in PACKAGE.splitlines())
    assert drift(crate).exit_code == 0


# As if the code passed every gate, in a separate process.
STANDALONE = """
import time
from fast_rust.adopt import staging
staging.before = staging.after = lambda *_: None
staging.stage = lambda *_: time.sleep(0.5) or staging.Staging({}, ())
from fast_rust.main import application
application()
"""
KILLS = 20


def standalone() -> None:
    """Run the command in this process, which is a copy, in the same way."""

    def stage(*_: object) -> Staging:
        time.sleep(0.5)
        return Staging({}, ())

    vars(staging).update(before=lambda *_: None, stage=stage, after=lambda *_: None)
    application()


def test_after_a_kill_at_any_point_the_crate_is_unchanged_or_adopted(tmp_path: Path, template: Template) -> None:
    crate = make(tmp_path / "crate", CLI)
    before = read_tree(crate)
    command = ["fast-rust", "adopt", str(crate), "--template", str(template.repository)]
    started = time.monotonic()
    assert run_here(standalone, command).returncode == 1
    whole = time.monotonic() - started
    git(crate, "checkout", "--quiet", "-")
    git(crate, "branch", "--quiet", "--delete", "--force", BRANCH)
    chance = random.Random(6)
    for _ in range(KILLS):
        run_here(standalone, command, seconds=chance.uniform(0, whole))
        if git(crate, "branch", "--show-current").strip() == BRANCH:
            assert (crate / ANSWERS_FILE).exists()
            git(crate, "checkout", "--quiet", "-")
        assert git(crate, "status", "--porcelain") == ""
        assert read_tree(crate) == before
        if git(crate, "branch", "--list", BRANCH):
            git(crate, "branch", "--quiet", "--delete", "--force", BRANCH)
    done = run_here(standalone, command)
    assert done.returncode == 1, done.stderr
    assert git(crate, "worktree", "list").count("\n") == 1


def test_only_the_files_of_a_killed_run_are_removed(tmp_path: Path, adopt: Adopt) -> None:
    """A user's own worktree may have any name, and any folders next to it."""
    projects = tmp_path / "projects"
    crate, other = make(projects / "own", PLAIN), make(projects / "other", PLAIN)
    git(crate, "worktree", "add", "--quiet", str(projects / "fast-rust-adopt-spike"), "-b", "spike")
    (projects / "fast-rust-adopt-spike" / "notes.txt").write_text("mine")
    before = read_tree(other) | read_tree(projects / "fast-rust-adopt-spike")
    assert adopt(crate).exit_code == 0
    assert read_tree(other) | read_tree(projects / "fast-rust-adopt-spike") == before


@pytest.mark.parametrize("meanwhile", [False, True])
def test_unstaging_writes_only_its_own_changes_and_detects_those_of_others(
    tmp_path: Path, adopt: Adopt, monkeypatch: pytest.MonkeyPatch, *, meanwhile: bool
) -> None:
    crate = make(tmp_path / "crate", PLAIN)
    assert adopt(crate).exit_code == 0
    (crate / ".git" / "info" / "exclude").write_text("/.rustfmt.toml\n")
    (crate / ".rustfmt.toml").write_text("# mine\n")
    manifest = crate / "Cargo.toml"
    on = manifest.read_text()
    text = f'{on}\n[workspace.metadata.staged]\nerr-string-result = "staged by adopt, 2 places"\n'
    manifest.write_text(text)
    commit(crate)

    def stage(*_: object) -> Staging:
        if meanwhile:
            manifest.write_text(f"{text}# mine\n")
        return Staging({}, ())

    monkeypatch.setattr(staging, "stage", stage)
    done = invoke("adopt", "--unstage", crate)
    assert done.exit_code == (2 if meanwhile else 0), done.output
    assert manifest.read_text() == (f"{text}# mine\n" if meanwhile else on)
    assert (crate / ".rustfmt.toml").read_text() == "# mine\n"


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_full_or_read_only_disk_is_reported_and_the_crate_is_unchanged(
    template: Template, disk: SmallDisk, fault: str
) -> None:
    crate = make(disk.folder / "crate", CLI)
    command = [sys.executable, "-c", STANDALONE, "adopt", str(crate), "--template", str(template.repository)]
    disk.refuses(command, crate, fault)
    if fault == "full":
        assert git(crate, "branch", "--list", BRANCH) == ""
        assert subprocess.run(command, check=False, capture_output=True).returncode == 1


# --- Gates: tests/crates/test_adopted.py runs them ---


def test_staged_entries_are_removed_without_a_trace() -> None:
    text = '[workspace.lints.clippy]\nexit = "warn" # ERR-7: x\nstyle = { level = "warn", priority = -1 }\n'
    off = (
        '[workspace.lints.clippy]\nexit = "allow" # ERR-7: x # reason: staged by adopt, 3 places; was "warn"\n'
        'style = { level = "allow", priority = -1 } # reason: staged by adopt, 1 place; was "warn"\n'
        'len_zero = "allow" # reason: staged by adopt, 1 place\n\n'
        '[workspace.metadata.staged]\n# x\nstr-format-in-hot = "staged by adopt, 2 places"\n\n'
        '[workspace.metadata.cargo-shear]\nignored = [\n    "x", # reason: staged by adopt, 1 place\n]\n'
    )
    assert unstaged(off).strip() == text.strip()


def test_the_kind_is_inferred_from_the_files(tmp_path: Path) -> None:
    """A library that depends on a server is a library."""
    crate = make(tmp_path / "crate", {**LIB, "Cargo.toml": SERVICE["Cargo.toml"]})
    assert next(answer.value for answer in infer(read_crate(crate)) if answer.name == "kind") == "lib"


GITHUB, GITLAB = ".github/workflows/ci.yml", ".gitlab-ci.yml"


@pytest.mark.parametrize(
    ("files", "repository", "service"),
    [
        ((), "https://example.org/group/crate", "github"),
        ((GITLAB,), "https://example.org/group/crate", "gitlab"),
        ((GITHUB, GITLAB), "https://gitlab.com/group/crate", "github"),
        ((), "https://gitlab.example.org/group/crate", "gitlab"),
        ((), "https://github.com/gitlab.com/crate", "github"),
    ],
)
def test_the_pipeline_is_for_the_crates_ci_service(
    tmp_path: Path, adopt: Adopt, files: tuple[str, ...], repository: str, service: str
) -> None:
    manifest = PACKAGE.replace("https://example.org/ada/word-counts.git", repository)
    crate = make(tmp_path / "crate", {**PLAIN, "Cargo.toml": manifest, **dict.fromkeys(files, "on: push\n")})
    done = adopt(crate)
    assert done.exit_code in {0, 1}, done.output
    added = set(read_tree(crate)) - {*files, *PLAIN}
    assert any(path.startswith(".github/workflows/") for path in added) == (service == "github")
    assert any(path.startswith(GITLAB) for path in added) == (service == "gitlab")
    assert (crate / GITLAB).exists() == (GITLAB in files or service == "gitlab")


def test_a_pipeline_above_the_crates_folder_is_recognized(tmp_path: Path) -> None:
    crate = make(tmp_path / "mono", {f"crates/one/{path}": text for path, text in PLAIN.items()} | {GITLAB: "x: y\n"})
    answers = {answer.name: answer.value for answer in infer(read_crate(crate / "crates" / "one"))}
    assert answers["ci"] == "gitlab"
