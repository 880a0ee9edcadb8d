"""What leaves an older crate with the tests of its standards: the dev-dependencies that only these had."""

import re
from collections.abc import MutableMapping
from pathlib import Path

import tomlkit

from fast_rust.files import as_git_has_it, with_ends_of_lines
from fast_rust.update.merge import Change, MergeResult

TESTS, MANIFEST = "bench/tests/standards.rs", "bench/Cargo.toml"
DEPENDENCIES = ("cargo_metadata", "toml")
# As releases up to 0.8.0 wrote them.
COMMENT = "# for tests/standards.rs"


def drop_dependencies(crate: Path, changes: MutableMapping[str, Change]) -> None:
    """Remove what only the tests depended on from the manifest, where an update deletes the tests.

    An update keeps these lines, since Copier would make a conflict of those that `hot add` wrote next to them.
    """
    manifest = changes.get(MANIFEST)
    if changes.get(TESTS, Change(MergeResult.KEPT)).result is not MergeResult.DELETED:
        return
    if manifest is None and (crate / MANIFEST).is_file():
        manifest = Change(MergeResult.CHANGED, (crate / MANIFEST).read_bytes())
    if manifest is None or manifest.result is not MergeResult.CHANGED:
        return
    document = tomlkit.parse(as_git_has_it(manifest.content).decode())
    table = document.get("dev-dependencies", {})
    unused = [name for name in DEPENDENCIES if name in table and _is_unused(crate, name, table[name])]
    for name in unused:
        del table[name]
    if unused:
        content = with_ends_of_lines(tomlkit.dumps(document).encode(), manifest.content)
        changes[MANIFEST] = Change(MergeResult.CHANGED, content, manifest.is_executable)


def _is_unused(crate: Path, name: str, value: tomlkit.items.Item) -> bool:
    others = (path for path in (crate / "bench").rglob("*.rs") if path != crate / TESTS)
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in others)
    return value.trivia.comment == COMMENT and not any(re.search(rf"\b{name}\b", text) for text in texts)
