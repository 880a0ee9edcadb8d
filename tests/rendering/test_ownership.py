"""Every file has one owner, and an update respects it."""

import json
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pathspec import PathSpec

from fast_rust.answers import ANSWERS_FILE
from support.files import read_tree
from support.git import git, release
from support.ownership import ANSWERS_TEMPLATE, holds, owners, ownership, shared_keys, template_paths
from support.template import Template, copier, copy_in_process
from support.variants import CHECKOUT, Answers, domain, settings

# --- The table ---


@pytest.mark.parametrize("path", template_paths())
def test_a_file_has_one_owner(path: str) -> None:
    # Copier itself owns the file of answers.
    assert len(owners(path)) == (0 if path == ANSWERS_TEMPLATE else 1), owners(path)


@pytest.mark.parametrize(
    ("owner", "entry"),
    [(owner, entry) for owner in ownership() for entry in ownership()[owner] if owner != "dropped"],
)
def test_an_entry_of_the_table_exists(owner: str, entry: str) -> None:
    held = [path for path in template_paths() if holds(entry, path)]
    assert held, f"{owner}: {entry}"


@pytest.mark.parametrize(("path", "key"), shared_keys())
def test_a_key_of_the_template_is_in_at_least_one_crate(template: Template, path: str, key: str) -> None:
    choices: list[Answers] = [{"kind": kind} for kind in domain("kind")]
    choices += [{"kind": "service", "server_crate": False}, {"kind": "service", "otel": True}]
    files = [template.rendering({"crate_name": "keys", **choice}) / path for choice in choices]
    tables = [tomllib.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    assert any(has_key(table, key.split(".")) for table in tables)


def has_key(table: object, key: list[str]) -> bool:
    """Return whether a path of keys exists, where `*` is any key."""
    match table, key:
        case _, []:
            return True
        case dict(), ["*", *rest]:
            return any(has_key(value, rest) for value in table.values())
        case dict(), [name, *rest]:
            return name in table and has_key(table[name], rest)
        case _:
            return False


def test_a_path_has_one_source_in_the_template() -> None:
    paths = template_paths()
    assert sorted(set(paths)) == paths


def test_a_dropped_file_is_deleted_and_excluded_literally() -> None:
    dropped = ownership()["dropped"]
    assert [path for path in template_paths() for entry in dropped if holds(entry, path)] == []
    lines = {line.strip() for line in "\n".join(settings()["_exclude"]).splitlines()}
    assert [path for path in dropped if f"/{path}" not in lines] == []


def test_renovate_ignores_the_files_that_an_update_changes() -> None:
    """Otherwise each update would conflict with changes that the bot made in between."""
    rules = json.loads((CHECKOUT / "template" / ".github" / "renovate.json").read_text(encoding="utf-8"))[
        "packageRules"
    ]
    [ours] = [rule for rule in rules if rule.get("description", "").startswith("Template updates set the versions")]
    workflows = {path for path in template_paths() if path.startswith(".github/workflows/")} - {*ownership()["starter"]}
    named = {one for name in ours["matchFileNames"] for one in with_braces_expanded(name)}
    assert named == {*workflows, "rust-toolchain.toml"}
    assert ours["enabled"] is False


def with_braces_expanded(pattern: str) -> list[str]:
    """Return the names that a pattern such as `{ci,perf}.yml` matches."""
    before, _, rest = pattern.partition("{")
    inside, _, after = rest.partition("}")
    return [f"{before}{one}{after}" for one in inside.split(",")] if rest else [pattern]


# --- Conditions ---


def exclude_patterns() -> list[str]:
    """Return every pattern that `_exclude` can contain, for any answers."""
    text = "\n".join(settings()["_exclude"])
    starters = "\n".join(f"/{path}" for path in ownership()["starter"])
    text = re.sub(r"/\{\{ *path *\}\}", lambda _: starters, text)
    text = re.sub(r"\{%.*?%\}", "", text, flags=re.DOTALL)
    return sorted({line.strip() for line in text.splitlines() if line.strip()})


@pytest.mark.parametrize("pattern", exclude_patterns())
def test_an_exclude_pattern_matches_exactly_one_path(pattern: str) -> None:
    assert pattern.startswith("/")
    if pattern.removeprefix("/") in ownership()["dropped"]:
        return
    files = template_paths()
    folders = {parent.as_posix() for path in files for parent in Path(path).parents} - {"."}
    spec = PathSpec.from_lines("gitignore", [pattern])
    matched = [path for path in [*files, *folders] if spec.match_file(path)]
    # A pattern that matches a folder also matches its files.
    topmost = [path for path in matched if not any(other != path and holds(other, path) for other in matched)]
    assert topmost == [pattern.removeprefix("/")]


@pytest.mark.parametrize("forbidden", ["_tasks", "_migrations", "_jinja_extensions", "_skip_if_exists"])
def test_the_template_does_not_need_trust(forbidden: str) -> None:
    assert forbidden not in settings()


def test_a_typing_error_in_a_template_is_an_error() -> None:
    assert settings()["_envops"]["undefined"] == "jinja2.StrictUndefined"


# --- Updates ---

MARK = b"\n# Changed by the next release.\n"
OWN = b"\n# The crate's own.\n"


@dataclass(frozen=True)
class Update:
    """A crate before and after an update to a release that changes every file."""

    before: dict[str, bytes]
    after: dict[str, bytes]
    deleted: str
    edited: str
    unmerged: str


@pytest.fixture(scope="module", params=domain("kind"))
def update(request: pytest.FixtureRequest, template: Template, tmp_path_factory: pytest.TempPathFactory) -> Update:
    """Make a crate from a release, edit one starter and delete another, and update to the next release."""
    folder = tmp_path_factory.mktemp("update")
    releases, crate = folder / "template", folder / "log-totals"
    shutil.copytree(template.repository, releases, symlinks=True)
    made = copy_in_process(
        releases, crate, {"kind": request.param, "cpu_level": "x86-64-v3", "publish": True, "container": True}
    )
    assert made.exit_code == 0, made.stderr
    for path in (releases / "template").rglob("*"):
        if path.is_file() and not path.name.startswith(ANSWERS_TEMPLATE):
            path.write_bytes(path.read_bytes() + MARK)
    release(releases, "v0.0.2")

    starters = [path for path in read_tree(crate) if owners(path) == ["starter"]]
    edited, deleted = "src/lib.rs", "src/error.rs"
    assert {edited, deleted} <= set(starters)
    (crate / edited).write_bytes((crate / edited).read_bytes() + OWN)
    (crate / deleted).unlink()
    git(crate, "init", "--quiet")
    release(crate, "first")
    before = read_tree(crate)
    updated = copier("update", "--quiet", "--defaults", str(crate))
    assert updated.exit_code == 0, updated.stderr
    return Update(before, read_tree(crate), deleted, edited, git(crate, "ls-files", "--unmerged"))


def test_an_update_reaches_the_release(update: Update) -> None:
    assert yaml.safe_load(update.after[ANSWERS_FILE])["_commit"] == "v0.0.2"


def test_an_update_replaces_managed_files(update: Update) -> None:
    managed = [path for path in update.before if owners(path) == ["managed"]]
    assert managed
    assert {path: update.after.get(path) for path in managed} == {path: update.before[path] + MARK for path in managed}


def test_an_update_leaves_starters_byte_for_byte(update: Update) -> None:
    starters = [path for path in update.before if owners(path) == ["starter"]]
    assert update.before[update.edited].endswith(OWN)
    assert {path: update.after.get(path) for path in starters} == {path: update.before[path] for path in starters}


def test_an_update_does_not_restore_a_deleted_starter(update: Update) -> None:
    assert update.deleted not in update.after


def test_an_update_adds_and_removes_no_file(update: Update) -> None:
    assert update.after.keys() == update.before.keys()


def test_an_update_that_touches_other_lines_has_no_conflict(update: Update) -> None:
    assert update.unmerged == ""


def test_an_update_adds_new_lines_to_shared_files(update: Update) -> None:
    assert update.after["Cargo.toml"] == update.before["Cargo.toml"] + MARK
    assert tomllib.loads(update.after["Cargo.toml"].decode())["package"]["name"] == "log-totals"


def test_the_table_names_its_classes() -> None:
    table = yaml.safe_load((CHECKOUT / "ownership.yml").read_text(encoding="utf-8"))
    assert list(table) == ["managed", "starter", "shared", "dropped"]
