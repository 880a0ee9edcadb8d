"""The rules of docs/releasing.md: a release that breaks one loses data of a crate, and one that keeps it loses nothing.

Each test makes a separate release after this one, from a copy of the template, and updates a crate to it.
"""

import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from support.files import read_tree, replace_only
from support.git import git
from support.releases import Releases, newest_release, past_releases
from support.variants import CHECKOUT
from updates.bench import OURS, Bench

# --- A file that is dropped or renamed ---

OLD, NEW = ".github/workflows/perf.yml", ".github/workflows/speed.yml"


def drop_by_the_rule(bench: Bench, path: str) -> None:
    """Delete a file of the template, but keep the file in crates."""
    (bench.template / "template" / path).unlink()
    bench.edit("ownership.yml", f"  - {path}\n", "")
    bench.edit("ownership.yml", "dropped:\n", f"dropped:\n  - {path}\n")
    exclude_in_updates(bench, path)


def exclude_in_updates(bench: Bench, path: str) -> None:
    line = '{%- if adopted | default(false) or _copier_operation == "update" %}\n'
    bench.edit("copier.yml", line, f"{line}    /{path}\n")


def rename(bench: Bench) -> None:
    shutil.copy(bench.template / "template" / OLD, bench.template / "template" / NEW)
    bench.edit("ownership.yml", f"  - {OLD}\n", f"  - {OLD}\n  - {NEW}\n")


def test_an_edited_dropped_file_is_kept(bench: Bench) -> None:
    bench.act(OLD)
    drop_by_the_rule(bench, OLD)
    assert bench.copier().exit_code == 0
    assert (bench.crate / OLD).read_text(encoding="utf-8").endswith(OURS)


def test_deleting_a_file_without_the_rule_would_lose_the_users_lines(bench: Bench) -> None:
    bench.act(OLD)
    (bench.template / "template" / OLD).unlink()
    bench.edit("ownership.yml", f"  - {OLD}\n", "")
    assert bench.copier().exit_code == 0
    assert not (bench.crate / OLD).exists()


def test_our_command_keeps_and_reports_such_a_file(bench: Bench) -> None:
    bench.act(OLD)
    (bench.template / "template" / OLD).unlink()
    bench.edit("ownership.yml", f"  - {OLD}\n", "")
    done = bench.fast_rust()
    assert done.exit_code == 1
    assert f"kept      {OLD}" in done.stdout
    assert f"{OLD}: the template no longer has this file, and you edited it" in done.stdout
    assert (bench.crate / OLD).read_text(encoding="utf-8").endswith(OURS)


def test_our_command_deletes_an_unchanged_dropped_file(bench: Bench) -> None:
    drop_by_the_rule(bench, OLD)
    done = bench.fast_rust()
    assert done.exit_code == 0, done.output
    assert f"deleted   {OLD}" in done.stdout
    assert not (bench.crate / OLD).exists()


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_file_that_some_crates_no_longer_get_is_treated_in_the_same_way(bench: Bench, *, is_edited: bool) -> None:
    """The template still has it, with a condition."""
    if is_edited:
        bench.act(OLD)
    bench.edit("copier.yml", "    /src/main.rs\n", f"    /src/main.rs\n    /{OLD}\n")
    done = bench.fast_rust()
    assert (done.exit_code, (bench.crate / OLD).exists()) == ((1, True) if is_edited else (0, False))
    assert f"{'kept   ' if is_edited else 'deleted'}   {OLD}" in done.stdout


@pytest.mark.parametrize("owner", ["starter", "shared"])
def test_our_command_does_not_change_a_file_that_becomes_the_crates(bench: Bench, owner: str) -> None:
    if owner == "starter":
        become_a_starter(bench)
        exclude_in_updates(bench, OLD)
    else:
        bench.edit("ownership.yml", f"  - {OLD}\n", "")
        bench.edit("ownership.yml", "shared:\n", f"shared:\n  {OLD}: []\n")
    done = bench.fast_rust()
    assert done.exit_code == 0, done.output
    assert OLD not in done.stdout
    assert (bench.crate / OLD).exists()


def test_after_a_renaming_the_edited_old_file_is_kept(bench: Bench) -> None:
    bench.act(OLD)
    rename(bench)
    drop_by_the_rule(bench, OLD)
    assert bench.copier().exit_code == 0
    assert (bench.crate / OLD).read_text(encoding="utf-8").endswith(OURS)
    assert (bench.crate / NEW).exists()


# --- The class of a file ---


def become_a_starter(bench: Bench) -> None:
    bench.edit("ownership.yml", f"  - {OLD}\n", "")
    bench.edit("ownership.yml", "starter:\n", f"starter:\n  - {OLD}\n")


def test_a_file_that_becomes_a_starter_is_unchanged(bench: Bench) -> None:
    bench.act(OLD)
    before = (bench.crate / OLD).read_bytes()
    become_a_starter(bench)
    exclude_in_updates(bench, OLD)
    bench.edit(f"template/{OLD}", "name: Performance", "name: Speed")
    assert bench.copier().exit_code == 0
    assert (bench.crate / OLD).read_bytes() == before


def test_a_change_of_class_only_in_the_table_would_delete_the_file(bench: Bench) -> None:
    """Copier renders the older release with its own table: the file is `managed` there, and `gone` here."""
    become_a_starter(bench)
    assert bench.copier().exit_code == 0
    assert not (bench.crate / OLD).exists()


# --- Questions ---


def rename_question(bench: Bench, default: str) -> None:
    for path in ("copier.yml", "template/Cargo.toml.jinja", "template/LICENSE-MIT.jinja"):
        file = bench.template / path
        text = re.sub(r"\bcopyright_holder\b", "holder", file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
    before = "{{ author | default('The ' ~ crate_name ~ ' contributors') }}"
    bench.edit("copier.yml", f'default: "{before}"', f'default: "{default}"')


def test_a_renamed_question_inherits_the_answer_of_the_old_one(bench: Bench) -> None:
    rename_question(bench, "{{ copyright_holder | default('The ' ~ crate_name ~ ' contributors') }}")
    assert bench.copier().exit_code == 0
    assert bench.answers()["holder"] == "Ada"
    assert '"Ada"' in (bench.crate / "Cargo.toml").read_text(encoding="utf-8")


def test_a_renamed_question_without_such_a_default_would_lose_the_answer(bench: Bench) -> None:
    rename_question(bench, "The {{ crate_name }} contributors")
    assert bench.copier().exit_code == 0
    assert '"Ada"' not in (bench.crate / "Cargo.toml").read_text(encoding="utf-8")


def tighten(bench: Bench) -> None:
    bench.edit("validators.jinja", "parts[1] | int < 85", "parts[1] | int < 87")


def test_a_tightened_validator_would_replace_an_answer_silently(bench: Bench) -> None:
    tighten(bench)
    assert bench.copier().exit_code == 0
    assert bench.answers()["msrv"] == "1.88"


def test_our_command_reports_an_answer_that_a_release_rejects(bench: Bench) -> None:
    tighten(bench)
    done = bench.fast_rust()
    assert done.exit_code == 1
    assert "The release rejects your answer to the question `msrv`, and uses its default" in done.stdout


def test_a_value_computed_from_an_answer_can_change_and_the_answer_is_kept(bench: Bench) -> None:
    """The rule recommends this instead of a tightened validator."""
    bench.edit("variant.jinja", "rust_version = msrv if is_lib", 'rust_version = "1.87" if is_lib')
    assert bench.copier().exit_code == 0
    assert bench.answers()["msrv"] == "1.86"
    assert 'rust-version = "1.87"' in (bench.crate / "Cargo.toml").read_text(encoding="utf-8")


def test_a_changed_default_reaches_new_crates_only(bench: Bench) -> None:
    bench.edit("copier.yml", 'default: "1.88"', 'default: "1.90"')
    assert bench.copier().exit_code == 0
    assert bench.answers()["msrv"] == "1.86"


def test_a_changed_version_reaches_every_crate(bench: Bench) -> None:
    bench.edit("versions.yml", "rust: 1.95.0", "rust: 1.95.1")
    assert bench.copier().exit_code == 0
    assert "1.95.1" in (bench.crate / "rust-toolchain.toml").read_text(encoding="utf-8")


def test_a_new_question_has_a_default(bench: Bench) -> None:
    bench.edit("copier.yml", "license:\n", 'team:\n  type: str\n  help: "Team"\n  default: ""\n\nlicense:\n')
    assert bench.copier().exit_code == 0
    assert bench.answers()["team"] == ""


# --- Conditions ---


# A directory that Copier had open when it failed.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*ScandirIterator")
def test_a_condition_on_a_variable_that_the_oldest_release_lacks_would_stop_every_update(bench: Bench) -> None:
    bench.edit("variant.jinja", "{%- set is_root", '{%- set is_new = kind == "lib" %}\n{%- set is_root')
    bench.edit(
        "copier.yml",
        "{%- if not variant.is_cli %}",
        "{%- if not variant.is_new %}\n    /docs\n    {%- endif %}\n    {%- if not variant.is_cli %}",
    )
    before = read_tree(bench.crate)
    assert bench.copier().exit_code != 0
    assert read_tree(bench.crate) == before


@pytest.mark.filterwarnings("ignore:Exception ignored in.*ScandirIterator")
def test_our_command_reports_the_error_and_changes_nothing(bench: Bench) -> None:
    bench.edit(
        "copier.yml",
        "{%- if not variant.is_cli %}",
        "{%- if variant.is_new %}\n    {%- endif %}\n    {%- if not variant.is_cli %}",
    )
    before = read_tree(bench.crate)
    done = bench.fast_rust()
    assert done.exit_code == 2
    assert "release v0.0.2 of the template " in done.stderr
    assert "is_new" in done.stderr
    assert read_tree(bench.crate) == before


def test_a_condition_with_a_default_for_a_missing_variable_works(bench: Bench) -> None:
    bench.edit("variant.jinja", "{%- set is_root", '{%- set is_new = kind == "lib" %}\n{%- set is_root')
    condition = "{%- if variant.is_new is defined and variant.is_new %}\n    /docs\n    {%- endif %}\n    "
    bench.edit("copier.yml", "{%- if not variant.is_cli %}", f"{condition}{{%- if not variant.is_cli %}}")
    assert bench.copier().exit_code == 0


# --- Keys ---

LINT = 'todo = "warn" # ERR-7: unfinished\n'


def move_key(bench: Bench) -> None:
    bench.edit("template/Cargo.toml.jinja", LINT, "")
    bench.edit("template/Cargo.toml.jinja", "[workspace.lints.clippy]\n", f"[workspace.lints.clippy]\n{LINT}")


def test_a_moved_key_is_moved_in_a_crate_that_did_not_change_it(bench: Bench) -> None:
    move_key(bench)
    bench.act("Cargo.toml")
    assert bench.copier().exit_code == 0
    assert not bench.unmerged()
    text = (bench.crate / "Cargo.toml").read_text(encoding="utf-8")
    assert f"[workspace.lints.clippy]\n{LINT}" in text
    assert text.count("todo = ") == 1
    assert text.endswith(OURS)


def test_a_moved_key_that_a_crate_had_changed_is_a_conflict_with_both_sides(bench: Bench) -> None:
    """No line is lost, but users of such crates must resolve the conflict: so a key is moved only for a good reason."""
    manifest = bench.crate / "Cargo.toml"
    ours = 'todo = "allow" # reason: a sketch\n'
    replace_only(manifest, LINT, ours)
    move_key(bench)
    done = bench.fast_rust()
    assert done.exit_code == 1
    assert bench.unmerged()
    assert "conflict  Cargo.toml" in done.stdout
    assert ours in manifest.read_text(encoding="utf-8")


# Users append their own tables to these files.
OPEN_ENDED = ("Cargo.toml.jinja", "clippy.toml", "deny.toml")


@pytest.mark.parametrize("path", OPEN_ENDED)
def test_a_release_appends_nothing_to_a_file_that_users_append_to(releases: Releases, path: str) -> None:
    """Otherwise each crate whose user has appended a table would have a conflict."""
    ends = {tag: last_line(git(releases.repository, "show", f"{tag}:template/{path}")) for tag in releases.tags}
    assert len(set(ends.values())) == 1, ends


def last_line(text: str) -> str:
    """Return the last line that is rendered in a crate."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("{%")][-1]


# --- Discovery of releases ---


def test_every_version_in_the_history_is_a_release(releases: Releases) -> None:
    """The tree of each release is that of its last commit; the newest is the working tree."""
    assert releases.tags == [*past_releases(), newest_release()]
    for tag, commit in past_releases().items():
        assert git(releases.repository, "rev-parse", f"{tag}^{{tree}}") == git(
            CHECKOUT, "rev-parse", f"{commit}^{{tree}}"
        )


def test_a_shallow_clone_is_not_treated_as_a_repository_without_releases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", CHECKOUT.as_uri(), "shallow")
    monkeypatch.setattr("support.releases.CHECKOUT", tmp_path / "shallow")
    with pytest.raises(RuntimeError, match=r"this clone is shallow.*git fetch --unshallow"):
        past_releases()


# --- The changelog of a release, and the order in which gates become strict ---


def test_every_release_describes_the_changes_in_a_crate() -> None:
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.split(r"(?m)^(?=## )", text)[1:]
    assert {f"v{section.split()[1]}" for section in sections} >= past_releases().keys()
    assert [section.split()[1] for section in sections if "\n### What changes in your crate\n" not in section] == []


# One or more strings, on lines up to an empty line.
ADVICE_LINTS = re.compile(r"(?s)\nadvice_lints := (.*?)\n\n")


def files_of(releases: Releases, tag: str) -> tuple[set[str], set[str]]:
    """Return the lints and rules of a release that are errors, and those that are advice."""
    manifest = git(releases.repository, "show", f"{tag}:template/Cargo.toml.jinja")
    lints = set(re.findall(r"(?m)^(\w+) = \"warn\"", manifest.partition("[workspace.lints.clippy]")[2]))
    recipes = git(releases.repository, "show", f"{tag}:template/justfile")
    advised = ADVICE_LINTS.search(recipes)
    advice = {name.removeprefix("clippy::") for name in re.findall(r"[\w:]+", advised[1] if advised else "")}
    # Before 0.9.0 the rules were a file of the crate; since then they are in the tool.
    listed = git(releases.repository, "ls-tree", "-r", "--name-only", tag).splitlines()
    files = [path for path in listed if re.fullmatch(r"template/lints/ast-grep\.yml|standards/[^/]+\.yml", path)]
    assert files
    rules = [rule for path in files for rule in yaml.safe_load_all(git(releases.repository, "show", f"{tag}:{path}"))]
    refusing = {rule["id"] for rule in rules if rule["severity"] == "error"}
    return lints | refusing, advice | {rule["id"] for rule in rules if rule["severity"] == "warning"}


def test_a_new_gate_was_advice_in_the_release_before(releases: Releases) -> None:
    """From 0.3.0 on; 0.2.0 was the first release with rules."""
    from_then_on = [tag for tag in releases.tags if tag != "v0.1.0"]
    found = {
        newer: sorted(files_of(releases, newer)[0] - set().union(*files_of(releases, older)))
        for older, newer in pairwise(from_then_on)
    }
    assert {tag: new for tag, new in found.items() if new} == {}
