"""Removes a hot path: its module, benches, allocation test, their registration, and dependencies that become unused."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fast_rust.answers import require_answers
from fast_rust.hot import manifest
from fast_rust.hot.add import bench_names, files_of, needed_in_manifest
from fast_rust.hot.changes import Changes
from fast_rust.hot.crate import BENCH_MANIFEST, LIBRARY, HotCrate, HotPathError, open_crate, parse_toml
from fast_rust.hot.membership import without_empty_bench
from fast_rust.hot.rust import code_of, uses_crate, uses_of, without_module
from fast_rust.hot.sample import SAMPLE, remove_sample

SECTION = re.compile(r"(?m)^\s*//[/!] # Hot path\s*$")


def remove(folder: Path, name: str) -> Changes:
    """Plan the removal of a hot path; of the sample, with all that came with it.

    Raises HotPathError if the module is not a hot path, or something still uses it.
    """
    crate = open_crate(folder)
    if name == SAMPLE and (answers := require_answers(crate.folder)).choices.get("sample") is True:
        return remove_sample(crate, answers)
    files = files_of(name)
    _require_hot_path(crate, name, files)
    changes = Changes(crate)
    for path in [*files.values(), *crate.files_below(f"src/{name}")]:
        changes.delete(path)
    changes.write(LIBRARY, without_module(crate.text(LIBRARY), name))
    if crate.has_bench:
        needed = needed_in_manifest(crate.package, name).unwrap()
        text = manifest.without_benches(crate.text(BENCH_MANIFEST), bench_names(name))
        changes.write(BENCH_MANIFEST, without_unused(changes, text, manifest.dependencies(needed)))
        without_empty_bench(changes)
    if uses := list(module_uses(changes, {crate.library, "crate", "self", "super"}, name)):
        raise HotPathError(f"the module `{name}` is still used; remove these uses first:\n  " + "\n  ".join(uses))
    return changes


def _require_hot_path(crate: HotCrate, name: str, files: dict[str, str]) -> None:
    module, *measurements = files.values()
    if re.fullmatch(r"[a-z0-9_]+", name) is None or not crate.path(module).is_file():
        raise HotPathError(f"src/{name}.rs does not exist, so the crate has no hot path `{name}` to remove")
    if SECTION.search(crate.text(module)) is None and not any(crate.path(path).exists() for path in measurements):
        message = f"{module} is not a hot path: its documentation has no section `# Hot path`, and it has no bench or"
        raise HotPathError(f"{message} allocation test; delete the module by hand if you do not need it")


def without_unused(changes: Changes, text: str, candidates: Iterable[manifest.Path]) -> str:
    """Return the manifest of the bench package without those dependencies that none of its code uses any more."""
    code = staying_code(changes, "bench/")
    present = manifest.dependencies(parse_toml(text, BENCH_MANIFEST))
    unused = [path for path in candidates if path in present and not _is_used(changes.crate, path[-1], code)]
    return manifest.without(text, unused)


def _is_used(crate: HotCrate, dependency: str, code: str) -> bool:
    name = crate.library if dependency == crate.package else dependency.replace("-", "_")
    return uses_crate(code, name)


def staying_code(changes: Changes, below: str = "") -> str:
    """Return the code of the Rust files that stay, without comments."""
    names = [name for name in changes.crate.sources() if name not in changes.deleted and name.startswith(below)]
    return "\n".join(code_of(changes.text(name)) for name in names)


def module_uses(changes: Changes, roots: set[str], name: str) -> Iterator[str]:
    """The lines that name a module, in the files that stay."""
    for path in changes.crate.sources():
        if path not in changes.deleted:
            text = changes.text(path)
            lines = text.splitlines()
            for number in uses_of(text, roots, name):
                yield f"{path}:{number}: {lines[number - 1].strip()}"
