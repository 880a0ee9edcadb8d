"""The package otel/ is in the services that ask for it, and other crates contain no part of it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from fast_rust.answers import ANSWERS_FILE
from support.files import read_tree
from support.git import start_history
from support.template import Template, copier_in_process, copy_in_process
from support.variants import CHECKOUT, Answers, domain

SERVICE: Answers = {"crate_name": "log-totals", "kind": "service"}


@pytest.mark.parametrize("sample", [True, False])
@pytest.mark.parametrize("kind", domain("kind"))
def test_without_the_answer_a_crate_contains_no_part_of_it(template: Template, kind: str, sample: bool) -> None:
    """It has no such file, line, dependency or answer."""
    texts = read_tree(template.rendering({"crate_name": "log-totals", "kind": kind, "sample": sample}))
    # The address of the template may contain the word.
    texts[ANSWERS_FILE] = re.sub(rb"(?m)^_src_path:.*$", b"", texts[ANSWERS_FILE])
    found = [path for path, text in texts.items() if re.search(rb"\botel\b|opentelemetry[-_]|-otel\b", text)]
    assert found == []
    assert [path for path in texts if "otel" in path] == []


def test_with_the_answer_only_these_files_differ(template: Template) -> None:
    without, with_it = (read_tree(template.rendering({**SERVICE, "otel": otel})) for otel in (False, True))
    changed = {path for path in without if without[path] != with_it[path]}
    assert changed == {ANSWERS_FILE, "Cargo.toml", "README.md", "src/main.rs"}
    assert all(path.startswith("otel/") for path in with_it.keys() - without.keys())


@pytest.mark.parametrize(
    "answers",
    [
        {"kind": "lib"},
        {"kind": "cli"},
        {"kind": "service", "server_crate": False},
        {"kind": "service", "adopted": True},
    ],
    ids=["lib", "cli", "module", "adopted"],
)
def test_only_a_service_with_the_package_server_can_have_it(template: Template, answers: Answers) -> None:
    given = {"crate_name": "log-totals", **answers}
    assert read_tree(template.rendering({**given, "otel": True})) == read_tree(template.rendering(given))


@pytest.mark.parametrize(("name", "is_accepted"), [("otel-shop", False), ("otel_shop", False), ("otelshop", True)])
def test_a_crate_that_reads_the_same_variables_is_rejected(
    template: Template, tmp_path: Path, name: str, is_accepted: bool
) -> None:
    outcome = copy_in_process(template.files, tmp_path / "made", {**SERVICE, "crate_name": name, "otel": True})
    assert (outcome.exit_code == 0) == is_accepted, outcome.stderr
    assert is_accepted or "type no: " in outcome.last_line
    assert copy_in_process(template.files, tmp_path / "without", {**SERVICE, "crate_name": name}).exit_code == 0


@pytest.mark.parametrize("name", ["otel", "opentelemetry", "ureq"])
def test_a_crate_cannot_have_the_name_of_its_dependency(template: Template, tmp_path: Path, name: str) -> None:
    outcome = copy_in_process(template.files, tmp_path / "made", {**SERVICE, "crate_name": name})
    assert "type another name: " in outcome.last_line


def test_an_update_with_the_answer_adds_the_package_and_the_page_has_the_other_changes(
    template: Template, tmp_path: Path
) -> None:
    """`src/main.rs` and `README.md` are the crate's own, so the page says what to change there."""
    without, with_it = tmp_path / "without" / "log-totals", tmp_path / "with" / "log-totals"
    assert copy_in_process(template.repository, without, SERVICE).exit_code == 0
    assert copy_in_process(template.repository, with_it, {**SERVICE, "otel": True}).exit_code == 0
    start_history(without)
    update = ("update", "--quiet", "--defaults", "--vcs-ref=:current:", "--data", "otel=true", str(without))
    outcome = copier_in_process(*update)
    assert outcome.exit_code == 0, outcome.stderr
    updated, fresh = (read_tree(crate) for crate in (without, with_it))
    differing = {path for path in fresh if updated.get(path) != fresh[path]}
    # Copier writes answers in the order in which it gets them.
    assert yaml.safe_load(updated[ANSWERS_FILE]) == yaml.safe_load(fresh[ANSWERS_FILE])
    assert differing - {ANSWERS_FILE} == {"README.md", "src/main.rs"}
    page = (CHECKOUT / "docs" / "service.md").read_text(encoding="utf-8")
    [change] = re.findall(r"(?s)```diff\n(.*?)```", page)
    apply = ["git", "apply", "--unidiff-zero", "-"]
    subprocess.run(apply, input=change, cwd=without, check=True, text=True)
    assert (without / "src" / "main.rs").read_bytes() == fresh["src/main.rs"]
