"""The pages of standards/ agree with the guide, with the crates, and with the tests."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from fast_rust.checks.everything import MODULES
from fast_rust.checks.registry import CHECKS
from fast_rust.commands.rules import read_rules
from fast_rust.standards.documents import documents, unproven
from fast_rust.standards.lints import switched_on
from fast_rust.standards.pages import Directive, Quality, StandardsError, directives, read_page, read_standards
from standards.violations import VIOLATIONS
from support.variants import CHECKOUT

PAGES = read_standards(CHECKOUT / "standards")
DIRECTIVES = {one.id: one for one in directives(PAGES)}
TEMPLATE = CHECKOUT / "template"
ID = re.compile(r"\b(?:OP|OWN|PRE|ITER|COLL|STR|ERR|LOG|DISP|CONC|ASYNC|HASH|IO|BUILD|ADV|BENCH|TOOL|DOOR)-\d+\b")
GUIDE_TITLE = "# High-Performance Rust Coding Standards\n"


def ids(text: str) -> set[str]:
    """Return the directives that a text names."""
    return set(ID.findall(text))


def claims(prefix: str) -> dict[str, set[str]]:
    """Return the gates of a kind, each with the directives that claim it."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in DIRECTIVES.values():
        for gate in one.gates:
            if gate.startswith(prefix):
                found[gate].add(one.id)
    return dict(found)


# --- The guide ---


def guide_directives() -> Iterator[tuple[int, str]]:
    """Yield line and level of each directive of the guide, if its text is next to this checkout."""
    for path in sorted(CHECKOUT.parent.glob("*/*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if text.startswith(GUIDE_TITLE):
            for number, line in enumerate(text.splitlines(), 1):
                if level := re.match(r"\* \*\*(MUST|SHOULD|AVOID)\*\*", line):
                    yield number, level[1]


def test_the_pages_have_every_directive_of_the_guide() -> None:
    from_guide = [one for one in DIRECTIVES.values() if one.origin == "guide"]
    assert len(from_guide) == 93
    if not (expected := sorted(guide_directives())):
        pytest.skip("the text of the guide is not beside this checkout, so lines and levels are not compared")
    assert sorted((one.guide, one.level) for one in from_guide) == expected


def test_the_missing_sections_are_reconstructed() -> None:
    reconstructed = {one.id.partition("-")[0] for one in DIRECTIVES.values() if one.origin == "reconstructed"}
    assert reconstructed == {"HASH", "IO"}


def test_ids_have_no_gap() -> None:
    numbers = defaultdict(list)
    for one in DIRECTIVES.values():
        section, _, number = one.id.partition("-")
        numbers[section].append(int(number))
    assert {section: found for section, found in numbers.items() if found != list(range(1, len(found) + 1))} == {}


# --- The gates of a crate ---


@pytest.mark.parametrize("directive", list(DIRECTIVES.values()), ids=lambda one: one.id)
def test_a_directive_proves_every_gate_it_claims(directive: Directive) -> None:
    if directive.quality in {Quality.REVIEW, Quality.PENDING}:
        assert [example for example in directive.examples if example.gate] == []
    else:
        assert unproven(directive) == []


def lint_comments() -> dict[str, str]:
    """Return the lints of the tables, each with the comment on its line."""
    tables: dict[str, str] = {}
    tool = ""
    for line in (TEMPLATE / "Cargo.toml.jinja").read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[(.*)\]", line):
            tool = header[1].removeprefix("workspace.lints.") if "workspace.lints" in header[1] else ""
        elif tool and (lint := re.match(r"(\w+) = [^#]*(?:# (.*))?$", line)):
            tables[f"{'rustc' if tool == 'rust' else tool}::{lint[1]}"] = lint[2] or ""
    return tables


LINT_COMMENTS = lint_comments()
GROUPS = {f"clippy::{name}" for name in ("complexity", "perf", "style", "suspicious")}


def test_the_comments_are_those_of_the_tables() -> None:
    manifest = (TEMPLATE / "Cargo.toml.jinja").read_text(encoding="utf-8")
    assert LINT_COMMENTS.keys() == switched_on(manifest)


@pytest.mark.parametrize("lint", sorted(LINT_COMMENTS.keys() - GROUPS))
def test_a_lint_of_the_tables_names_the_directives_that_claim_it(lint: str) -> None:
    named, _, reason = LINT_COMMENTS[lint].rpartition(": ")
    assert reason, "every line has a reason"
    assert ids(named) == claims(lint).get(lint, set())


def test_a_ban_of_clippy_names_directives_that_claim_it() -> None:
    bans = tomllib.loads((TEMPLATE / "clippy.toml").read_text(encoding="utf-8"))
    lints = {
        "disallowed-macros": "clippy::disallowed_macros",
        "disallowed-methods": "clippy::disallowed_methods",
        "disallowed-types": "clippy::disallowed_types",
        "await-holding-invalid-types": "clippy::await_holding_invalid_type",
    }
    named: dict[str, set[str]] = {}
    for key, lint in lints.items():
        for entry in bans.get(key, []):
            assert ids(entry["reason"]), f"the ban of {entry['path']} names no directive"
            named.setdefault(lint, set()).update(ids(entry["reason"]))
    claimed = claims("clippy::disallowed_") | claims("clippy::await_holding_invalid_type")
    assert named == claimed


def ast_grep_rules() -> dict[str, dict[str, Any]]:
    """Return the rules, by their ids."""
    return {rule["id"]: rule for rule in read_rules()}


@pytest.mark.parametrize("rule", list(ast_grep_rules().values()), ids=lambda rule: rule["id"])
def test_a_rule_of_ast_grep_names_the_directives_that_claim_it(rule: dict[str, Any]) -> None:
    gate = f"ast-grep::{rule['id']}"
    named = ids(rule["message"])
    assert named, "its message names a directive"
    if rule["severity"] == "error":
        assert named == claims(gate).get(gate, set())
    else:
        assert named <= DIRECTIVES.keys()
        assert not claims(gate), "advice is no gate"


def test_every_claimed_rule_exists() -> None:
    assert {gate.removeprefix("ast-grep::") for gate in claims("ast-grep::")} <= ast_grep_rules().keys()


def test_the_checks_name_the_directives_that_claim_them() -> None:
    for name in MODULES:
        import_module(f"fast_rust.checks.{name}")
    named = {f"standards::{name}": set(check.directives) for name, check in CHECKS.items()}
    assert named == claims("standards::")


@pytest.mark.parametrize(
    "path", ["Cargo.toml.jinja", "src/lib.rs.jinja", "clippy.toml", "deny.toml", "justfile", ".config/nextest.toml"]
)
def test_no_file_names_an_unknown_directive(path: str) -> None:
    assert ids((TEMPLATE / path).read_text(encoding="utf-8")) - DIRECTIVES.keys() == set()


# --- Proofs by violations ---


def test_a_directive_names_the_violations_that_name_it() -> None:
    by_violations: dict[str, set[str]] = defaultdict(set)
    for violation in VIOLATIONS:
        for name in violation.directives:
            by_violations[name].add(violation.name)
    assert dict(by_violations) == {one.id: set(one.violations) for one in DIRECTIVES.values() if one.violations}


@pytest.mark.parametrize("directive", list(DIRECTIVES.values()), ids=lambda one: one.id)
def test_a_gate_that_no_example_shows_is_shown_by_a_violation_of_the_directive(directive: Directive) -> None:
    shown = {example.gate for example in directive.examples}
    by_violations = {violation.gate for violation in VIOLATIONS if directive.id in violation.directives}
    gates = directive.gates if directive.quality is not Quality.PENDING else ()
    assert [gate for gate in gates if gate not in shown | by_violations] == []


# --- Directives for reviewers ---


def test_few_directives_are_left_to_people() -> None:
    assert len([one for one in DIRECTIVES.values() if one.quality is Quality.REVIEW]) <= 13


def test_the_page_lists_the_directives_that_only_people_judge() -> None:
    text = (CHECKOUT / "docs" / "standards.md").read_text(encoding="utf-8")
    paragraph = text.partition("\nNo check can enforce these")[2].partition("\n\n")[0]
    assert ids(paragraph) == {one.id for one in DIRECTIVES.values() if one.quality in {Quality.REVIEW, Quality.PENDING}}


# --- Documents that are generated from the pages ---


@pytest.mark.parametrize(("path", "text"), list(documents(PAGES, CHECKOUT)), ids=lambda it: getattr(it, "name", ""))
def test_no_generated_document_is_stale(path: Path, text: str) -> None:
    assert path.read_text(encoding="utf-8") == text, "type: fast-rust standards render"


def test_a_stale_document_is_detected(tmp_path: Path) -> None:
    for folder in ("template", "docs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "template" / "Cargo.toml.jinja").write_bytes((TEMPLATE / "Cargo.toml.jinja").read_bytes())
    (tmp_path / "README.md").write_bytes((CHECKOUT / "README.md").read_bytes())
    [standards, *_] = documents(PAGES[:-1], tmp_path)
    assert standards[1] != (CHECKOUT / "docs" / "standards.md").read_text(encoding="utf-8")


# --- Parsing ---

ENTRY = "### OWN-1 · MUST · Pass references\n\nThe rule.\n\n- Guide: 44\n- Gate: decided, by `rustfmt`\n"


def read(folder: Path, text: str) -> list[Directive]:
    """Parse a page with this text."""
    path = folder / "01-ownership.md"
    path.write_text(text, encoding="utf-8")
    return list(read_page(path).directives)


def test_an_entry_is_parsed(tmp_path: Path) -> None:
    [one] = read(
        tmp_path,
        f"# 1 · Ownership\n\n{ENTRY}- Exception: none\n- Erratum: 40-44: no.\n\n```rust good hot\nfn f() {{}}\n```\n",
    )
    assert (one.id, one.level, one.title, one.rule, one.guide) == ("OWN-1", "MUST", "Pass references", "The rule.", 44)
    assert (one.quality, one.gates, one.exception) == (Quality.DECIDED, ("rustfmt",), "none")
    assert [(e.first_line, e.text) for e in one.errata] == [(40, "no.")]
    assert [(e.code, e.hot, e.gate) for e in one.examples] == [("fn f() {}\n", True, None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: expected a title"),
        ("# Ownership\n", "1: expected a title"),
        ("# 2 · Iterators\n", "1: expected the name to begin with the section's number: 02-"),
        (f"# 1 · O\n\n{ENTRY.replace('MUST', 'SHALL')}", "3: expected a heading"),
        ("# 1 · O\n\n### OWN-1 · MUST · T\n", "3: expected the rule of OWN-1"),
        ("# 1 · O\n\n### OWN-1 · MUST · T\n\nThe rule.\n", "3: expected a list"),
        (f"# 1 · O\n\n{ENTRY.replace('44', 'x')}", "7: expected `Guide:`"),
        (f"# 1 · O\n\n{ENTRY.replace('decided', 'maybe')}", "8: expected `Gate:`"),
        (f"# 1 · O\n\n{ENTRY.replace('rustfmt', 'rustfm')}", "8: unknown kind of gate: `rustfm`"),
        (f"# 1 · O\n\n{ENTRY}- Gate: review, because\n", "9: Gate is listed twice"),
        (f"# 1 · O\n\n{ENTRY}- Note: x\n", "9: expected one of Guide, Gate"),
        (f"# 1 · O\n\n{ENTRY}- Erratum: somewhere: x\n", "9: expected `Erratum: 40: ...`"),
        (f"# 1 · O\n\n{ENTRY}\n```rust bad clippy::x\n```\n", "10: `clippy::x` is not among the gates"),
        (f"# 1 · O\n\n{ENTRY}\n```python\n```\n", "10: expected ```rust bad GATE, or ```rust good"),
        (f"# 1 · O\n\n{ENTRY}\n```rust good warm\n```\n", "10: expected `hot` or a kind of crate, not warm"),
    ],
)
def test_a_malformed_page_is_reported_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(StandardsError, match=f"^standards/01-ownership.md:{re.escape(expected)}"):
        read(tmp_path, text)


def test_an_id_occurs_once(tmp_path: Path) -> None:
    read(tmp_path, f"# 1 · Ownership\n\n{ENTRY}\n{ENTRY}")
    with pytest.raises(StandardsError, match=r"^standards/01-ownership\.md:10: OWN-1 is defined already: 01-own"):
        read_standards(tmp_path)
