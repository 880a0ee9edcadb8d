"""The members of a workspace: a new one is listed and built by the root, one behind the root's release is named."""

import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

from fast_rust.answers import ANSWERS_FILE, Answers, read_answers, require_answers, with_source
from fast_rust.drift.report import crates_below
from fast_rust.errors import FastRustError
from fast_rust.files import replace_file
from fast_rust.hot.membership import with_member
from fast_rust.releases import Order, open_repository
from fast_rust.rendering import render

# Answers that a member takes over from its root, if it asks for them.
SHARED = ("copyright_holder", "license", "msrv", "repository_url")
# A program is built by the profile of the root. The template's Cargo.toml.jinja has the same lines; docs/create.md and
# the message after copying have the values.
PROFILE_TEXT = """\
[profile.release]
lto = "fat" # BUILD-1: inlines across crates; linking takes several times as long
codegen-units = 1 # BUILD-1: optimises the crate as one unit, on one core
panic = "unwind" # BUILD-2: a panic costs its own thread or request, not the process
debug = "line-tables-only" # a backtrace from production names lines; costs size, not speed
"""
PROFILE = tomllib.loads(PROFILE_TEXT)["profile"]["release"]
FIRST_PROFILE = re.compile(r"(?m)^(?=(?:#.*\n)*\[profile\.)")


class MemberError(FastRustError):
    """A crate cannot become a member; the message says why, and nothing was changed."""


@dataclass(frozen=True)
class Added:
    """A new member."""

    name: str
    listed: tuple[str, ...]
    """The folders that are new in `members`."""
    has_new_profile: bool


def add(root: Path, folder: Path, data: Mapping[str, str], *, is_asked: bool) -> Added:
    """Create a crate in a folder of a workspace, from the root's release and answers, and list it in the manifest.

    With `is_asked` Copier asks a person the questions that the root does not answer; else its defaults are taken.
    Raises FastRustError where that is not possible; nothing was changed then.
    """
    answers = require_answers(root)
    inside = _path_in(root, folder)
    manifest = root / "Cargo.toml"
    before = manifest.read_text(encoding="utf-8")
    with TemporaryDirectory(prefix="fast-rust-") as scratch:
        made = Path(scratch) / folder.resolve().name
        _render(answers, data, made, is_asked=is_asked)
        taken = require_answers(made).choices
        if unknown := sorted(data.keys() - taken.keys()):
            raise MemberError(
                f"--data {unknown[0]}: the template does not ask for this in a"
                f" member; expected one of: {', '.join(taken)}"
            )
        listed = tuple(f"{inside}{end}" for end in ("", "/bench") if (made / end.lstrip("/") / "Cargo.toml").is_file())
        after = before
        for member in listed:
            after = with_member(after, member)
        listed_only = after
        if taken["kind"] != "lib":
            after = with_profile(after)
        shutil.copytree(made, folder, dirs_exist_ok=True)
    replace_file(manifest, after.encode())
    return Added(str(taken["crate_name"]), listed, after != listed_only)


def _path_in(root: Path, folder: Path) -> str:
    """Return the path of a new member from the root.

    Raises MemberError where the folder is outside, or has files.
    """
    inside = os.path.relpath(folder.resolve(), root.resolve())
    if inside == os.curdir or inside.startswith(os.pardir):
        raise MemberError(
            f"{folder} is outside the workspace {root.resolve()}; pass a folder in it, such as crates/parser"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MemberError(f"{folder} exists already; pass a new folder")
    return Path(inside).as_posix()


def _render(answers: Answers, data: Mapping[str, str], made: Path, *, is_asked: bool) -> None:
    repository = open_repository(answers.source, needed=answers.release)
    root = {"copyright_holder": answers.choices.get("author"), **answers.choices}
    shared = {name: root[name] for name in SHARED if root.get(name) is not None}
    choices: dict[str, Any] = {**shared, **data, "place": "member"}
    files = render(Answers(str(repository.folder), answers.release, choices), made, is_asked=is_asked)
    (made / ANSWERS_FILE).write_bytes(with_source(files[ANSWERS_FILE], answers.source))


def with_profile(manifest: str) -> str:
    """Return the manifest of a workspace with a release profile for programs; keys that it has stay."""
    found = tomllib.loads(manifest).get("profile", {}).get("release")
    if found is None:
        above, *below = FIRST_PROFILE.split(manifest, 1)
        text = "\n".join([f"{above.rstrip()}\n", PROFILE_TEXT, *below])
        # A manifest with `profile = { ... }`, or with such a line in a text, needs the parser.
        with suppress(tomllib.TOMLDecodeError):
            if tomllib.loads(text).get("profile", {}).get("release") == PROFILE:
                return text
    elif PROFILE.keys() <= found.keys():
        return manifest
    document: Any = tomlkit.parse(manifest)
    wanted: Any = tomlkit.parse(PROFILE_TEXT)
    profile = document.setdefault("profile", tomlkit.table(is_super_table=True))
    if "release" not in profile:
        profile["release"] = tomlkit.inline_table() if isinstance(profile, InlineTable) else tomlkit.table()
    for key, value in wanted["profile"]["release"].items():
        profile["release"].setdefault(key, value.unwrap() if isinstance(profile, InlineTable) else value)
    return tomlkit.dumps(document)


def behind(root: Path) -> list[tuple[Path, str]]:
    """Return the members below a root that are of an older release, with that release."""
    own = read_answers(root)
    if own is None:
        return []
    found = []
    for crate in crates_below(root):
        answers = read_answers(crate)
        if crate == root or answers is None or answers.source != own.source or answers.release == own.release:
            continue
        repository = open_repository(own.source, needed=own.release)
        if repository.order(answers.release, own.release) is Order.OLDER:
            found.append((crate, answers.release))
    return found
