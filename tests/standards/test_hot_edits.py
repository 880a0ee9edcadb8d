"""`hot remove aggregate` next to the user's lines keeps them, or reports each of them and changes nothing."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from tempfile import mkdtemp

import pytest

from fast_rust.answers import ANSWERS_FILE, Answers, read_answers
from fast_rust.errors import FastRustError
from fast_rust.hot import sample
from fast_rust.hot.add import add
from fast_rust.hot.changes import Changes
from fast_rust.hot.crate import open_crate
from fast_rust.hot.remove import remove
from fast_rust.hot.rust import imports
from fast_rust.rendering import render
from standards.made import make
from support.git import git, release
from support.template import Template
from support.variants import domain
from support.workshop import Workshop

COMMENTS = {".rs": "// mine", ".md": "<!-- mine -->"}


@dataclass(frozen=True)
class Made:
    """A crate with the sample, and its renderings with and without the sample."""

    folder: Path
    answers: Answers
    before: Mapping[str, str]
    after: Mapping[str, str]

    def removal(self) -> Changes:
        return sample.remove_sample(open_crate(self.folder), self.answers)

    def changed(self) -> list[str]:
        return [
            name for name in sorted(self.before.keys() & self.after.keys()) if self.before[name] != self.after[name]
        ]

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        path = self.folder / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.fixture(scope="session")
def crates(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Return the crate of a kind, made once."""
    made: dict[str, tuple[Path, Answers]] = {}
    folder = tmp_path_factory.mktemp("edits")

    def get(kind: str) -> Made:
        if kind not in made:
            crate = folder / kind
            make(template, crate, kind=kind, description="Adds")
            answers = read_answers(crate)
            assert answers is not None
            made[kind] = (crate, answers)
        crate, answers = made[kind]
        git(crate, "checkout", "--quiet", ".")
        git(crate, "clean", "--quiet", "--force", "-d")
        both = [_rendered(answers.with_choice("sample", choice=choice), ANSWERS_FILE) for choice in (True, False)]
        return Made(crate, answers, *({name: text.decode() for name, text in each.items()} for each in both))

    return get


RENDERED: dict[tuple[str, bool], dict[str, bytes]] = {}


def _rendered(answers: Answers, file: str) -> dict[str, bytes]:
    key = (str(answers.choices["kind"]), bool(answers.choices["sample"]))
    if key not in RENDERED:
        folder = Path(mkdtemp(prefix="fast-rust-"))
        RENDERED[key] = render(answers, folder, file)
        shutil.rmtree(folder)
    return RENDERED[key]


@pytest.fixture(autouse=True)
def _rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache the two renderings, which a thousand removals need."""
    monkeypatch.setattr(sample, "render", lambda answers, _, file: _rendered(answers, file))


def places(made: Made) -> Iterator[tuple[str, int]]:
    """Yield the first and the last line of each change that the sample makes, and the adjacent lines."""
    for name in made.changed():
        if name == ANSWERS_FILE:
            continue
        before, after = made.before[name].split("\n"), made.after[name].split("\n")
        found = set()
        for tag, start, end, _, _ in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if tag != "equal":
                found |= {start - 1, start, end - 1, end}
        yield from ((name, at) for at in sorted(found) if 0 <= at < len(before) - 1)


def outcome_of(made: Made) -> Changes | str:
    try:
        return made.removal()
    except FastRustError as error:
        return str(error)


def not_blank(text: str) -> list[str]:
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def parts_of(name: str, text: str) -> tuple[set[str], list[str]]:
    """Return the imports, whose order a comment between them changes, and the other lines in their order."""
    found = [each for each in imports(text) if not each.indent] if name.endswith(".rs") else []
    leaves = {str(leaf) for each in found for leaf in each.leaves}
    for each in reversed(found):
        text = text[: each.start] + text[each.end :]
    return leaves, not_blank(text)


def inserted(lines: list[str], at: int, comment: str) -> tuple[list[str], str]:
    """Insert a comment as a separate line."""
    if comment.startswith("//"):
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        comment = "//! mine" if lines[at].startswith("//!") else f"{indent}// mine"
    return [*lines[:at], comment, *lines[at:]], comment


def appended(lines: list[str], at: int, comment: str) -> tuple[list[str], str]:
    """Append a comment to a line."""
    return [*lines[:at], f"{lines[at]} {comment}", *lines[at + 1 :]], f" {comment}"


@pytest.mark.parametrize("edit", [inserted, appended])
@pytest.mark.parametrize("kind", domain("kind"))
def test_each_edit_next_to_the_sample_is_kept_or_reported(
    crates: Callable[[str], Made],
    kind: str,
    edit: Callable[[list[str], int, str], tuple[list[str], str]],
) -> None:
    made = crates(kind)
    outcomes = {"done": 0, "refused": 0}
    for name, at in places(made):
        lines = made.before[name].split("\n")
        if not lines[at].strip() and edit is appended:
            continue
        edited, mine = edit(lines, at, COMMENTS.get(Path(name).suffix, "# mine"))
        (made.folder / name).write_text("\n".join(edited), encoding="utf-8")
        changes = outcome_of(made)
        if isinstance(changes, str):
            named = [int(line) for line in re.findall(rf"(?m)^  {re.escape(name)}:(\d+): ", changes)]
            assert any(abs(line - (at + 1)) <= 1 for line in named), f"{name}:{at + 1}: {changes}"
            outcomes["refused"] += 1
        else:
            result = changes.text(name)
            assert mine.strip() in result, f"{name}:{at + 1} is lost"
            without = "\n".join(line.removesuffix(mine.rstrip()) for line in result.split("\n"))
            assert parts_of(name, without) == parts_of(name, made.after[name]), f"{name}:{at + 1}"
            others = made.before.keys() & made.after.keys() - {name, ANSWERS_FILE}
            assert [other for other in others if changes.text(other) != made.after[other]] == []
            assert changes.deleted == made.before.keys() - made.after.keys()
            outcomes["done"] += 1
        (made.folder / name).write_text(made.before[name], encoding="utf-8")
    assert min(outcomes.values()) > 5, outcomes


# The file that the user edits, the text that the user adds, and the line that the error must name.
USES = {
    "a module of the sample": ("src/mine.rs", "use crate::aggregate::Summary;\n", 1),
    "a module in braces": ("src/mine.rs", "use crate::{\n    aggregate,\n    error,\n};\n", 2),
    "a path": ("src/mine.rs", "fn f() -> usize {\n    crate::aggregate::MAX_LINE_BYTES\n}\n", 2),
    "an error": (
        "src/mine.rs",
        "use crate::error::Error;\n\nfn f() -> Error {\n    Error::TooManyKeys { limit: 1 }\n}\n",
        4,
    ),
    "a type": ("src/mine.rs", "fn f(_: crate::error::Expected) {}\n", 1),
    "the report": ("src/mine.rs", "\nuse crate::report;\n", 2),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", ["cli", "service"])
def test_each_use_of_the_sample_is_reported(crates: Callable[[str], Made], kind: str, use: str) -> None:
    made = crates(kind)
    name, text, line = USES[use]
    (made.folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(FastRustError, match=rf"(?m)^  {name}:{line}: "):
        made.removal()


IN_PLACE = {
    "a function of the tests": ("tests/http.rs", "\n#[test]\nfn mine() {\n    let _ = turns_beside(async {});\n}\n", 4),
    "a route in a test": ("tests/http.rs", '\nconst PATH: &str = "/aggregate";\n', 2),
    "a flag": ("tests/http.rs", '\nconst FLAG: &str = "--distinct-keys";\n', 2),
    "a field": ("src/config.rs", "\nfn mine(config: &Config) -> u32 {\n    config.distinct_keys\n}\n", 3),
    "a constant": ("src/routes.rs", "\nconst MINE: usize = INLINE_BYTES;\n", 2),
    "a variant": ("src/routes.rs", "\nfn mine(error: Error) -> ApiError {\n    ApiError::Aggregate(error)\n}\n", 2),
}


@pytest.mark.parametrize("use", IN_PLACE)
def test_each_use_in_a_file_that_stays_is_reported(crates: Callable[[str], Made], use: str) -> None:
    made = crates("service")
    name, text, offset = IN_PLACE[use]
    line = len(made.before[name].splitlines()) + offset
    made.edit(name, lambda before: before + text)
    with pytest.raises(FastRustError, match=rf"(?m)^  {name}:{line}: "):
        made.removal()


@pytest.mark.parametrize("name", ["aa", "bytes", "column_sum", "dates", "error_kind", "mid", "ratio", "zeta"])
@pytest.mark.parametrize("kind", domain("kind"))
def test_a_hot_path_of_any_name_is_kept(crates: Callable[[str], Made], kind: str, name: str) -> None:
    """Its line in src/lib.rs is next to that of the sample, for any names of the other modules."""
    made = crates(kind)
    add(made.folder, name).apply()
    changes = made.removal()
    modules = re.findall(r"(?m)^pub mod (\w+);", changes.text("src/lib.rs"))
    assert name in modules
    assert "aggregate" not in modules
    assert "bench/src/lib.rs" in changes.deleted
    changes.apply()
    again = remove(made.folder, name)
    again.apply()
    assert (made.folder / "bench").exists() == (kind == "service")
    for each in {"src/lib.rs", "bench/Cargo.toml", "Cargo.toml"} & made.after.keys():
        assert (made.folder / each).read_text(encoding="utf-8") == made.after[each]


@pytest.mark.parametrize("dependency", ["hashbrown", "memchr", "rustc-hash"])
@pytest.mark.parametrize("kind", domain("kind"))
def test_a_dependency_that_the_user_needs_stays(crates: Callable[[str], Made], kind: str, dependency: str) -> None:
    made = crates(kind)
    (made.folder / "src" / "mine.rs").write_text(f"use {dependency.replace('-', '_')}::x;\n", encoding="utf-8")
    line = next(line for line in made.before["Cargo.toml"].splitlines() if line.startswith(dependency))
    lines = made.removal().text("Cargo.toml").splitlines()
    assert line in lines
    assert set(lines) - {line} == set(made.after["Cargo.toml"].splitlines())


def test_a_newer_version_of_a_dependency_is_removed_too(crates: Callable[[str], Made]) -> None:
    """Renovate writes such versions."""
    made = crates("lib")
    made.edit("Cargo.toml", lambda text: text.replace('memchr = "2.8"', 'memchr = "2.9.1"'))
    assert made.removal().text("Cargo.toml") == made.after["Cargo.toml"]


EDITS: dict[str, dict[str, Callable[[str], str]]] = {
    "service": {
        "src/lib.rs": lambda text: text.replace("pub mod config;", "pub mod config;\npub mod counting;"),
        "src/counting.rs": lambda _: (
            "//! Counting.\n\n/// Returns the number of lines.\n#[must_use]\npub fn lines(text: &[u8]) -> usize {\n"
            "    memchr::memchr_iter(b'\\n', text).count()\n}\n"
        ),
        "src/routes.rs": lambda text: text.replace("struct App {\n", "struct App {\n    // Shared by all routes.\n"),
        "src/config.rs": lambda text: text.replace(
            "    /// Size of one request body\n", "    // Sizes and limits.\n    /// Size of one request body\n"
        ),
        "tests/http.rs": lambda text: (
            f"{text}\n#[tokio::test]\nasync fn health_is_reported() {{\n"
            '    let request = Request::get("/healthz").body(Body::empty()).unwrap();\n'
            "    let response = router(&[]).oneshot(request).await.unwrap();\n"
            "    assert_eq!(response.status(), StatusCode::OK);\n}\n"
        ),
    },
    "cli": {
        "src/lib.rs": lambda text: text.replace("pub mod error;", "pub mod counting;\npub mod error;"),
        "src/counting.rs": lambda _: (
            "//! Counting.\n\n/// Returns the number of lines.\n#[must_use]\npub fn lines(text: &[u8]) -> usize {\n"
            "    memchr::memchr_iter(b'\\n', text).count()\n}\n"
        ),
        "src/main.rs": lambda text: text.replace(
            "        .init();\n",
            "        .init();\n    let start = std::time::Instant::now();\n    tracing::debug!(?start);\n",
        ),
    },
    "lib": {
        "src/lib.rs": lambda text: text.replace("pub mod error;", "pub mod counting;\npub mod error;"),
        "src/counting.rs": lambda _: (
            "//! Counting.\n\n/// Returns the number of lines.\n#[must_use]\npub fn lines(text: &[u8]) -> usize {\n"
            "    memchr::memchr_iter(b'\\n', text).count()\n}\n"
        ),
        "src/error.rs": lambda text: text.replace(
            "    /// The input could not be read.\n", "    // Of the system.\n    /// The input could not be read.\n"
        ),
    },
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edited_crate_passes_its_gates_without_the_sample(
    workshop: Workshop, template: Template, tmp_path: Path, kind: str
) -> None:
    crate = make(template, tmp_path / "crate", kind=kind, description="Adds")
    for name, change in EDITS[kind].items():
        path = crate / name
        path.write_text(change(path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")
    release(crate, "edited")
    RENDERED.clear()
    remove(crate, "aggregate").apply()
    tree = "".join(path.read_text(encoding="utf-8") for path in (crate / "src").rglob("*.rs"))
    assert "aggregat" not in tree.lower()
    workshop.run(crate, "cargo", "fmt", "--all", "--check")
    workshop.run(crate, "cargo", "clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings")
    workshop.run(crate, "cargo", "shear", "--deny-warnings")
    workshop.run(crate, "cargo", "nextest", "run", "--workspace", "--all-features")
