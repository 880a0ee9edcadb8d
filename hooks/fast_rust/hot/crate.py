"""The crate that a command works in: its folder, and the names by which code calls it."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fast_rust.errors import FastRustError
from fast_rust.files import as_git_has_it

MANIFEST = "Cargo.toml"
LIBRARY = "src/lib.rs"
BENCH = "bench"
BENCH_MANIFEST = "bench/Cargo.toml"
# The library of the bench package, which the sample has.
CORPUS = "bench/src/lib.rs"
FOLDERS_OF_CODE = ("src", "tests", "examples", "benches", "bench")


class HotPathError(FastRustError):
    """A hot path cannot be added or removed; no file was changed."""


@dataclass(frozen=True)
class HotCrate:
    """A crate with a library; it has a bench package if it has a hot path."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def name_of(self, path: Path) -> str:
        """Return the path of a file in the crate, as messages show it."""
        return path.relative_to(self.folder).as_posix()

    def text(self, name: str) -> str:
        """Return a text file with LF line endings.

        Raises HotPathError where it is not UTF-8.
        """
        try:
            return as_git_has_it(self.path(name).read_bytes()).decode()
        except UnicodeDecodeError as error:
            reason = f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8, and run the command again"
            raise HotPathError(reason) from error

    def table(self, name: str) -> dict[str, Any]:
        """Return a manifest as a table. Raises HotPathError where it is not TOML 1.0."""
        return parse_toml(self.text(name), name)

    @cached_property
    def package(self) -> str:
        """The name of the package."""
        return _package_of(self.table(MANIFEST), MANIFEST)

    @cached_property
    def library(self) -> str:
        """The name of the library in code: `[lib] name`, or the package's with `_` for `-`."""
        return _library_of(self.table(MANIFEST), MANIFEST)

    @cached_property
    def bench_library(self) -> str:
        """The name in code of the bench package's library, which the sample has; empty without a bench package."""
        return _library_of(self.table(BENCH_MANIFEST), BENCH_MANIFEST) if self.has_bench else ""

    @property
    def has_bench(self) -> bool:
        return self.path(BENCH_MANIFEST).is_file()

    def sources(self) -> Iterator[str]:
        """The Rust files of the crate and its bench package."""
        for folder in FOLDERS_OF_CODE:
            yield from (name for name in self.files_below(folder) if name.endswith(".rs"))
        if self.path("build.rs").is_file():
            yield "build.rs"

    def files_below(self, folder: str) -> list[str]:
        """Return the files below a folder."""
        found = self.path(folder)
        return sorted(self.name_of(path) for path in found.rglob("*") if path.is_file()) if found.is_dir() else []


def open_crate(folder: Path) -> HotCrate:
    """Return the crate in a folder. Raises HotPathError where it is not one of this template."""
    crate = HotCrate(folder.resolve())
    for needed in (MANIFEST, LIBRARY):
        if not crate.path(needed).is_file():
            message = f"{needed} does not exist in {crate.folder}; run the command in the folder of a crate, or pass it"
            raise HotPathError(f"{message} with --crate")
    # Both are read here, so that a manifest that cannot be read stops the command before it plans anything.
    _ = (crate.package, crate.library, crate.bench_library)
    return crate


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """Return a text as a table. Raises HotPathError with the file, the line and what to change."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        reason = str(error).partition(" (at ")[0]
        message = (
            f"{name}:{line}: cannot be read as TOML 1.0 ({reason}). If cargo accepts it, it is TOML 1.1: write each"
        )
        raise HotPathError(f"{message} inline table on one line, without a comma after its last entry") from error


def _package_of(manifest: dict[str, Any], name: str) -> str:
    match manifest:
        case {"package": {"name": str(package)}}:
            return package
        case _:
            message = f"{name} has no `[package]` with a `name`, so it is not the manifest of a crate; run the command"
            raise HotPathError(f"{message} in the crate's own folder, or pass that folder with --crate")


def _library_of(manifest: dict[str, Any], name: str) -> str:
    match manifest:
        case {"lib": {"name": str(library)}}:
            return library
        case _:
            return _package_of(manifest, name).replace("-", "_")
