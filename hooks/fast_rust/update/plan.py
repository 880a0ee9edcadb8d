"""Planning an update: nothing of the crate is touched."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from fast_rust import git
from fast_rust.answers import Answers, answers_file, require_answers, with_source
from fast_rust.errors import FastRustError
from fast_rust.files import with_ends_of_lines
from fast_rust.git import Config
from fast_rust.owned import Part, part_of
from fast_rust.releases import Order, Repository, TemplateError, open_repository, web_address
from fast_rust.rendering import render, render_again
from fast_rust.update.by_key import merge_by_key
from fast_rust.update.guard import require_checked_out, require_clean
from fast_rust.update.leaving import drop_dependencies
from fast_rust.update.merge import Change, MergeResult, changes

RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|[#/])")


class UpdateError(FastRustError):
    """Why an update cannot be made, and what to run; nothing was changed."""


class OlderReleaseError(UpdateError):
    """The requested release is older than that of the crate."""


class Standing(StrEnum):
    """Why a crate needs no update."""

    UP_TO_DATE = "up to date"
    AHEAD = "ahead"
    """Its release is a commit after the newest one."""


@dataclass(frozen=True)
class UpdatePlan:
    """An update that has touched nothing yet."""

    crate: Path
    answers: Answers
    target: str
    changelog: str
    changes: Mapping[str, Change]
    """Of each file, by its path in the crate."""
    changed_answers: tuple[str, ...]
    """Answers that the release does not take as they are."""
    starters: Mapping[str, str]
    """Starters that the changed answers affect, with the change to make by hand: an update touches no starter."""

    def having(self, result: MergeResult) -> list[str]:
        """Return the files that merged with a result."""
        return [path for path, change in self.changes.items() if change.result is result]

    @property
    def needs_a_person(self) -> bool:
        """Return whether something is left for a person once the update is made."""
        return bool(
            self.having(MergeResult.CONFLICT) or self.having(MergeResult.KEPT) or self.changed_answers or self.starters
        )


def plan(
    crate: Path, target: str | None = None, data: Mapping[str, str] | None = None, *, refresh: bool = True
) -> UpdatePlan | Standing:
    """Plan an update to a release, the newest by default; with `refresh`, the template is fetched first.

    Raises FastRustError where the update cannot be made.
    """
    answers = require_answers(crate)
    repository = open_repository(answers.source, needed=answers.release, refresh=refresh)
    wanted = target or repository.newest(answers.source)
    if target and not git.is_commit(repository.folder, target, Config.OURS):
        known = ", ".join(repository.releases()[-3:])
        hint = f"the newest are: {known}" if known else f"{answers.source} has no release (tag vX.Y.Z)"
        raise UpdateError(f"--to {target}: the template has no such release; {hint}")
    match repository.order(answers.release, wanted):
        case Order.SAME if not data:
            return Standing.UP_TO_DATE
        case Order.NEWER if target:
            raise OlderReleaseError(
                f"--to {target}: the crate uses {answers.release}, which is newer;"
                " an update cannot go to an older release"
            )
        case Order.NEWER if not data:
            return Standing.AHEAD
        case Order.NEWER:
            wanted = answers.release
    require_clean(crate)
    return _plan(crate, answers, repository, wanted, data or {})


def _plan(crate: Path, answers: Answers, repository: Repository, target: str, data: Mapping[str, str]) -> UpdatePlan:
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        local = replace(answers, source=str(repository.folder))
        before = part_of(repository, answers.release, render(local, Path(folder) / "old"))
        after, taken = _rendered(crate, repository, target, data, Path(folder) / "new")
        if unknown := sorted(data.keys() - taken.choices.keys()):
            known = ", ".join(taken.choices)
            raise UpdateError(f"--data {unknown[0]}: unknown question; expected one of: {known}")
        starters = {}
        if data:
            unchanged, _ = _rendered(crate, repository, target, {}, Path(folder) / "unchanged")
            starters = _starters(crate, unchanged.of_the_crate, after.of_the_crate)
    require_checked_out(crate, sorted({*before.files, *after.files}))
    recorded = answers_file(crate)
    found = dict(changes(crate, before, after))
    if answers.choices.get("adopted"):
        merge_by_key(crate, repository, target, found)
    drop_dependencies(crate, found)
    written = with_ends_of_lines(with_source(after.answers, answers.source), recorded.read_bytes())
    found[recorded.name] = Change(MergeResult.CHANGED, written)
    refused = refused_answers({**answers.choices, **data}, taken.choices)
    changelog = with_web_links(_changelog(repository, answers.release, target), web_address(answers.source, target))
    return UpdatePlan(crate, answers, target, changelog, dict(sorted(found.items())), refused, starters)


def _rendered(
    crate: Path, repository: Repository, release: str, data: Mapping[str, str], folder: Path
) -> tuple[Part, Answers]:
    """Render a release from the crate's recorded answers, and return it with the answers that it took."""
    recorded = answers_file(crate)
    folder.mkdir()
    (folder / recorded.name).write_bytes(with_source(recorded.read_bytes(), str(repository.folder)))
    rendering = render_again(folder, str(repository.folder), release, data, recorded.name)
    return part_of(repository, release, rendering, recorded.name), require_answers(folder)


def refused_answers(asked: Mapping[str, Any], taken: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the answers that a release asks for and does not take as they are."""
    return tuple(name for name, value in asked.items() if name in taken and not _is_same(value, taken[name]))


def _is_same(asked: object, taken: object) -> bool:
    # Typed answers are read as YAML: `yes` is true.
    return taken in (asked, _as_yaml(asked)) or str(asked).lower() == str(taken).lower()


def _as_yaml(asked: object) -> object:
    try:
        return yaml.safe_load(asked) if isinstance(asked, str) else asked
    except (yaml.YAMLError, ValueError):
        return asked


def _starters(crate: Path, unchanged: Mapping[str, bytes], changed: Mapping[str, bytes]) -> dict[str, str]:
    """Return the change that a person has to make to each starter that the changed answers affect."""
    found = {}
    for path in sorted(unchanged.keys() | changed.keys()):
        is_there = (crate / path).is_file()
        match unchanged.get(path), changed.get(path):
            case before, after if before == after:
                continue
            case None, bytes() if not is_there:
                found[path] = "a crate with the new answers has this file; create it"
            case bytes(), None if is_there:
                found[path] = "a crate with the new answers does not have this file; delete it"
            case _ if is_there:
                found[path] = "its content depends on the answers; edit it"
    return found


def _changelog(repository: Repository, old: str, new: str) -> str:
    """Return what CHANGELOG.md says of the releases after the old one, up to the new one."""
    try:
        text = repository.text(new, "CHANGELOG.md")
    except TemplateError:
        return ""
    sections = re.split(r"(?m)^(?=## )", text)[1:]
    since = [section for section in sections if _is_between(section.split()[1], old, new)]
    return "".join(since).strip()


def with_web_links(text: str, address: str) -> str:
    """Return Markdown whose relative links begin with an address, since a crate has none of the template's pages."""
    return RELATIVE_LINK.sub(f"]({address}/", text) if address else text


def _is_between(name: str, old: str, new: str) -> bool:
    try:
        return Version(old) < Version(name) <= Version(new)
    except InvalidVersion:
        return False
