"""The workspace of a crate, and whether its bench package is a member; the root may be above the crate."""

import os
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import tomlkit

from fast_rust.hot.changes import Changes
from fast_rust.hot.crate import BENCH, BENCH_MANIFEST, CORPUS, MANIFEST, HotCrate, parse_toml

TARGETS = ("bench", "bin", "example", "test")


def with_bench_as_member(changes: Changes) -> None:
    """Plan that the bench package is a member of the crate's workspace; except if that package is a workspace."""
    crate = changes.crate
    root = root_manifest(crate)
    is_in_none = root is None and _inherits_lints(crate)
    if not is_in_none and "workspace" not in parse_toml(changes.text(BENCH_MANIFEST), BENCH_MANIFEST):
        own = root or MANIFEST
        changes.write(own, with_member(changes.text(own), _member(crate, own)))


def without_empty_bench(changes: Changes) -> bool:
    """Plan the removal of a bench package that has no target left: cargo refuses such a package.

    Returns whether it goes. Files of the user that are no Rust stay.
    """
    table = parse_toml(changes.text(BENCH_MANIFEST), BENCH_MANIFEST)
    code = {name for name in changes.crate.files_below(BENCH) if name.endswith(".rs")} - changes.deleted
    if code - {CORPUS} or any(kind in table for kind in TARGETS):
        return False
    for name in (BENCH_MANIFEST, CORPUS):
        changes.delete(name)
    if own := root_manifest(changes.crate):
        changes.write(own, without_member(changes.text(own), _member(changes.crate, own)))
    return True


def root_manifest(crate: HotCrate) -> str | None:
    """Return the manifest of the crate's workspace, as a path from the crate; None without a workspace."""
    table = crate.table(MANIFEST)
    if "workspace" in table:
        return MANIFEST
    match table:
        case {"package": {"workspace": str(root)}}:
            return Path(os.path.relpath(crate.path(root) / MANIFEST, crate.folder)).as_posix()
    for level, folder in enumerate(crate.folder.parents, 1):
        name = "../" * level + MANIFEST
        if crate.path(name).is_file() and (found := crate.table(name).get("workspace")) is not None:
            excluded = (folder / each for each in found.get("exclude", ()))
            return None if any(crate.folder.is_relative_to(each) for each in excluded) else name
    return None


def has_shared_lints(crate: HotCrate) -> bool:
    """Return whether the crate's workspace has lints that its packages can inherit."""
    name = root_manifest(crate)
    return _inherits_lints(crate) if name is None else "lints" in crate.table(name)["workspace"]


def _inherits_lints(crate: HotCrate) -> bool:
    return bool(crate.table(MANIFEST).get("lints", {}).get("workspace"))


def _member(crate: HotCrate, root: str) -> str:
    return Path(os.path.relpath(crate.path(BENCH), crate.path(root).parent.resolve())).as_posix()


def with_member(text: str, member: str) -> str:
    """Return the manifest of a workspace with a further member, unless it lists it or a pattern matches it."""
    document = tomlkit.parse(text)
    if "workspace" not in document:
        return f'{text.rstrip()}\n\n[workspace]\nmembers = ["{member}"]\nresolver = "3"\n'
    workspace: Any = document["workspace"]
    members = workspace.setdefault("members", tomlkit.array())
    path = PurePosixPath(member).parts
    if any(_matches(PurePosixPath(each).parts, path) for each in members):
        return text
    members.append(member)
    return tomlkit.dumps(document)


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Return whether a pattern matches a path as cargo has it: `*` is for one folder, `**` for any number."""
    match pattern:
        case ():
            return not path
        case ("**", *rest):
            return any(_matches(tuple(rest), path[at:]) for at in range(len(path) + 1))
        case (first, *rest):
            return bool(path) and fnmatchcase(path[0], first) and _matches(tuple(rest), path[1:])
    return False


def without_member(text: str, member: str) -> str:
    """Return the manifest of a workspace that does not list a member."""
    document = tomlkit.parse(text)
    workspace: Any = document.get("workspace", {})
    listed = [each for each in workspace.get("members", ()) if PurePosixPath(each) == PurePosixPath(member)]
    for each in listed:
        workspace["members"].remove(each)
    return tomlkit.dumps(document) if listed else text
