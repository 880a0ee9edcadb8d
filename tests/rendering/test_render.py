"""Every variant renders, and the result is tidy."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from pytest_copie.plugin import Copie

from fast_rust.answers import ANSWERS_FILE
from support.files import read_tree
from support.ownership import owners
from support.template import Template, copier, copy, copy_in_process
from support.variants import CHECKOUT, Variant, is_asked, pairwise_cover, questions

MOST_FILES = {"lib": 29, "cli": 35, "service": 38}
MOST_SCAFFOLDING = {"lib": 500, "cli": 520, "service": 530}
ASKED_FOR = {
    ".cargo/config.toml",
    ".dockerignore",
    ".github/workflows/image.yml",
    ".github/workflows/publish.yml",
    "CHANGELOG.md",
    "Containerfile",
}
# The product, the code that measures it, and files that are written once; all other files are scaffolding.
PRODUCT = re.compile(
    r"(src|tests|examples|bench|otel|server)/|build\.rs|README\.md|CHANGELOG\.md|LICENSE-|\.copier-answers\.yml"
)


@pytest.fixture
def tree(template: Template, variant: Variant) -> dict[str, bytes]:
    """Return the files of a crate."""
    return read_tree(template.rendering(variant.answers))


@pytest.fixture
def texts(tree: dict[str, bytes]) -> dict[str, str]:
    """Return the files of a crate, which are all text."""
    return {path: content.decode() for path, content in tree.items()}


def without_source(tree: dict[str, bytes]) -> dict[str, bytes]:
    """Remove the address and release of the template, which depend on how the crate is rendered."""
    answers = re.sub(rb"(?m)^_(src_path|commit):.*\n", b"", tree[ANSWERS_FILE])
    return {**tree, ANSWERS_FILE: answers}


def failures(texts: dict[str, str], pattern: str) -> list[str]:
    """Return all places where a pattern matches."""
    return [
        f"{path}:{text.count(chr(10), 0, hit.start()) + 1}: {hit[0]!r}"
        for path, text in texts.items()
        for hit in re.finditer(pattern, text)
    ]


# --- It renders ---


@pytest.mark.parametrize("covered", pairwise_cover(), ids=str)
def test_the_command_renders_the_files_of_the_other_tests_without_trust(
    template: Template, covered: Variant, tmp_path: Path
) -> None:
    outcome = copy(template.repository, tmp_path / "crate", covered.answers)
    assert outcome.exit_code == 0, outcome.stderr
    rendered = without_source(read_tree(tmp_path / "crate"))
    assert rendered == without_source(read_tree(template.rendering(covered.answers)))


@pytest.mark.parametrize("covered", pairwise_cover(), ids=str)
def test_trust_changes_nothing(template: Template, covered: Variant, copie: Copie) -> None:
    result = copie.copy(covered.answers, template_dir=template.repository)
    assert result.exception is None
    assert result.project_dir is not None
    rendered = without_source(read_tree(result.project_dir))
    assert rendered == without_source(read_tree(template.rendering(covered.answers)))


def test_a_second_rendering_is_the_same(template: Template, variant: Variant, tmp_path: Path) -> None:
    outcome = copy_in_process(template.files, tmp_path / "another-name", variant.answers)
    assert outcome.exit_code == 0, outcome.stderr
    assert read_tree(tmp_path / "another-name") == read_tree(template.rendering(variant.answers))


# --- The rendered files are well-formed ---


def test_toml_parses(texts: dict[str, str]) -> None:
    parsed = {path: tomllib.loads(text) for path, text in texts.items() if path.endswith(".toml")}
    assert "Cargo.toml" in parsed


def test_yaml_parses(texts: dict[str, str]) -> None:
    parsed = {path: list(yaml.safe_load_all(text)) for path, text in texts.items() if path.endswith((".yml", ".yaml"))}
    assert None not in parsed[ANSWERS_FILE]


def test_json_parses(texts: dict[str, str], variant: Variant) -> None:
    parsed = {path: json.loads(text) for path, text in texts.items() if path.endswith(".json")}
    assert bool(parsed) == (variant.answers.get("ci", "none") != "none")


def test_no_statement_or_comment_of_jinja_is_left(texts: dict[str, str]) -> None:
    assert failures(texts, r"\{[%#]|%\}") == []


def test_no_expression_of_jinja_is_left(texts: dict[str, str]) -> None:
    """GitHub and Rust also use double braces; but only those of a template contain names of ours."""
    names = "|".join(sorted(template_names()))
    # The justfile uses braces itself, and `just` reports unknown names: see the next test.
    others = {path: text for path, text in texts.items() if path != "justfile"}
    assert failures(others, rf"(?<!\$)\{{\{{(?:[^{{}}\n]*[^\w{{}}\n])?(?:{names})\b[^{{}}\n]*\}}\}}") == []


def template_names() -> set[str]:
    """Return the names that only Jinja can define."""
    computed = re.findall(r"\{%-? set (\w+)", (CHECKOUT / "variant.jinja").read_text(encoding="utf-8"))
    return {*questions(), *computed, "variant", "_copier_conf", "_copier_answers", "_copier_operation"}


def test_just_knows_every_name_in_the_justfile(template: Template, variant: Variant) -> None:
    justfile = template.rendering(variant.answers) / "justfile"
    if variant.answers["place"] == "member":
        assert not justfile.exists()
    else:
        done = subprocess.run(
            ["just", "--justfile", str(justfile), "--list"], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


# --- The rendered files are tidy ---


def test_no_file_is_empty(tree: dict[str, bytes]) -> None:
    assert [path for path, content in tree.items() if not content.strip()] == []


def test_no_file_of_the_template_itself_is_rendered(tree: dict[str, bytes]) -> None:
    assert [path for path in tree if path.endswith(".jinja") or "{" in path] == []


def test_every_file_ends_with_one_newline(texts: dict[str, str]) -> None:
    assert [path for path, text in texts.items() if not text.endswith("\n") or text.endswith("\n\n")] == []


def test_no_file_begins_with_a_blank_line(texts: dict[str, str]) -> None:
    assert [path for path, text in texts.items() if text.startswith(("\n", "\r"))] == []


def test_no_line_has_trailing_blanks(texts: dict[str, str]) -> None:
    assert failures(texts, r"[ \t\r]+(?=\n)") == []


def test_no_file_has_two_blank_lines_in_a_row(texts: dict[str, str]) -> None:
    assert failures(texts, r"\n\n\n+") == []


def test_a_folder_is_never_empty(template: Template, variant: Variant) -> None:
    crate = template.rendering(variant.answers)
    assert [path for path in crate.rglob("*") if path.is_dir() and not any(path.iterdir())] == []


def test_a_crate_has_few_files(tree: dict[str, bytes], variant: Variant) -> None:
    """Files that a user asked for, and the middleware of a service, are not counted."""
    files = {path for path in tree.keys() - ASKED_FOR if not path.startswith(("otel/", "server/"))}
    assert len(files) <= MOST_FILES[str(variant.answers["kind"])], sorted(files)


def test_a_crate_has_few_lines_of_scaffolding(texts: dict[str, str], variant: Variant) -> None:
    lines = {
        path: text.count("\n") for path, text in texts.items() if path not in ASKED_FOR and not PRODUCT.match(path)
    }
    assert sum(lines.values()) <= MOST_SCAFFOLDING[str(variant.answers["kind"])], lines


def test_no_script_or_rule_of_the_template_is_in_a_crate(tree: dict[str, bytes]) -> None:
    ours = re.compile(r"tools/|lints/|sgconfig\.yml|STANDARDS\.md|.*/standards\.rs|.*\.py")
    assert [path for path in tree if ours.match(path)] == []


# --- Answers ---


def test_exactly_the_answers_that_apply_are_recorded(tree: dict[str, bytes], variant: Variant) -> None:
    recorded = yaml.safe_load(tree[ANSWERS_FILE])
    assert recorded.pop("thin") is True
    assert recorded.pop("server_crate", None) is (True if variant.answers["kind"] == "service" else None)
    # Most services do not have it, so only the answer yes is recorded.
    expected = {name: answer for name, answer in variant.answers.items() if (name, answer) != ("otel", False)}
    assert {name: answer for name, answer in recorded.items() if not name.startswith("_")} == expected


def test_a_question_is_recorded_only_if_it_was_asked(tree: dict[str, bytes]) -> None:
    recorded = yaml.safe_load(tree[ANSWERS_FILE])
    assert [name for name in recorded if name in questions() and not is_asked(name, recorded)] == []


def test_managed_files_do_not_depend_on_the_identity_of_a_crate(template: Template, variant: Variant) -> None:
    """So a rendering of these files depends only on choices and release, and can serve a thousand crates."""
    other = {
        "crate_name": "qq",
        "description": "zzzz",
        "copyright_holder": "yyyy",
        "repository_url": "https://example.com/xxxx/wwww",
    }
    trees = [read_tree(template.rendering(answers)) for answers in (variant.answers, {**variant.answers, **other})]
    managed = [{path: tree[path] for path in tree if owners(path) == ["managed"]} for tree in trees]
    assert variant.answers["place"] == "member" or "rust-toolchain.toml" in managed[0]
    assert managed[0] == managed[1]


def test_the_folder_gives_the_name_of_the_crate(template: Template, tmp_path: Path) -> None:
    names = {
        "My Crate": "my-crate",
        "log_totals": "log-totals",
        "2nd-try": "nd-try",
        "Ünïcode": "n-code",
        "--x y--": "x-y",
        "日本": "new-crate",
    }
    proposed = {}
    for folder in names:
        outcome = copy_in_process(template.files, tmp_path / folder, {})
        assert outcome.exit_code == 0, (folder, outcome.last_line)
        proposed[folder] = yaml.safe_load((tmp_path / folder / ANSWERS_FILE).read_text())["crate_name"]
        shutil.rmtree(tmp_path / folder)
    assert proposed == names


@pytest.mark.parametrize(("address", "is_told"), [(".", True), ("../repository", True), ("{absolute}", False)])
def test_an_address_that_updates_cannot_find_is_reported(
    template: Template, tmp_path: Path, address: str, *, is_told: bool
) -> None:
    """Copier records the address unchanged, and resolves it from the crate's folder."""
    given = address.format(absolute=template.repository)
    outcome = copier(
        "copy", "--defaults", "--data=sample=false", given, str(tmp_path / "a1"), folder=template.repository
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert (f"The template's address {given} is relative" in outcome.stderr) is is_told


def test_the_sample_explains_why_it_does_not_use_rayon(template: Template) -> None:
    """CONC-2 requires this, and people copy from the sample."""
    crate = template.rendering({"crate_name": "log-totals"})
    documentation = (crate / "src" / "aggregate" / "read.rs").read_text(encoding="utf-8").partition("\nuse ")[0]
    assert "rayon" not in (crate / "Cargo.toml").read_text(encoding="utf-8")
    assert re.search(r"CONC-2 asks for `rayon`, and this is an exception: (.*\n)+?.*\d+ million", documentation)
