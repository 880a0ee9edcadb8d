"""`hot` with damaged files, on a full disk, and after a kill: it reports an error, and loses no line."""

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fast_rust.answers import ANSWERS_FILE
from fast_rust.errors import FastRustError
from fast_rust.hot import changes as writing
from fast_rust.hot.add import add
from fast_rust.hot.changes import Changes
from fast_rust.hot.remove import remove
from standards.made import make
from support.files import read_tree
from support.git import git, release
from support.template import Template

Plan = Callable[[Path], Changes]


@pytest.fixture
def crate(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> Path:
    """A committed library without the sample, with a hot path `decode` unless the test adds the first one."""
    made = tmp_path / "crate"
    shutil.copytree(template.rendering({"crate_name": "log-totals", "kind": "lib", "sample": False}), made)
    if "plan" not in request.fixturenames or request.getfixturevalue("plan") not in FIRST.values():
        add(made, "decode").apply()
    git(made, "init", "--quiet")
    release(made, "made")
    return made


PLANS: dict[str, Plan] = {
    "add": lambda crate: add(crate, "parse"),
    "remove": lambda crate: remove(crate, "decode"),
}
FIRST: dict[str, Plan] = {"add the first": lambda crate: add(crate, "parse")}
plans = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
all_plans = pytest.mark.parametrize("plan", [*PLANS.values(), *FIRST.values()], ids=[*PLANS, *FIRST])


class Killed(BaseException):
    """Simulates the end of the process at this point."""


def operations(monkeypatch: pytest.MonkeyPatch, fails_at: int, error: BaseException) -> list[str]:
    """Count the operations on the disk, and let one of them fail."""
    done: list[str] = []

    def counted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            done.append(name)
            if len(done) - 1 == fails_at:
                raise error
            return real(*arguments)

        return run

    for name in ("_write_part", "remove_file"):
        monkeypatch.setattr(writing, name, counted(name, getattr(writing, name)))
    monkeypatch.setattr(Path, "replace", counted("replace", Path.replace))
    return done


@all_plans
def test_after_a_failed_write_all_files_are_unchanged(crate: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation on the disk fails once."""
    before = read_tree(crate)
    for fails_at in range(100):
        with monkeypatch.context() as patch:
            done = operations(patch, fails_at, OSError(errno.ENOSPC, "No space left on device", str(crate / "x")))
            changes = plan(crate)
            try:
                changes.apply()
            except FastRustError as error:
                assert re.search("No space left on device: .*; no file was changed", str(error))  # noqa: PT017
            else:
                break
        assert read_tree(crate) == before
    assert fails_at == len(done) > 4


@all_plans
def test_after_a_kill_nothing_is_lost(crate: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kill is at each operation; then the same command completes, or `git checkout` restores what it needs."""
    with monkeypatch.context():
        changes = plan(crate)
    changes.apply()
    complete = read_tree(crate)
    for fails_at in range(100):
        git(crate, "checkout", "--quiet", ".")
        git(crate, "clean", "--quiet", "--force", "-d")
        with monkeypatch.context() as patch:
            patch.setattr(Changes, "_restore", lambda *_: None)
            done = operations(patch, fails_at, Killed())
            try:
                plan(crate).apply()
            except Killed:
                pass
            else:
                break
        if plan is PLANS["remove"]:
            git(crate, "checkout", "--quiet", ".")
            writing.require_committed(crate)
        plan(crate).apply()
        assert read_tree(crate) == complete
    assert fails_at == len(done) > 4


@plans
@pytest.mark.parametrize("name", ["src/lib.rs", "bench/Cargo.toml"])
def test_a_read_only_file_is_not_replaced(crate: Path, plan: Plan, name: str) -> None:
    (crate / name).chmod(0o444)
    before = read_tree(crate)
    with pytest.raises(FastRustError, match=f"{name} is read-only; run `chmod u\\+w {name}`"):
        plan(crate).apply()
    assert read_tree(crate) == before


@plans
@pytest.mark.parametrize("name", ["src/lib.rs", "bench/Cargo.toml", "bench/benches", "src"])
def test_nothing_is_written_through_a_symlink(crate: Path, plan: Plan, name: str, tmp_path: Path) -> None:
    (crate / name).rename(tmp_path / "elsewhere")
    (crate / name).symlink_to(tmp_path / "elsewhere")
    before = read_tree(tmp_path)
    with pytest.raises(FastRustError, match=f"{name} is a symlink; refusing to write through it"):
        plan(crate).apply()
    assert read_tree(tmp_path) == before


TOML_1_1 = {
    "a trailing comma": 'x = { version = "1", }\n',
    "lines in an inline table": 'x = {\n  version = "1"\n}\n',
    "an escape": 'x = "\\e"\n',
}


@plans
@pytest.mark.parametrize("toml", TOML_1_1)
@pytest.mark.parametrize("name", ["Cargo.toml", "bench/Cargo.toml"])
def test_toml_1_1_is_reported(crate: Path, plan: Plan, toml: str, name: str) -> None:
    manifest = crate / name
    text = manifest.read_text(encoding="utf-8")
    line = text.count("\n") + 2
    manifest.write_text(f"{text}[package.metadata.x]\n{TOML_1_1[toml]}", encoding="utf-8")
    before = read_tree(crate)
    with pytest.raises(FastRustError, match=rf"{name}:{line}: cannot be read as TOML 1.0 .* TOML 1.1: write each"):
        plan(crate).apply()
    assert read_tree(crate) == before


@plans
@pytest.mark.parametrize("manifest", ["", "[workspace]\n", "package = 3\n", "[package]\n", "[package]\nname = 3\n"])
def test_a_manifest_without_a_package_is_reported(crate: Path, plan: Plan, manifest: str) -> None:
    (crate / "Cargo.toml").write_text(manifest, encoding="utf-8")
    with pytest.raises(FastRustError, match=r"Cargo.toml has no `\[package\]` with a `name`"):
        plan(crate)


@plans
@pytest.mark.parametrize("name", ["src/lib.rs", "Cargo.toml", "bench/Cargo.toml"])
def test_a_file_that_is_not_utf_8_is_reported(crate: Path, plan: Plan, name: str) -> None:
    (crate / name).write_bytes(b"# \xff\n")
    with pytest.raises(FastRustError, match=f"{name} is not UTF-8"):
        plan(crate)


DAMAGED = {
    "missing": None,
    "empty": b"",
    "a list": b"- a\n",
    "no YAML": b"{",
    "not UTF-8": b"\xff\xfe",
    "without a release": b"_src_path: x\ncrate_name: y\nsample: true\n",
    "no such template": b"_src_path: /nowhere/at/all\n_commit: v1\ncrate_name: y\nsample: true\n",
    "another type": b"_src_path: [1]\n_commit: v1\ncrate_name: y\nsample: true\n",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_answers_are_reported(crate: Path, damage: str) -> None:
    content = DAMAGED[damage]
    answers = crate / ANSWERS_FILE
    answers.unlink()
    if content is not None:
        answers.write_bytes(content)
    with pytest.raises(FastRustError, match=r"copier-answers\.yml|cannot be rendered"):
        remove(crate, "aggregate")


@pytest.mark.parametrize("value", ["[1, 2]", "3", "{a: b}", "", '"\\0"'])
@pytest.mark.parametrize("key", ["kind", "description", "license", "msrv", "place"])
def test_a_damaged_answer_is_reported(template: Template, tmp_path: Path, key: str, value: str) -> None:
    made = tmp_path / "crate"
    make(template, made)
    answers = made / ANSWERS_FILE
    answers.write_text(re.sub(rf"(?m)^{key}:.*$", f"{key}: {value}", answers.read_text()), encoding="utf-8")
    before = read_tree(made)
    try:
        remove(made, "aggregate")
    except FastRustError as error:
        assert str(error)  # noqa: PT017
    assert read_tree(made) == before


# --- Line endings ---


def lines_of(crate: Path, name: str) -> list[bytes]:
    return (crate / name).read_bytes().splitlines(keepends=True)


@plans
@pytest.mark.parametrize("every", [1, 2, 3])
def test_each_line_keeps_its_ending(crate: Path, plan: Plan, every: int) -> None:
    """The line endings are those of Windows, or mixed, as an editor leaves them."""
    names = ["src/lib.rs", "Cargo.toml", "bench/Cargo.toml"]
    for name in (name for name in names if (crate / name).exists()):
        lines = lines_of(crate, name)
        mixed = [line.replace(b"\n", b"\r\n") if at % every == 0 else line for at, line in enumerate(lines)]
        (crate / name).write_bytes(b"".join(mixed))
    before = {name: lines_of(crate, name) for name in names if (crate / name).exists()}
    plan(crate).apply()
    for name in (name for name in before if (crate / name).exists()):
        after = lines_of(crate, name)
        ends = {line for line in after if line.strip() and line not in before[name]}
        assert all(line.rstrip(b"\r\n") not in {old.rstrip(b"\r\n") for old in before[name]} for line in ends), ends
        if every == 1:
            assert all(line.endswith(b"\r\n") for line in after)


def test_new_files_have_the_line_endings_of_the_library(crate: Path) -> None:
    library = crate / "src" / "lib.rs"
    library.write_bytes(library.read_bytes().replace(b"\n", b"\r\n"))
    add(crate, "parse").apply()
    for line in lines_of(crate, "src/parse.rs"):
        assert line.endswith(b"\r\n")


def test_the_sample_is_removed_from_files_with_windows_line_endings(template: Template, tmp_path: Path) -> None:
    trees = {}
    for name, sample in (("with", True), ("never", False)):
        made = tmp_path / name
        make(template, made, kind="service", description="Adds", sample=sample)
        for path in made.rglob("*"):
            if path.is_file() and path.name != ANSWERS_FILE and ".git" not in path.relative_to(made).parts:
                path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        if sample:
            remove(made, "aggregate").apply()
        trees[name] = read_tree(made)
    assert trees["with"] == trees["never"]


# --- Files that git could not restore ---


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_status_ignores_is_reported(crate: Path, flag: str) -> None:
    git(crate, "update-index", flag, "src/decode.rs")
    writing.require_committed(crate)
    with pytest.raises(FastRustError, match=r"uncommitted ones: src/decode.rs"):
        remove(crate, "decode").require_restorable()


def test_an_ignored_file_is_not_deleted(crate: Path) -> None:
    (crate / "src" / "decode").mkdir()
    (crate / "src" / "decode" / "table.rs").write_text("//! Mine.\n")
    with (crate / ".gitignore").open("a") as ignored:
        ignored.write("table.rs\n")
    git(crate, "commit", "--quiet", "--all", "--message", "Ignore")
    writing.require_committed(crate)
    with pytest.raises(FastRustError, match=r"uncommitted ones: src/decode/table.rs"):
        remove(crate, "decode").require_restorable()
