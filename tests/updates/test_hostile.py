"""The update campaign under a git configuration that sets everything that could change what our commands do.

This runs a part of the scenarios, and with --exhaustive the others. The acts of users are committed under the tests'
own configuration, and only our command runs under the hostile one.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fast_rust.answers import ANSWERS_FILE, require_answers
from support.acts import CHANGED_ANSWERS, Given, answers_changed, sample_replaced
from support.command import fast_rust
from support.exhaustive import cases
from support.files import read_tree
from support.git import commit_all, git
from support.ownership import owners
from support.releases import Releases, newest_release
from updates import hostile
from updates.campaign import (
    REPLACED,
    Journey,
    Scenario,
    executables,
    lines,
    make,
    normal,
    rendering_of_today,
    resolve,
    scenarios,
    unmerged,
    without_dependencies_of_tests,
)

# In each of these runs, every act occurs for one kind.
PART = 3


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the campaign's test for a part of the scenarios, or for all."""
    if "scenario" in metafunc.fixturenames:
        # One kind for each act, with the kinds in rotation.
        found = enumerate(scenarios(exhaustive=False))
        part = [one for number, one in found if number % PART == number // PART % PART]
        metafunc.parametrize("scenario", cases(metafunc, part, scenarios(exhaustive=True)), ids=str)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that activates the hostile configuration."""
    folder = tmp_path / "hostile"
    config = hostile.write_config(folder)
    # git reads this file if no variable names another one.
    home = folder / "home"
    home.mkdir()
    shutil.copy(config, home / ".gitconfig")
    tools = {"CARGO_HOME": Path.home() / ".cargo", "RUSTUP_HOME": Path.home() / ".rustup"}

    def switch_on() -> None:
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
        for name, place in tools.items():
            monkeypatch.setenv(name, os.environ.get(name, str(place)))
        monkeypatch.setenv("HOME", str(home))
        for name, value in hostile.variables(folder).items():
            monkeypatch.setenv(name, value)

    return switch_on


def test_no_line_is_lost_under_a_hostile_configuration(
    scenario: Scenario,
    releases: Releases,
    tmp_path: Path,
    settings: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    repository, answers = make(scenario, releases, tmp_path)
    old = read_tree(repository)
    data = CHANGED_ANSWERS if scenario.act is answers_changed else {}
    new = rendering_of_today(releases, {**answers, **data})
    act = scenario.act(Given(repository, tuple(new.keys() - old.keys())))
    crate = next(act)
    commit_all(repository)
    if scenario.act is sample_replaced:
        # After the act the answers have no sample, so both releases are rendered without it.
        old = read_tree(releases.rendering(scenario.tag, {**answers, "sample": False}))
        new = rendering_of_today(releases, {**answers, **data, "sample": False})
    own, modes = read_tree(crate), executables(crate)
    before = (git(repository, "rev-parse", "HEAD"), git(repository, "for-each-ref"))

    settings()
    changed = [f"--data={name}={value}" for name, value in data.items()]
    done = fast_rust("update", *changed, crate)
    monkeypatch.undo()

    assert done.returncode in {0, 1}, done.stderr
    assert before == (git(repository, "rev-parse", "HEAD"), git(repository, "for-each-ref"))
    # A merge by lines ignores line endings.
    merged = {path: normal(content) for path, content in own.items()}
    journey = Journey(crate, old, merged, new, read_tree(crate), unmerged(crate))
    check_result(journey)
    for path in own.keys() - journey.of_the_template - {ANSWERS_FILE}:
        assert journey.after[path] == own[path], path
    assert require_answers(crate).release == newest_release()
    assert modes & journey.after.keys() <= executables(crate)
    if journey.conflicts:
        assert done.returncode == 1
    else:
        assert list(act) == []
    assert not (tmp_path / "hostile" / "ran").exists(), "a hook ran"
    check_second_update(journey, repository, settings, monkeypatch)
    record_property("campaign updates under a hostile configuration", 1)
    record_property("campaign lines checked under it", sum(each.total() for _, each in journey.user_lines()))


def check_result(journey: Journey) -> None:
    """Check that each file is equal to a merge by lines, with a conflict where necessary, and keeps every line."""
    for path in journey.of_the_template:
        own = journey.own.get(path)
        is_dropped = path not in journey.new and own is not None and own == journey.old[path]
        # A starter that a new crate lacks stays with the crate.
        is_dropped = is_dropped and owners(path) != ["starter"]
        expected = b"" if is_dropped else journey.expected(path)
        if path == REPLACED and path not in journey.new and not is_dropped:
            # fast-rust keeps and reports the edited file, where Copier would merge it with a comment.
            expected = own
        assert (expected is None) == (path in journey.conflicts), path
        if expected is not None:
            found = normal(journey.after.get(path, b""))
            is_manifest = path == "bench/Cargo.toml"
            both = map(without_dependencies_of_tests, (found, expected)) if is_manifest else (found, normal(expected))
            assert len(set(both)) == 1, path
        else:
            release = Counter(lines(journey.new[path])) - Counter(lines(journey.old.get(path, b"")))
            assert not release - Counter(lines(journey.after[path])), path
    for path, users in journey.user_lines():
        assert not users - Counter(lines(journey.after.get(path, b""))), path


def check_second_update(
    journey: Journey, repository: Path, settings: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that the crate is up to date after its conflicts are resolved and committed."""
    resolve(journey.crate, journey.conflicts)
    commit_all(repository)
    settings()
    again = fast_rust("update", journey.crate)
    monkeypatch.undo()
    assert (again.returncode, again.stdout) == (0, f"Up to date with template release {newest_release()}.\n")
    assert git(repository, "status", "--porcelain") == ""
