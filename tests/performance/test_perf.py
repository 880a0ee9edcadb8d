"""`just perf` fails for changes that make a crate slower, passes for others, and omits nothing from its report."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fast_rust.commands.perf import command
from fast_rust.perf.acceptance import acceptance
from fast_rust.perf.errors import NotMeasuredError
from fast_rust.perf.opening import is_relevant
from fast_rust.perf.report import facts
from fast_rust.perf.summaries import read_summary
from fast_rust.perf.times import read_times
from fast_rust.perf.verdict import unknown_benches
from fast_rust.perf.workspace import Workspace
from performance.history import A_CLONE, BENCH, ENTRY, HOT_LOOP, KNOWN, MANIFEST, Changes, History, begin, edit
from support.git import git, release
from support.workshop import NAMES, QUICK_BENCHES, Workshop

EMPTY = "aggregate_instructions::records::fed empty_lines"
TAKEN = f"""{HOT_LOOP}        let hash = self.hash(record.key);
        self.row(hash, record.key)?
            .stats
            .merge(&Stats::of(record.value));
        Some(rest)
"""

# --- Failing changes ---


# The figures that grow, by the names of their benches, and the changes that cause it. Changes that affect different
# benches are planted together.
RED: dict[str, tuple[dict[str, str], Changes]] = {
    "a clone a record, and an accidental quadratic step": (
        {KNOWN: "heap blocks", EMPTY: "instructions"},
        {
            **A_CLONE,
            "src/aggregate/record.rs": ("if matches!(text.first()?, b'\\n' | b'\\r') {", "if text.is_empty() {"),
        },
    ),
    "a needless second pass": (
        {KNOWN: "instructions"},
        {
            "src/aggregate.rs": (
                HOT_LOOP,
                f"{HOT_LOOP}        std::hint::black_box(record.key.iter().filter(|byte| **byte == b'x').count());\n",
            )
        },
    ),
    "a slower hasher": (
        {KNOWN: "instructions"},
        {
            "src/aggregate.rs": (
                "pub struct FastHasher(rustc_hash::FxHasher);",
                "pub struct FastHasher(std::hash::DefaultHasher);",
            )
        },
    ),
    # Each of these edits alone would let any change pass.
    "a clone that a looser limit, a smaller corpus and a bench that does less would hide": (
        {KNOWN: "instructions"},
        {
            **A_CLONE,
            "Cargo.toml": ("\ninstructions = 2.0", "\ninstructions = 900.0"),
            "bench/src/lib.rs": ("for _ in 0..rows {", "for _ in 0..rows / 10 {"),
            BENCH: ("const ROWS: u64 = 10_000;", "const ROWS: u64 = 1_000;"),
        },
    ),
    "a slower build": (
        {KNOWN: "instructions"},
        {".cargo/config.toml": f"[profile.bench.package.{NAMES['lib']}-compared]\nopt-level = 1\n"},
    ),
}


@pytest.mark.parametrize("name", RED)
def test_a_change_that_costs_more_is_rejected(lib: History, name: str) -> None:
    """The report names the bench, the directives, the figure that grew, and where to look."""
    grown, changes = RED[name]
    with lib.changed(changes):
        done = lib.perf("--no-times")
    assert done.returncode == 1, done.stdout
    for bench, figure in grown.items():
        assert f": {bench}: {figure} " in done.stdout, done.stdout
        assert lib.row(bench)["offences"]
    assert "OP-1, BENCH-2" in done.stdout
    assert "grew: +" in done.stdout
    assert "look: callgrind_annotate target/perf/head/" in done.stdout
    assert "look: just flame cargo bench --workspace --bench aggregate\n" in done.stdout
    assert "perf-accepted" in done.stdout
    assert lib.worktrees() == []


def test_limits_that_apply_to_no_bench_are_reported() -> None:
    """With a typing error in the name, the bench would have the usual limits."""
    names = ["aggregate_instructions", KNOWN, "aggregate_instructions::records::nosuch", "aggregate"]
    metadata = {"metadata": {"perf": {"benches": {name: {"blocks": 1} for name in names}}}}
    said = [line.split('"')[1] for line in unknown_benches(metadata, [f"totals-bench: {KNOWN}"])]
    assert said == names[2:]
    assert list(unknown_benches({}, [])) == []


def test_a_change_that_escapes_the_judge_is_reported(lib: History) -> None:
    """A changed bench is judged by the base's text, and its own figures are shown next to the result."""
    with lib.changed({"bench/src/lib.rs": ("for _ in 0..rows {", "for _ in 0..rows / 10 {")}):
        done = lib.perf("--no-times")
    assert done.returncode == 0, done.stdout
    row = lib.row(KNOWN)
    assert row["base"]["instructions"] == row["head"]["instructions"] > 5 * row["own"]["instructions"]
    assert "benchmark changed; compared with the base's version of it" in row["notes"]


# --- Passing changes ---


GREEN: dict[str, tuple[str, Changes]] = {
    "a comment, and a refactoring to the same code": (
        "=",
        {"src/aggregate.rs": (TAKEN, f"        // The usual.\n{TAKEN.replace('rest', 'following')}")},
    ),
    "a faster version": (
        "<",
        {"src/aggregate/record.rs": ("    if key_len > MAX_LINE_BYTES - 9 {\n        return None;\n    }\n", "")},
    ),
    "one more allocation for set-up": (
        ">",
        {
            "src/aggregate.rs": (
                "        self.take_lines(lines)?;\n",
                "        std::hint::black_box(Box::new(lines.len()));\n        self.take_lines(lines)?;\n",
            )
        },
    ),
}


@pytest.mark.parametrize("name", GREEN)
def test_a_change_that_costs_no_more_is_accepted(lib: History, name: str) -> None:
    """The report shows the difference: none, fewer instructions, or a few more."""
    relation, changes = GREEN[name]
    with lib.changed(changes):
        done = lib.perf("--no-times")
    assert done.returncode == 0, done.stdout
    base, head = (lib.row(KNOWN)[side]["instructions"] for side in ("base", "head"))
    assert relation == ("=" if head == base else "<" if head < base else ">"), (base, head)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Skipped: no file changed, so there is nothing to compare."),
        (
            {"README.md": "Short.\n", "docs/why.md": "So.\n", ".github/CODEOWNERS": "* @them\n"},
            "Skipped: none of the 3 changed files affects a build or a benchmark, so there is nothing to compare.",
        ),
    ],
)
def test_a_change_that_no_build_reads_is_not_measured(lib: History, changes: Changes, said: str) -> None:
    """The job still runs, since a required check that a filter of paths skips would never report a result."""
    with lib.changed(changes):
        done = lib.perf()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, said)


@pytest.mark.parametrize("path", ["src/lib.rs", "src/words.txt", "Cargo.lock", "rust-toolchain.toml", "bench/keys.md"])
def test_a_change_that_a_build_may_read_is_measured(path: str) -> None:
    assert is_relevant(path)


# --- New, deleted and changed benches ---


def test_benches_that_are_new_or_deleted_are_named(lib: History) -> None:
    """A deleted bench is still judged by the base's text."""
    text = (lib.crate / BENCH).read_text(encoding="utf-8")
    added = text.replace("known_keys", "all_keys").replace("fed_keyed", "taken")
    with lib.changed({**A_CLONE, BENCH: None, "bench/benches/other_instructions.rs": added}):
        edit(lib.crate / MANIFEST, (ENTRY, ENTRY.replace("aggregate_", "other_")))
        done = lib.perf("--no-times")
    assert done.returncode == 1, done.stdout
    assert "benchmark `aggregate_instructions`: deleted" in done.stdout
    assert "benchmark `other_instructions`: new" in done.stdout
    assert lib.row(KNOWN)["notes"] == ["deleted"]
    assert lib.row("other_instructions::records::taken all_keys")["own"]["instructions"] > 0


def test_a_renamed_bench_is_named_and_judged(lib: History) -> None:
    """The text is the same, so the bench is judged under the base's name."""
    text = (lib.crate / BENCH).read_text(encoding="utf-8")
    with lib.changed({**A_CLONE, BENCH: None, "bench/benches/sums_instructions.rs": text}):
        edit(lib.crate / MANIFEST, (ENTRY, ENTRY.replace("aggregate_", "sums_")))
        done = lib.perf("--no-times")
    assert done.returncode == 1, done.stdout
    assert "benchmark `aggregate_instructions`: renamed to sums_instructions" in done.stdout
    assert lib.row(KNOWN)["offences"]


def test_a_bench_that_the_head_cannot_build_is_reported_prominently(lib: History) -> None:
    """The interface changed, so only people can judge; such a change never passes without a message."""
    with lib.changed({"src/aggregate.rs": ("pub fn feed(&mut self, chunk", "pub fn take(&mut self, chunk")}):
        for path in (BENCH, "bench/benches/aggregate.rs", "bench/tests/aggregate_allocations.rs"):
            source = lib.crate / path
            source.write_text(source.read_text().replace("aggregator.feed(", "aggregator.take("))
        for path in ("src/aggregate/read.rs", "examples/totals.rs", "src/lib.rs"):
            source = lib.crate / path
            source.write_text(source.read_text().replace(".feed(", ".take("))
        done = lib.perf("--no-times")
    assert done.returncode == 0, done.stdout
    assert (
        "**NOT JUDGED**: the base's version of the benchmark `aggregate_instructions` does not build"
        " or run with the change" in done.stdout
    )
    assert "error[E0599]" in done.stdout
    assert "NOT COMPARABLE" in done.stdout
    row = lib.row(KNOWN)
    assert (row["head"], row["own"]["instructions"]) == ({}, row["base"]["instructions"])


def test_a_base_with_another_gungraun_is_counted_by_that_of_the_head(lib: History) -> None:
    """The installed runner fits only the head's version."""
    other = ('gungraun = "=0.20.0"', 'gungraun = "=0.19.4"')
    try:
        edit(lib.crate / MANIFEST, other)
        git(lib.repository, "commit", "--quiet", "--all", "--message", "Older")
        edit(lib.crate / MANIFEST, (other[1], other[0]))
        done = lib.perf("HEAD", "--no-times")
    finally:
        git(lib.repository, "reset", "--quiet", "--hard", "HEAD~1")
    assert done.returncode == 0, done.stdout
    row = lib.row(KNOWN)
    assert row["base"]["instructions"] == row["head"]["instructions"] == row["own"]["instructions"]


def test_the_report_names_a_working_tree_with_changes(tmp_path: Path) -> None:
    """Otherwise the report would name the base's commit as its head."""
    (tmp_path / "lib.rs").touch()
    git(tmp_path, "init", "--quiet")
    release(tmp_path, "v0.0.1")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    workspace = Workspace(tmp_path, Path(), tmp_path / "target", commit)
    assert facts(workspace, release=False)[0] == f"base {commit[:12]}, head {commit[:12]}"
    (tmp_path / "lib.rs").write_text("// Changed.\n")
    assert facts(workspace, release=False)[0] == f"base {commit[:12]}, head {commit[:12]} with uncommitted changes"


# --- A failed measurement is an error, never "no regression" ---


def test_a_base_that_does_not_build_is_an_error(lib: History) -> None:
    """The error names the base."""
    broken = f"{HOT_LOOP}        nothing;\n"
    try:
        edit(lib.crate / "src" / "aggregate.rs", (HOT_LOOP, broken))
        git(lib.repository, "commit", "--quiet", "--all", "--message", "Broken")
        edit(lib.crate / "src" / "aggregate.rs", (broken, HOT_LOOP))
        with_fault = git(lib.repository, "rev-parse", "HEAD").strip()
        done = lib.perf("HEAD", "--no-times")
    finally:
        git(lib.repository, "reset", "--quiet", "--hard", "HEAD~1")
    assert done.returncode == 2, done.stdout
    assert (
        f"the benchmarks of the base (the commit to compare with), {with_fault[:12]}, do not build or run"
        in done.stdout
    )
    assert "error[E0425]" in done.stdout
    assert lib.worktrees() == []


def test_a_shallow_clone_is_an_error(lib: History, tmp_path: Path) -> None:
    """The error says how to deepen the clone."""
    with lib.changed({}):
        git(lib.repository, "commit", "--quiet", "--allow-empty", "--message", "More")
        git(tmp_path, "clone", "--quiet", "--depth=1", lib.repository.as_uri(), "shallow")
        git(lib.repository, "reset", "--quiet", "--hard", "HEAD~1")
    start = git(lib.repository, "rev-parse", "HEAD").strip()
    done = lib.workshop.try_to(tmp_path / "shallow", "just", "perf", start)
    assert done.returncode == 2, done.stdout
    assert "this clone is shallow; run `git fetch --unshallow origin`" in done.stdout
    done = lib.workshop.try_to(tmp_path / "shallow", "just", "perf", "--release")
    assert done.returncode == 2, done.stdout
    assert "this clone is shallow and has no release" in done.stdout


def test_before_the_first_release_there_is_nothing_to_compare(lib: History) -> None:
    done = lib.perf("--release", "--no-times")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "Skipped: the repository has no release tag (v*) to compare with.",
    )


def test_a_base_that_does_not_exist_is_an_error(lib: History) -> None:
    """The error says how to get the commit, for a base and for a head."""
    done = lib.perf("no-such-branch")
    assert done.returncode == 2
    assert "no commit to compare with: no-such-branch does not exist; name a branch or commit" in done.stdout
    done = lib.perf("--head=no-such-commit")
    assert done.returncode == 2
    assert "the commit to measure, no-such-commit, does not exist here; pass another commit" in done.stdout


def test_a_missing_tool_is_an_error(lib: History, tmp_path: Path) -> None:
    """The error names the tool, and the command that installs it."""
    put_programs(tmp_path)
    with lib.changed(A_CLONE):
        done = lib.perf("--no-times", PATH=str(tmp_path))
    assert done.returncode == 2, done.stdout
    assert "missing: valgrind; run `just setup`" in done.stdout
    (tmp_path / "gungraun-runner").unlink()
    edit(tmp_path / "gungraun-runner", "#!/bin/sh\necho gungraun-runner 0.19.4\n")
    (tmp_path / "gungraun-runner").chmod(0o755)
    with lib.changed(A_CLONE):
        done = lib.perf("--no-times", PATH=str(tmp_path))
    assert done.returncode == 2, done.stdout
    assert "gungraun-runner 0.20.0 (installed: 0.19.4)" in done.stdout


def put_programs(folder: Path) -> None:
    """Put all programs that a run needs into a folder, except valgrind."""
    for name in ("cargo", "rustc", "just", "sh", "git", "gungraun-runner"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_worktree(lib: History, number: signal.Signals) -> None:
    """It also leaves no running process."""
    with lib.changed(A_CLONE):
        command = [lib.workshop.environment["FAST_RUST"], "perf", "HEAD", "--no-times"]
        process = subprocess.Popen(command, cwd=lib.crate, env={**lib.workshop.environment, **QUICK_BENCHES})
        deadline = time.monotonic() + 60
        while not (lib.crate / "target/perf/worktree/Cargo.toml").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert lib.worktrees()
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert lib.worktrees() == []


def test_the_files_of_a_killed_run_do_not_block_the_next_run(lib: History) -> None:
    """The next run deletes them."""
    with lib.changed({"src/aggregate.rs": (HOT_LOOP, f"        // The usual.\n{HOT_LOOP}")}):
        place = lib.crate / "target" / "perf" / "worktree"
        git(lib.repository, "worktree", "add", "--quiet", "--detach", str(place), "HEAD")
        (place / "src" / "lib.rs").write_text("broken")
        done = lib.perf("--no-times")
    assert done.returncode == 0, done.stdout
    assert lib.worktrees() == []


def test_the_crates_own_benches_are_built_from_its_own_sources(lib: History) -> None:
    """Cargo considers a file unchanged if it is older than the program, even if that was built in another folder."""
    with lib.changed(A_CLONE):
        lib.judge()
        source = lib.crate / "src" / "aggregate.rs"
        edit(source, (HOT_LOOP, '        panic!("edited before");\n'))
        os.utime(source, (0, 0))
        bench = ("cargo", "bench", "--workspace", "--bench", "aggregate_instructions")
        done = lib.workshop.try_to(lib.crate, *bench, **QUICK_BENCHES)
    assert "edited before" in done.stdout, done.stdout


def test_another_format_of_summaries_is_an_error(tmp_path: Path) -> None:
    """The version alone decides; a file of the right version that cannot be read is an error, too."""
    edit(tmp_path / "summary.json", json.dumps({"version": "6", "profiles": []}))
    with pytest.raises(NotMeasuredError, match="has the format version 6; fast-rust reads only version 7"):
        read_summary(tmp_path / "summary.json")
    edit(tmp_path / "summary.json", json.dumps({"version": "7", "profiles": [{}]}))
    with pytest.raises(NotMeasuredError, match="cannot be read"):
        read_summary(tmp_path / "summary.json")


def test_another_format_of_times_is_reported(tmp_path: Path) -> None:
    """It is not an error, since times never fail a change."""
    edit(tmp_path / "x" / "new" / "benchmark.json", json.dumps({"full_id": "x"}))
    edit(tmp_path / "x" / "new" / "sample.json", json.dumps({"times": [], "iters": []}))
    notes: list[str] = []
    assert list(read_times(tmp_path, notes)) == []
    assert notes
    assert "times are missing" in notes[0]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_only_linux_compares(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    command()
    assert capsys.readouterr().out.startswith("Skipped: `fast-rust perf` counts instructions with valgrind")


# --- Acceptance ---


@pytest.mark.parametrize(
    ("labels", "body", "accepted", "hint"),
    [
        (["perf-accepted"], "Why.\r\nperf: accepted because it is safer\r\n", "it is safer", ""),
        (["perf-accepted"], "It is safer.", "", "no line `perf: accepted because"),
        ([], "perf: accepted because it is safer", "", "has not added the label"),
        ([], "", "", "a maintainer then adds the label"),
        (["perf-accepted-not"], "perf: accepted because it is safer", "", "has not added the label"),
        (["perf-accepted"], "perf: accepted because \n", "", "no line"),
    ],
)
def test_acceptance_requires_a_label_and_a_reason(
    monkeypatch: pytest.MonkeyPatch, labels: list[str], body: str, accepted: str, hint: str
) -> None:
    monkeypatch.setenv("PERF_LABELS", json.dumps(labels))
    monkeypatch.setenv("PERF_BODY", body)
    reason, said = acceptance("")
    assert reason == accepted
    assert hint in said


def test_the_workflow_rejects_and_accepts(lib: History, tmp_path: Path) -> None:
    """The test runs the workflow's own lines in GitHub's shell, with builds as users make them."""
    body = "$(touch owned) `touch owned`\nperf: accepted because x | <b>y</b>\n"
    summary = tmp_path / "summary.md"
    with lib.changed(A_CLONE):
        codes = []
        for labels in ("[]", '["perf-accepted"]'):
            done = lib.judge(body=body, labels=labels, GITHUB_STEP_SUMMARY=str(summary))
            codes.append(done.returncode)
    assert codes == [1, 0], done.stdout
    assert "- accepted because x | &lt;b>y&lt;/b>".replace("|", "\\|") in summary.read_text()
    assert "**exceeds its limit**" in summary.read_text()
    assert not (lib.crate / "owned").exists()


# --- Other crates ---


def test_times_are_shown(workshop: Workshop) -> None:
    """Times never fail a change; a regression beyond a limit can be accepted manually."""
    crate = workshop.crate(f"{NAMES['lib']}-timed", kind="lib")
    # Two of its rows are timed, since criterion takes long for each.
    timing = crate / "bench/benches/aggregate.rs"
    edit(timing, ("const SIZES: [usize; 2] = [1_000, 200_000];", "const SIZES: [usize; 1] = [1_000];"))
    edit(
        timing,
        (
            '        bench("fed_keyed",',
            '        let mut bench = |_: &str, _: &dyn Fn(&[u8]) -> usize| ();\n        bench("fed_keyed",',
        ),
    )
    timed = begin(workshop, crate, crate)
    with timed.changed(A_CLONE):
        done = timed.perf("--accept=a test")
    assert done.returncode == 0, done.stdout
    assert "accepted because a test" in done.stdout
    assert timed.row(KNOWN)["offences"]
    times = timed.row("aggregate/fed/1000")
    assert times["offences"] == []
    assert 0 < times["base"]["median"] <= times["base"]["p95"]
    assert 0 < times["head"]["median"] <= times["head"]["p95"]


def test_a_crate_below_the_root_of_its_repository_is_compared(workshop: Workshop) -> None:
    """Its second package of benches is named in the report; it is also compared with the last release."""
    name = f"{NAMES['lib']}-below"
    crate = workshop.folder / "compared" / "deep" / name
    shutil.move(workshop.crate(name, kind="lib"), crate)
    shutil.copytree(crate / "bench", crate / "more" / "bench", ignore=shutil.ignore_patterns("tests"))
    edit(crate / "more" / MANIFEST, (f'name = "{name}-bench"', 'name = "more-bench"'))
    edit(crate / "more" / MANIFEST, ('path = ".."', 'path = "../.."'))
    for path in sorted((crate / "more" / "bench" / "benches").iterdir()):
        path.write_text(path.read_text().replace(f"{name.replace('-', '_')}_bench::", "more_bench::"))
    edit(crate / "Cargo.toml", ('members = ["bench"]', 'members = ["bench", "more/bench"]'))
    below = begin(workshop, crate, crate.parent.parent)
    git(below.repository, "tag", "v0.1.0")
    with below.changed(A_CLONE):
        git(below.repository, "commit", "--quiet", "--all", "--message", "Slower")
        done = below.perf("--release", "--no-times")
        git(below.repository, "reset", "--quiet", "--hard", "v0.1.0")
    assert done.returncode == 1, done.stdout
    assert "the limit is +5 %" in done.stdout
    assert below.row(f"{name}-bench: {KNOWN}")["offences"]
    assert below.row(f"more-bench: {KNOWN}")["offences"]
    assert below.worktrees() == []


def test_the_benches_of_a_crate_that_counts_nothing_are_named(lib: History, tmp_path: Path) -> None:
    """The base has a bench of times only, the head also one that counts; in CI the base has no runner for it."""
    put_programs(tmp_path)
    text = (lib.crate / BENCH).read_text(encoding="utf-8")
    entry = f"{ENTRY}harness = false\n"
    try:
        edit(lib.crate / BENCH, None)
        edit(lib.crate / MANIFEST, (entry, ""))
        git(lib.repository, "commit", "--quiet", "--all", "--message", "Times alone")
        edit(lib.crate / BENCH, text)
        edit(lib.crate / MANIFEST, ('\n[[bench]]\nname = "aggregate"\n', f'{entry}\n[[bench]]\nname = "aggregate"\n'))
        without = lib.perf("HEAD", "--no-times", PATH=str(tmp_path))
        done = lib.perf("HEAD", "--no-times")
    finally:
        git(lib.repository, "reset", "--quiet", "--hard", "HEAD~1")
    assert without.returncode == 0, without.stdout
    assert "new and changed benchmarks are not counted" in without.stdout
    assert done.returncode == 0, done.stdout
    assert "benchmark `aggregate_instructions`: new" in done.stdout
    assert "new benchmark, nothing to compare with" in lib.row(KNOWN)["notes"]


def test_a_crate_without_a_hot_path_has_nothing_to_compare(workshop: Workshop) -> None:
    crate = workshop.crate("compared-empty", kind="lib", sample=False)
    done = begin(workshop, crate, crate).perf()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Skipped: the workspace has no benchmark to compare.")
