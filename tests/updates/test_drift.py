"""`fast-rust drift` finds what differs from the release in what the template owns, and restores only that."""

import json
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import CliRunner, Result

from fast_rust import releases
from fast_rust.answers import ANSWERS_FILE
from fast_rust.git import Config, output
from fast_rust.main import application
from ownership import owners
from template import Template, copy, git, read_tree, release
from variants import domain

Act: TypeAlias = Callable[[Path], None]
PLAIN: dict[str, str | bool] = {"cpu_level": "x86-64-v3", "container": True}


def drift(*arguments: str | Path) -> Result:
    """Run the command, without starting Python anew."""
    return CliRunner().invoke(application, ["drift", *map(str, arguments)])


def commit(crate: Path) -> None:
    git(crate, "add", "--all")
    git(crate, "commit", "--quiet", "--allow-empty", "--message", "An act of a user")


@pytest.fixture(scope="module", params=domain("kind"))
def made(request: pytest.FixtureRequest, template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crate of each kind, as it was made; read only."""
    crate = tmp_path_factory.mktemp("drift") / "log-totals"
    assert copy(template.repository, crate, {"kind": request.param, **PLAIN}).exit_code == 0
    git(crate, "init", "--quiet")
    commit(crate)
    return crate


@pytest.fixture
def crate(made: Path, tmp_path: Path) -> Path:
    """A crate to act on."""
    return Path(shutil.copytree(made, tmp_path / "log-totals"))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_fresh_crate_is_in_line(made: Path) -> None:
    done = drift(made)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{made}: v0.0.1", "  in line with its release"]


def test_each_managed_file_that_is_changed_or_missing_is_named_and_put_back(crate: Path) -> None:
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


def test_starters_and_files_of_the_crates_own_are_nobodys_business(crate: Path) -> None:
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
    edit(crate / "bench" / "Cargo.toml", 'toml = "1.2"', 'toml = "1.0"')


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
    lower_floor: "bench/Cargo.toml: dev-dependencies.toml",
    lift_threshold: "clippy.toml: large-error-threshold",
    take_out_ban: "clippy.toml: disallowed-methods",
    allow_registries: "deny.toml: sources.unknown-registry",
}


@pytest.mark.parametrize("act", LOOSENINGS, ids=lambda act: act.__name__)
def test_a_loosened_key_is_named_and_put_back_by_its_meaning(crate: Path, act: Act) -> None:
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
def test_a_reason_on_the_line_makes_a_loosened_key_no_drift(crate: Path, act: Act) -> None:
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
edit: bench/Cargo.toml: toml = "1.2" -> toml = { version = "1.5", features = ["preserve_order"] }
"""


@pytest.mark.parametrize("line", TIGHTENED.strip().splitlines())
def test_what_is_stricter_is_in_line(crate: Path, line: str) -> None:
    _, path, change = line.split(": ", 2)
    edit(crate / path, *change.split(" -> "))
    assert drift(crate).exit_code == 0


def test_putting_a_key_back_leaves_every_other_line(crate: Path) -> None:
    manifest = crate / "Cargo.toml"
    edit(manifest, "[workspace]\n", "[workspace] # ours\n")
    text = manifest.read_text(encoding="utf-8")
    loosen_lint(crate)
    commit(crate)
    assert drift(crate, "--fix").exit_code == 0
    assert manifest.read_text(encoding="utf-8") == text


def test_a_floor_put_back_leaves_the_features_of_a_dependency(crate: Path) -> None:
    edit(crate / "bench" / "Cargo.toml", 'toml = "1.2"', 'toml = { version = "1.0", features = ["preserve_order"] }')
    commit(crate)
    assert drift(crate, "--fix").exit_code == 0
    toml = tomllib.loads((crate / "bench" / "Cargo.toml").read_text(encoding="utf-8"))["dev-dependencies"]["toml"]
    assert toml == {"version": "1.2", "features": ["preserve_order"]}


def test_a_file_that_is_no_toml_is_named_and_left(crate: Path) -> None:
    (crate / "deny.toml").write_text("[licenses\n")
    commit(crate)
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert "changed   deny.toml (not valid TOML: " in done.stdout
    assert "deny.toml: it is not valid TOML, so its keys cannot be compared. Fix the syntax first" in done.stderr
    assert (crate / "deny.toml").read_text() == "[licenses\n"


def test_windows_ends_of_lines_are_no_drift(crate: Path) -> None:
    for path, content in read_tree(crate).items():
        (crate / path).write_bytes(content.replace(b"\n", b"\r\n"))
    assert drift(crate).exit_code == 0


def test_what_is_put_back_has_the_ends_of_lines_of_its_file(crate: Path) -> None:
    for path in ("Cargo.toml", "justfile"):
        (crate / path).write_bytes((crate / path).read_bytes().replace(b"\n", b"\r\n"))
    before = read_tree(crate)
    (crate / "justfile").write_bytes(before["justfile"] + b"mine:\r\n")
    manifest = before["Cargo.toml"].replace(b'unwrap_used = "warn"', b'unwrap_used = "allow"')
    (crate / "Cargo.toml").write_bytes(manifest)
    commit(crate)
    assert drift(crate, "--fix").exit_code == 0
    assert read_tree(crate) == before


def test_uncommitted_work_is_overwritten_by_force_only(crate: Path) -> None:
    (crate / "justfile").write_text("mine:\n    true\n")
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert "uncommitted work" in done.stderr
    assert (crate / "justfile").read_text() == "mine:\n    true\n"
    assert drift(crate, "--fix", "--force").exit_code == 0
    assert (crate / "justfile").read_text() != "mine:\n    true\n"


def look_away(crate: Path) -> None:
    git(crate, "update-index", "--assume-unchanged", "justfile")


def out_of_sight(crate: Path) -> None:
    git(crate, "config", "status.showUntrackedFiles", "no")
    git(crate, "rm", "--quiet", "--cached", "justfile")
    git(crate, "commit", "--quiet", "--message", "Our own from now on")


@pytest.mark.parametrize("act", [look_away, out_of_sight])
def test_work_that_git_does_not_show_is_uncommitted_too(crate: Path, act: Act) -> None:
    act(crate)
    (crate / "justfile").write_text("mine:\n    true\n")
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert "uncommitted work" in done.stderr
    assert (crate / "justfile").read_text() == "mine:\n    true\n"


def test_a_manifest_that_is_gone_is_not_made_up(crate: Path) -> None:
    (crate / "Cargo.toml").unlink()
    (crate / "clippy.toml").unlink()
    done = drift(crate, "--fix")
    assert done.exit_code == 1
    assert "Run `git checkout` to restore it" in done.stderr
    assert not (crate / "Cargo.toml").exists()
    assert (crate / "clippy.toml").exists()


def test_every_crate_of_a_workspace_is_looked_at(crate: Path, template: Template) -> None:
    member = crate / "crates" / "log-reader"
    assert copy(template.repository, member, {"place": "member", "kind": "lib"}).exit_code == 0
    (member / "bench" / "tests" / "standards.rs").write_text("")
    done = drift(crate)
    assert done.exit_code == 1
    assert f"{member}: v0.0.1\n  changed   bench/tests/standards.rs" in done.stdout


ANOTHER = "_src_path: /nowhere\n_commit: v1.0.0\nteam: core\n"


@pytest.mark.parametrize("name", [".copier-answers.acme.yml", ANSWERS_FILE])
def test_answers_to_another_template_are_its_own_business(crate: Path, name: str) -> None:
    """A crate that a second template has a part in has a file of answers for each, whichever has the usual name."""
    if name == ANSWERS_FILE:
        git(crate, "mv", ANSWERS_FILE, ".copier-answers.rust.yml")
    (crate / name).write_text(ANOTHER)
    (crate / "docs").mkdir()
    (crate / "docs" / ANSWERS_FILE).write_text(ANOTHER)
    (crate / "STANDARDS.md").write_text("")
    commit(crate)
    done = drift(crate)
    assert (done.exit_code, done.stdout.splitlines()) == (1, [f"{crate}: v0.0.1", "  changed   STANDARDS.md"])
    (crate / ".copier-answers.rust.yml").unlink(missing_ok=True)
    if name == ANSWERS_FILE:
        assert "lacks `_src_path`, `_commit` or `crate_name`" in drift(crate).stderr


def test_newer_releases_are_named(crate: Path, template: Template, tmp_path: Path) -> None:
    repository = tmp_path / "template"
    shutil.copytree(template.repository, repository, symlinks=True)
    release(repository, "v0.0.2")
    release(repository, "v0.1.0rc1")
    done = drift(crate, "--template", repository)
    assert done.exit_code == 0
    assert f"{crate}: v0.0.1, 1 behind v0.0.2" in done.stdout


# --- Where it cannot tell ---


def without_answers(crate: Path) -> None:
    (crate / ANSWERS_FILE).unlink()


def without_release(crate: Path) -> None:
    edit(crate / ANSWERS_FILE, "_commit: v0.0.1\n", "")


def unknown_release(crate: Path) -> None:
    edit(crate / ANSWERS_FILE, "_commit: v0.0.1", "_commit: v9.9.9")


def release_like_an_option(crate: Path) -> None:
    edit(crate / ANSWERS_FILE, "_commit: v0.0.1", "_commit: --output=x")


def yaml_that_makes_objects(crate: Path) -> None:
    (crate / ANSWERS_FILE).write_text("_commit: !!python/object/apply:os.system ['touch hacked']\n_src_path: x\n")


def address_that_runs_a_command(crate: Path) -> None:
    text = (crate / ANSWERS_FILE).read_text().splitlines()
    lines = ["_src_path: ext::sh -c touch% hacked" if line.startswith("_src_path") else line for line in text]
    (crate / ANSWERS_FILE).write_text("\n".join(lines))


def unreachable_template(crate: Path) -> None:
    text = (crate / ANSWERS_FILE).read_text().splitlines()
    lines = ["_src_path: file:///nowhere/at/all" if line.startswith("_src_path") else line for line in text]
    (crate / ANSWERS_FILE).write_text("\n".join(lines))


def relative_template(crate: Path) -> None:
    text = (crate / ANSWERS_FILE).read_text().splitlines()
    lines = ["_src_path: ." if line.startswith("_src_path") else line for line in text]
    (crate / ANSWERS_FILE).write_text("\n".join(lines))


UNCLEAR: dict[Act, str] = {
    without_answers: "is missing, so the crate's template and release are unknown",
    without_release: "lacks `_src_path`, `_commit` or `crate_name`",
    unknown_release: "has no release v9.9.9 (its newest is v0.0.1)",
    release_like_an_option: "has no release --output=x",
    yaml_that_makes_objects: "is damaged",
    address_that_runs_a_command: "is not the address of a template",
    unreachable_template: "git clone: '/nowhere/at/all' does not appear to be a git repository",
    relative_template: "is relative",
}


@pytest.mark.parametrize("act", UNCLEAR, ids=lambda act: act.__name__)
def test_what_cannot_be_told_is_said_with_a_code_of_its_own(crate: Path, act: Act) -> None:
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


def test_it_starts_quickly_enough_for_a_hook(made: Path) -> None:
    """Nothing is imported that takes long and has no part in it: Copier with a rendering at hand, other commands."""
    drift(made)
    slow = {"copier", "fast_rust.commands.fleet", "fast_rust.standards", "markdown_it"}
    code = "import sys; from fast_rust.main import application\ntry: application()\n"
    code += f"finally: print(sorted({slow} & sys.modules.keys()))"
    done = subprocess.run(["python", "-c", code, "drift", str(made)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_of_two_first_runs_at_once_one_clones_the_template(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other waits for it, and finds the mirror."""
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
