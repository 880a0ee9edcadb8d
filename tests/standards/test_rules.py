"""The rules of ast-grep: the tool runs them with a crate's own rules, and they report what the pages claim."""

import json
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from fast_rust.checks import rules
from fast_rust.checks.findings import Finding, Severity
from fast_rust.checks.rules import run_rules
from fast_rust.commands.rules import read_rules
from standards.examples import CASES, OWN_RULE, TODO
from support.command import invoke
from support.template import Template
from support.variants import domain

# --- The rules themselves ---


def test_no_rule_hides_a_helper() -> None:
    """ast-grep uses the rule's own helper, but a reader may expect the shared helper with that name."""
    shared = {Path(path).stem for path in rules.util_files()}
    assert [rule["id"] for rule in read_rules() if rule.get("utils", {}).keys() & shared] == []


def test_each_helper_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in [*rules.rule_files(), *map(Path, rules.util_files())])
    assert [path for path in rules.util_files() if f"matches: {Path(path).stem}" not in text] == []


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all examples, which a crate's own rule also checks."""
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
    """Return the findings of one run over all examples."""
    return run_rules(examples, off=(), advice=True)


def test_bad_examples_are_reported_and_good_ones_are_not(found: list[Finding]) -> None:
    gates: dict[str, set[str]] = defaultdict(set)
    directives: dict[str, set[str]] = defaultdict(set)
    # No example is about advice, which is sometimes wrong.
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


# --- The command ---


def test_the_command_lists_the_rules() -> None:
    done = invoke("rules")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [[r["id"], r["severity"]] for r in read_rules()]


def test_exported_rules_have_the_same_findings(examples: Path, found: list[Finding], tmp_path: Path) -> None:
    folder = tmp_path / "for editors"
    arguments = ("rules", "--export", folder, "--crate", examples)
    done = invoke(*arguments)
    assert (done.exit_code, done.stdout) == (0, f"{folder / 'sgconfig.yml'}\n")
    command = ["ast-grep", "scan", f"--config={folder / 'sgconfig.yml'}", "--json"]
    scanned = subprocess.run(command, cwd=examples, capture_output=True, check=False)
    places = {
        (one["file"], one["range"]["start"]["line"] + 1, one["range"]["start"]["column"] + 1, one["ruleId"])
        for one in json.loads(scanned.stdout)
    }
    assert places == {(one.path, one.line, one.column, one.gate.partition("::")[2]) for one in found}
    assert "ours-no-todo" in {rule for *_, rule in places}
    # A second export may overwrite the first, even if that was edited.
    (folder / "rules" / "01-ownership.yml").write_text("edited", encoding="utf-8")
    assert invoke(*arguments).exit_code == 0
    assert subprocess.run(command, cwd=examples, capture_output=True, check=False).stdout


def test_an_export_overwrites_no_other_file(tmp_path: Path) -> None:
    config = tmp_path / "sgconfig.yml"
    config.write_text("ruleDirs: [lints]\n", encoding="utf-8")
    for target in (tmp_path, config):
        done = invoke("rules", "--export", target)
        assert done.exit_code == 2
        assert done.stderr.startswith((f"error: {target} has files that ", f"error: {target} is a file"))
    assert config.read_text(encoding="utf-8") == "ruleDirs: [lints]\n"
    assert not (tmp_path / "rules").exists()
