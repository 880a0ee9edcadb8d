"""Runs of the rules in a crate: findings, suppressions, the crate's own rules, and failures."""

import os
import sys
from pathlib import Path

import pytest

from fast_rust.checks import rules
from fast_rust.checks.findings import Finding, Severity
from fast_rust.checks.rules import RulesError, run_rules
from standards.examples import OWN_RULE, TODO
from support.git import git

SKIPPED = "#[rustfmt::skip]\nfn table() {}\n"
QUEUE = "fn drain(mut v: Vec<u8>) {\n    while !v.is_empty() {\n        v.remove(0);\n    }\n}\n"


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    """A folder with a space in its name, and the files of a crate that the rules read."""
    folder = tmp_path / "a crate"
    (folder / "src").mkdir(parents=True)
    (folder / "lints" / "own").mkdir(parents=True)
    (folder / "lints" / "own" / "ours.yml").write_text(OWN_RULE, encoding="utf-8")
    return folder


def gates(crate: Path, text: str, *, off: tuple[str, ...] = (), advice: bool = False) -> list[str]:
    """Return the gates that fail for a library, with the lines."""
    (crate / "src" / "lib.rs").write_bytes(text.encode())
    return [f"{found.line} {found.gate}" for found in run_rules(crate, off=off, advice=advice)]


# --- Findings ---


def test_a_finding_has_a_location_a_description_and_instructions(crate: Path) -> None:
    (crate / "src" / "lib.rs").write_text(QUEUE, encoding="utf-8")
    [finding] = run_rules(crate, off=(), advice=False)
    assert finding == Finding(
        path="src/lib.rs",
        line=3,
        column=9,
        gate="ast-grep::coll-vec-as-queue",
        directives=("COLL-2",),
        message="this moves all following elements of the `Vec` at each call",
        next="use a `VecDeque`, or an iterator\n"
        "to keep the code, write `// ast-grep-ignore: coll-vec-as-queue -- REASON` on the line above it",
    )


def test_the_crates_rules_run_with_ours(crate: Path) -> None:
    both = TODO + SKIPPED
    assert gates(crate, both) == ["1 ast-grep::ours-no-todo", "2 ast-grep::tool-rustfmt-skip"]
    (crate / "lints" / "own" / "ours.yml").unlink()
    assert gates(crate, both) == ["2 ast-grep::tool-rustfmt-skip"]
    (crate / "lints" / "own").rmdir()
    assert gates(crate, both) == ["2 ast-grep::tool-rustfmt-skip"]


def test_the_crates_rules_need_no_message(crate: Path) -> None:
    rule = OWN_RULE.replace("message: do it now\n", "note: first\n")
    (crate / "lints" / "own" / "ours.yml").write_text(rule, encoding="utf-8")
    (crate / "src" / "lib.rs").write_text(TODO, encoding="utf-8")
    [finding] = run_rules(crate, off=(), advice=False)
    assert (finding.message, finding.directives) == ("this code violates the rule ours-no-todo", ())
    assert finding.next.startswith("first\nto keep the code, ")


@pytest.mark.parametrize(("rule", "code"), [("ours-no-todo", TODO), ("tool-rustfmt-skip", SKIPPED)])
def test_suppressions_need_a_reason_and_a_use(crate: Path, rule: str, code: str) -> None:
    ignore = f"// ast-grep-ignore: {rule}"
    assert gates(crate, f"{ignore} -- reason\n{code}") == []
    assert "1 ast-grep::door-bare-ignore" in gates(crate, f"{ignore}\n{code}")
    assert gates(crate, f"{ignore} -- reason\nfn other() {{}}\n") == ["1 ast-grep::unused-suppression"]


def test_one_of_several_names_in_a_suppression_must_be_used(crate: Path) -> None:
    """As docs/check.md says: ast-grep does not report which of them it used."""
    ignore = "// ast-grep-ignore: ours-no-todo, own-clone-in-loop -- reason\n"
    assert gates(crate, ignore + TODO) == []
    assert gates(crate, f"{ignore}fn other() {{}}\n") == ["1 ast-grep::unused-suppression"]


def test_off_disables_one_rule(crate: Path) -> None:
    text = TODO + SKIPPED + QUEUE
    everything = gates(crate, text)
    assert len(everything) == 3
    for gate in everything:
        rule = gate.partition("::")[2]
        assert gates(crate, text, off=(rule,)) == [one for one in everything if one != gate]
    assert gates(crate, text, off=("", "no-such-rule")) == everything


def test_advice_is_printed_only_on_request(crate: Path) -> None:
    text = SKIPPED + "#[inline]\nfn small() {}\n"
    assert gates(crate, text) == ["1 ast-grep::tool-rustfmt-skip"]
    (crate / "src" / "lib.rs").write_text(text, encoding="utf-8")
    severities = {one.gate: one.severity for one in run_rules(crate, off=(), advice=True)}
    assert severities["ast-grep::adv-inline-outside-hot"] is Severity.ADVICE
    assert severities["ast-grep::tool-rustfmt-skip"] is Severity.ERROR


def test_locations_with_windows_line_endings_and_non_ascii_text(crate: Path) -> None:
    assert gates(crate, QUEUE.replace("\n", "\r\n")) == ["3 ast-grep::coll-vec-as-queue"]
    (crate / "src" / "lib.rs").write_text("// ü\nfn später() { let é = 'ü'; #[rustfmt::skip] () }\n", encoding="utf-8")
    [finding] = run_rules(crate, off=(), advice=False)
    assert (finding.line, finding.column) == (2, 28)


@pytest.mark.skipif(sys.platform != "linux", reason="the file system takes UTF-8 only")
def test_file_names_that_are_not_utf8(crate: Path) -> None:
    folder = crate / "src" / os.fsdecode(b"m\xff d")
    folder.mkdir()
    (folder / os.fsdecode(b"a b\xfe.rs")).write_text(SKIPPED, encoding="utf-8")
    [finding] = run_rules(crate, off=(), advice=False)
    assert os.fsencode(finding.path) == b"src/m\xff d/a b\xfe.rs"
    odd = crate.with_name(os.fsdecode(b"\xff"))
    crate.rename(odd)
    with pytest.raises(
        RulesError, match=r"the path of the crate or of fast-rust contains the byte .*; rename that folder"
    ):
        run_rules(odd, off=(), advice=False)


def test_only_the_files_of_the_crate_count(crate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that git ignores, and a configuration for the editor, have no effect; and no file is written."""
    git(crate, "init", "--quiet")
    (crate / ".gitignore").write_text("made.rs\n", encoding="utf-8")
    (crate / "src" / "made.rs").write_text(SKIPPED, encoding="utf-8")
    (crate / "sgconfig.yml").write_text("ruleDirs: [none]\n", encoding="utf-8")
    before = sorted(crate.rglob("*"))
    monkeypatch.chdir(crate)
    (crate / "src" / "lib.rs").write_text(TODO, encoding="utf-8")
    assert [one.path for one in run_rules(Path(), off=(), advice=False)] == ["src/lib.rs"]
    assert sorted(crate.rglob("*")) == sorted([*before, crate / "src" / "lib.rs"])


# --- Failures ---


BROKEN = {
    b"id: [": "expected string scalar",
    b"id: own\nlanguage: rust\nrule: { kind: thing }\n": "Kind `thing` is invalid",
    b"id: own\nlanguage: rust\nrule: { matches: it }\n": "Rule `it` is not defined",
    b"id: own\nlanguage: rust\n": "missing field `rule`",
    b"id: own\nlanguage: rust\nrule: { pattern: a b }\n": "Try adding `kind` rule",
    b"id: \xff\n": "did not contain valid UTF-8",
}


@pytest.mark.parametrize(("rule", "reason"), BROKEN.items(), ids=BROKEN.values())
def test_a_broken_rule_of_the_crate_is_reported(crate: Path, rule: bytes, reason: str) -> None:
    (crate / "lints" / "own" / "bad.yml").write_bytes(rule)
    with pytest.raises(RulesError) as error:
        run_rules(crate, off=(), advice=False)
    assert str(error.value).startswith("ast-grep cannot read the rule file lints/own/bad.yml: ")
    assert reason in str(error.value)
    assert "; correct the rule as https://" in str(error.value)
    assert error.value.exit_code == 2


def test_an_id_must_be_unique(crate: Path) -> None:
    path = crate / "lints" / "own" / "more.yml"
    path.write_text(OWN_RULE.replace("ours-no-todo", "coll-vec-as-queue"), encoding="utf-8")
    with pytest.raises(
        RulesError, match=r"`coll-vec-as-queue`, in lints/own/more.yml and standards/04-collections.yml;"
    ):
        run_rules(crate, off=(), advice=False)
    path.write_text(OWN_RULE, encoding="utf-8")
    with pytest.raises(RulesError, match=r"in lints/own/more\.yml and lints/own/ours\.yml; rename"):
        run_rules(crate, off=(), advice=False)


def test_a_missing_ast_grep_is_an_error(crate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(crate))
    monkeypatch.setenv("PATH", str(crate))
    with pytest.raises(RulesError, match=r"is not installed; run `pip install ast-grep-cli`"):
        run_rules(crate, off=(), advice=False)


def test_a_failure_of_ast_grep_is_an_error(crate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes the exit code that ast-grep uses for findings."""
    program = crate / "ast-grep"
    program.write_text("#!/bin/sh\necho 'Error: no more files' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(rules, "find_ast_grep", lambda: str(program))
    with pytest.raises(RulesError, match="failed with exit code 1: no more files; fix the cause"):
        run_rules(crate, off=(), advice=False)


DOCUMENTED = "{doc}{ignore}{attribute}pub fn f() -> Result<(), String> {{\n    Ok(())\n}}\n"
IGNORE = "// ast-grep-ignore: err-string-result -- a proof\n"


@pytest.mark.parametrize("doc", ["", "/// Says no.\n", "/// Says\n/// no.\n", "/** Says no. */\n", "#[inline]\n"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_suppression_on_the_line_above_counts_after_any_line(crate: Path, doc: str, ends: str) -> None:
    """ast-grep itself ignores a suppression below `///`."""
    assert gates(crate, DOCUMENTED.format(doc=doc, ignore="", attribute="").replace("\n", ends)) != []
    assert gates(crate, DOCUMENTED.format(doc=doc, ignore=IGNORE, attribute="").replace("\n", ends)) == []
    other = IGNORE.replace("err-string-result", "own-clone-in-loop")
    found = gates(crate, DOCUMENTED.format(doc=doc, ignore=other, attribute="").replace("\n", ends))
    assert [gate.partition(" ")[2] for gate in found] == ["ast-grep::unused-suppression", "ast-grep::err-string-result"]
