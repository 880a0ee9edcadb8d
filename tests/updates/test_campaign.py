"""Crates of every kind, made from past releases and acted on as users do, come to this release and lose no line.

Each act once for each kind; the oldest release and the last three take turns, so each act is done to crates of three
releases, and crates of each kind come from all four. With --exhaustive of every kind from all four.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from updates.acts import (
    ACTS,
    CHANGED_ANSWERS,
    Act,
    Given,
    answers_changed,
    checked_out_on_windows,
    windows_ends_of_lines,
)
from updates.releases import Releases, newest_release, past_releases

from fast_rust.answers import ANSWERS_FILE, require_answers
from fast_rust.drift.differences import differences
from fast_rust.git import merge_file
from fast_rust.owned import owned_by
from fast_rust.releases import Repository
from fast_rust.update.merge import Fate
from fast_rust.update.plan import Plan
from fast_rust.update.plan import plan as plan_update
from ownership import owners
from template import copier_in_process, git, read_tree
from variants import Answers, domain, pairwise_cover

ANSWERS_A_KIND = 3
# What older releases call a question of today.
FORMER_NAMES = {"copyright_holder": "author"}


@dataclass(frozen=True)
class Scenario:
    """A crate's way from one release to the next."""

    kind: str
    act: Act
    tag: str
    turn: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.act.__name__}-{self.tag}"

    @property
    def answers(self) -> dict[str, str | bool]:
        """Answers of the kind, which take turns; the sample is there for the act that takes it out."""
        fitting = [one.answers for one in pairwise_cover() if one.answers["kind"] == self.kind]
        fitting = [answers for answers in fitting if answers["place"] == "repository"]
        chosen = fitting[:: max(1, len(fitting) // ANSWERS_A_KIND)][:ANSWERS_A_KIND]
        answers = {**chosen[self.turn % len(chosen)], "crate_name": "log-totals"}
        return {**answers, "sample": True} if self.act.__name__ == "sample_replaced" else answers


def scenarios(*, exhaustive: bool) -> Iterator[Scenario]:
    """Each act once for each kind, from a release of those that take turns, or from all of them."""
    tags = list(past_releases())
    tags = list(dict.fromkeys([tags[0], *tags[-3:]]))
    for turn, act in enumerate(ACTS):
        for number, kind in enumerate(domain("kind")):
            for tag in tags if exhaustive else [tags[(turn + number) % len(tags)]]:
                yield Scenario(str(kind), act, tag, number + turn)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the campaign's test for all scenarios."""
    if "scenario" in metafunc.fixturenames:
        found = scenarios(exhaustive=bool(metafunc.config.getoption("exhaustive")))
        metafunc.parametrize("scenario", list(found), ids=str)


@dataclass(frozen=True)
class Journey:
    """A crate between two releases: as both make it, as its user left it, and as it came out."""

    crate: Path
    old: Mapping[str, bytes]
    own: Mapping[str, bytes]
    new: Mapping[str, bytes]
    after: Mapping[str, bytes]
    conflicts: set[str]
    """What git's index says is in conflict: Copier's exit code does not say it."""

    @property
    def of_the_template(self) -> set[str]:
        return (self.old.keys() | self.new.keys()) - {ANSWERS_FILE}

    def expected(self, path: str) -> bytes | None:
        """A file of the template's as it has to be after the update; none in a conflict, and empty where it is not."""
        old, own, new = self.old.get(path), self.own.get(path), self.new.get(path)
        if owners(path) in (["starter"], ["dropped"]) or (own is None and old is not None):
            return own or b""
        if own is None or own == old:
            return new or b""
        merged, is_conflict = merge_file(own, old or b"", new or b"")
        return None if is_conflict else merged

    def user_lines(self) -> Iterator[tuple[str, Counter[bytes]]]:
        """The lines of each file that are not from the template."""
        for path, own in self.own.items():
            if path != ANSWERS_FILE:
                yield path, Counter(_lines(own)) - Counter(_lines(self.old.get(path, b"")))


def _normal(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _lines(content: bytes) -> list[bytes]:
    return _normal(content).split(b"\n")


def commit(crate: Path) -> None:
    git(crate, "add", "--all", "--force", ".")
    git(crate, "commit", "--quiet", "--allow-empty", "--message", "An act of a user")


def unmerged(crate: Path) -> set[str]:
    entries = git(crate, "ls-files", "-z", "--unmerged").split("\0")
    return {entry.partition("\t")[2] for entry in entries if entry}


def executables(crate: Path) -> set[str]:
    return {path for path in read_tree(crate) if os.access(crate / path, os.X_OK)}


@pytest.fixture
def made(scenario: Scenario, releases: Releases, tmp_path: Path) -> tuple[Path, Answers]:
    """A crate as its release makes it, committed, and its answers by their names of today."""
    asked = releases.questions(scenario.tag)
    called = {name: name if name in asked else FORMER_NAMES.get(name, "") for name in scenario.answers}
    answers = {name: answer for name, answer in scenario.answers.items() if called[name] in asked}
    crate = tmp_path / "log-totals"
    given = {called[name]: answer for name, answer in answers.items()}
    shutil.copytree(releases.rendering(scenario.tag, given), crate)
    git(crate, "init", "--quiet")
    commit(crate)
    return crate, answers


def test_an_update_loses_no_line_and_stops_only_where_it_must(
    scenario: Scenario,
    made: tuple[Path, Answers],
    releases: Releases,
    record_property: Callable[[str, object], None],
) -> None:
    repository, answers = made
    old = read_tree(repository)
    data = CHANGED_ANSWERS if scenario.act is answers_changed else {}
    asked = releases.questions(newest_release())
    known = {name: answer for name, answer in {**answers, **data}.items() if name in asked}
    new = read_tree(releases.rendering(newest_release(), known))
    act = scenario.act(Given(repository, tuple(new.keys() - old.keys())))
    crate = next(act)
    commit(repository)
    own, modes, drifted = read_tree(crate), executables(crate), drift_of(crate, releases)

    plan = plan_update(crate, data=data)
    assert isinstance(plan, Plan)
    assert read_tree(crate) == own
    assert git(repository, "status", "--porcelain") == ""
    changed = [f"--data={name}={value}" for name, value in data.items()]
    done = copier_in_process("update", "--quiet", "--defaults", *changed, str(crate))
    assert done.exit_code == 0, done.stderr

    if scenario.act is checked_out_on_windows:
        own = {path: _normal(content) for path, content in own.items()}
    journey = Journey(crate, old, own, new, read_tree(crate), unmerged(crate))
    assert yaml.safe_load(journey.after[ANSWERS_FILE])["_commit"] == newest_release()
    # Copier applies the release's change by its hunks, so it may fit where a merge of whole files would not.
    assert journey.conflicts <= {path for path in journey.of_the_template if journey.expected(path) is None}
    check_files(journey)
    check_foresight(journey, plan, heals=scenario.act is windows_ends_of_lines)
    assert modes & journey.after.keys() <= executables(crate)
    if not journey.conflicts:
        assert list(act) == []
        assert drift_of(crate, releases) <= drifted
    check_second_update(journey, repository)
    record_property("campaign scenarios", 1)
    record_property("campaign lines checked", sum(lines.total() for _, lines in journey.user_lines()))
    record_property("campaign conflicts met, all of them needed", len(journey.conflicts))


def check_files(journey: Journey) -> None:
    """Each file is what a merge by lines makes of it, and each line of the user's is there."""
    for path in journey.of_the_template - journey.conflicts:
        if (expected := journey.expected(path)) is not None:
            assert _normal(journey.after.get(path, b"")) == _normal(expected), path
    for path, lines in journey.user_lines():
        assert not lines - Counter(_lines(journey.after.get(path, b""))), path
    for path in journey.own.keys() - journey.of_the_template - {ANSWERS_FILE}:
        assert _normal(journey.after[path]) == journey.own[path].replace(b"\r\n", b"\n"), path


def check_foresight(journey: Journey, plan: Plan, *, heals: bool) -> None:
    """What our command foresees is what Copier does; only ends of lines are no conflict, and what was dropped goes."""
    healed = journey.conflicts - set(plan.having(Fate.CONFLICT))
    assert bool(healed) == (heals and bool(journey.conflicts))
    assert set(plan.having(Fate.CONFLICT)) == journey.conflicts - healed
    for path, change in plan.changes.items():
        if owners(path) == ["dropped"]:
            # Copier leaves it there, for what may have been written into it.
            is_edited = _normal(journey.own[path]) != journey.old[path]
            assert change.fate is (Fate.KEPT if is_edited else Fate.DELETED)
        elif path not in healed:
            assert _normal(journey.after.get(path, b"")) == _normal(change.content), path
    both = journey.own.keys() | journey.after.keys()
    touched = {path for path in both if _normal(journey.own.get(path, b"")) != _normal(journey.after.get(path, b""))}
    assert touched - healed <= plan.changes.keys()


def check_second_update(journey: Journey, repository: Path) -> None:
    """Once its conflicts are resolved, a crate that is updated again does not change."""
    resolve(journey.crate, journey.conflicts)
    commit(repository)
    again = copier_in_process("update", "--quiet", "--defaults", str(journey.crate))
    assert again.exit_code == 0, again.stderr
    assert git(repository, "status", "--porcelain") == ""


def drift_of(crate: Path, releases: Releases) -> set[tuple[str, str]]:
    """What differs from the crate's release, in what the template owns."""
    owned = owned_by(Repository(releases.repository), require_answers(crate))
    return {(one.path, one.key) for one in differences(crate, owned)}


def resolve(crate: Path, conflicts: set[str]) -> None:
    """Take all lines of both sides, as a user may."""
    for path in conflicts:
        sides = [crate.parent / f"side-{number}" for number in "213"]
        for number, side in zip("213", sides, strict=True):
            done = subprocess.run(
                ["git", "-C", str(crate), "show", f":{number}:./{path}"], check=False, capture_output=True
            )
            side.write_bytes(done.stdout)
        command = ["git", "merge-file", "--union", "--stdout", *map(str, sides)]
        (crate / path).write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
        for side in sides:
            side.unlink()
