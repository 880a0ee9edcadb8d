"""A change cannot loosen its own judge: each attempt fails.

Each change makes the crate slower, and would pass if the judge used the attacked file from the change. The lines of the
workflow judge it.
"""

import os
import shutil
from pathlib import Path

import pytest

from performance.history import A_CLONE, BENCH, ENTRY, HOT_LOOP, KNOWN, MANIFEST, Changes, History, begin, edit
from support.git import git
from support.releases import Releases
from support.workshop import NAMES, Workshop

LIMITS = """\
[workspace.metadata.perf.benches.aggregate_instructions]
blocks = 90000000
instructions = 900.0
peak-bytes = 900.0
"""
ATTACKS: dict[str, Changes] = {
    "a limit that is raised": {
        "Cargo.toml": ("\n[workspace.lints.clippy]\n", f"\n{LIMITS}\n[workspace.lints.clippy]\n"),
    },
    "a pin of another release, from elsewhere": {
        ".copier-answers.yml": "_commit: v0.0.9\n_src_path: gh:elsewhere/template\nkind: lib\n",
    },
    "a recipe that measures nothing, and variables that name another judge": {
        "justfile": ('fast-rust perf "$@"', 'fast-rust --version "$@"'),
        "local.just": 'set dotenv-load\nexport FAST_RUST := "/bin/true"\nexport PERF_HEAD := "main"\n',
        ".env": "FAST_RUST=/bin/true\n",
    },
    "a smaller corpus": {"bench/src/lib.rs": ("for _ in 0..rows {", "for _ in 0..rows / 100 {")},
    "a bench that does less": {BENCH: ("const ROWS: u64 = 10_000;", "const ROWS: u64 = 10;")},
    "a bench that is deleted": {BENCH: None, MANIFEST: (f"{ENTRY}harness = false\n", "")},
    "benches that are no longer in the workspace": {"Cargo.toml": ('members = ["bench"]', "members = []")},
}


@pytest.fixture(scope="module")
def lib(workshop: Workshop) -> History:
    """A library whose name no other module uses, since other modules may build their benches at the same time."""
    crate = workshop.crate(f"{NAMES['lib']}-attacked", kind="lib")
    return begin(workshop, crate, crate)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_the_judge_fails(lib: History, name: str) -> None:
    with lib.changed({**A_CLONE, **ATTACKS[name]}):
        done = lib.judge()
    assert done.returncode == 1, done.stdout
    assert f"BENCH-2, BENCH-7: {KNOWN}: heap blocks" in done.stdout
    assert "the limit is +8" in done.stdout
    assert lib.worktrees() == []


def test_a_head_that_makes_the_bases_bench_fail_is_rejected(lib: History) -> None:
    """Otherwise a slower change would pass by making its judge fail."""
    failing = f'{HOT_LOOP}        assert_ne!(self.lines, 9_999, "not while I am judged");\n'
    with lib.changed({"src/aggregate.rs": (HOT_LOOP, failing), **ATTACKS["a bench that does less"]}):
        done = lib.judge()
        accepted = lib.judge(body="perf: accepted because the limit is new", labels='["perf-accepted"]')
    assert done.returncode == 1, done.stdout
    assert (
        "BENCH-2: aggregate_instructions: the base's version of this benchmark builds with the change, and fails"
        in done.stdout
    )
    assert "not while I am judged" in done.stdout
    assert accepted.returncode == 0, accepted.stdout


# --- The build of both sides ---

COMMENT: Changes = {"src/aggregate.rs": (HOT_LOOP, f"        // The usual.\n{HOT_LOOP}")}


def test_a_loosened_profile_is_rejected(lib: History) -> None:
    """Because of its text, since both sides are built by the base's profiles."""
    with lib.changed({"Cargo.toml": ('lto = "fat" # what', 'opt-level = 1\nlto = "off" # what')}):
        done = lib.judge()
        accepted = lib.judge(body="perf: accepted because it builds sooner", labels='["perf-accepted"]')
    assert done.returncode == 1, done.stdout
    assert 'BUILD-1, OP-2: profile.bench.lto "fat" → "off"' in done.stdout
    assert "BUILD-1, OP-2: profile.bench.opt-level 3 → 1" in done.stdout
    assert "profiles of Cargo.toml changed: base and head are both built with the base's profiles" in done.stdout
    row = lib.row(KNOWN)
    assert row["base"]["instructions"] == row["head"]["instructions"]
    assert accepted.returncode == 0, accepted.stdout


def test_another_way_to_measure_is_rejected(lib: History) -> None:
    """Because of its text: the head could set another runner in the environment, which counts as it likes."""
    with lib.changed({**COMMENT, ".cargo/config.toml": '[env]\nFAST = "yes"\n'}):
        done = lib.judge()
    assert done.returncode == 1, done.stdout
    assert "BENCH-2: .cargo/config.toml: [env] changed, which may change how the head is measured" in done.stdout


def test_a_slower_toolchain_is_rejected(lib: History, tmp_path: Path) -> None:
    """Because of its figures, since each side is built by its own toolchain."""
    home = toolchains(lib.workshop, tmp_path)
    text = (lib.crate / "rust-toolchain.toml").read_text(encoding="utf-8")
    # Otherwise cargo would not compile unchanged sources again.
    with lib.changed({**COMMENT, "rust-toolchain.toml": text.replace('channel = "', 'channel = "slower-')}):
        done = lib.judge(RUSTUP_HOME=str(home))
    assert done.returncode == 1, done.stdout
    assert "rust-toolchain.toml changed: base and head are each built with their own version" in done.stdout
    assert f"OP-1, BENCH-2: {KNOWN}: instructions" in done.stdout


def toolchains(workshop: Workshop, folder: Path) -> Path:
    """A rustup home with all installed toolchains, and one that optimises less."""
    real = Path(os.environ.get("RUSTUP_HOME", Path.home() / ".rustup"))
    home = folder / "rustup"
    (home / "toolchains").mkdir(parents=True)
    shutil.copy(real / "settings.toml", home)
    for toolchain in (real / "toolchains").iterdir():
        (home / "toolchains" / toolchain.name).symlink_to(toolchain.resolve())
    channel = workshop.run(workshop.ready("lib"), "rustup", "show", "active-toolchain").split("-")[0]
    [fast] = (real / "toolchains").glob(f"{channel}-*")
    slow = home / "toolchains" / f"slower-{channel}"
    (slow / "bin").mkdir(parents=True)
    (slow / "lib").symlink_to(fast.resolve() / "lib")
    (slow / "bin" / "cargo").symlink_to(fast.resolve() / "bin" / "cargo")
    compiler = slow / "bin" / "rustc"
    lines = f'case " $* " in *"--crate-name totals"*) set -- "$@" -Copt-level=1 ;; esac\nexec {fast}/bin/rustc "$@"\n'
    compiler.write_text(f"#!/bin/sh\n{lines}", encoding="utf-8")
    compiler.chmod(0o755)
    return home


# --- Gates of `fast-rust check` ---


RULE = """\
id: own-clone-in-loop
language: Rust
severity: {}
rule: {{ pattern: nothing_at_all() }}
message: none
"""
FAILS = "\npub fn fails() -> Result<(), String> {\n    Ok(())\n}\n"


@pytest.mark.parametrize("severity", ["'off'", "hint", "error"])
def test_a_rule_of_the_crate_replaces_no_rule_of_the_standards(lib: History, severity: str) -> None:
    with lib.changed({"lints/own/clones.yml": RULE.format(severity)}):
        done = lib.workshop.try_to(lib.crate, "just", "fast-rust", "check")
    assert done.returncode == 2, done.stdout
    assert "two ast-grep rules have the same id `own-clone-in-loop`, in lints/own/clones.yml and" in done.stdout


def test_a_gate_is_not_staged_without_a_reason(lib: History) -> None:
    text = (lib.crate / "Cargo.toml").read_text(encoding="utf-8")
    source = (lib.crate / "src" / "error.rs").read_text(encoding="utf-8")
    staged = '\n[workspace.metadata.staged]\nerr-string-result = ""\n'
    with lib.changed({"Cargo.toml": text + staged, "src/error.rs": source + FAILS}):
        done = lib.workshop.try_to(lib.crate, "just", "fast-rust", "check")
    assert done.returncode == 1, done.stdout
    assert (
        "An exception must give a reason: Cargo.toml: [workspace.metadata.staged] disables the check err-string-result"
        in done.stdout
    )
    assert "error[ast-grep::err-string-result] src/error.rs" in done.stdout


# --- Bases without this judge ---


def test_a_base_of_an_older_release_judges_by_its_script(workshop: Workshop, releases: Releases, lib: History) -> None:
    """The change updates the crate: it deletes the script, and its recipe calls the tool."""
    crate = workshop.folder / "log-totals-older"
    shutil.copytree(releases.rendering("v0.8.0", {"crate_name": "log-totals-older", "kind": "lib"}), crate)
    older = begin(workshop, crate, crate)
    recipes = (lib.crate / "justfile").read_text(encoding="utf-8")
    without = {"justfile": recipes, "tools/perf.py": None, "tools/pgo.py": None}
    with older.changed({**A_CLONE, **without}):
        done = older.judge()
    assert done.returncode == 3, done.stdout
    assert f"{KNOWN}: heap blocks" in done.stdout


def test_a_base_without_a_judge_is_judged_by_the_change(lib: History) -> None:
    """For example where a crate adopts the template. Here the change pins a judge that accepts everything."""
    recipes = (lib.crate / "justfile").read_text(encoding="utf-8")
    try:
        edit(lib.crate / "justfile", "build:\n    cargo build\n")
        git(lib.repository, "commit", "--quiet", "--all", "--message", "Before the template")
        with lib.changed({**A_CLONE, "justfile": recipes}):
            done = lib.judge()
    finally:
        git(lib.repository, "reset", "--quiet", "--hard", "HEAD~1")
    assert (done.returncode, done.stdout) == (0, "fine\n")
