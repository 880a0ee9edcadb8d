"""Invalid answers are rejected with a helpful message; all others arrive unchanged."""

import json
import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from fast_rust.answers import ANSWERS_FILE
from support.files import read_tree
from support.template import Template, copier_in_process, copy, copy_in_process
from support.variants import CHECKOUT, Answers, all_combinations, domain, is_asked, questions, where_asked

KEYWORDS = """abstract as async await become box break const continue crate do dyn else enum extern false final fn for
    gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true
    try type typeof unsafe unsized use virtual where while yield""".split()
DEVICES = ["con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in range(10))]
CONTROLS = [*map(chr, range(1, 32)), "\x7f", "\x85", "\u2028", "\u2029"]
NOT_A_NAME = [
    "", " ", "a", "a" * 59, "a" * 64, "a" * 300, "Log", "LOG", "logTotals", "log totals", " log", "log ", "log\n",
    "log\ttotals", "log\ntotals", "1log", "9", "-log", "log-", "_log", "log_", "log--totals", "log__totals", "log-_a",
    "log.totals", "log/totals", "../log", "log\\totals", "log:totals", "log;rm", "$(log)", "`log`", "{{ log }}",
    "{% raw %}", "log'", 'log"', "lög", "журнал", "日本", "log\u200b", "ｌｏｇ", "log!", "log@1", "log+", "log=1",
    "#log",
]  # fmt: skip
NOT_FREE = """alloc core proc-macro proc_macro std test build deps examples incremental tests bench benches src
    target""".split()
NOT_ONE_LINE = [
    "", " ", "  ", "\n", " leading", "trailing ", "trailing\n", "\u00a0x", "x\u3000", "x" * 201, "ü" * 201, "x" * 5000,
    *(f"two{control}parts" for control in CONTROLS),
]  # fmt: skip
NOT_AN_ADDRESS = [
    "x", " ", "none", "github.com", "github.com/a/b", "www.github.com/a/b", "http://github.com/a/b", "ftp://a.b/c",
    "git://github.com/a/b", "ssh://git@github.com/a/b", "git@github.com:a/b.git", "file:///srv/a", "/srv/a", "./a",
    "https://", "https:///a", "https://a", "https://github.com", "https://github.com/", "https://github.com/a/",
    "https://github.com//a", "https://github.com/a//b", "https://github.com/a b", "https://github.com/a\tb",
    "https://github.com/a\nb", "https://github.com/a/b\n", " https://github.com/a/b", "https://github.com/a/b ",
    "https://github.com/a?b", "https://github.com/a#b", "https://github.com/a&b", "https://github.com/a'b",
    'https://github.com/a"b', "https://github.com/a\\b", "https://github.com/a|b", "https://github.com/{{ a }}",
    "https://github.com/$(a)", "https://github.com/a`b`", "https://user:pass@github.com/a", "https://github.com:/a",
    "https://github.com:x/a", "https://gitüb.com/a", "https://github.com/ü", "HTTPS://github.com/a/b",
    "javascript:alert(1)", "https://github.com/<a>", "https//github.com/a", "https:/github.com/a",
]  # fmt: skip
NOT_A_VERSION = [
    "", " ", "1", "1.", "1.8", "1.84", "1.84.1", "1.00", "1.0", "1.31", "1.56.1", "1.999", "1.9999", "1.96.0.0", "2.0",
    "2.85", "0.85", "01.88", "1.088", "1.88.", "1.88.0.0", "1.88.100", "1.88.01", "1.88.x", "1.x", "v1.88", "^1.88",
    "~1.88",
    ">=1.88", "=1.88", "1.88-beta", "1.88.0-nightly", "1,88", "1.88\n", "1.88 ", " 1.88", "1 .88", "stable", "nightly",
    "latest", "MSRV", "-1.88", "1.-88", "1.88e1", "１.８８", "1.88;", "'1.88'", "[1.88]", "1.88 # old", "{{ 1 }}",
    "None",
]  # fmt: skip
NOT_YES_OR_NO = [
    "", " ", "maybe", "2", "-1", "10", "01", "0.5", "1e3", "inf", "nan", "ja", "nein", "oui", "si", "да", "はい", "tru",
    "truee", "ttrue", "fals", "falsee", "yess", "yeah", "nope", "noo", "yes please", "no thanks", "yes/no", "y/n",
    "true,false", "true false", "!true", "not true", "[true]", "{}", "[]", "'true'", '"yes"', "true\nfalse", "enabled",
    "disabled", "with", "without", "+", "x", "✓", "{{ true }}", "tröö", "Cargo.toml",
]  # fmt: skip
TEXTS_TO_REFUSE = {
    "crate_name": [*NOT_A_NAME, *KEYWORDS, *DEVICES, *NOT_FREE],
    "description": NOT_ONE_LINE,
    "copyright_holder": NOT_ONE_LINE,
    "repository_url": NOT_AN_ADDRESS,
    "msrv": NOT_A_VERSION,
}


def bad_answers(question: str) -> list[str]:
    """Return answers that must be rejected."""
    match questions()[question]:
        case {"type": "bool"}:
            return NOT_YES_OR_NO
        case {"choices": _}:
            return list(dict.fromkeys(invalid_choices([str(choice) for choice in domain(question)])))
        case _:
            return TEXTS_TO_REFUSE[question]


def invalid_choices(choices: list[str]) -> Iterator[str]:
    """Yield strings that resemble the choices, and strings that do not."""
    yield from (
        "",
        " ",
        "None",
        "null",
        "~",
        "0",
        "1",
        "true",
        "[]",
        "{}",
        "*",
        "?",
        "other",
        "default",
        "{{ x }}",
        "é",
    )
    for choice in choices:
        yield from (
            choice + " ",
            " " + choice,
            choice + "\n",
            choice + "\t",
            choice * 2,
            choice[:-1],
            choice[1:],
        )
        yield from (
            f"'{choice}'",
            f'"{choice}"',
            f"[{choice}]",
            f"- {choice}",
            choice + ",",
            choice + ".",
            choice + "s",
        )
        yield from sorted({choice.upper(), choice.lower(), choice.title(), choice.swapcase()} - set(choices))


def is_helpful(line: str, question: str) -> bool:
    """Return whether a line names the question, and says what to type instead."""
    return bool(re.search(rf"'{question}': (.*: )?(type|leave out) .*\w", line)) or bool(
        re.search(rf"'{question}': .* is not in \['?\w", line)
    )


EVERY_BAD_ANSWER = [
    pytest.param(question, answer, id=f"{question}-{number}-{answer[:30]!a}")
    for question in questions()
    for number, answer in enumerate(bad_answers(question))
]


# --- Invalid answers ---


@pytest.mark.parametrize("question", questions())
def test_each_question_has_40_invalid_answers(question: str) -> None:
    assert len(set(bad_answers(question))) >= 40


@pytest.mark.parametrize(("question", "answer"), EVERY_BAD_ANSWER)
def test_an_invalid_answer_is_rejected_with_help_and_no_file_is_written(
    template: Template, question: str, answer: str, tmp_path: Path
) -> None:
    outcome = copy_in_process(template.files, tmp_path / "made", {**where_asked(question), question: answer})
    assert outcome.exit_code != 0
    assert is_helpful(outcome.last_line, question), outcome.last_line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("question", questions())
def test_the_command_rejects_an_invalid_answer_too_and_does_not_change_the_folder(
    template: Template, question: str, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine\n")
    outcome = copy(template.repository, tmp_path, {**where_asked(question), question: bad_answers(question)[2]})
    assert outcome.exit_code != 0
    assert is_helpful(outcome.last_line, question), outcome.last_line
    assert read_tree(tmp_path) == {"notes.txt": b"mine\n"}


@pytest.mark.parametrize("kind", domain("kind"))
def test_a_crate_cannot_have_the_name_of_a_dependency(template: Template, kind: str, tmp_path: Path) -> None:
    """Cargo would report this, but not name the answer to change."""
    allocators = domain("allocator") if kind != "lib" else ["system"]
    names = {
        name for allocator in allocators for name in dependencies(template, {"kind": kind, "allocator": allocator})
    }
    assert "thiserror" in names
    accepted = {
        name
        for name in names
        if copy_in_process(template.files, tmp_path / name, {"kind": kind, "crate_name": name}).exit_code == 0
    }
    assert accepted == set()


def dependencies(template: Template, answers: Answers) -> set[str]:
    """Return every dependency of a crate and its benches, on any platform."""
    crate = template.rendering({"crate_name": "log-totals", **answers})
    manifests = [tomllib.loads(path.read_text(encoding="utf-8")) for path in crate.rglob("Cargo.toml")]
    tables = [table for manifest in manifests for table in (manifest, *manifest.get("target", {}).values())]
    sections = ("dependencies", "dev-dependencies", "build-dependencies")
    found = {name for table in tables for section in sections for name in table.get(section, {})}
    return {name.replace("_", "-") for name in found if name != "log-totals"}


def is_bad(question: str, text: str) -> bool:
    """Return whether an answer is invalid, by a definition that is independent of the template's."""
    match question:
        case "crate_name":
            allowed = set(string.ascii_lowercase + string.digits + "-_")
            return not (text[:1].isascii() and text[:1].islower() and set(text) <= allowed and 2 <= len(text) <= 58)
        case "description" | "copyright_holder":
            return text != text.strip() or not 1 <= len(text) <= 200 or not set(text).isdisjoint(CONTROLS)
        case "repository_url":
            return text != "" and not text.startswith("https://")
        case "msrv":
            parts = text.split(".")
            return not (all(part.isascii() and part.isdigit() for part in parts) and 2 <= len(parts) <= 3)
        case _ if questions()[question]["type"] == "bool":
            return text.casefold() not in {"true", "false", "yes", "no"}
        case _:
            return text not in domain(question)


# An argument cannot contain NUL; an unpaired surrogate is not valid text.
QUICKLY = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    # A failure renders an entire crate, so a search for the smallest example would take minutes.
    phases=[Phase.generate],
    # The tests only read the template, so examples may share it.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ANY_TEXT = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=250)


@pytest.mark.parametrize("question", questions())
@QUICKLY
@given(data=some.data())
def test_any_invalid_answer_is_rejected_with_help(template: Template, question: str, data: some.DataObject) -> None:
    answer = data.draw(ANY_TEXT.filter(lambda text: is_bad(question, text)))
    crate = template.renderings / f"never-made-{question}"
    outcome = copy_in_process(template.files, crate, {**where_asked(question), question: answer})
    assert outcome.exit_code != 0
    assert is_helpful(outcome.last_line, question), outcome.last_line
    assert not crate.exists()


# --- Valid answers ---

ODD_TEXTS = [
    "{{ crate_name }}", "{{ 7 * 7 }}", "{% raw %}", "{% endraw %}", "{# no comment #}", "{{", "}}",
    "${{ github.token }}",
    'say "so"', "it's", "'''", '"""', '\\"', "\\", "\\n", "\\u0041", "C:\\new\\table", "]]", "[[x]]", "*/", "/* x",
    "-->",
    "<!-- x", "$(x)", "`x`", "$HOME", "${x}", "%PATH%", "# no heading", "#", "x # y", "- item", "* item", "> quote",
    "| cell |", "key: value", "&anchor", "*alias", "!tag", "@at", "? x", "---", "...", "~", "null", "true", "no", "1.0",
    "0x1F", "1e3", "2026-11-22", "<b>bold</b>", "[link](https://example.org)", "**bold**", "_under_", "a;b", "a = b",
    "Žluťoučký kůň", "日本語", "🦀", "e\u0301", "שלום", "\u200bx", "x" * 200, "{:?}", "{0}", "%s", "r#\"x\"#", "//! x",
]  # fmt: skip


# For tests that do not depend on the other answers.
FEWEST_FILES: Answers = {"crate_name": "odd-one", "kind": "lib", "place": "member", "sample": False}


def batched(texts: list[str]) -> list[str]:
    """Return as few lines as possible that contain all texts, each short enough for an answer."""
    lines = [""]
    for text in texts:
        if len(lines[-1]) + len(text) >= 200:
            lines.append("")
        lines[-1] = f"{lines[-1]} {text}".strip()
    return lines


def arrived(crate: Path) -> list[tuple[str, str]]:
    """Return description and author from the two files that programs read."""
    package = tomllib.loads((crate / "Cargo.toml").read_text(encoding="utf-8"))["package"]
    recorded = yaml.safe_load((crate / ANSWERS_FILE).read_text(encoding="utf-8"))
    return [(package["description"], package["authors"][0]), (recorded["description"], recorded["copyright_holder"])]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_an_unusual_text_arrives_unchanged(template: Template, text: str) -> None:
    crate = template.rendering({**FEWEST_FILES, "description": text, "copyright_holder": text})
    assert arrived(crate) == [(text, text), (text, text)]


@pytest.mark.parametrize("kind", domain("kind"))
@pytest.mark.parametrize("texts", batched(ODD_TEXTS), ids=ascii)
def test_unusual_texts_keep_every_file_readable(template: Template, kind: str, texts: str) -> None:
    crate = template.rendering({"crate_name": "odd-one", "kind": kind, "description": texts, "copyright_holder": texts})
    assert arrived(crate) == [(texts, texts), (texts, texts)]
    for path, content in read_tree(crate).items():
        match Path(path).suffix:
            case ".toml":
                tomllib.loads(content.decode())
            case ".yml" | ".yaml":
                assert list(yaml.safe_load_all(content))
            case ".json":
                json.loads(content)


@QUICKLY
@given(text=ANY_TEXT.filter(lambda text: not is_bad("description", text)))
def test_any_line_of_text_arrives_unchanged(template: Template, text: str) -> None:
    crate = template.rendering({**FEWEST_FILES, "description": text, "copyright_holder": text})
    assert arrived(crate) == [(text, text), (text, text)]


# --- Answers to questions that are not asked ---

LIB: Answers = {"crate_name": "log-totals", "kind": "lib"}
CLI: Answers = {**LIB, "kind": "cli"}
SERVICE: Answers = {**LIB, "kind": "service"}
MEMBERS_DO_NOT: Answers = {"panic": "unwind", "container": True, "cpu_level": "x86-64-v3", "ci": "gitlab"}
NOBODY_DOES: Answers = {"publish": True}
INAPPLICABLE: list[tuple[Answers, Answers]] = [
    (LIB, {"allocator": "mimalloc"}),
    (LIB, {"allocator": "mimalloc", "panic": "abort", "container": True, "cpu_level": "x86-64-v3"}),
    (CLI, {"msrv": "1.85"}),
    (SERVICE, {"msrv": "1.85", "publish": True}),
    *[({**kind, "place": "member"}, MEMBERS_DO_NOT) for kind in (LIB, CLI, SERVICE)],
    *[({**kind, "ci": ci}, NOBODY_DOES) for kind in (LIB, CLI) for ci in ("gitlab", "none")],
    *[({**kind, "license": "proprietary"}, NOBODY_DOES) for kind in (LIB, CLI, SERVICE)],
]


@pytest.mark.parametrize(("answers", "inapplicable"), INAPPLICABLE, ids=repr)
def test_an_answer_that_does_not_apply_has_no_effect(
    template: Template, answers: Answers, inapplicable: Answers
) -> None:
    given = {"place": "repository", "license": "MIT", **answers}
    assert [name for name in inapplicable if is_asked(name, given)] == []
    assert read_tree(template.rendering({**answers, **inapplicable})) == read_tree(template.rendering(answers))


COMPUTED = sorted(
    {
        *re.findall(r"\{%-? (?:set|macro|for) (\w+)", "".join(path.read_text() for path in CHECKOUT.glob("*.jinja"))),
        "variant", "check", "starter_files", "path", "rust", "gungraun",
    } - set(questions())
)  # fmt: skip


@pytest.mark.parametrize("name", COMPUTED)
def test_a_computed_value_is_not_a_question(template: Template, name: str) -> None:
    for answers in (LIB, CLI, SERVICE):
        rendering = template.rendering({**answers, name: "update"})
        assert read_tree(rendering) == read_tree(template.rendering(answers))


# --- The questions ---


@pytest.mark.parametrize("question", questions())
def test_a_question_explains_itself_on_one_line(question: str) -> None:
    """Long enough to be useful, and short enough for a terminal together with the answer."""
    assert re.fullmatch(r"[A-Z].{15,130}[\w)?]", questions()[question]["help"])


@pytest.mark.parametrize("question", questions())
def test_a_question_has_a_default_so_that_a_bot_can_update(question: str) -> None:
    assert "default" in questions()[question]


def test_without_defaults_and_a_terminal_copier_names_the_missing_answer(template: Template, tmp_path: Path) -> None:
    outcome = copier_in_process("copy", "--quiet", str(template.files), str(tmp_path / "made"))
    assert outcome.exit_code != 0
    assert not (tmp_path / "made").exists()


# --- The documents about the questions ---

NUMBERS = dict(enumerate("eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split(), 8))


def test_the_readme_has_the_number_of_questions() -> None:
    counts = {len(variant.answers) for variant in all_combinations()}
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert f"asks {NUMBERS[min(counts)]} to {NUMBERS[max(counts)]} questions, all with a default" in readme


def test_the_readme_names_each_question() -> None:
    table = (CHECKOUT / "README.md").read_text(encoding="utf-8").partition("## What it asks")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= questions().keys()


@pytest.mark.parametrize("kind", domain("kind"))
@pytest.mark.parametrize("sample", [True, False])
def test_the_default_description_is_not_that_of_the_sample(template: Template, kind: str, *, sample: bool) -> None:
    crate = template.rendering({"crate_name": "log-reader", "kind": kind, "sample": sample})
    word = {"lib": "library", "cli": "program", "service": "service"}[kind]
    assert arrived(crate)[0][0] == f"The log-reader {word}"


# --- The CI system ---

OF_GITHUB, OF_GITLAB = ".github/", (".gitlab/", ".gitlab-ci.yml")


@pytest.mark.parametrize(("ci", "beginnings"), [("github", OF_GITHUB), ("gitlab", OF_GITLAB), ("none", ())])
def test_a_crate_has_only_the_files_of_its_ci(template: Template, ci: str, beginnings: tuple[str, ...]) -> None:
    tree = read_tree(template.rendering({"crate_name": "log-reader", "ci": ci}))
    found = [path for path in tree if path.startswith((OF_GITHUB, *OF_GITLAB))]
    assert bool(found) == bool(beginnings)
    assert all(path.startswith(beginnings) for path in found)
    texts = {path: content.decode() for path, content in tree.items() if path != ".gitlab/renovate.json"}
    other = "gitlab" if ci == "github" else "github"
    named = {path for path, text in texts.items() if f".{other}" in text and path != ".dockerignore"}
    assert named == set()


def test_renovate_ignores_the_templates_files_on_gitlab(template: Template) -> None:
    crate = template.rendering({"crate_name": "log-reader", "ci": "gitlab"})
    rules = json.loads((crate / ".gitlab" / "renovate.json").read_text())["packageRules"]
    assert rules[0]["matchFileNames"] == [".gitlab-ci.yml", "rust-toolchain.toml"]
