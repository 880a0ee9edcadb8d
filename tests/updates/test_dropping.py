"""Files dropped in 0.9.0: the workspace of an older crate stays valid, and a newer crate gets none of them.

The releases take turns over kinds, places and the two ways to update; with --exhaustive all of them.
"""

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fast_rust.answers import ANSWERS_FILE
from fast_rust.hot.add import add
from fast_rust.update.apply import apply
from fast_rust.update.merge import MergeResult
from fast_rust.update.plan import UpdatePlan, plan
from support.exhaustive import cases
from support.files import read_tree
from support.git import commit_all, git, release
from support.ownership import owners, template_paths
from support.releases import Releases, newest_release, past_releases
from support.template import WORKSPACE_OF_ANOTHER, Template, copier_in_process, copy_in_process
from support.variants import CHECKOUT, Answers, domain
from updates.campaign import unmerged

STUB = "bench/tests/standards.rs"
# The place of a crate, and whether it has the sample: `adopt` adds no sample.
FORMS = [("repository", False), ("repository", True), ("member", False), ("member", True), ("adopted", False)]
WAYS = ("copier", "fast-rust")
COMMENT = (CHECKOUT / "template" / STUB).read_bytes()
PLAIN: dict[str, str | bool] = {"crate_name": "log-totals", "kind": "lib", "sample": False}


@dataclass(frozen=True)
class Case:
    """A crate of an older release, and how it is updated."""

    tag: str
    kind: str
    place: str
    has_sample: bool
    way: str

    def __str__(self) -> str:
        sample = "sample" if self.has_sample else "plain"
        return f"{self.tag}-{self.kind}-{self.place}-{sample}-{self.way}"

    @property
    def answers(self) -> dict[str, str | bool]:
        place = "member" if self.place == "member" else "repository"
        adopted: dict[str, str | bool] = {"adopted": True} if self.place == "adopted" else {}
        sample = self.has_sample
        return {"crate_name": "log-totals", "kind": self.kind, "sample": sample, "place": place, **adopted}


def every_case() -> Iterator[Case]:
    for tag in past_releases():
        for kind in domain("kind"):
            for place, has_sample in FORMS:
                # Only later releases have `adopt`.
                if place != "adopted" or tag not in {"v0.1.0", "v0.2.0"}:
                    yield from (Case(tag, str(kind), place, has_sample, way) for way in WAYS)


def usual_cases() -> list[Case]:
    """Return each kind in each form with each way to update, from releases in rotation."""
    found: dict[tuple[str, str, bool, str], list[Case]] = defaultdict(list)
    for case in every_case():
        found[case.kind, case.place, case.has_sample, case.way].append(case)
    return [those[3 * turn % len(those)] for turn, those in enumerate(found.values())]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the test of older crates for all cases."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases(metafunc, usual_cases(), every_case()), ids=str)


def metadata(folder: Path) -> dict[str, dict[str, Any]]:
    """Return cargo's metadata of the packages of a workspace, which cargo must be able to read."""
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {package["name"]: package for package in json.loads(done.stdout)["packages"]}


def update(crate: Path, way: str, conflicts: Collection[str] = (), **data: str) -> None:
    if way == "copier":
        given = [f"--data={name}={answer}" for name, answer in data.items()]
        done = copier_in_process("update", "--quiet", "--defaults", *given, str(crate))
        assert done.exit_code == 0, done.stderr
        return
    planned = plan(crate, data=data)
    if isinstance(planned, UpdatePlan):
        assert set(planned.having(MergeResult.CONFLICT)) == set(conflicts)
        apply(planned)


def make(releases: Releases, tag: str, answers: Answers, folder: Path) -> Path:
    """Make and commit a crate, which may be adopted, or a member of a workspace that the template did not make."""
    crate = folder / "log-totals"
    shutil.copytree(releases.rendering(tag, answers), crate)
    if answers.get("adopted"):
        (crate / "src").mkdir(exist_ok=True)
        for name in ("lib.rs", "main.rs"):
            (crate / "src" / name).write_text("fn main() {}\n", encoding="utf-8")
    if answers["place"] == "member":
        (folder / "Cargo.toml").write_text(WORKSPACE_OF_ANOTHER, encoding="utf-8")
    root = folder if answers["place"] == "member" else crate
    git(root, "init", "--quiet")
    commit_all(root)
    return crate


def test_the_workspace_of_an_older_crate_stays_valid(case: Case, releases: Releases, tmp_path: Path) -> None:
    """Cargo can read it, it has the same packages, and a second update changes nothing."""
    crate = make(releases, case.tag, case.answers, tmp_path)
    repository = tmp_path if case.place == "member" else crate
    before, had = metadata(repository), read_tree(crate)
    update(crate, case.way)
    after, has = metadata(repository), read_tree(crate)
    assert unmerged(repository) == set()
    assert after.keys() == before.keys()
    bench = after["log-totals-bench"]
    # Cargo rejects a package without a target.
    is_alone = [target["name"] for target in bench["targets"]] == ["standards"]
    keeps_tests = case.way == "copier" or is_alone
    needed = {each["name"] for each in bench["dependencies"]} & {"cargo_metadata", "toml"}
    assert bool(needed) == keeps_tests
    assert yaml.safe_load(has[ANSWERS_FILE])["_commit"] == newest_release()
    assert dropped(has) == (dropped(had) if case.way == "copier" else set())
    assert (STUB in has) == keeps_tests
    assert has.get(STUB, COMMENT) == COMMENT
    assert set(has) - set(had) <= set(template_paths())
    assert not {"AGENTS.md", "CHANGELOG.md"} & (has.keys() - had.keys())
    # With either way, a second update changes nothing.
    commit_all(repository)
    for way in (case.way, *WAYS):
        update(crate, way)
        assert git(repository, "status", "--porcelain") == ""


def dropped(files: Mapping[str, bytes]) -> set[str]:
    return {path for path in files if owners(path) == ["dropped"]}


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_given_with_the_update_removes_no_package(releases: Releases, tmp_path: Path, way: str) -> None:
    """The default of `thin` recognizes an older crate by its recorded answers, not by those given now."""
    crate = make(releases, releases.tags[-2], {**PLAIN, "place": "repository"}, tmp_path)
    update(crate, way, description="Adds up")
    assert "log-totals-bench" in metadata(crate)
    assert yaml.safe_load((crate / ANSWERS_FILE).read_bytes())["thin"] is False


@pytest.mark.parametrize("way", WAYS)
def test_a_hot_path_added_to_a_crate_without_a_sample_stays_measured(
    releases: Releases, tmp_path: Path, way: str
) -> None:
    crate = make(releases, releases.tags[-2], {**PLAIN, "place": "repository"}, tmp_path)
    add(crate, "parse").apply()
    commit_all(crate)
    own = read_tree(crate)
    # `hot add` inserted a line between the two dependencies of the tests.
    update(crate, way)
    assert unmerged(crate) == set()
    targets = {target["name"] for target in metadata(crate)["log-totals-bench"]["targets"]}
    assert targets - {"standards"} == {"parse", "parse_instructions", "parse_allocations"}
    after = read_tree(crate)
    assert [path for path in own if "parse" in path and after[path] != own[path]] == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("has_edited", [False, True])
def test_edited_tests_are_kept(releases: Releases, tmp_path: Path, way: str, *, has_edited: bool) -> None:
    """Copier keeps them in a conflict; our command keeps them unchanged, and reports it."""
    crate = make(releases, releases.tags[-2], {**PLAIN, "place": "repository", "sample": True}, tmp_path)
    own = (crate / STUB).read_text(encoding="utf-8") + ("\n// Ours.\n" if has_edited else "")
    (crate / STUB).write_text(own, encoding="utf-8")
    commit_all(crate)
    if way == "copier":
        update(crate, way)
        assert unmerged(crate) == ({STUB} if has_edited else set())
        assert ("// Ours." in (crate / STUB).read_text(encoding="utf-8")) == has_edited
        return
    planned = plan(crate)
    assert isinstance(planned, UpdatePlan)
    assert planned.having(MergeResult.KEPT) == ([STUB] if has_edited else [])
    apply(planned)
    assert (crate / STUB).exists() == has_edited


# --- From this release to the next ---


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", domain("kind"))
@pytest.mark.parametrize("has_sample", [False, True])
def test_a_crate_of_this_release_gets_no_dropped_file(
    template: Template, tmp_path: Path, kind: str, way: str, *, has_sample: bool
) -> None:
    """The update adds no bench/, no comment in place of its tests, and no starter that the crate lacks."""
    repository, crate = tmp_path / "template", tmp_path / "log-totals"
    shutil.copytree(template.repository, repository, symlinks=True)
    assert copy_in_process(repository, crate, {**PLAIN, "kind": kind, "sample": has_sample}).exit_code == 0
    (crate / "AGENTS.md").unlink(missing_ok=True)
    git(crate, "init", "--quiet")
    commit_all(crate)
    made = read_tree(crate)
    assert STUB not in made
    assert any(path.startswith("bench/") for path in made) == (has_sample or kind == "service")
    justfile = repository / "template" / "justfile"
    justfile.write_text(justfile.read_text(encoding="utf-8") + "\n# Of the next release.\n", encoding="utf-8")
    release(repository, "v0.0.2")
    update(crate, way)
    after = read_tree(crate)
    assert {path for path in made | after if made.get(path) != after.get(path)} == {ANSWERS_FILE, "justfile"}
    metadata(crate)
    commit_all(crate)
    for other in WAYS:
        update(crate, other)
        assert git(crate, "status", "--porcelain") == ""
