"""Crates between two releases: how they are made, and the lines of users that an update must keep."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from fast_rust.answers import ANSWERS_FILE, require_answers
from fast_rust.drift.differences import differences
from fast_rust.git import merge_file
from fast_rust.owned import owned_by
from fast_rust.releases import Repository
from support.acts import ACTS, Act
from support.files import read_tree
from support.git import commit_all, git
from support.ownership import owners
from support.releases import Releases, newest_release, past_releases
from support.variants import CHECKOUT, Answers, domain, pairwise_cover

ANSWERS_A_KIND = 3
# In an update, copier.yml renders a comment instead of these tests of older releases.
REPLACED = "bench/tests/standards.rs"
# Names that older releases have for the questions of this release.
FORMER_NAMES = {"copyright_holder": "author"}


@dataclass(frozen=True)
class Scenario:
    """A kind of crate, its old release, and the act of its user before the update."""

    kind: str
    act: Act
    tag: str
    turn: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.act.__name__}-{self.tag}"

    @property
    def answers(self) -> dict[str, str | bool]:
        """Return the answers of the kind, in rotation; the act that removes the sample needs the sample."""
        fitting = [one.answers for one in pairwise_cover() if one.answers["kind"] == self.kind]
        fitting = [answers for answers in fitting if answers["place"] == "repository"]
        chosen = fitting[:: max(1, len(fitting) // ANSWERS_A_KIND)][:ANSWERS_A_KIND]
        answers = {**chosen[self.turn % len(chosen)], "crate_name": "log-totals"}
        return {**answers, "sample": True} if self.act.__name__ == "sample_replaced" else answers


def scenarios(*, exhaustive: bool) -> Iterator[Scenario]:
    """Yield each act once for each kind, from one of four releases in rotation, or from all of them."""
    tags = list(past_releases())
    tags = list(dict.fromkeys([tags[0], *tags[-3:]]))
    for turn, act in enumerate(ACTS):
        for number, kind in enumerate(domain("kind")):
            for tag in tags if exhaustive else [tags[(turn + number) % len(tags)]]:
                yield Scenario(str(kind), act, tag, number + turn)


@dataclass(frozen=True)
class Journey:
    """A crate between two releases: the files of both releases, the user's files, and the files after the update."""

    crate: Path
    old: Mapping[str, bytes]
    own: Mapping[str, bytes]
    new: Mapping[str, bytes]
    """The files of a new crate, which our command uses; Copier also renders the comment that replaces tests."""
    after: Mapping[str, bytes]
    conflicts: set[str]
    """The conflicts in git's index; Copier's exit code does not show them."""

    @property
    def of_the_template(self) -> set[str]:
        return (self.old.keys() | self.new.keys()) - {ANSWERS_FILE}

    @property
    def updated(self) -> Mapping[str, bytes]:
        """Return the newer release as Copier renders it for an update."""
        comment = (CHECKOUT / "template" / REPLACED).read_bytes()
        return {**self.new, REPLACED: comment} if REPLACED in self.old else self.new

    def leaves(self, path: str) -> bool:
        """Return whether the newer release drops a file, which Copier then leaves in place."""
        # Without a hot path of the template, the package needs the comment as its only target.
        answers = yaml.safe_load(self.after[ANSWERS_FILE])
        is_needed = not (answers["thin"] or answers["sample"] or answers["kind"] == "service")
        return owners(path) == ["dropped"] or (path == REPLACED and not is_needed)

    def expected(self, path: str) -> bytes | None:
        """Return the expected content of a file of the template: None in a conflict, empty if the file is missing."""
        old, own, new = self.old.get(path), self.own.get(path), self.updated.get(path)
        if owners(path) in (["starter"], ["dropped"]) or (own is None and old is not None):
            return own or b""
        if own is None or own == old:
            return new or b""
        merged, is_conflict = merge_file(own, old or b"", new or b"")
        return None if is_conflict else merged

    def user_lines(self) -> Iterator[tuple[str, Counter[bytes]]]:
        """Yield the lines of each file that are not from the template."""
        for path, own in self.own.items():
            if path != ANSWERS_FILE:
                yield path, Counter(lines(own)) - Counter(lines(self.old.get(path, b"")))


def without_dependencies_of_tests(content: bytes) -> bytes:
    """Return a manifest without the lines that only our command removes."""
    return b"\n".join(line for line in lines(content) if not line.endswith(b"# for tests/standards.rs"))


def normal(content: bytes) -> bytes:
    """Return a text with Unix line endings."""
    return content.replace(b"\r\n", b"\n")


def lines(content: bytes) -> list[bytes]:
    return normal(content).split(b"\n")


def unmerged(crate: Path) -> set[str]:
    entries = git(crate, "ls-files", "-z", "--unmerged").split("\0")
    return {entry.partition("\t")[2] for entry in entries if entry}


def executables(crate: Path) -> set[str]:
    return {path for path in read_tree(crate) if os.access(crate / path, os.X_OK)}


def make(scenario: Scenario, releases: Releases, folder: Path) -> tuple[Path, Answers]:
    """Make a crate from its release, commit it, and return it with its answers under the names of this release."""
    asked = releases.questions(scenario.tag)
    called = {name: name if name in asked else FORMER_NAMES.get(name, "") for name in scenario.answers}
    answers = {name: answer for name, answer in scenario.answers.items() if called[name] in asked}
    crate = folder / "log-totals"
    given = {called[name]: answer for name, answer in answers.items()}
    shutil.copytree(releases.rendering(scenario.tag, given), crate)
    git(crate, "init", "--quiet")
    commit_all(crate)
    return crate, answers


def rendering_of_today(releases: Releases, answers: Answers) -> Mapping[str, bytes]:
    """Return the files of the newest release, as an update of an older crate with these answers makes them."""
    # Crates of older releases have the package bench/ with its tests, also without a hot path.
    known = {"thin": False, **answers}
    asked = releases.questions(newest_release())
    known = {name: answer for name, answer in known.items() if name in asked}
    return read_tree(releases.rendering(newest_release(), known))


def check_files(journey: Journey) -> None:
    """Check that each file is equal to the result of a merge by lines, and that each line of the user is kept."""
    for path in journey.of_the_template - journey.conflicts:
        if (expected := journey.expected(path)) is not None:
            assert normal(journey.after.get(path, b"")) == normal(expected), path
    for path, users in journey.user_lines():
        assert not users - Counter(lines(journey.after.get(path, b""))), path
    for path in journey.own.keys() - journey.of_the_template - {ANSWERS_FILE}:
        assert normal(journey.after[path]) == journey.own[path].replace(b"\r\n", b"\n"), path


def drift_of(crate: Path, releases: Releases) -> set[tuple[str, str]]:
    """Return the template-owned files and keys that differ from the crate's release."""
    owned = owned_by(Repository(releases.repository), require_answers(crate))
    return {(one.path, one.key) for one in differences(crate, owned)}


def resolve(crate: Path, conflicts: set[str]) -> None:
    """Resolve conflicts with all lines of both sides, as a user may."""
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
