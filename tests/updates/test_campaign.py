"""Crates of every kind, made from past releases and changed as users do, update to this release and lose no line.

Each act runs once for each kind; the oldest release and the last three rotate, so each act runs on crates of three
releases, and crates of each kind are made from all four. With --exhaustive the others run: every act for every kind
from all four.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fast_rust.answers import ANSWERS_FILE
from fast_rust.update.merge import MergeResult
from fast_rust.update.plan import UpdatePlan
from fast_rust.update.plan import plan as plan_update
from support.acts import CHANGED_ANSWERS, Given, answers_changed, checked_out_on_windows, windows_line_endings
from support.exhaustive import cases
from support.files import read_tree
from support.git import commit_all, git
from support.releases import Releases, newest_release
from support.template import copier_in_process
from support.variants import Answers
from updates.campaign import (
    Journey,
    Scenario,
    check_files,
    drift_of,
    executables,
    make,
    normal,
    rendering_of_today,
    resolve,
    scenarios,
    unmerged,
    without_dependencies_of_tests,
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the campaign's test for all scenarios."""
    if "scenario" in metafunc.fixturenames:
        found = cases(metafunc, scenarios(exhaustive=False), scenarios(exhaustive=True))
        metafunc.parametrize("scenario", found, ids=str)


@pytest.fixture
def made(scenario: Scenario, releases: Releases, tmp_path: Path) -> tuple[Path, Answers]:
    """A crate made from its release, and its answers."""
    return make(scenario, releases, tmp_path)


def test_an_update_loses_no_line_and_stops_only_where_it_must(
    scenario: Scenario,
    made: tuple[Path, Answers],
    releases: Releases,
    record_property: Callable[[str, object], None],
) -> None:
    repository, answers = made
    old = read_tree(repository)
    data = CHANGED_ANSWERS if scenario.act is answers_changed else {}
    new = rendering_of_today(releases, {**answers, **data})
    act = scenario.act(Given(repository, tuple(new.keys() - old.keys())))
    crate = next(act)
    commit_all(repository)
    own, modes, drifted = read_tree(crate), executables(crate), drift_of(crate, releases)

    plan = plan_update(crate, data=data)
    assert isinstance(plan, UpdatePlan)
    assert read_tree(crate) == own
    assert git(repository, "status", "--porcelain") == ""
    changed = [f"--data={name}={value}" for name, value in data.items()]
    done = copier_in_process("update", "--quiet", "--defaults", *changed, str(crate))
    assert done.exit_code == 0, done.stderr

    if scenario.act is checked_out_on_windows:
        own = {path: normal(content) for path, content in own.items()}
    journey = Journey(crate, old, own, new, read_tree(crate), unmerged(crate))
    assert yaml.safe_load(journey.after[ANSWERS_FILE])["_commit"] == newest_release()
    # Copier applies the release's change hunk by hunk, which may succeed where a merge of the entire file has a
    # conflict.
    assert journey.conflicts <= {path for path in journey.of_the_template if journey.expected(path) is None}
    check_files(journey)
    check_foresight(journey, plan, heals=scenario.act is windows_line_endings)
    assert modes & journey.after.keys() <= executables(crate)
    if not journey.conflicts:
        assert list(act) == []
        assert drift_of(crate, releases) <= drifted
    check_second_update(journey, repository)
    record_property("campaign scenarios", 1)
    record_property("campaign lines checked", sum(lines.total() for _, lines in journey.user_lines()))
    record_property("campaign conflicts met, all of them needed", len(journey.conflicts))


def check_foresight(journey: Journey, plan: UpdatePlan, *, heals: bool) -> None:
    """Check that our command predicts Copier's result, but without conflicts in line endings and dropped files."""
    conflicts = {path for path in journey.conflicts if not journey.leaves(path)}
    healed = conflicts - set(plan.having(MergeResult.CONFLICT))
    assert bool(healed) == (heals and bool(conflicts))
    assert set(plan.having(MergeResult.CONFLICT)) == conflicts - healed
    for path, change in plan.changes.items():
        if journey.leaves(path):
            # Copier leaves the file in place, because a user may have edited it.
            is_edited = normal(journey.own[path]) != journey.old[path]
            assert change.result is (MergeResult.KEPT if is_edited else MergeResult.DELETED)
        elif path == "bench/Cargo.toml" and path not in healed:
            found = without_dependencies_of_tests(journey.after.get(path, b""))
            assert found == without_dependencies_of_tests(change.content)
        elif path not in healed:
            assert normal(journey.after.get(path, b"")) == normal(change.content), path
    both = journey.own.keys() | journey.after.keys()
    touched = {path for path in both if normal(journey.own.get(path, b"")) != normal(journey.after.get(path, b""))}
    assert touched - healed <= plan.changes.keys()


def check_second_update(journey: Journey, repository: Path) -> None:
    """Check that a second update, after the conflicts are resolved, changes nothing."""
    resolve(journey.crate, journey.conflicts)
    commit_all(repository)
    again = copier_in_process("update", "--quiet", "--defaults", str(journey.crate))
    assert again.exit_code == 0, again.stderr
    assert git(repository, "status", "--porcelain") == ""
