"""Merging the keys that the template owns into an existing TOML file, each line of which stays."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item

from fast_rust.checks.tables import has_reason
from fast_rust.drift.directions import LONGER, direction_of, is_dependency, keeps, keeps_if_missing
from fast_rust.drift.keys import items_at, reason_at, restored, spelled, value_at, with_line
from fast_rust.files import with_ends_of_lines
from fast_rust.owned import Key

AS_BEFORE = "adopted, was so before"
GROUPS = {
    "clippy": "all cargo complexity correctness nursery pedantic perf restriction style suspicious",
    "rust": "warnings future-incompatible future_incompatible keyword-idents keyword_idents let-underscore"
    " let_underscore nonstandard-style nonstandard_style refining-impl-trait refining_impl_trait unused"
    " rust-2018-compatibility rust_2018_compatibility rust-2018-idioms rust_2018_idioms"
    " rust-2021-compatibility rust_2021_compatibility rust-2024-compatibility rust_2024_compatibility",
    "rustdoc": "all",
}


def merged(text: str, release_text: str, keys: Mapping[Key, Any], *, with_dependencies: bool) -> str:
    """Return a file with the owned keys of a release added.

    Deny lists get the entries that they lack. A value that is looser than the release's stays, with a
    comment that gives the reason: the crate had it before. A key whose tool is as strict without it is not added, since
    it would loosen what the crate has. Missing dependencies are added only with `with_dependencies`, and no requirement
    of a dependency is raised.
    """
    text = _with_whole_tables(text, release_text, keys)
    found = tomllib.loads(text)
    added: list[Key] = []
    for key, wanted in keys.items():
        value = value_at(found, spelled(found, key))
        is_wanted = with_dependencies if is_dependency(key) else not keeps_if_missing(key, wanted)
        is_list = isinstance(value, list) and direction_of(key) is LONGER
        if is_wanted if value is None else is_list and not keeps(key, wanted, value):
            added.append(key)
    document = tomlkit.parse(restored(text, release_text, added, is_append_only=True))
    after = document.unwrap()
    for key, wanted in keys.items():
        there = spelled(after, key)
        value = value_at(after, there)
        if value is not None and not keeps(key, wanted, value) and not reason_at(document, there):
            for item in list(items_at(document, with_line(document, there)))[:1]:
                note(item, AS_BEFORE)
    return tomlkit.dumps(document)


def _with_whole_tables(text: str, release_text: str, keys: Mapping[Key, Any]) -> str:
    """Return the file with those tables of the release appended that it lacks entirely, with their comments."""
    found = tomllib.loads(text)
    for table, section in _sections(release_text):
        is_owned = any(key[: len(table)] == table for key in keys) and not is_dependency((*table, ""))
        if is_owned and len(table) > (table[0] == "workspace") and value_at(found, table) is None:
            text = f"{text.rstrip()}\n\n{section.rstrip()}\n"
    return text


def _sections(text: str) -> Iterator[tuple[Key, str]]:
    """Yield the path and the text of each table of a TOML file."""
    for part in re.split(r"(?m)^(?=\[[^\[\n]+\])", text)[1:]:
        table, path = tomllib.loads(part.partition("\n")[0]), []
        while table:
            [(name, table)] = table.items()
            path.append(name)
        yield tuple(path), part


def added(before: object, after: object, above: Key = ()) -> Iterator[Key]:
    """Yield the keys of a document that another lacks, or has a shorter list of."""
    if isinstance(after, dict):
        known = before if isinstance(before, dict) else {}
        for name, value in after.items():
            yield from added(known.get(name), value, (*above, name))
    elif before is None or (isinstance(after, list) and after != before):
        yield above


def note(item: Item, reason: str) -> None:
    """Add a reason to the comment on the line of a key."""
    if not has_reason(item.trivia.comment):
        item.trivia.comment_ws = item.trivia.comment_ws or " "
        item.trivia.comment = f"{item.trivia.comment} # reason: {reason}".strip()


def rewrite(file: Path, change: Callable[[str], str]) -> None:
    """Change the text of a file; its line endings stay."""
    before = file.read_bytes()
    after = change(before.decode().replace("\r\n", "\n"))
    file.write_bytes(with_ends_of_lines(after.encode(), before))


# --- Manifests ---


def with_inherited_lints(text: str) -> str:
    """Return the manifest of a package that inherits the lints of its workspace, unless it has its own."""
    if "lints" in tomllib.loads(text):
        return text
    return f"{text.rstrip()}\n\n[lints]\nworkspace = true\n"


def with_excluded(text: str, nested: list[str]) -> str:
    """Return the manifest of a package whose new workspace leaves out the crates below it, as before."""
    if not nested or "workspace" in tomllib.loads(text):
        return text
    names = ", ".join(f'"{name}"' for name in nested)
    return f"{text.rstrip()}\n\n[workspace]\nexclude = [{names}] # no members before the adoption either\n"


def without_new_files(text: str, new: list[str]) -> str:
    """Return the manifest of a package that is published without the files that are new in its folder."""
    document: Any = tomlkit.parse(text)
    package = document["package"]
    names = package.get("exclude", [])
    if "include" in package or not isinstance(names, list) or not new:
        return text
    if not names:
        package["exclude"] = names = tomlkit.array()
    for name in new:
        names.add_line(name)
    if not names.as_string().endswith("\n]"):
        names.add_line(indent="")
    return tomlkit.dumps(document)


def with_shared_lints(text: str) -> str:
    """Return the manifest of a root package whose lints are those of its entire workspace."""
    found = tomllib.loads(text)
    if found.get("lints", {}).get("workspace") is True or "lints" in found.get("workspace", {}):
        return text
    moved = re.sub(r"(?m)^\[lints((\.[^\]]+)?\])", r"[workspace.lints\1", text)
    return text if "lints" in tomllib.loads(moved) else moved


def with_denied_lints(text: str, own: str) -> str:
    """Return lints of a release at the level of the groups that a crate denies, if it does.

    A single lint that warns would weaken the group that it is in.
    """
    lints = tomllib.loads(own).get("workspace", {}).get("lints", {}).get("clippy", {})
    groups = [entry for name, entry in lints.items() if name in GROUPS["clippy"].split()]
    levels = {entry.get("level") if isinstance(entry, dict) else entry for entry in groups}
    return re.sub(r'(= |level = )"warn"', r'\1"deny"', text) if levels & {"deny", "forbid"} else text


def with_clear_lints(text: str) -> str:
    """Return the manifest with groups of lints below single lints, and a reason at each lint that was allowed before.

    Clippy reports an error for a single lint of the template next to a group of the same priority.
    """
    document: Any = tomlkit.parse(text)
    tables = document.get("workspace", {}).get("lints", {})
    for tool, groups in GROUPS.items():
        table = tables.get(tool, {})
        for name in list(table):
            entry = table[name]
            level = entry.get("level") if isinstance(entry, dict) else str(entry)
            has_priority = isinstance(entry, dict) and entry.get("priority")
            if name in groups.split() and not has_priority:
                spelled = tomlkit.value(f'{{ level = "{level}", priority = -1 }}')
                spelled.trivia.comment_ws, spelled.trivia.comment = entry.trivia.comment_ws, entry.trivia.comment
                table[name] = spelled
            if level == "allow":
                note(table[name], AS_BEFORE)
    return tomlkit.dumps(document)


def with_platforms(text: str, release_text: str) -> str:
    """Return the manifest with the platforms that CI tests on."""
    if value_at(tomllib.loads(text), ("workspace", "metadata", "ci", "platforms")):
        return text
    section = dict(_sections(release_text)).get(("workspace", "metadata", "ci"), "")
    return f"{text.rstrip()}\n\n{section.rstrip()}\n" if section else text
