"""Parts of the template that a crate does not want: `without` in `[workspace.metadata.fast-rust]` of its Cargo.toml."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fast_rust.errors import FastRustError

# The files of each part; a part that has no file in a crate has no effect.
PARTS: Mapping[str, tuple[str, ...]] = {
    "perf-workflow": (".github/workflows/perf.yml",),
    "pre-commit": (".pre-commit-config.yaml",),
    "publish-workflow": (".github/workflows/publish.yml",),
    "renovate": (".github/renovate.json", ".gitlab/renovate.json"),
}


class WithoutError(FastRustError):
    """`without` names a part that does not exist."""


def unwanted_files(manifest: Mapping[str, Any], path: Path | str) -> frozenset[str]:
    """Return the files that a crate does not want, by its manifest, which people know by a path.

    Raises WithoutError.
    """
    match manifest:
        case {"workspace": {"metadata": {"fast-rust": {"without": names}}}}:
            pass
        case _:
            return frozenset()
    listed = names if isinstance(names, list) else [names]
    if unknown := next((name for name in listed if name not in PARTS), None):
        message = f"{path}: unknown value {unknown!r} in `without` of [workspace.metadata.fast-rust]"
        raise WithoutError(f"{message}; expected a list of: {', '.join(PARTS)}")
    return frozenset(file for name in listed for file in PARTS[name])


def unwanted_in(crate: Path) -> frozenset[str]:
    """Return the files that a crate does not want; none if its manifest cannot be read, which others report.

    Raises WithoutError.
    """
    manifest = crate / "Cargo.toml"
    try:
        return unwanted_files(tomllib.loads(manifest.read_text(encoding="utf-8")), manifest)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return frozenset()
