"""The rules of ast-grep: the tool runs them with a crate's own, and they find what the pages say."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from standards.test_examples import CASES
from typer.testing import CliRunner

from fast_rust.checks import rules
from fast_rust.checks.findings import Finding, Severity
from fast_rust.checks.rules import RulesError, run_rules
from fast_rust.commands.rules import read_rules
from fast_rust.main import application
from template import Template, git
from variants import CHECKOUT, domain

OWN_RULE = (
    "id: ours-no-todo\nlanguage: rust\nseverity: error\nfiles: ['src/**']\n"
    "message: do it now\nrule:\n  pattern: fn later() {}\n"
)
TODO = "fn later() {}\n"
SKIPPED = "#[rustfmt::skip]\nfn table() {}\n"
QUEUE = "fn drain(mut v: Vec<u8>) {\n    while !v.is_empty() {\n        v.remove(0);\n    }\n}\n"


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    """As much of a crate as the rules read, in a folder with a space in its name."""
    folder = tmp_path / "a crate"
    (folder / "src").mkdir(parents=True)
    (folder / "lints" / "own").mkdir(parents=True)
    (folder / "lints" / "own" / "ours.yml").write_text(OWN_RULE, encoding="utf-8")
    return folder


def gates(crate: Path, text: str | bytes, *, off: tuple[str, ...] = (), advice: bool = False) -> list[str]:
    """Return the gates that a library fails, with the lines."""
    (crate / "src" / "lib.rs").write_bytes(text.encode() if isinstance(text, str) else text)
    return [f"{found.line} {found.gate}" for found in run_rules(crate, off=off, advice=advice)]


# --- The rules themselves ---


def by_id(path: Path) -> dict[str, dict[str, Any]]:
    return {rule["id"]: rule for rule in yaml.safe_load_all(path.read_text(encoding="utf-8"))}


def resolved(node: Any, utils: Mapping[str, Any]) -> Any:  # noqa: ANN401  A part of a rule.
    """Return a rule with the helpers that it names in their place."""
    if isinstance(node, list):
        return [resolved(one, utils) for one in node]
    if not isinstance(node, dict):
        return node
    whole = {key: resolved(utils[one] if key == "matches" else one, utils) for key, one in node.items()}
    return whole["matches"] if whole.keys() == {"matches"} else whole


def test_the_rules_are_those_of_the_template() -> None:
    """Until the template has none: what a crate is checked by is in both."""
    shared = {util["id"]: util["rule"] for path in rules.util_files() for util in by_id(Path(path)).values()}
    template = by_id(CHECKOUT / "template" / "lints" / "ast-grep.yml")
    ours = {rule["id"]: rule for rule in read_rules()}
    assert ours.keys() == template.keys()
    for name, rule in ours.items():
        own, old = rule.pop("utils", {}), template[name].pop("utils", {})
        assert not own.keys() & shared.keys(), "ast-grep takes the one of the rule; a reader may not"
        rule["rule"] = resolved(rule["rule"], {**shared, **own})
        template[name]["rule"] = resolved(template[name]["rule"], old)
        assert rule == template[name]


def test_each_helper_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in [*rules.rule_files(), *map(Path, rules.util_files())])
    assert [path for path in rules.util_files() if f"matches: {Path(path).stem}" not in text] == []


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all examples, which a crate's own rule also sees."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "src").mkdir()
    for case in CASES:
        (folder / "src" / f"{case.name}.rs").write_text(case.code, encoding="utf-8")
    (folder / "lints" / "own").mkdir(parents=True)
    (folder / "lints" / "own" / "ours.yml").write_text(OWN_RULE, encoding="utf-8")
    (folder / "src" / "own.rs").write_text(TODO + "// ast-grep-ignore: ours-no-todo -- unused\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def found(examples: Path) -> list[Finding]:
    """Return what one run finds in all examples."""
    return run_rules(examples, off=(), advice=True)


def test_bad_examples_are_found_and_good_ones_are_not(found: list[Finding]) -> None:
    gates: dict[str, set[str]] = defaultdict(set)
    directives: dict[str, set[str]] = defaultdict(set)
    # No example is about advice, which is wrong now and then.
    for one in (one for one in found if one.severity is Severity.ERROR):
        gates[Path(one.path).stem].add(one.gate)
        directives[Path(one.path).stem].update(one.directives)
    named = [case for case in CASES if (case.example.gate or "").startswith("ast-grep::")]
    assert len(named) > 50
    assert [case.title for case in named if case.example.gate not in gates[case.name]] == []
    assert [case.title for case in named if case.directive not in directives[case.name]] == []
    assert {case.title: gates[case.name] for case in CASES if not case.example.gate and gates[case.name]} == {}


@pytest.mark.parametrize("kind", domain("kind"))
def test_a_new_crate_has_no_finding(template: Template, kind: str) -> None:
    assert run_rules(template.rendering({"crate_name": "totals", "kind": kind}), off=(), advice=False) == []


# --- Findings ---


def test_a_finding_says_where_what_and_what_to_do(crate: Path) -> None:
    (crate / "src" / "lib.rs").write_text(QUEUE, encoding="utf-8")
    [finding] = run_rules(crate, off=(), advice=False)
    assert finding == Finding(
        path="src/lib.rs",
        line=3,
        column=9,
        gate="ast-grep::coll-vec-as-queue",
        directives=("COLL-2",),
        message="this moves all that follows once a round",
        next="use a `VecDeque`, or an iterator\n"
        "to keep the code, write `// ast-grep-ignore: coll-vec-as-queue -- REASON` on the line above it",
    )


def test_own_rules_run_with_ours(crate: Path) -> None:
    both = TODO + SKIPPED
    assert gates(crate, both) == ["1 ast-grep::ours-no-todo", "2 ast-grep::tool-rustfmt-skip"]
    (crate / "lints" / "own" / "ours.yml").unlink()
    assert gates(crate, both) == ["2 ast-grep::tool-rustfmt-skip"]
    (crate / "lints" / "own").rmdir()
    assert gates(crate, both) == ["2 ast-grep::tool-rustfmt-skip"]


def test_own_rules_need_no_message(crate: Path) -> None:
    rule = OWN_RULE.replace("message: do it now\n", "note: first\n")
    (crate / "lints" / "own" / "ours.yml").write_text(rule, encoding="utf-8")
    (crate / "src" / "lib.rs").write_text(TODO, encoding="utf-8")
    [finding] = run_rules(crate, off=(), advice=False)
    assert (finding.message, finding.directives) == ("this breaks the rule ours-no-todo", ())
    assert finding.next.startswith("first\nto keep the code, ")


@pytest.mark.parametrize(("rule", "code"), [("ours-no-todo", TODO), ("tool-rustfmt-skip", SKIPPED)])
def test_suppressions_need_a_reason_and_a_use(crate: Path, rule: str, code: str) -> None:
    ignore = f"// ast-grep-ignore: {rule}"
    assert gates(crate, f"{ignore} -- reason\n{code}") == []
    assert "1 ast-grep::door-bare-ignore" in gates(crate, f"{ignore}\n{code}")
    assert gates(crate, f"{ignore} -- reason\nfn other() {{}}\n") == ["1 ast-grep::unused-suppression"]


def test_off_is_for_one_rule(crate: Path) -> None:
    text = TODO + SKIPPED + QUEUE
    everything = gates(crate, text)
    assert len(everything) == 3
    for gate in everything:
        rule = gate.partition("::")[2]
        assert gates(crate, text, off=(rule,)) == [one for one in everything if one != gate]
    assert gates(crate, text, off=("", "no-such-rule")) == everything


def test_advice_is_asked_for(crate: Path) -> None:
    text = SKIPPED + "#[inline]\nfn small() {}\n"
    assert gates(crate, text) == ["1 ast-grep::tool-rustfmt-skip"]
    (crate / "src" / "lib.rs").write_text(text, encoding="utf-8")
    severities = {one.gate: one.severity for one in run_rules(crate, off=(), advice=True)}
    assert severities["ast-grep::adv-inline-outside-hot"] is Severity.ADVICE
    assert severities["ast-grep::tool-rustfmt-skip"] is Severity.ERROR


def test_places_in_files_of_any_system(crate: Path) -> None:
    assert gates(crate, QUEUE.replace("\n", "\r\n")) == ["3 ast-grep::coll-vec-as-queue"]
    (crate / "src" / "lib.rs").write_text("// ü\nfn später() { let é = 'ü'; #[rustfmt::skip] () }\n", encoding="utf-8")
    [finding] = run_rules(crate, off=(), advice=False)
    assert (finding.line, finding.column) == (2, 28)


@pytest.mark.skipif(sys.platform != "linux", reason="the file system takes UTF-8 only")
def test_names_of_files_that_are_not_utf8(crate: Path) -> None:
    folder = crate / "src" / os.fsdecode(b"m\xff d")
    folder.mkdir()
    (folder / os.fsdecode(b"a b\xfe.rs")).write_text(SKIPPED, encoding="utf-8")
    [finding] = run_rules(crate, off=(), advice=False)
    assert os.fsencode(finding.path) == b"src/m\xff d/a b\xfe.rs"
    odd = crate.with_name(os.fsdecode(b"\xff"))
    crate.rename(odd)
    with pytest.raises(RulesError, match=r"the path of the crate or of this tool has .*; move the folder"):
        run_rules(odd, off=(), advice=False)


def test_only_the_files_of_the_crate_count(crate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those that git ignores, nor a configuration for the editor; and nothing is written."""
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
def test_a_broken_own_rule_is_named(crate: Path, rule: bytes, reason: str) -> None:
    (crate / "lints" / "own" / "bad.yml").write_bytes(rule)
    with pytest.raises(RulesError) as error:
        run_rules(crate, off=(), advice=False)
    assert str(error.value).startswith("ast-grep cannot read the rule file lints/own/bad.yml: ")
    assert reason in str(error.value)
    assert "; correct the rule as https://" in str(error.value)
    assert error.value.exit_code == 2


def test_an_id_is_taken_once(crate: Path) -> None:
    path = crate / "lints" / "own" / "more.yml"
    path.write_text(OWN_RULE.replace("ours-no-todo", "coll-vec-as-queue"), encoding="utf-8")
    with pytest.raises(
        RulesError, match=r"`coll-vec-as-queue`, in lints/own/more.yml and standards/04-collections.yml;"
    ):
        run_rules(crate, off=(), advice=False)
    path.write_text(OWN_RULE, encoding="utf-8")
    with pytest.raises(RulesError, match=r"in lints/own/more\.yml and lints/own/ours\.yml; rename"):
        run_rules(crate, off=(), advice=False)


def test_ast_grep_is_missing(crate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(crate))
    monkeypatch.setenv("PATH", str(crate))
    with pytest.raises(RulesError, match=r"is not installed; run `pip install ast-grep-cli`"):
        run_rules(crate, off=(), advice=False)


def test_ast_grep_fails(crate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an exit code that also says that there are findings."""
    program = crate / "ast-grep"
    program.write_text("#!/bin/sh\necho 'Error: no more files' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(rules, "find_ast_grep", lambda: str(program))
    with pytest.raises(RulesError, match="ended with exit code 1: no more files; fix that"):
        run_rules(crate, off=(), advice=False)


# --- The command ---


def test_the_command_lists_the_rules() -> None:
    done = CliRunner().invoke(application, ["rules"])
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [[r["id"], r["severity"]] for r in read_rules()]


def test_an_export_finds_the_same(examples: Path, found: list[Finding], tmp_path: Path) -> None:
    folder = tmp_path / "for editors"
    arguments = ["rules", "--export", str(folder), "--crate", str(examples)]
    done = CliRunner().invoke(application, arguments)
    assert (done.exit_code, done.stdout) == (0, f"{folder / 'sgconfig.yml'}\n")
    command = ["ast-grep", "scan", f"--config={folder / 'sgconfig.yml'}", "--json"]
    scanned = subprocess.run(command, cwd=examples, capture_output=True, check=False)
    places = {
        (one["file"], one["range"]["start"]["line"] + 1, one["range"]["start"]["column"] + 1, one["ruleId"])
        for one in json.loads(scanned.stdout)
    }
    assert places == {(one.path, one.line, one.column, one.gate.partition("::")[2]) for one in found}
    assert "ours-no-todo" in {rule for *_, rule in places}
    # It may be written again, also over an edit.
    (folder / "rules" / "01-ownership.yml").write_text("edited", encoding="utf-8")
    assert CliRunner().invoke(application, arguments).exit_code == 0
    assert subprocess.run(command, cwd=examples, capture_output=True, check=False).stdout


def test_an_export_overwrites_nothing_of_a_person(crate: Path) -> None:
    config = crate / "sgconfig.yml"
    config.write_text("ruleDirs: [lints]\n", encoding="utf-8")
    for target in (crate, config):
        done = CliRunner().invoke(application, ["rules", "--export", str(target)])
        assert done.exit_code == 2
        assert done.stderr.startswith(f"error: {target} is not ")
    assert config.read_text(encoding="utf-8") == "ruleDirs: [lints]\n"
    assert not (crate / "rules").exists()
