"""`fast-rust drift` finds and restores differences to the release, only in files and keys of the template."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fast_rust import releases
from fast_rust.answers import ANSWERS_FILE
from fast_rust.git import Config, output
from fast_rust.without import PARTS
from support.command import drift
from support.files import edit, read_tree
from support.git import commit, git, release, start_history
from support.ownership import owners
from support.template import Template, copy
from support.variants import CHECKOUT, domain
from updates.answers import ANOTHER, UNCLEAR, Act

PLAIN: dict[str, str | bool] = {"cpu_level": "x86-64-v3", "container": True}


@pytest.fixture(scope="module", params=domain("kind"))
def made(request: pytest.FixtureRequest, template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new crate of each kind; read only."""
    crate = tmp_path_factory.mktemp("drift") / "log-totals"
    assert copy(template.repository, crate, {"kind": request.param, **PLAIN}).exit_code == 0
    start_history(crate)
    return crate


# For tests that do not depend on the files of a kind.
ONE_KIND = pytest.mark.parametrize("made", ["lib"], indirect=True)


@pytest.fixture
def crate(made: Path, tmp_path: Path) -> Path:
    """A crate that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "log-totals"))


def test_a_new_crate_has_no_drift(made: Path) -> None:
    done = drift(made)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{made}: template release v0.0.1",
        "  no drift: all template-owned files and keys are as in the release",
    ]


def test_each_changed_or_missing_managed_file_is_reported_and_restored(crate: Path) -> None:
    before = read_tree(crate)
    managed = [path for path in before if owners(path) == ["managed"]]
    for path in managed[::2]:
        (crate / path).write_bytes(before[path] + b"x")
    for path in managed[1::2]:
        (crate / path).unlink()
    commit(crate)
    done = drift(crate, "--json")
    assert done.exit_code == 1
    found = {one["path"]: one["state"] for one in json.loads(done.stdout)["crates"][0]["differences"]}
    assert found == {path: "changed" if path in managed[::2] else "missing" for path in managed}
    assert drift(crate, "--fix").exit_code == 0
    assert read_tree(crate) == before
    assert drift(crate).exit_code == 0


def test_starters_and_the_crates_own_files_are_not_checked(crate: Path) -> None:
    for path in read_tree(crate):
        if owners(path) == ["starter"]:
            (crate / path).unlink()
    (crate / "local.just").write_text("own:\n    true\n")
    assert drift(crate).exit_code == 0


def loosen_lint(crate: Path) -> None:
    edit(crate / "Cargo.toml", 'unwrap_used = "warn"', 'unwrap_used = "allow"')


def drop_profile(crate: Path) -> None:
    text = (crate / "Cargo.toml").read_text(encoding="utf-8")
    (crate / "Cargo.toml").write_text(text[: text.index("[profile.bench]")], encoding="utf-8")


def lower_floor(crate: Path) -> None:
    edit(crate / "bench" / "Cargo.toml", 'gungraun = "=0.20', 'gungraun = "=0.19')


def lift_threshold(crate: Path) -> None:
    edit(crate / "clippy.toml", "large-error-threshold = 128", "large-error-threshold = 512")


def take_out_ban(crate: Path) -> None:
    lines = (crate / "clippy.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    (crate / "clippy.toml").write_text("".join(line for line in lines if "crossbeam_channel" not in line))


def allow_registries(crate: Path) -> None:
    edit(crate / "deny.toml", 'unknown-registry = "deny"', 'unknown-registry = "allow"')


LOOSENINGS: dict[Act, str] = {
    loosen_lint: "Cargo.toml: workspace.lints.clippy.unwrap_used",
    drop_profile: "Cargo.toml: profile.bench.debug",
    lower_floor: "bench/Cargo.toml: target.'cfg(target_os = \"linux\")'.dev-dependencies.gungraun",
    lift_threshold: "clippy.toml: large-error-threshold",
    take_out_ban: "clippy.toml: disallowed-methods",
    allow_registries: "deny.toml: sources.unknown-registry",
}


@pytest.mark.parametrize("act", LOOSENINGS, ids=lambda act: act.__name__)
def test_a_loosened_key_is_reported_and_restored_by_its_meaning(crate: Path, act: Act) -> None:
    path = LOOSENINGS[act].partition(":")[0]
    before = tomllib.loads((crate / path).read_text(encoding="utf-8"))
    act(crate)
    commit(crate)
    done = drift(crate)
    assert done.exit_code == 1
    assert LOOSENINGS[act] in done.stdout
    assert drift(crate, "--fix").exit_code == 0
    assert tomllib.loads((crate / path).read_text(encoding="utf-8")) == before


@pytest.mark.parametrize(
    "act", [loosen_lint, lift_threshold, allow_registries, lower_floor], ids=lambda act: act.__name__
)
def test_a_loosened_key_with_a_reason_on_its_line_is_not_drift(crate: Path, act: Act) -> None:
    act(crate)
    path, _, key = LOOSENINGS[act].partition(": ")
    text = (crate / path).read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line.startswith(f"{key.rpartition('.')[2]} = ")]
    (crate / path).write_text(text.replace(line, line.partition(" #")[0] + " # reason: ours differs"), encoding="utf-8")
    done = drift(crate)
    assert done.exit_code == 0
    assert f"loosened  {LOOSENINGS[act]}" in done.stdout
    assert "(reason: ours differs)" in done.stdout


TIGHTENED = """
edit: Cargo.toml: unwrap_used = "warn" -> unwrap_used = "deny"
edit: Cargo.toml: todo = "warn" -> todo = { level = "forbid", priority = 1 }
edit: clippy.toml: large-error-threshold = 128 -> large-error-threshold = 64
edit: clippy.toml: disallowed-types = [ -> disallowed-types = [ { path = "std::rc::Rc" },
edit: bench/Cargo.toml: gungraun = "=0.20.0" -> gungraun = { version = "=0.20.0", features = ["client_requests"] }
"""


@pytest.mark.parametrize("line", TIGHTENED.strip().splitlines())
def test_a_stricter_value_is_not_drift(crate: Path, line: str) -> None:
    _, path, change = line.split(": ", 2)
    edit(crate / path, *change.split(" -> "))
    assert drift(crate).exit_code == 0


def test_restoring_a_key_keeps_every_other_line(crate: Path) -> None:
    manifest = crate / "Cargo.toml"
    edit(manifest, "[workspace]\n", "[workspace] # ours\n")
    text = manifest.read_text(encoding="utf-8")
    loosen_lint(crate)
    commit(crate)
    assert drift(crate, "--fix").exit_code == 0
    assert manifest.read_text(encoding="utf-8") == text


def test_restoring_a_minimum_version_keeps_the_features_of_a_dependency(crate: Path) -> None:
    with_features = 'gungraun = { version = "=0.19.0", features = ["client_requests"] }'
    edit(crate / "bench" / "Cargo.toml", 'gungraun = "=0.20.0"', with_features)
    commit(crate)
    assert drift(crate, "--fix").exit_code == 0
    [target] = tomllib.loads((crate / "bench" / "Cargo.toml").read_text(encoding="utf-8"))["target"].values()
    gungraun = target["dev-dependencies"]["gungraun"]
    assert gungraun == {"version": "=0.20.0", "features": ["client_requests"]}


def test_a_file_that_is_not_toml_is_reported_and_unchanged(crate: Path) -> None:
    (crate / "deny.toml").write_text("[licenses\n")
    commit(crate)
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert "changed   deny.toml (not valid TOML: " in done.stdout
    assert (
        "deny.toml: the file is not valid TOML, so its keys cannot be compared. Correct the syntax first" in done.stderr
    )
    assert (crate / "deny.toml").read_text() == "[licenses\n"


def test_windows_line_endings_are_not_drift(crate: Path) -> None:
    for path, content in read_tree(crate).items():
        (crate / path).write_bytes(content.replace(b"\n", b"\r\n"))
    assert drift(crate).exit_code == 0


def test_a_restored_key_has_the_line_endings_of_its_file(crate: Path) -> None:
    for path in ("Cargo.toml", "justfile"):
        (crate / path).write_bytes((crate / path).read_bytes().replace(b"\n", b"\r\n"))
    before = read_tree(crate)
    (crate / "justfile").write_bytes(before["justfile"] + b"mine:\r\n")
    manifest = before["Cargo.toml"].replace(b'unwrap_used = "warn"', b'unwrap_used = "allow"')
    (crate / "Cargo.toml").write_bytes(manifest)
    commit(crate)
    assert drift(crate, "--fix").exit_code == 0
    assert read_tree(crate) == before


def test_uncommitted_work_is_overwritten_only_with_force(crate: Path) -> None:
    (crate / "justfile").write_text("mine:\n    true\n")
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert "uncommitted changes" in done.stderr
    assert (crate / "justfile").read_text() == "mine:\n    true\n"
    assert drift(crate, "--fix", "--force").exit_code == 0
    assert (crate / "justfile").read_text() != "mine:\n    true\n"


def assume_unchanged(crate: Path) -> None:
    git(crate, "update-index", "--assume-unchanged", "justfile")


def hidden_from_status(crate: Path) -> None:
    git(crate, "config", "status.showUntrackedFiles", "no")
    git(crate, "rm", "--quiet", "--cached", "justfile")
    git(crate, "commit", "--quiet", "--message", "Our own from now on")


@pytest.mark.parametrize("act", [assume_unchanged, hidden_from_status])
def test_work_that_git_does_not_show_counts_as_uncommitted(crate: Path, act: Act) -> None:
    act(crate)
    (crate / "justfile").write_text("mine:\n    true\n")
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert "uncommitted changes" in done.stderr
    assert (crate / "justfile").read_text() == "mine:\n    true\n"


# --- States of a repository ---


def hidden_status(crate: Path) -> None:
    git(crate, "config", "status.showUntrackedFiles", "no")


def excluded_by_the_user(crate: Path) -> None:
    (crate.parent / "excluded").write_text("justfile\nclippy.toml\n.copier-answers*\n")
    git(crate, "config", "core.excludesFile", str(crate.parent / "excluded"))


def unreliable_stat(crate: Path) -> None:
    git(crate, "config", "core.checkStat", "minimal")
    git(crate, "config", "core.trustctime", "false")


SETTINGS: list[Act] = [hidden_status, excluded_by_the_user, unreliable_stat]


@ONE_KIND
@pytest.mark.parametrize("kind_of_hook", [False, True], ids=["by hand", "in a hook"])
@pytest.mark.parametrize("act", SETTINGS, ids=lambda act: act.__name__)
def test_no_setting_of_git_hides_uncommitted_work(
    crate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Act, *, kind_of_hook: bool
) -> None:
    act(crate)
    committed, other = ".github/workflows/perf.yml", tmp_path / "other"
    edit(crate / committed, "#", "##")
    commit(crate)
    if kind_of_hook:
        other.mkdir()
        git(other, "init", "--quiet")
        monkeypatch.setenv("GIT_DIR", str(other / ".git"))
        monkeypatch.setenv("GIT_WORK_TREE", str(other))
        monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
    work = {"justfile": "mine:\n    true\n", "clippy.toml": "large-error-threshold = 256\n"}
    for path, text in work.items():
        stat = (crate / path).stat()
        old = (crate / path).read_text(encoding="utf-8")
        # For git the file is unchanged: neither its size nor its time differs.
        padded = text + "#" * max(0, len(old.encode()) - len(text) - 1) + "\n"
        (crate / path).write_text(padded, encoding="utf-8")
        os.utime(crate / path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    before = read_tree(crate)
    assert drift(crate).exit_code == 1
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert f"restored  {crate / committed}" in done.stderr
    for path in work:
        assert f"left      {crate / path}: the file has uncommitted changes. Commit them, or use --force" in done.stderr
        assert read_tree(crate)[path] == before[path]


@ONE_KIND
def test_a_new_file_that_the_user_excludes_counts_as_uncommitted(crate: Path) -> None:
    """Git never stored the file, so git could not restore it."""
    git(crate, "rm", "--quiet", "--cached", "justfile")
    git(crate, "commit", "--quiet", "--message", "Our own from now on")
    excluded_by_the_user(crate)
    (crate / "justfile").write_text("mine:\n    true\n")
    assert "uncommitted changes" in drift(crate, "--fix").stderr
    assert (crate / "justfile").read_text() == "mine:\n    true\n"


@ONE_KIND
def test_answers_that_git_ignores_are_found_next_to_a_member(crate: Path, template: Template) -> None:
    member = crate / "crates" / "log-reader"
    assert copy(template.repository, member, {"place": "member", "kind": "lib"}).exit_code == 0
    commit(crate)
    git(crate, "rm", "--quiet", "--cached", ANSWERS_FILE)
    (crate / ".gitignore").write_text(f"/{ANSWERS_FILE}\n")
    (crate / "justfile").write_text("")
    done = drift(crate)
    assert (done.exit_code, "changed   justfile" in done.stdout) == (1, True)
    assert f"{member}: template release v0.0.1" in done.stdout


@ONE_KIND
def test_outside_a_repository_files_are_overwritten_only_with_force(crate: Path) -> None:
    shutil.rmtree(crate / ".git")
    (crate / ".github/workflows/perf.yml").unlink()
    (crate / "justfile").write_text("mine:\n    true\n")
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    reason = "the file is not in a git repository, so git cannot undo the change. Use --force to overwrite the file"
    assert (
        done.stderr == f"restored  {crate / '.github/workflows/perf.yml'}\nleft      {crate / 'justfile'}: {reason}\n"
    )
    assert drift(crate, "--fix", "--force").exit_code == 0
    assert drift(crate).exit_code == 0


@ONE_KIND
@pytest.mark.parametrize("path", ["justfile", "clippy.toml", ".github", ".github/workflows/perf.yml", "Cargo.toml"])
def test_nothing_is_written_through_a_symlink(crate: Path, tmp_path: Path, path: str) -> None:
    loosen_lint(crate)
    lower_floor(crate)
    lift_threshold(crate)
    for file in ("justfile", ".github/workflows/perf.yml"):
        (crate / file).write_text("x\n")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(crate / path, elsewhere)
    (crate / path).symlink_to(elsewhere)
    commit(crate)
    before = read_tree(tmp_path)
    for force in ((), ("--force",)):
        done = drift(crate, "--fix", *force)
        assert done.exit_code == 1
        message = f"{path} is a symlink; refusing to write through it. Replace it with a regular file or folder"
        assert message in done.stderr
        assert (crate / path).is_symlink()
        after = read_tree(tmp_path)
        assert all(after[name] == before[name] for name in before if name.startswith("elsewhere"))


@ONE_KIND
def test_a_broken_symlink_is_unchanged(crate: Path, tmp_path: Path) -> None:
    (crate / "justfile").unlink()
    (crate / "justfile").symlink_to(tmp_path / "outside")
    commit(crate)
    done = drift(crate, "--fix")
    assert (done.exit_code, "justfile is a symlink; refusing" in done.stderr) == (1, True)
    assert not (tmp_path / "outside").exists()


@ONE_KIND
def test_a_folder_with_the_name_of_a_file_is_unchanged(crate: Path) -> None:
    for path in ("justfile", "clippy.toml"):
        (crate / path).unlink()
        (crate / path).mkdir()
    shutil.rmtree(crate / ".github")
    (crate / ".github").write_text("")
    commit(crate)
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert f"{crate / 'justfile'}: it is not a regular file. Rename it, and run the command again" in done.stderr
    assert f"{crate / 'clippy.toml'}: it is not a regular file" in done.stderr
    assert ".github is not a folder. Rename it, and run the command again" in done.stderr


@ONE_KIND
def test_a_shared_file_that_could_not_be_restored_separately_is_unchanged(crate: Path) -> None:
    manifest = crate / "Cargo.toml"
    text = manifest.read_text(encoding="utf-8")
    start = text.index("[workspace.lints.clippy]")
    end = text.index("\n[", start) if "\n[" in text[start:] else len(text)
    manifest.write_text(text[:start] + '[workspace.lints]\nclippy = "warn"\n' + text[end:], encoding="utf-8")
    (crate / "justfile").write_text("")
    commit(crate)
    before = manifest.read_bytes()
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert (
        "(`clippy` is not a table, so `workspace.lints.clippy.complexity` cannot be set in it). Edit the file"
        in done.stderr
    )
    assert manifest.read_bytes() == before
    assert f"restored  {crate / 'justfile'}" in done.stderr


@ONE_KIND
def test_a_name_that_is_not_utf_8_is_unchanged(made: Path, tmp_path: Path) -> None:
    crate = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(made, crate)
    for path in ("justfile", ".github/workflows/perf.yml"):
        (crate / path).write_text("")
    commit(crate)
    (crate / ".github/workflows/perf.yml").write_text("Mine.\n")
    program = "from fast_rust.main import application; application()"
    command: list[str | Path] = [sys.executable, "-c", program, "drift", crate]
    done = subprocess.run([*command, "--fix"], check=False, capture_output=True)
    assert done.returncode == 1, done.stderr
    assert b"/caf\xe9: template release v0.0.1\n" in done.stdout
    assert b"restored  " + os.fsencode(crate / "justfile") in done.stderr
    assert b"left      " + os.fsencode(crate / ".github/workflows/perf.yml") in done.stderr
    found = json.loads(subprocess.run([*command, "--json"], check=False, capture_output=True).stdout)
    assert found["crates"][0]["crate"] == str(crate)


def autocrlf(crate: Path) -> None:
    git(crate, "config", "core.autocrlf", "true")


def attributes(crate: Path) -> None:
    (crate / ".gitattributes").write_text("* text eol=crlf\n")


def crlf_filter(crate: Path) -> None:
    git(crate, "config", "filter.windows.clean", "tr -d '\\r'")
    git(crate, "config", "filter.windows.smudge", "sed 's/$/\\r/'")
    (crate / ".gitattributes").write_text("* filter=windows\n.gitattributes -filter\n")


@ONE_KIND
@pytest.mark.parametrize("act", [autocrlf, attributes, crlf_filter], ids=lambda act: act.__name__)
def test_line_endings_that_git_changes_are_not_drift_and_are_kept(crate: Path, act: Act) -> None:
    act(crate)
    commit(crate)
    for path in (*git(crate, "ls-files").splitlines(),):
        if path != ".gitattributes":
            (crate / path).unlink()
    git(crate, "checkout", "--quiet", "--", ".")
    before = read_tree(crate)
    assert b"\r\n" in before["justfile"]
    assert drift(crate).exit_code == 0
    (crate / "justfile").write_bytes(before["justfile"] + b"mine:\r\n")
    edit_bytes(crate / "clippy.toml", b"threshold = 128", b"threshold = 256")
    assert drift(crate, "--fix").exit_code == 1
    commit(crate)
    done = drift(crate, "--fix")
    assert (done.exit_code, done.stderr.count("restored  ")) == (0, 2)
    assert read_tree(crate) == before


def edit_bytes(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


@pytest.fixture
def foreign(crate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A crate of another user, whose repository git does not trust."""
    (tmp_path / "config").write_text("[user]\nname = A\nemail = a@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    for name in [name for name in os.environ if name.startswith("GIT_CONFIG_") and name != "GIT_CONFIG_GLOBAL"]:
        monkeypatch.delenv(name)
    (crate / "justfile").write_text("")
    if os.getuid() != 0:
        pytest.skip("only root can give a file to another user")
    for path in (crate, *crate.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    return crate


@ONE_KIND
def test_a_repository_of_another_user_is_rejected_with_the_reason_of_git(foreign: Path, tmp_path: Path) -> None:
    before = read_tree(foreign)
    for arguments in ((), ("--fix",), ("--fix", "--force"), ("--json",)):
        done = drift(foreign, *arguments)
        assert done.exit_code == 2
        assert f"error: cannot compare {foreign} with its release: detected dubious ownership" in done.stderr
        assert f"git config --global --add safe.directory {foreign}" in done.stderr
        assert "git init" not in done.output
    assert drift(foreign, "--lenient").exit_code == 0
    assert read_tree(foreign) == before
    with (tmp_path / "config").open("a") as config:
        config.write(f"[safe]\n\tdirectory = {foreign}\n")
    assert drift(foreign).exit_code == 1


@ONE_KIND
def test_a_nested_repository_of_another_user_is_unchanged_with_the_reason_of_git(foreign: Path, tmp_path: Path) -> None:
    """Here git trusts the compared folder, but not a folder in it."""
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "--quiet")
    shutil.move(foreign, top / "crate")
    git(top / "crate", "config", "--file", str(tmp_path / "config"), "safe.directory", str(top))
    (top / ANSWERS_FILE).write_bytes((top / "crate" / ANSWERS_FILE).read_bytes())
    os.chown(top / "crate" / ".github", 12345, 12345)
    shutil.copytree(top / "crate" / ".github", top / ".github")
    shutil.move(top / "crate" / ".git", top / ".github" / ".git")
    (top / ".github" / "workflows" / "perf.yml").write_text("x\n")
    for path in (top / ".github", *(top / ".github").rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    done = drift(top, "--fix")
    [line] = [line for line in done.stderr.splitlines() if ".github/workflows/perf.yml: " in line]
    assert "detected dubious ownership" in line
    assert "git init" not in done.stderr


def test_a_missing_manifest_is_not_created(crate: Path) -> None:
    (crate / "Cargo.toml").unlink()
    (crate / "clippy.toml").unlink()
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert "Restore it with `git checkout`" in done.stderr
    assert not (crate / "Cargo.toml").exists()
    assert (crate / "clippy.toml").exists()


def test_every_crate_of_a_workspace_is_checked(crate: Path, template: Template) -> None:
    member = crate / "crates" / "log-reader"
    assert copy(template.repository, member, {"place": "member", "kind": "cli"}).exit_code == 0
    (member / "src" / "platform.rs").write_text("")
    done = drift(crate)
    assert done.exit_code == 1
    assert f"{member}: template release v0.0.1\n  changed   src/platform.rs" in done.stdout


@pytest.mark.parametrize("name", [".copier-answers.acme.yml", ANSWERS_FILE])
def test_answers_to_another_template_are_ignored(crate: Path, name: str) -> None:
    """A crate that also uses another template has a file of answers for each; either may have the usual name."""
    if name == ANSWERS_FILE:
        git(crate, "mv", ANSWERS_FILE, ".copier-answers.rust.yml")
    (crate / name).write_text(ANOTHER)
    (crate / "docs").mkdir()
    (crate / "docs" / ANSWERS_FILE).write_text(ANOTHER)
    (crate / ".github/workflows/perf.yml").write_text("")
    commit(crate)
    done = drift(crate)
    assert (done.exit_code, done.stdout.splitlines()) == (
        1,
        [f"{crate}: template release v0.0.1", "  changed   .github/workflows/perf.yml"],
    )
    (crate / ".copier-answers.rust.yml").unlink(missing_ok=True)
    if name == ANSWERS_FILE:
        assert "lacks `_src_path`, `_commit` or `crate_name`" in drift(crate).stderr


def test_newer_releases_are_reported(crate: Path, template: Template, tmp_path: Path) -> None:
    repository = tmp_path / "template"
    shutil.copytree(template.repository, repository, symlinks=True)
    release(repository, "v0.0.2")
    release(repository, "v0.1.0rc1")
    done = drift(crate, "--template", repository)
    assert done.exit_code == 0
    assert f"{crate}: template release v0.0.1, 1 release behind v0.0.2" in done.stdout


@ONE_KIND
@pytest.mark.parametrize("later", [(), ("v0.0.2",), ("v0.0.2", "v0.0.3")])
def test_a_crate_between_two_releases_is_ahead_or_behind(
    crate: Path, template: Template, tmp_path: Path, later: tuple[str, ...]
) -> None:
    """Copier records a commit after a release in the format of `git describe`."""
    repository = tmp_path / "template"
    shutil.copytree(template.repository, repository, symlinks=True)
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Later")
    described = git(repository, "describe", "--tags", "--long").strip()
    assert described.startswith("v0.0.1-1-g")
    for tag in later:
        release(repository, tag)
    edit(crate / ANSWERS_FILE, "_commit: v0.0.1", f"_commit: {described}")
    done = drift(crate, "--template", repository)
    assert done.exit_code == 0
    releases = "1 release" if len(later) == 1 else f"{len(later)} releases"
    position = f"{releases} behind {later[-1]}" if later else "newer than the release v0.0.1"
    assert done.stdout.splitlines()[0] == f"{crate}: template release {described}, {position}"
    [found] = json.loads(drift(crate, "--template", repository, "--json").stdout)["crates"]
    assert found == {"crate": str(crate), "release": described, "newer": list(later), "differences": []}


# --- Errors ---


@pytest.mark.parametrize("act", UNCLEAR, ids=lambda act: act.__name__)
def test_an_error_has_a_separate_exit_code(crate: Path, act: Act) -> None:
    act(crate)
    before = read_tree(crate)
    done = drift(crate, "--fix")
    assert done.exit_code == 2
    assert UNCLEAR[act] in done.stderr
    assert "Traceback" not in done.stderr
    assert read_tree(crate) == before
    assert drift(crate, "--lenient").exit_code == 0


def test_the_same_choices_are_rendered_once(made: Path, template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    other = made.parent / f"other-{made.name}"
    if not other.exists():
        kind = next(line for line in (made / ANSWERS_FILE).read_text().splitlines() if line.startswith("kind: "))
        assert copy(template.repository, other, {"kind": kind.removeprefix("kind: "), **PLAIN}).exit_code == 0
    assert drift(made).exit_code == 0

    def refuse(*_: object) -> None:
        pytest.fail("rendered again")

    monkeypatch.setattr("fast_rust.owned.render", refuse)
    assert drift(other).exit_code == 0


def test_it_starts_fast_enough_for_a_hook(made: Path) -> None:
    """It imports no slow module that it does not need: Copier if a rendering is cached, or other commands."""
    drift(made)
    slow = {"copier", "fast_rust.commands.fleet", "fast_rust.standards", "markdown_it"}
    code = "import sys; from fast_rust.main import application\ntry: application()\n"
    code += f"finally: print(sorted({slow} & sys.modules.keys()))"
    done = subprocess.run(["python", "-c", code, "drift", str(made)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_only_one_of_two_concurrent_first_runs_clones_the_template(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run waits for the clone, and uses it."""
    monkeypatch.setenv("FAST_RUST_CACHE_DIR", str(tmp_path))
    address = template.repository.as_uri()
    cloned: list[str] = []

    def slowly(
        folder: Path,
        *arguments: str,
        config: Config = Config.USER,
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        if "clone" in arguments:
            cloned.append(address)
            time.sleep(0.3)
        return output(folder, *arguments, config=config, environment=environment)

    monkeypatch.setattr("fast_rust.git.output", slowly)
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(releases.open_repository, [address] * 2)
    assert first == second
    assert (first.releases(), cloned) == (["v0.0.1"], [address])
    assert [path for path in (tmp_path / "templates").iterdir() if path.suffix != ".lock"] == [first.folder]


# --- Parts that a crate opts out of ---


def without(crate: Path, *names: str) -> None:
    """List parts in the manifest, as docs/drift.md describes."""
    manifest = crate / "Cargo.toml"
    text = manifest.read_text()
    manifest.write_text(f"{text}\n[workspace.metadata.fast-rust]\nwithout = {json.dumps(names)}\n")


@ONE_KIND
def test_a_file_that_the_crate_opts_out_of_is_not_missing(crate: Path) -> None:
    (crate / ".github" / "renovate.json").unlink()
    (crate / ".github" / "workflows" / "perf.yml").unlink()
    shown = drift(crate).output
    assert shown.count("  missing") == 2
    assert '[workspace.metadata.fast-rust] of Cargo.toml: without = ["perf-workflow", "renovate"]' in shown
    without(crate, "renovate", "perf-workflow", "pre-commit")
    done = drift(crate)
    assert (done.exit_code, "missing" in done.output) == (0, False), done.output
    (crate / ".github" / "workflows" / "ci.yml").unlink()
    assert drift(crate).output.count("missing") == 1


@ONE_KIND
def test_an_existing_file_of_an_opted_out_part_is_still_the_templates(crate: Path) -> None:
    without(crate, "renovate")
    (crate / ".github" / "renovate.json").write_text("{}\n")
    assert "changed   .github/renovate.json" in drift(crate).output


@ONE_KIND
def test_an_unknown_part_is_rejected_with_a_list_of_the_parts(crate: Path) -> None:
    without(crate, "renovate", "renovat")
    done = drift(crate)
    assert done.exit_code == 2
    assert "unknown value 'renovat' in `without` of [workspace.metadata.fast-rust]; expected a list of: " in done.output
    assert "perf-workflow, pre-commit, publish-workflow, renovate" in done.output


def test_the_page_lists_each_part_with_its_files() -> None:
    page = (CHECKOUT / "docs" / "drift.md").read_text(encoding="utf-8")
    for name, files in PARTS.items():
        assert re.search(rf"(?m)^\| `{name}` \| {', '.join(f'`{re.escape(file)}`' for file in files)}", page), name
