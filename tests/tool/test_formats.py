"""Findings are printed so that a person, GitHub and a program find the location and the next step."""

import json

import pytest

from fast_rust.checks.findings import Finding, Severity
from fast_rust.checks.formats import Format, render

PLACED = Finding("src/a,b.rs", 3, 7, "ast-grep::own-clone", ("OWN-6",), "this clones 100%", "borrow:\n\n  &x")
WHOLE = Finding("Cargo.toml", 0, 0, "standards::lto", ("BUILD-1",), "no\nlto", "", Severity.ADVICE)
OLD = Finding("sgconfig.yml", 0, 0, "standards::old", ("TOOL-1",), "old", "run `git rm sgconfig.yml`", Severity.WARNING)

TEXTS = {
    Format.FULL: """\
error[ast-grep::own-clone] src/a,b.rs:3:7
  OWN-6: this clones 100%
  Next: borrow:

    &x

advice[standards::lto] Cargo.toml
  BUILD-1: no
  lto

warning[standards::old] sgconfig.yml
  TOOL-1: old
  Next: run `git rm sgconfig.yml`""",
    Format.CONCISE: """\
src/a,b.rs:3:7: error[ast-grep::own-clone] OWN-6: this clones 100%
Cargo.toml: advice[standards::lto] BUILD-1: no lto
sgconfig.yml: warning[standards::old] TOOL-1: old""",
    Format.GITHUB: """\
::error file=src/a%2Cb.rs,line=3,col=7,title=ast-grep%3A%3Aown-clone::OWN-6: this clones 100%25%0Aborrow:%0A%0A  &x
::notice file=Cargo.toml,title=standards%3A%3Alto::BUILD-1: no%0Alto
::warning file=sgconfig.yml,title=standards%3A%3Aold::TOOL-1: old%0Arun `git rm sgconfig.yml`""",
}


@pytest.mark.parametrize("how", TEXTS)
def test_a_text_has_the_location_and_the_next_step(how: Format) -> None:
    assert render([PLACED, WHOLE, OLD], how) == TEXTS[how]


@pytest.mark.parametrize("how", TEXTS)
def test_no_finding_prints_nothing(how: Format) -> None:
    assert render([], how) == ""


def test_json_has_every_field() -> None:
    [placed, whole] = json.loads(render([PLACED, WHOLE], Format.JSON))
    assert placed == {
        "path": "src/a,b.rs",
        "line": 3,
        "column": 7,
        "gate": "ast-grep::own-clone",
        "directives": ["OWN-6"],
        "message": "this clones 100%",
        "next": "borrow:\n\n  &x",
        "severity": "error",
    }
    assert whole["severity"] == "advice"
    assert json.loads(render([], Format.JSON)) == []


def test_sarif_names_each_rule_once_and_gives_a_region_only_to_a_line() -> None:
    log = json.loads(render([PLACED, PLACED, WHOLE], Format.SARIF))
    [run] = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["ast-grep::own-clone", "standards::lto"]
    placed, _, whole = (result["locations"][0]["physicalLocation"] for result in run["results"])
    assert placed == {
        "artifactLocation": {"uri": "src/a,b.rs"},
        "region": {"startLine": 3, "startColumn": 7},
    }
    assert whole == {"artifactLocation": {"uri": "Cargo.toml"}}
    assert [result["level"] for result in run["results"]] == ["error", "error", "note"]
    [run] = json.loads(render([OLD], Format.SARIF))["runs"]
    assert [result["level"] for result in run["results"]] == ["warning"]
    assert json.loads(render([], Format.SARIF))["runs"][0]["results"] == []
