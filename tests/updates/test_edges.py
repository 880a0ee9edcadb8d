"""Edge cases in which an update, drift or adoption once lost a line, or printed a false statement."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fast_rust.answers import ANSWERS_FILE
from fast_rust.drift import fix as fixing
from fast_rust.files import replace_file
from fast_rust.update import journal
from support.command import COMMAND, fast_rust, invoke
from support.files import read_tree
from support.git import commit_all, git, release
from updates.bench import CHANGED, OURS, Bench, conflict, snapshot


@pytest.fixture
def next_release(bench: Bench) -> Bench:
    """A template with a release that changes a file, and a crate of the release before."""
    bench.edit(f"template/{CHANGED}", "30s", "60s")
    bench.edit("template/Cargo.toml.jinja", 'thiserror = "2.0"', 'thiserror = "2"')
    return bench


# --- Sparse checkouts ---


def test_adoption_of_a_sparse_checkout_is_an_error(next_release: Bench, tmp_path: Path) -> None:
    """Otherwise our files would replace the user's, which are committed but not in the working tree."""
    crate = tmp_path / "mine"
    (crate / "src").mkdir(parents=True)
    (crate / "Cargo.toml").write_text('[package]\nname = "mine"\nversion = "0.1.0"\nedition = "2021"\n')
    (crate / "src" / "lib.rs").write_text("//! Mine.\n")
    (crate / ".github" / "workflows").mkdir(parents=True)
    (crate / ".github" / "workflows" / "ci.yml").write_text("name: Mine\n")
    git(crate, "init", "--quiet")
    commit_all(crate)
    git(crate, "sparse-checkout", "set", "src")
    before = snapshot(crate)
    done = fast_rust("adopt", crate, "--template", next_release.template)
    assert done.returncode == 2, done.stdout
    assert "ci.yml, which this command may change, is outside the sparse checkout" in done.stderr
    assert snapshot(crate) == before


def test_drift_does_not_report_files_outside_a_sparse_checkout_as_missing(bench: Bench) -> None:
    bench.act(".github/workflows/ci.yml")
    commit_all(bench.crate)
    git(bench.crate, "sparse-checkout", "set", "src", "examples", "tests")
    before = snapshot(bench.crate)
    for arguments in ((), ("--fix",)):
        done = fast_rust("drift", *arguments, bench.crate)
        assert (done.returncode, "ci.yml" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
    assert snapshot(bench.crate) == before


# --- The lockfile ---


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_lockfile_marked_assume_unchanged_or_skip_worktree_is_kept(next_release: Bench, flag: str) -> None:
    crate = next_release.crate
    (crate / "Cargo.lock").write_text("version = 4\n", encoding="utf-8")
    commit_all(crate)
    next_release.publish()
    git(crate, "update-index", flag, "Cargo.lock")
    (crate / "Cargo.lock").write_text("version = 4\n# Mine.\n", encoding="utf-8")
    before = read_tree(crate)
    assert next_release.update().exit_code == 0
    assert (crate / "Cargo.lock").read_bytes() == before["Cargo.lock"]
    assert next_release.update("--abort").exit_code == 0
    assert read_tree(crate) == before


# --- Line endings, modes, binary files ---


def test_one_stray_line_ending_changes_no_other_line(next_release: Bench) -> None:
    crate = next_release.crate
    for path in ("Cargo.toml", CHANGED, "justfile"):
        lines = (crate / path).read_bytes().split(b"\n")
        lines[1] += b"\r"
        (crate / path).write_bytes(b"\n".join(lines))
    manifest = (crate / "Cargo.toml").read_bytes()
    (crate / "Cargo.toml").write_bytes(manifest.replace(b'unwrap_used = "warn"', b'unwrap_used = "allow"'))
    next_release.publish()
    assert fast_rust("drift", "--fix", crate).returncode == 0
    assert git(crate, "diff", "--numstat").split("\t")[0] == "1"
    git(crate, "commit", "--quiet", "--all", "--message", "Fix")
    assert next_release.update().exit_code == 0
    assert max(int(line.split("\t")[0]) for line in git(crate, "diff", "--numstat").splitlines()) <= 3


def test_a_file_of_the_template_with_windows_line_endings_is_updated(bench: Bench) -> None:
    for name in ("old.cmd", "edited.cmd"):
        (bench.template / "template" / ".github" / name).write_bytes(b"one\r\ntwo\r\n")
    release(bench.template, "v0.0.2")
    assert bench.update().exit_code == 0
    commit_all(bench.crate)
    (bench.template / "template" / ".github" / "old.cmd").unlink()
    (bench.template / "template" / ".github" / "edited.cmd").write_bytes(b"one\r\nthree\r\n")
    release(bench.template, "v0.0.3")
    done = bench.update()
    assert done.exit_code == 0, done.output
    assert not (bench.crate / ".github" / "old.cmd").exists()
    assert (bench.crate / ".github" / "edited.cmd").read_bytes() == b"one\r\nthree\r\n"


def test_a_release_makes_a_file_executable(bench: Bench) -> None:
    folder = bench.template / "template" / ".github"
    program = folder / "run.sh"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    (folder / "renovate.json").chmod(0o755)
    (folder / "workflows" / "ci.yml").chmod(0o755)
    (bench.crate / "justfile").chmod(0o755)
    bench.edit("template/justfile", "# Format the code.", "# Format all code.")
    assert bench.fast_rust().exit_code == 0
    for path in (".github/run.sh", ".github/renovate.json", ".github/workflows/ci.yml", "justfile"):
        assert os.access(bench.crate / path, os.X_OK), path
    assert not os.access(bench.crate / "Cargo.toml", os.X_OK)


def test_a_binary_file_is_a_conflict_with_that_reason(next_release: Bench) -> None:
    file = next_release.crate / CHANGED
    file.write_bytes(file.read_bytes() + b"# \0\n")
    before = file.read_bytes()
    done = next_release.fast_rust()
    assert done.exit_code == 1
    assert f"{CHANGED}: the file is binary, so it cannot be merged" in done.stdout
    assert file.read_bytes() == before
    assert next_release.unmerged()


def test_the_sides_of_a_conflict_pass_through_the_filter(next_release: Bench) -> None:
    """Otherwise git could not check out each side, and a secret could be stored in plain text."""
    crate = next_release.crate
    for name, value in (("smudge", "tr a-z n-za-m"), ("clean", "tr n-za-m a-z"), ("required", "true")):
        git(crate, "config", f"filter.secret.{name}", value)
    (crate / ".gitattributes").write_text(f"{CHANGED} filter=secret\n", encoding="utf-8")
    conflict(next_release)
    next_release.publish()
    assert fast_rust("update", crate).returncode == 1
    git(crate, "checkout", "--theirs", "--", CHANGED)
    assert (crate / CHANGED).read_bytes() == (next_release.template / "template" / CHANGED).read_bytes()


def test_a_conflict_in_a_folder_of_any_name_is_in_the_index(next_release: Bench) -> None:
    root = next_release.crate
    below = root / '"p"'
    below.mkdir()
    for path in [path for path in root.iterdir() if path.name not in {".git", '"p"'}]:
        shutil.move(path, below / path.name)
    crate = Bench(next_release.template, below)
    conflict(crate)
    next_release.publish()
    assert crate.update().exit_code == 1
    assert set(git(below, "ls-files", "-z", "--unmerged").split("\0")) - {""}
    assert crate.update("--abort").exit_code == 0
    assert git(root, "status", "--porcelain") == ""


# --- After the update is made, no error causes exit code 2 ---


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_closed_pipe_does_not_stop_an_update(next_release: Bench, reader: str) -> None:
    next_release.publish()
    command = f"{COMMAND} update {next_release.crate} | {reader}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert next_release.status() != ""
    assert done.returncode == 0, done.stderr


def test_a_failed_report_is_a_warning(next_release: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise PermissionError(13, "Permission denied", "/cache/renderings")

    monkeypatch.setattr("fast_rust.commands.update.inspect", fail)
    done = next_release.fast_rust()
    assert done.exit_code == 0
    assert (
        "warning: the update is complete, but the list of next steps could not be printed: Permission denied"
        in done.stderr
    )


def test_drift_reports_the_files_that_it_restored_before_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("justfile", "rust-toolchain.toml"):
        bench.act(path)
    commit_all(bench.crate)
    write = replace_file

    def fail_at_last(file: Path, content: bytes) -> None:
        if file.name == "rust-toolchain.toml":
            raise PermissionError(13, "Permission denied", str(file))
        write(file, content)

    monkeypatch.setattr(fixing, "replace_file", fail_at_last)
    done = invoke("drift", "--fix", bench.crate)
    assert done.exit_code == 2
    assert f"restored  {bench.crate / 'justfile'}" in done.stderr
    assert "Permission denied" in done.stderr


def test_a_locked_index_stops_a_conflict_before_it_writes(next_release: Bench) -> None:
    conflict(next_release)
    next_release.publish()
    (next_release.crate / ".git" / "index.lock").touch()
    before = read_tree(next_release.crate)
    done = next_release.update()
    assert done.exit_code == 2
    assert "index.lock exists, so another git process is running" in done.stderr
    assert read_tree(next_release.crate) == before


def test_the_second_of_two_concurrent_updates_is_an_error(next_release: Bench) -> None:
    next_release.publish()
    with journal.only_update(next_release.crate):
        done = fast_rust("update", next_release.crate)
    assert done.returncode == 2
    assert "another update of" in done.stderr
    command = [COMMAND, "update", str(next_release.crate)]
    runs = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
    results = [run.wait() for run in runs]
    assert 0 in results
    assert set(results) <= {0, 2}
    assert next_release.answers()["_commit"] == "v0.0.2"


# --- Invalid input ---


@pytest.mark.parametrize(
    "line",
    ["description: 2020-99-99", "description: 0x_", f"n: {'9' * 5000}", "n: " + "[" * 3000, '_src_path: "/tmp/a\\0b"'],
    ids=["date", "hex", "long", "nested", "nul"],
)
@pytest.mark.parametrize("command", ["update", "drift", "hot remove aggregate --crate"])
def test_unreadable_answers_are_reported(bench: Bench, line: str, command: str) -> None:
    answers = bench.crate / ANSWERS_FILE
    key = line.partition(":")[0]
    text = re.sub(rf"(?m)^{key}:.*\n", "", answers.read_text(encoding="utf-8"))
    answers.write_text(f"{text}{line}\n", encoding="utf-8")
    commit_all(bench.crate)
    done = fast_rust(*command.split(), bench.crate)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_backup_of_the_answers_is_ignored(next_release: Bench) -> None:
    shutil.copy(next_release.crate / ANSWERS_FILE, next_release.crate / ".copier-answers.old.yml")
    assert next_release.fast_rust().exit_code == 0
    assert next_release.answers()["_commit"] == "v0.0.2"


def test_an_answer_that_yaml_reads_as_true_is_accepted(next_release: Bench) -> None:
    done = next_release.fast_rust("--data", "publish=yes")
    assert "rejects your answer" not in done.stdout
    assert next_release.answers()["publish"] is True


def test_the_error_for_an_unknown_release_names_the_option(bench: Bench) -> None:
    done = bench.update("--to", "v9.9.9")
    assert done.exit_code == 2
    assert "--to v9.9.9: the template has no such release; the newest are: v0.0.1" in done.stderr


def test_the_error_for_a_missing_home_folder_names_the_variable(bench: Bench) -> None:
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can run as a user who is not in the table of users")
    bench.crate.parent.chmod(0o755)
    command = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", COMMAND, "drift", str(bench.crate)]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if "fast_rust" in done.stderr and "ModuleNotFoundError" in done.stderr:
        pytest.skip("that user cannot read this checkout")
    assert "Traceback" not in done.stderr


def test_a_submodule_in_the_way_is_reported(bench: Bench, tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    git(module, "init", "--quiet")
    git(module, "commit", "--quiet", "--allow-empty", "--message", "Module")
    git(bench.crate, "rm", "-r", "--quiet", ".github")
    git(bench.crate, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(module), ".github")
    commit_all(bench.crate)
    (bench.template / "template" / ".github" / "new.yml").write_text("# New.\n", encoding="utf-8")
    bench.publish()
    before = read_tree(bench.crate)
    done = bench.update()
    assert done.exit_code == 2, done.output
    assert ".github is a submodule, and the update would write .github/new.yml into it" in done.stderr
    assert read_tree(bench.crate) == before


def test_git_dir_outside_a_repository_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.publish()
    git_dir = Path(shutil.move(bench.crate / ".git", bench.crate.parent / "dotfiles.git"))
    monkeypatch.setenv("GIT_DIR", str(git_dir))
    done = fast_rust("update", bench.crate)
    assert done.returncode == 2
    assert "fast-rust ignores the variable GIT_DIR, since git sets it for hooks" in done.stderr


def test_a_changelog_is_printed_in_any_encoding(next_release: Bench) -> None:
    changelog = next_release.template / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## 0.0.2\n\nFrom → to žluť.\n", encoding="utf-8")
    next_release.publish()
    done = fast_rust("update", next_release.crate, environment={"PYTHONIOENCODING": "cp1252"})
    assert done.returncode == 0, done.stderr


def test_the_users_lines_are_kept(next_release: Bench) -> None:
    next_release.act(CHANGED)
    assert next_release.fast_rust().exit_code == 0
    assert (next_release.crate / CHANGED).read_text(encoding="utf-8").endswith(OURS)
