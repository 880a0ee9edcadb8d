"""What staging disables, and what it never disables; functions replace the tools, so no test builds anything."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from fast_rust.adopt import gates, staging
from fast_rust.adopt.enabling import ratchet, unstaged
from fast_rust.adopt.gates import NEXTEST, Gates
from fast_rust.adopt.marks import marks
from fast_rust.adopt.planning import BRANCH
from fast_rust.adopt.staging import GateError
from fast_rust.checks.findings import Finding
from support.adoption import PACKAGE, PLAIN, Files, make
from support.command import drift, invoke
from support.git import commit, git
from support.template import Template

Play: TypeAlias = Callable[[Path], tuple[int, str, str]]
Tools: TypeAlias = dict[str, Play]


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    """The simulated output of cargo commands and recipes, by name; all other commands find nothing."""
    played: Tools = {}

    def play(self: Gates, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        assert cwd is None or cwd.is_dir()
        name = command[1] if command[0] == "cargo" else command[-1]
        code, stdout, stderr = played[name](self.root) if name in played else (0, "", "")
        return subprocess.CompletedProcess(command, code, stdout, stderr)

    monkeypatch.setattr(Gates, "run", play)
    monkeypatch.setattr(gates, "find_all", lambda *_, **__: [])
    return played


def hit(lint: str, text: str = "x", line: int = 3, level: str = "warning", note: str = "") -> str:
    """Return clippy's output for a location."""
    span = {"is_primary": True, "file_name": "src/lib.rs", "line_start": line, "column_start": 5}
    children = [{"message": note}] if note else []
    message = {"code": {"code": lint}, "level": level, "message": text, "spans": [span], "children": children}
    return json.dumps({"reason": "compiler-message", "message": message}) + "\n"


def if_in(file: str, pattern: str, printed: str) -> Play:
    """Simulate a finding as long as a file has a line."""

    def play(root: Path) -> tuple[int, str, str]:
        text = (root / file).read_text() if (root / file).exists() else ""
        return 0, printed if re.search(pattern, text, re.MULTILINE) else "", ""

    return play


def adopt(crate: Path, template: Template) -> str:
    """Adopt a crate with the simulated tools, and return the output of the command."""
    done = invoke("adopt", crate, "--template", template.repository)
    assert "Traceback" not in done.output
    assert done.exit_code == (0 if git(crate, "branch", "--list", BRANCH) else 2), done.output
    return " ".join(done.output.split())


OWN_BANS = 'disallowed-methods = [{ path = "std::env::set_var", reason = "it is racy" }]\n'
CHANNEL = r'^ *\{path = "std::sync::mpsc::channel"'


def test_only_our_failing_ban_is_disabled(tmp_path: Path, template: Template, tools: Tools) -> None:
    tools["clippy"] = if_in(
        "clippy.toml", CHANNEL, hit("clippy::disallowed_methods", "use of `std::sync::mpsc::channel`")
    )
    crate = make(tmp_path / "word-counts", {**PLAIN, "clippy.toml": OWN_BANS})
    printed = adopt(crate, template)
    assert "- clippy::disallowed_methods: 1" in printed
    text = (crate / "clippy.toml").read_text()
    assert OWN_BANS.rstrip("]\n") in text
    assert re.search(r'\n    # \{path = "std::sync::mpsc::channel".*# reason: staged by adopt, 1 place\n', text)
    assert "disallowed_methods" not in (crate / "Cargo.toml").read_text()
    done = drift(crate)
    assert done.exit_code == 0, done.output
    assert "loosened  clippy.toml: disallowed-methods" in done.stdout

    tools["clippy"] = lambda _: (0, "", "")
    done = invoke("adopt", "--unstage", crate)
    assert done.exit_code == 0, done.output
    assert re.search(CHANNEL, (crate / "clippy.toml").read_text(), re.MULTILINE)
    assert "staged" not in (crate / "clippy.toml").read_text()


def test_the_first_locations_of_a_gate_are_in_the_report_with_the_command(
    tmp_path: Path, template: Template, tools: Tools
) -> None:
    hits = "".join(hit("clippy::todo", line=line) for line in (3, 4, 5, 6))
    tools["clippy"] = if_in("Cargo.toml", '^todo = "warn"', hits)
    printed = adopt(make(tmp_path / "word-counts", PLAIN), template)
    command = "cargo clippy --workspace --all-targets --all-features -- --warn clippy::todo"
    assert f"- clippy::todo: 4: src/lib.rs:3, src/lib.rs:4, src/lib.rs:5, ...; to list all, run `{command}`" in printed


def test_files_of_members_have_their_folder(tmp_path: Path, template: Template, tools: Tools) -> None:
    found = {"findings": [{"message": "1 unlinked file in `m`\nsrc/old.rs"}]}
    tools["shear"] = lambda root: (
        int("m/src/old.rs" not in (root / "Cargo.toml").read_text()),
        json.dumps(found),
        "error: x",
    )
    files = {"Cargo.toml": f'{PACKAGE}[workspace]\nmembers = ["m"]\n', "src/lib.rs": "", "m/src/lib.rs": ""}
    crate = make(tmp_path / "word-counts", {**files, "m/Cargo.toml": PACKAGE.replace("word-counts", "m")})
    assert "- cargo-shear: 1: m/src/old.rs;" in adopt(crate, template)


def test_lints_that_fail_only_with_our_configuration_stay_enabled(
    tmp_path: Path, template: Template, tools: Tools
) -> None:
    tools["clippy"] = if_in("clippy.toml", "^avoid-breaking.* = false", hit("clippy::needless_pass_by_value"))
    crate = make(tmp_path / "word-counts", PLAIN)
    assert "- clippy.toml::avoid-breaking-exported-api: 1" in adopt(crate, template)
    assert "needless_pass_by_value" not in (crate / "Cargo.toml").read_text()
    done = drift(crate)
    assert done.exit_code == 0, done.output
    assert "loosened  clippy.toml: avoid-breaking-exported-api" in done.stdout


LEFT: dict[str, tuple[Files, str, Play, str]] = {
    "own_ban": (
        {"clippy.toml": OWN_BANS},
        "clippy",
        lambda _: (0, hit("clippy::disallowed_methods", "`std::env::set_var`"), ""),
        "your clippy.toml bans src/lib.rs:3; run `cargo clippy",
    ),
    "source": (
        {},
        "doc",
        lambda _: (0, hit("missing_docs"), ""),
        "rustc::missing_docs: an attribute or another [lints] table enables it for src/lib.rs:3; run `cargo doc",
    ),
    "format": (
        {"rustfmt.toml": "max_width = 90\n"},
        "fmt",
        lambda root: (1, f"{root}/src/a.rs\n", ""),
        "rustfmt, configured by your rustfmt.toml, would reformat src/a.rs; run `cargo fmt --all`",
    ),
    "no_format": (
        {},
        "fmt",
        lambda _: (1, "", "error: not found\n\n-h  Print help\n"),
        "rustfmt failed to run: error: not found; run `cargo fmt --all` to see its full output",
    ),
    "licence": (
        {"deny.toml": '[licenses]\nallow = ["MIT"]\n'},
        "deny",
        lambda _: (1, "", refused("rejected", "MPL-2.0 is not allowed")),
        "cargo-deny rejects MPL-2.0 is not allowed; run `cargo deny",
    ),
    "own_crate": (
        {"deny.toml": '[bans]\ndeny = ["bincode"]\n'},
        "deny",
        lambda _: (1, "", refused("banned", "crate 'bincode = 1.3.3' is explicitly banned")),
        "cargo-deny rejects crate 'bincode = 1.3.3' is explicitly banned",
    ),
    "shear": ({}, "shear", lambda _: (2, "", "  × broken\n   ╰────\n"), "cargo-shear failed to run: × broken"),
    "no_tests": (
        {},
        "lint",
        lambda _: (4, "", "error: no tests to run\n"),
        "`just test` fails: the crate has no test except doctests",
    ),
    "recipe": ({}, "test", lambda _: (1, "", "the test counts failed\n"), "`just test` fails: the test counts failed"),
}


def refused(code: str, message: str) -> str:
    """Return cargo-deny's output for a rejected crate or license."""
    return json.dumps({"type": "diagnostic", "fields": {"severity": "error", "code": code, "message": message}})


@pytest.mark.parametrize("name", LEFT)
def test_a_gate_of_the_crate_is_never_disabled(tmp_path: Path, template: Template, tools: Tools, name: str) -> None:
    files, tool, play, message = LEFT[name]
    # The crate's own tests pass.
    calls = iter(range(10))
    tools[tool] = (lambda root: play(root) if next(calls) else (0, "", "")) if name == "recipe" else play
    crate = make(tmp_path / "word-counts", {**PLAIN, **files})
    printed = adopt(crate, template)
    assert message in printed
    assert "nothing was changed" in printed
    assert not git(crate, "branch", "--list", BRANCH)


def test_only_the_banned_dependency_is_exempted(tmp_path: Path, template: Template, tools: Tools) -> None:
    banned = refused("banned", "crate 'bincode = 1.3.3' is explicitly banned")
    tools["deny"] = lambda _: (1, "", banned)
    crate = make(tmp_path / "word-counts", PLAIN)
    assert "- cargo-deny: 1" in adopt(crate, template)
    assert '\n    # { name = "bincode"' in (crate / "deny.toml").read_text()
    assert '\n    { name = "fxhash"' in (crate / "deny.toml").read_text()


BEFORE: Mapping[str, tuple[str, Play, str]] = {
    "build": (
        "build",
        lambda _: (101, "", "   Compiling x\nerror: failed to run custom build command\n\ncaused by: no cmake\n"),
        "`cargo build` fails before the adoption, in a fresh clone of the last commit, so nothing was changed: error:",
    ),
    "tests": ("test", lambda _: (101, "test a::b ... FAILED\n", ""), "`cargo test` fails before the adoption"),
    "features": (
        "clippy",
        lambda _: (101, hit("E0428", "`f` is defined multiple times", level="error"), "error: could not compile\n"),
        "error[E0428]: `f` is defined multiple times at src/lib.rs:3; run `cargo clippy --workspace --all-targets",
    ),
    "denied": (
        "clippy",
        lambda _: (101, hit("clippy::todo", level="error", note="`-D clippy::todo`"), ""),
        "the crate fails lints that it denies itself: clippy::todo at src/lib.rs:3; run `cargo clippy",
    ),
}


@pytest.mark.parametrize("name", BEFORE)
def test_a_crate_whose_gates_cannot_run_is_rejected_before_any_file_is_written(
    tmp_path: Path, template: Template, tools: Tools, name: str
) -> None:
    tool, play, message = BEFORE[name]
    tools[tool] = play
    crate = make(tmp_path / "word-counts", PLAIN)
    assert message in adopt(crate, template)
    assert not git(crate, "branch", "--list", BRANCH)


def test_a_lint_that_clippy_denies_by_itself_is_staged(tmp_path: Path, tools: Tools) -> None:
    tools["clippy"] = lambda _: (
        101,
        hit("clippy::eq_op", level="error", note="`#[deny(clippy::eq_op)]` on by default"),
        "",
    )
    staging.before(tmp_path, tmp_path, tmp_path)


def test_an_adoption_that_breaks_the_build_is_not_committed(tmp_path: Path, template: Template, tools: Tools) -> None:
    tools["build"] = lambda root: (101 if (root / "deny.toml").exists() else 0, "", "error: no")
    crate = make(tmp_path / "word-counts", PLAIN)
    assert "`cargo build` fails after the adoption, so nothing was changed: error: no" in adopt(crate, template)


def test_an_error_of_a_lint_is_not_treated_as_a_compiler_error(tmp_path: Path, tools: Tools) -> None:
    tools["test"] = lambda _: (101, "", "warning: x\nerror: test failed, to rerun pass `--lib`\n")
    with pytest.raises(GateError, match="error: test failed"):
        staging.after(tmp_path, tmp_path, tmp_path)


def test_tests_with_a_race_run_one_at_a_time(tmp_path: Path, template: Template, tools: Tools) -> None:
    def test(root: Path) -> tuple[int, str, str]:
        file = root / NEXTEST
        return int(file.exists() and "test-threads = 1" not in file.read_text()), "", "error: address in use"

    tools["test"] = test
    made = make(tmp_path / "word-counts", PLAIN)
    assert "- nextest::test-threads: 1: all tests, one after the other" in adopt(made, template)
    assert (
        "test-threads = 1 # reason: adopted, the tests fail when nextest runs them in parallel"
        in (made / NEXTEST).read_text()
    )
    assert drift(made).exit_code == 0


# --- Enabling staged gates ---


@pytest.fixture
def crate(tmp_path: Path, template: Template, tools: Tools) -> Path:
    """An adopted crate with two hits of one lint."""
    two = hit("clippy::todo") + hit("clippy::todo", line=9)
    tools["clippy"] = if_in("Cargo.toml", '^todo = "warn"', two)
    made = make(tmp_path / "word-counts", PLAIN)
    assert "- clippy::todo: 2" in adopt(made, template)
    return made


def unstage(crate: Path) -> tuple[int, str]:
    """Unstage, and return the exit code and the output."""
    done = invoke("adopt", "--unstage", crate)
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def unstage_without_effect(crate: Path) -> str:
    """Unstage where nothing may change, and return the output."""
    before = (crate / "Cargo.toml").read_text()
    code, printed = unstage(crate)
    assert code == 1
    assert (crate / "Cargo.toml").read_text() == before
    return printed


def test_a_count_that_grew_keeps_its_limit_and_is_rejected_with_the_locations(crate: Path, tools: Tools) -> None:
    three = "".join(hit("clippy::todo", line=line) for line in (3, 9, 27))
    tools["clippy"] = if_in("Cargo.toml", '^todo = "warn"', three)
    printed = unstage_without_effect(crate)
    assert "clippy::todo: 2 when `adopt` disabled it, 3 now" in printed
    assert "src/lib.rs:27" in printed


def test_a_count_that_fell_becomes_the_new_limit(crate: Path, tools: Tools) -> None:
    tools["clippy"] = if_in("Cargo.toml", '^todo = "warn"', hit("clippy::todo"))
    code, printed = unstage(crate)
    assert code == 0, printed
    assert '# ERR-7: unfinished # reason: staged by adopt, 1 place; was "warn"\n' in (crate / "Cargo.toml").read_text()


def test_a_staged_check_keeps_its_limit_under_its_former_name(tmp_path: Path) -> None:
    """An older release wrote it; the check that fails now has another name."""
    header = "[workspace.metadata.staged]\n"
    for name, count in (("every_gate_is_there", 3), ("every_lint_is_enabled", 2)):
        (tmp_path / name).mkdir()
        staged = f'{name} = "staged by adopt, {count} places"\n'
        (tmp_path / name / "Cargo.toml").write_text(header + staged)
    former, present = (marks(tmp_path / name) for name in ("every_gate_is_there", "every_lint_is_enabled"))
    assert [mark.gate for mark in former] == ["standards::every_lint_is_enabled"]
    left = ratchet(former, present, ())
    assert unstaged((tmp_path / "every_gate_is_there" / "Cargo.toml").read_text(), left=left) == (
        f'{header}every_gate_is_there = "staged by adopt, 2 places"\n'
    )


def test_a_gate_that_could_not_run_stays_staged_and_is_reported(crate: Path, tools: Tools) -> None:
    tools["clippy"] = lambda _: (101, hit("E0428", "`f` is defined multiple times", level="error"), "")
    printed = unstage_without_effect(crate)
    assert "clippy::todo: 2 when `adopt` disabled it; the check did not run now" in printed
    assert "`f` is defined multiple times" in printed


def test_an_enabled_gate_is_never_disabled(crate: Path, tools: Tools) -> None:
    tools["clippy"] = if_in("Cargo.toml", '^exit = "warn"', hit("clippy::exit", line=70))
    code, printed = unstage(crate)
    assert code == 1
    assert "failing  clippy::exit" in printed
    assert "src/lib.rs:70" in printed
    text = (crate / "Cargo.toml").read_text()
    assert 'exit = "warn"' in text
    assert "staged" not in text


def test_unstaging_a_crate_without_staged_gates_reports_that(tmp_path: Path, template: Template, tools: Tools) -> None:
    made = make(tmp_path / "word-counts", PLAIN)
    adopt(made, template)
    tools["clippy"] = lambda _: (101, "", "error: not asked")
    assert unstage(made) == (0, "`adopt` disabled no check in this crate, so `--unstage` can enable none.\n")


def test_entries_of_lists_are_counted_separately(tmp_path: Path, template: Template, tools: Tools) -> None:
    messages = {"rand": "unused dependency `rand`", "toml": "unused dependency `toml`"}

    def shear(root: Path) -> tuple[int, str, str]:
        ignored = (root / "Cargo.toml").read_text()
        found = [{"message": text} for name, text in messages.items() if f'    "{name}",' not in ignored]
        return int(bool(found)), json.dumps({"findings": found}), ""

    tools["shear"] = shear
    made = make(tmp_path / "word-counts", {**PLAIN, "Cargo.toml": PACKAGE})
    assert "- cargo-shear: 2" in adopt(made, template)
    del messages["rand"]
    commit(made)
    code, printed = unstage(made)
    assert code == 0
    assert 'enabled  cargo-shear "rand": 1 when `adopt` disabled it, 0 now' in printed
    assert '    "toml", # reason: staged by adopt, 1 place' in (made / "Cargo.toml").read_text()
    assert '"rand"' not in (made / "Cargo.toml").read_text()


# --- Staged gates in drift ---


def test_drift_lists_each_staged_gate_once(
    tmp_path: Path, template: Template, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Finding("src/lib.rs", 3, 1, "ast-grep::err-string-result", ("ERR-1",), "x", "y")
    monkeypatch.setattr(gates, "find_all", lambda *_, **__: [found])
    unowned = hit("clippy::needless_return", line=8)
    tools["clippy"] = if_in("Cargo.toml", '^todo = "warn"', hit("clippy::todo") + unowned)
    tools["fmt"] = lambda root: (1, f"{root}/src/lib.rs\n", "")
    tools["deny"] = lambda _: (1, "", refused("rejected", "MPL-2.0"))
    unused = json.dumps({"findings": [{"message": "unused dependency `rand`"}]})
    tools["shear"] = lambda root: ("rand" not in (root / "Cargo.toml").read_text(), unused, "")
    made = make(tmp_path / "word-counts", PLAIN)
    adopt(made, template)
    done = drift(made)
    assert done.exit_code == 0, done.output
    names = re.findall(
        r"loosened +\S+: (\S+) is \S+; the template has \S+ \(reason: .*staged by adopt, 1 ", done.stdout
    )
    own = ["MPL-2.0", "disable_all_formatting", "err-string-result", "needless_return", "rand"]
    assert sorted(names) == [*own, "workspace.lints.clippy.todo"]


def test_no_file_of_an_adopted_crate_is_overwritten_without_force(
    tmp_path: Path, template: Template, tools: Tools
) -> None:
    assert not tools
    own = {".github/workflows/ci.yml": "on: push\n", "justfile": "mine:\n"}
    made = make(tmp_path / "word-counts", {**PLAIN, **own})
    assert invoke("adopt", made, "--template", template.repository).exit_code == 1
    done = drift("--fix", made)
    assert done.exit_code == 1
    assert "the file was there before `fast-rust adopt`, so it may be yours" in done.stderr
    assert {path: (made / path).read_text() for path in own} == own
    assert drift("--fix", "--force", made).exit_code == 0
    assert (made / "justfile").read_text() != "mine:\n"
