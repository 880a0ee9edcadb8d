"""Removes the sample: the hot path `aggregate` and all that a crate has because of it.

What that is, the template says: by a rendering of the crate's release with the sample and one without. The user's lines
stay, as do the items that they use; where a line of the sample was edited, nothing is changed and each place is named.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from fast_rust.answers import Answers, answers_file
from fast_rust.files import as_git_has_it
from fast_rust.hot import manifest
from fast_rust.hot.changes import Changes
from fast_rust.hot.crate import BENCH_MANIFEST, CORPUS, MANIFEST, HotCrate, HotPathError, parse_toml
from fast_rust.hot.declared import uses_of_removed
from fast_rust.hot.importing import with_imports
from fast_rust.hot.membership import without_empty_bench
from fast_rust.hot.rust import code_of, imports, uses_crate, uses_of
from fast_rust.hot.weave import Woven, weave
from fast_rust.rendering import render

SAMPLE = "aggregate"
NAMED = re.compile(r"aggregat", re.IGNORECASE)
OWN_FILES = re.compile(rf"src/{SAMPLE}(\.rs|/.*)|bench/(benches|tests)/{SAMPLE}(_\w+)?\.rs")
VERSION = re.compile(r"\d+(\.\d+)*")


@dataclass
class Removal:
    """The plan of removing the sample, while it is made."""

    crate: HotCrate
    before: Mapping[str, str]
    after: Mapping[str, str]
    changes: Changes
    woven: dict[str, Woven] = field(default_factory=dict)
    conflicts: set[tuple[str, int, str]] = field(default_factory=set)

    def refuse(self, path: str, line: int, reason: str) -> None:
        self.conflicts.add((path, line, reason))

    def staying(self) -> Iterator[tuple[str, str]]:
        """The Rust files that stay, as they will be."""
        for name in self.crate.sources():
            if name not in self.changes.deleted:
                yield name, self.changes.text(name)

    def code(self, below: str = "") -> str:
        return "\n".join(code_of(text) for name, text in self.staying() if name.startswith(below))


def remove_sample(crate: HotCrate, answers: Answers) -> Changes:
    """Plan the removal of the sample.

    Raises HotPathError with all lines that are in the way.
    """
    recorded = answers_file(crate.folder).name
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        before = _texts(render(answers, Path(folder) / "before", recorded))
        after = _texts(render(answers.with_choice("sample", choice=False), Path(folder) / "after", recorded))
    removal = Removal(crate, before, after, Changes(crate))
    _delete_files(removal)
    for name in sorted(before.keys() & after.keys() - {recorded, MANIFEST, BENCH_MANIFEST}):
        if before[name] != after[name] and crate.path(name).is_file():
            _weave(removal, name)
    _record_the_answer(removal, recorded)
    _keep_the_corpus(removal)
    _check_uses(removal)
    _edit_manifest(removal, MANIFEST, "")
    if crate.has_bench:
        _edit_manifest(removal, BENCH_MANIFEST, "bench/")
        if without_empty_bench(removal.changes):
            _check_dropped_lines(removal, BENCH_MANIFEST, "")
    if removal.conflicts:
        places = "\n  ".join(f"{path}:{line}: {reason}" for path, line, reason in sorted(removal.conflicts))
        message = "cannot remove the sample code, because your own code uses it; nothing was changed. Edit these lines"
        raise HotPathError(f"{message} so that they no longer use it, commit, and run the command again:\n  {places}")
    return removal.changes


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: as_git_has_it(content).decode() for name, content in files.items()}


def _delete_files(removal: Removal) -> None:
    crate = removal.crate
    for name in sorted(removal.before.keys() - removal.after.keys() - {BENCH_MANIFEST}):
        if not crate.path(name).is_file():
            continue
        removal.changes.delete(name)
        if not OWN_FILES.fullmatch(name) and crate.text(name) != removal.before[name]:
            line = _first_difference(crate.text(name), removal.before[name])
            removal.refuse(name, line, "you edited this file of the sample; move what you need, and delete the file")
    for name in crate.files_below(f"src/{SAMPLE}"):
        removal.changes.delete(name)


def _first_difference(text: str, other: str) -> int:
    lines, others = text.splitlines(), other.splitlines()
    return next(
        (n for n, (a, b) in enumerate(zip(lines, others, strict=False), 1) if a != b), min(len(lines), len(others))
    )


def _weave(removal: Removal, name: str) -> None:
    before, after, own = removal.before[name], removal.after[name], removal.crate.text(name)
    is_rust = name.endswith(".rs")
    if own == before:
        staying = set(after.splitlines())
        woven = Woven(after, removed=[line for line in before.splitlines() if line not in staying])
    else:
        woven = weave(before, after, own, NAMED, is_rust=is_rust)
        if is_rust:
            woven.text, edited = with_imports(woven.text, before, after, woven.own.values())
            for declaration in edited:
                line = _line_in(own.splitlines(), declaration.splitlines()[-1])
                removal.refuse(name, line, "you edited this import of the sample")
    for line, reason in woven.conflicts:
        removal.refuse(name, line, reason)
    removal.woven[name] = woven
    removal.changes.write(name, woven.text)


def _record_the_answer(removal: Removal, name: str) -> None:
    text = removal.crate.text(name)
    removal.changes.write(name, re.sub(r"(?m)^sample:.*$", "sample: false", text))


def _keep_the_corpus(removal: Removal) -> None:
    """Keep the library of the bench package where other benches use it."""
    crate, changes = removal.crate, removal.changes
    if CORPUS in changes.deleted and uses_crate(removal.code(), crate.bench_library):
        changes.deleted.discard(CORPUS)
        removal.conflicts = {each for each in removal.conflicts if each[0] != CORPUS}


def _check_uses(removal: Removal) -> None:
    """Refuse what the user's lines use and the removal takes away."""
    crate = removal.crate
    roots = {crate.library, "crate", "self", "super"}
    modules = [Path(name).stem for name in removal.changes.deleted if re.fullmatch(r"src/\w+\.rs", name)]
    for name, text in removal.staying():
        lines = crate.text(name).splitlines()
        for module in modules:
            for number in uses_of(text, roots, module):
                removal.refuse(name, _line_in(lines, text.splitlines()[number - 1]), f"this uses the module `{module}`")
        own = _own_lines(removal, name)
        for number, what in uses_of_removed(name, own, {path: woven.removed for path, woven in removal.woven.items()}):
            removal.refuse(name, number, what)
        for each in imports(text):
            for leaf in each.leaves:
                if leaf.path.removeprefix("::").startswith((f"crate::{SAMPLE}", f"{crate.library}::{SAMPLE}")):
                    removal.refuse(
                        name, text.count("\n", 0, each.start) + 1, f"this imports `{leaf.path}` of the sample"
                    )


def _line_in(lines: list[str], line: str) -> int:
    return lines.index(line) + 1 if line in lines else 1


def _own_lines(removal: Removal, name: str) -> dict[int, str]:
    """Return the lines of a file that are the user's, by their number."""
    if name in removal.woven:
        return removal.woven[name].own
    text = removal.crate.text(name)
    known = set(removal.before.get(name, "").splitlines())
    return {number: line for number, line in enumerate(text.splitlines(), 1) if line not in known}


# --- Manifests ---


def _edit_manifest(removal: Removal, name: str, below: str) -> None:
    crate = removal.crate
    text, first, last = crate.text(name), removal.before[name], _after(removal, name)
    table, before, after = (parse_toml(each, name) for each in (text, first, last))
    comments = set(first.splitlines()) - set(last.splitlines())
    present = manifest.dependencies(table)
    doomed: list[manifest.Path] = []
    going = [path for path in manifest.dependencies(before) if path not in manifest.dependencies(after)]
    if below:
        benches = _bench_names(before) - _bench_names(after)
        text = manifest.without_benches(text, benches)
        if CORPUS in removal.changes.deleted:
            doomed.append(("lib",))
    features = [feature for feature in before.get("features", {}) if feature not in after.get("features", {})]
    for path in going:
        dependency = path[-1]
        used = crate.library if dependency == crate.package else dependency.replace("-", "_")
        code = "\n".join(removal.code(place) for place in _places_of_use(path, below, present))
        if path not in present or uses_crate(code, used) or _is_enabled(table, dependency, features):
            continue
        doomed.append(path)
    staying = {path[-1] for path in present} - {path[-1] for path in doomed}
    doomed += [("features", feature) for feature in features if feature not in staying]
    text = manifest.without(text, doomed, comments)
    _check_dropped_lines(removal, name, text)
    _check_comments(removal, name, comments)
    text = _with_include(removal, name, text)
    removal.changes.write(name, text)


def _places_of_use(path: manifest.Path, below: str, present: Collection[manifest.Path]) -> tuple[str, ...]:
    """Return where code can use a dependency; tests use a dependency of the crate without a dev-dependency."""
    *above, kind, dependency = path
    if below:
        return (below,)
    is_for_code = kind == "dependencies" and (*above, "dev-dependencies", dependency) in present
    return ("src/", "build.rs") if is_for_code else ("src/", "build.rs", "tests/", "examples/")


def _after(removal: Removal, name: str) -> str:
    """Return a manifest as it would be without the sample; of a bench package that is gone then, its head."""
    if name in removal.after:
        return removal.after[name]
    table = parse_toml(removal.before[name], name)
    text = manifest.without_benches(removal.before[name], _bench_names(table))
    return manifest.without(text, [("lib",), *manifest.dependencies(table)])


def _bench_names(table: dict[str, list[dict[str, str]]]) -> set[str]:
    return {bench["name"] for bench in table.get("bench", [])}


def _is_enabled(table: dict[str, dict[str, list[str]]], dependency: str, features: list[str]) -> bool:
    """Return whether a feature of the user's enables a dependency."""
    own = [entry for name, entries in table.get("features", {}).items() if name not in features for entry in entries]
    return any(re.fullmatch(rf"(dep:)?{dependency}\??(/.*)?", entry) for entry in own)


def _check_dropped_lines(removal: Removal, name: str, text: str) -> None:
    """Refuse to drop lines of a manifest that the user has edited in more than a version."""
    known = {VERSION.sub("0", line.strip()) for line in removal.before[name].splitlines()}
    lines = removal.crate.text(name).splitlines()
    kept = Counter(text.splitlines())
    for number, line in enumerate(lines, 1):
        if kept[line]:
            kept[line] -= 1
        elif line.strip() and VERSION.sub("0", line.strip()) not in known:
            removal.refuse(
                name, number, "you edited this line of the sample, and no code uses it without the sample; delete it"
            )


def _check_comments(removal: Removal, name: str, comments: set[str]) -> None:
    """Refuse to leave a comment of the sample behind that the user has extended."""
    starts = tuple(line for line in comments if line.startswith("#"))
    for number, line in enumerate(removal.crate.text(name).splitlines(), 1):
        if starts and line.startswith(starts) and line not in starts:
            removal.refuse(name, number, "you edited this comment of the sample")


def _lines_of(text: str, path: manifest.Path) -> tuple[int, str] | None:
    lines = text.splitlines(keepends=True)
    for entry in manifest.entries(lines):
        if (*entry.table, *entry.key)[: len(path)] == path:
            return entry.start + 1, "".join(lines[entry.start : entry.end]).strip()
    return None


def _with_include(removal: Removal, name: str, text: str) -> str:
    """Return a manifest whose package leaves out folders that went with the sample."""
    old, new = (
        (_lines_of(each, ("package", "include")) or (0, ""))[1]
        for each in (removal.before[name], _after(removal, name))
    )
    has_examples = any(path not in removal.changes.deleted for path in removal.crate.files_below("examples"))
    if old == new or has_examples:
        return text
    if (ours := _lines_of(text, ("package", "include"))) is not None and ours[1] != old and '"/examples"' in ours[1]:
        removal.refuse(name, ours[0], "you edited this line, which names the sample's folder `/examples`")
    return text.replace(old, new) if old else text
