"""A clean merge of git counts as a conflict if programs could not read the result, or would read half of it."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fast_rust.drift.keys import name_of
from fast_rust.update import validity
from fast_rust.update.validity import problem_of
from support.git import git
from updates.bench import Bench

# --- By unit: the duplicate key, and its lines ---

TOML = {
    "a value": ("[a]\nx = 1\n[b]\ny = 1\n[a.c]\nx = 2\n", "[a.c]\n", "x = 3\n", "`a.c.x` twice (lines 6 and 7)"),
    "a table": ("[a.b]\nx = 1\n", "", "[a.b]\ny = 1\n", "`a.b` twice (lines 1 and 3)"),
    "a value of the top": ("x = 1\ny = 1\n", "", "x = 2\n", "`x` twice (lines 1 and 3)"),
    "at the very end": ("x = 1\ny = 1\n", "", "x = 2", "`x` twice (lines 1 and 3)"),
    "lists of many lines": ("[a]\nx = [\n  1,\n]\n", "", "x = [\n  [2],\n]\n", "`a.x` twice (lines 2 and 5)"),
    "texts of many lines": ('x = """\n[a]\n"""\n', "", 'x = """\n[a]\n"""\n', "`x` twice (lines 1 and 4)"),
    "a quoted name": ("[a]\n'b.c' = 1\n", "", '"b.c" = 2\n', "`a.'b.c'` twice (lines 2 and 3)"),
    "a name with quotes": (
        "[target.'cfg(target_os = \"linux\")'.dependencies]\nx = 1\n",
        "",
        "x = 2\n",
        "`target.'cfg(target_os = \"linux\")'.dependencies.x` twice (lines 2 and 3)",
    ),
    "a dotted key": ("[a.b]\nx = 1\n", "", "[a]\nb.x = 2\n", "`a.b.x` twice (lines 2 and 4)"),
    "a table and a value": ("[a]\nx = 1\n", "", "[a.x]\ny = 1\n", "`a.x` twice (lines 2 and 3)"),
    "an inline table and a table": ("[a]\nx = { y = 1 }\n", "", "[a.x]\nz = 1\n", "`a.x` twice (lines 2 and 3)"),
    "a list of tables and a table": ("[[a]]\nx = 1\n", "", "[a]\nx = 1\n", "`a` twice (lines 1 and 3)"),
    "a value in a list of tables": ("[[a]]\nx = 1\n[[a]]\nx = 1\n", "", "x = 2\n", "`a.x` twice (lines 4 and 5)"),
    "a separator of lines in a text": ('x = "\u2028"\ny = 1\n', "", "y = 2\n", "`y` twice (lines 2 and 3)"),
    "entries with a name": (
        '[[bench]]\nname = "a"\n',
        "",
        '[[bench]]\nname = "a"\n',
        "has two entries `a` in `bench`",
    ),
    "entries with a path": (
        'd = [{ path = "a::b" }]\n',
        "d = [",
        '{ path = "a::b", reason = "x" }, ',
        "has two entries `a::b` in `d`",
    ),
    "a text and an entry": ('d = [{ path = "a::b" }]\n', "d = [", '"a::b", ', "has two entries `a::b` in `d`"),
    "entries of one version": (
        'd = [{ name = "a", version = "1" }]\n',
        "d = [",
        '{ name = "a", version = "1" }, ',
        "has two entries `a 1` in `d`",
    ),
}
YAML = {
    "a key": ("a: 1\nb: 1\n", "", "a: 2\n", "`a` twice (lines 1 and 3)"),
    "a key below": ("jobs:\n  a:\n    x: 1\n", "", "  a: {}\n", "`jobs.a` twice (lines 2 and 4)"),
    "a key in a list": ("- x: 1\n  y: 1\n", "", "  x: 2\n", "`0.x` twice (lines 1 and 3)"),
    "a quoted key": ("on: push\nb: 1\n", "", '"on": pull\n', "`on` twice (lines 1 and 3)"),
    "a second document": ("a: 1\n---\nb: 1\n", "", "b: 2\n", "`b` twice (lines 3 and 4)"),
    "indentation": ("a:\n  b: 1\n", "", "   c: 2\n", "is not valid YAML: mapping values are not allowed here (line 3)"),
}
JSON = {
    "a key": ('{"a": 1,\n"b": 2}\n', "{", '"b": 3,\n', "`b` twice (lines 1 and 3)"),
    "a key below": ('{"a": {"c": 1}}\n', '{"c": 1', ', "c": 2', "`a.c` twice (line 1)"),
    "tabs": ('{\t"a":1,\n\t"b":2}\n', "{", '\t"b":3,\n', "`b` twice (lines 1 and 3)"),
    "a comma": ('{"a": 1}\n', '"a": 1', " 2", "is not valid JSON: Expecting ',' delimiter"),
}
RECIPE = "a:\n    true\n\n"
JUST = {
    "a recipe": (RECIPE, "", RECIPE, "recipe `a` first defined on line 1 is redefined on line 4"),
    "a variable": ('x := "1"\n', "", 'x := "2"\n', "variable `x` has multiple definitions (line 2)"),
    "an alias": (f"alias b := a\n{RECIPE}", "", "alias b := a\n", "alias `b` first defined on line 1"),
    "a setting": ("set quiet\n", "", "set quiet\n", "setting `quiet` first set on line 1 is redefined on line 2"),
    "a dependency": (RECIPE, "a:", " b", "recipe `a` has unknown dependency `b`"),
    "an import next to it": (f'import "other.just"\nmod tools\n{RECIPE}', "", RECIPE, "recipe `a`"),
    "a shell and an environment": (
        f'set shell := ["none"]\nset dotenv-required\nset working-directory := "none"\n{RECIPE}',
        "",
        RECIPE,
        "recipe `a`",
    ),
}
CASES = [
    (name, case)
    for name, cases in (
        ("Cargo.toml", TOML),
        ("ci.yml", YAML),
        ("renovate.json", JSON),
        ("justfile", JUST),
    )
    for case in cases.items()
]


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case[0]}" for name, case in CASES])
def test_a_duplicate_is_reported_with_its_lines(name: str, case: tuple[str, tuple[str, str, str, str]]) -> None:
    """Each side has it once; the merged file has one from each side."""
    text, anchor, addition, problem = case[1]
    # An addition is inserted after its anchor, or at the end.
    place = text.index(anchor) + len(anchor) if anchor else len(text)
    merged = text[:place] + addition + text[place:]
    nothing = b"{}" if name.endswith(".json") else b""
    found = problem_of(name, text.encode(), nothing, merged.encode())
    assert problem in found
    assert "\n" not in found
    # A duplicate that a side already has is not caused by the merge.
    assert problem_of(name, merged.encode(), nothing, f"{merged}\n".encode()) == ""
    assert problem_of(name, nothing, merged.encode(), f"{merged}\n".encode()) == ""


READABLE = {
    "Cargo.toml": '[[bin]]\nname = "a"\n[[bench]]\nname = "a"\nx.y = 1\nx.z = 1\nd = ["x", "x"]\n',
    "deny.toml": 'deny = [{ name = "a", version = "1" }, { name = "a", version = "2" }]\nskip = ["a"]\n',
    "ci.yml": "x: &x\n  a: 1\ny: *x\nz:\n  - a: 1\n  - a: 1\n---\nx: 1\n",
    "loop.yml": "x: &x [*x]\n",
    "renovate.json": '{"a": [{"b": 1}, {"b": 1}], "b": {"a": 1}}\n',
    "justfile": '[linux]\na:\n    true\n[macos]\na:\n    true\nset allow-duplicate-variables\nx := "1"\nx := "2"\n',
    "main.rs": "fn a() {}\nfn a() {}\n",
    "notes.md": "= [",
    "binary.toml": "x = 1\n",
}


@pytest.mark.parametrize("name", READABLE)
def test_a_readable_file_is_not_a_problem(name: str) -> None:
    assert problem_of(name, b"", b"", READABLE[name].encode()) == ""
    assert problem_of(name, b"\xff", b"", READABLE[name].encode()) == ""


BROKEN = {
    "Cargo.toml": ("x = = 1\n", "x = 1\nx = 2\n"),
    "ci.yml": ("a: [\n", "a: 1\na: 2\n"),
    "renovate.json": ("{", '{"a": 1, "a": 2}'),
    "justfile": ("a b\n", RECIPE * 2),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_merge_with_a_side_that_was_invalid_before_is_not_checked(name: str) -> None:
    """The user may be editing the crate, and the update did not cause the error."""
    broken, twice = (text.encode() for text in BROKEN[name])
    sound = b"{}" if name == "renovate.json" else b""
    assert problem_of(name, sound, sound + b"\n", twice)
    assert problem_of(name, broken, sound, twice) == ""
    assert problem_of(name, sound, broken, twice) == ""


def test_a_file_that_merges_to_one_of_its_sides_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "_check_for", lambda _: pytest.fail)
    assert problem_of("Cargo.toml", b"= 1", b"= 2", b"= 1") == ""
    assert problem_of("Cargo.toml", b"= 1", b"= 2", b"= 2") == ""


def test_without_just_a_justfile_is_not_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fast_rust.programs.search_path", lambda: str(tmp_path))
    assert problem_of("justfile", b"", b"", (RECIPE * 2).encode()) == ""


def test_settings_of_just_in_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("JUST_JUSTFILE", "JUST_WORKING_DIRECTORY", "JUST_DUMP_FORMAT", "JUST_COLOR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert "recipe `a`" in problem_of("justfile", RECIPE.encode(), b"", (RECIPE * 2).encode())
    assert problem_of("justfile", b"", b"", RECIPE.encode()) == ""


# Parts of a key: bare parts, and parts that need quotes.
PARTS = st.sampled_from(["a", "b-c", "d_e", "f.g", "h i", "j'k", 'l"m', "ü"])
PATHS = st.lists(PARTS, min_size=1, max_size=4)


@dataclass(frozen=True)
class Assignment:
    """A line of TOML."""

    path: tuple[str, ...]
    split: int

    def text(self, value: str) -> str:
        above, below = (name_of(part) for part in (self.path[: self.split], self.path[self.split :]))
        return f"[{above}]\n{below} = {value}\n" if above else f"{below} = {value}\n"


@settings(max_examples=300, deadline=None)
@given(path=PATHS, other=PATHS, splits=st.tuples(st.integers(0, 3), st.integers(0, 3)), lines=st.integers(0, 3))
def test_any_duplicate_key_is_reported_with_its_full_name(
    path: list[str], other: list[str], splits: tuple[int, int], lines: int
) -> None:
    """For all notations of its table, and any lines in between."""
    first, second = (Assignment(tuple(path), min(split, len(path) - 1)) for split in splits)
    value = "[\n" + "1,\n" * lines + "]"
    between = f"\n[zz{len(other)}]\n{name_of(tuple(other))} = 1\n"
    # Lines without a header are at the top.
    texts = sorted([first.text(value), second.text(value)], key=lambda text: text.startswith("["))
    merged = f"{texts[0]}{between if texts[1].startswith('[') else ''}{texts[1]}"
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(merged)
    found = problem_of("Cargo.toml", b"", b"", merged.encode())
    headers = [one.path[: one.split] for one in (first, second)]
    named = {name_of(tuple(path))} | {name_of(header) for header in headers if header}
    assert any(f"it has `{name}` twice" in found for name in named), found
    numbers = [int(word) for word in found.rpartition("lines ")[2].rstrip(")").split(" and ")]
    assert len(numbers) == 2
    assert 1 <= numbers[0] < numbers[1] <= merged.count("\n")


# --- With an update ---


@dataclass(frozen=True)
class Both:
    """Additions of a crate and of the next release to a file, on lines that are not adjacent."""

    path: str
    ours: str
    anchor: str
    theirs: str
    key: str
    template: str = ""

    def add(self, bench: Bench) -> None:
        bench.act(self.path, self.ours)
        bench.edit(f"template/{self.template or self.path}", self.anchor, self.anchor + self.theirs)


LINT = 'complexity = { level = "warn", priority = -1 }\n'
BOTH = {
    "a table": Both(
        "Cargo.toml",
        "\n[profile.tiny]\nopt-level = 1\n",
        'resolver = "3"\n',
        "\n[profile.tiny]\nopt-level = 2\n",
        "`profile.tiny` twice",
        "Cargo.toml.jinja",
    ),
    "a bench": Both(
        "Cargo.toml",
        '\n[[bench]]\nname = "parse"\nharness = false\n',
        'resolver = "3"\n',
        '\n[[bench]]\nname = "parse"\n',
        "two entries `parse` in `bench`",
        "Cargo.toml.jinja",
    ),
    "a profile of nextest": Both(
        ".config/nextest.toml",
        "retries = 2\n",
        "[profile.ci]\n",
        "retries = 1\n",
        "`profile.ci.retries` twice",
    ),
    "a threshold": Both(
        "clippy.toml",
        "\ntoo-many-lines-threshold = 80\n",
        "allow-unwrap-in-tests = true\n",
        "too-many-lines-threshold = 90\n",
        "`too-many-lines-threshold` twice",
    ),
    "a source": Both(
        "deny.toml",
        'allow-git = ["https://example.org/a"]\n',
        "[sources]\n",
        "allow-git = []\n",
        "`sources.allow-git` twice",
    ),
    "a compiler": Both(
        "rust-toolchain.toml",
        'targets = ["wasm32-unknown-unknown"]\n',
        "[toolchain]\n",
        "targets = []\n",
        "`toolchain.targets` twice",
        "rust-toolchain.toml.jinja",
    ),
    "a job": Both(
        ".github/workflows/ci.yml",
        "\n  docs:\n    runs-on: ubuntu-24.04\n    steps: []\n",
        "jobs:\n",
        "  docs:\n    runs-on: macos-15\n    steps: []\n\n",
        "`jobs.docs` twice",
    ),
    "a recipe": Both(
        "justfile", "\ndeploy:\n    true\n", "\n# Format the code.\n", "deploy:\n    false\n\n", "`deploy`"
    ),
    "a variable": Both("justfile", '\nours := "1"\n', "\n# Format the code.\n", 'ours := "2"\n\n', "variable `ours`"),
}


@pytest.mark.parametrize("both", BOTH.values(), ids=BOTH)
def test_a_key_that_both_sides_add_is_a_conflict_that_names_it(bench: Bench, both: Both) -> None:
    both.add(bench)
    done = bench.fast_rust()
    assert done.exit_code == 1, done.output
    assert f"conflict  {both.path}\n" in done.stdout
    [line] = [
        line
        for line in done.stdout.splitlines()
        if line.startswith(f"{both.path}: the file, after merging your changes with the update, ")
    ]
    assert both.key in line
    assert "changed the same lines" not in done.stdout
    unmerged = git(bench.crate, "ls-files", "--unmerged").splitlines()
    assert [line.split("\t")[1] for line in unmerged] == [both.path] * 3
    # No line of either side is lost.
    text = (bench.crate / both.path).read_text(encoding="utf-8")
    for addition in (both.ours, both.theirs):
        assert addition.strip() in text
    assert bench.update("--abort").exit_code == 0
    assert bench.status() == ""


def test_a_lint_that_both_sides_add_is_reported(bench: Bench) -> None:
    """It is among the other lines of its table."""
    manifest = bench.crate / "Cargo.toml"
    text = manifest.read_text(encoding="utf-8")
    [last] = [line for line in text.splitlines() if line.startswith("undocumented_unsafe_blocks = ")]
    manifest.write_text(text.replace(last, f'{last}\nmem_forget = "deny"'), encoding="utf-8")
    bench.edit("template/Cargo.toml.jinja", LINT, f'{LINT}mem_forget = "warn"\n')
    done = bench.fast_rust()
    assert done.exit_code == 1
    assert "`workspace.lints.clippy.mem_forget` twice (lines " in done.stdout
    assert "UU Cargo.toml\n" in bench.status()


def test_a_key_of_json_that_both_sides_add_is_reported(bench: Bench) -> None:
    file = ".github/renovate.json"
    text = (bench.crate / file).read_text(encoding="utf-8")
    (bench.crate / file).write_text(text.replace("  ]\n}", '  ],\n  "timezone": "Europe/Berlin"\n}'), encoding="utf-8")
    bench.edit(f"template/{file}", '"minimumReleaseAge"', '"timezone": "UTC",\n  "minimumReleaseAge"')
    done = bench.fast_rust()
    assert done.exit_code == 1
    assert (
        f"{file}: the file, after merging your changes with the update, has `timezone` twice (lines 4 and "
        in done.stdout
    )


@pytest.mark.parametrize("path", ["clippy.toml", "justfile", ".github/workflows/ci.yml"])
def test_a_file_with_windows_line_endings_is_checked_too(bench: Bench, path: str) -> None:
    both = next(one for one in BOTH.values() if one.path == path)
    both.add(bench)
    file = bench.crate / path
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    done = bench.fast_rust()
    assert done.exit_code == 1
    assert both.key in done.stdout
    assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")


def test_a_file_that_was_invalid_before_is_merged_by_lines(bench: Bench) -> None:
    bench.act("clippy.toml", "\nlarge-error-threshold = 64\n")
    bench.edit(
        "template/clippy.toml", "allow-unwrap-in-tests = true\n", "allow-unwrap-in-tests = true\nmsrv = '1.80'\n"
    )
    done = bench.fast_rust()
    assert "conflict" not in done.stdout
    assert "msrv = '1.80'\n" in (bench.crate / "clippy.toml").read_text(encoding="utf-8")


def test_different_keys_in_different_places_merge(bench: Bench) -> None:
    for both in BOTH.values():
        other = both.ours.replace("docs", "pages").replace("deploy", "ship").replace("ours", "mine")
        other = other.replace("tiny", "small").replace("retries", "test-threads").replace("parse", "read")
        other = other.replace("lines", "arguments").replace("allow-git", "private").replace("targets", "path")
        bench.act(both.path, other)
        bench.edit(f"template/{both.template or both.path}", both.anchor, both.anchor + both.theirs)
    done = bench.fast_rust()
    assert "conflict" not in done.stdout, done.stdout
    assert bench.unmerged() is False
    yaml.safe_load((bench.crate / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    json.loads((bench.crate / ".github" / "renovate.json").read_text(encoding="utf-8"))
