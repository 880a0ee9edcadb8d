"""What the checks know of a workspace: its packages, its files, and the sections `# Hot path` of its sources."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fast_rust.answers import answers_file
from fast_rust.checks.cargo import Metadata
from fast_rust.checks.names import current_name
from fast_rust.checks.sections import Section, sections
from fast_rust.checks.tables import Table, read_text, without_comment, words

LEFT_OUT = {"target", "vendor"}


@dataclass(frozen=True)
class Target:
    """Something that cargo builds of a package."""

    kind: str
    """The folder that cargo looks for it in: `benches`, `tests`, or `src`."""
    name: str
    source: Path
    is_program: bool


@dataclass(frozen=True)
class Package:
    """A package of the workspace."""

    name: str
    folder: Path
    manifest: Table
    targets: tuple[Target, ...]
    dependencies: tuple[dict[str, Any], ...]
    default_features: tuple[str, ...]

    @property
    def is_program(self) -> bool:
        return any(target.is_program for target in self.targets)


@dataclass(frozen=True)
class Workspace:
    """A workspace, and the part of it that is checked."""

    root: Path
    folder: Path
    """The crate that is checked with all below it; the root itself, but in a workspace of somebody else."""
    manifest: Table
    members: tuple[Package, ...]

    @property
    def is_own(self) -> bool:
        """Whether the workspace is the crate's: then CI, recipes and tables are its own."""
        return self.folder == self.root

    @property
    def packages(self) -> list[Package]:
        """The packages that are checked."""
        return [each for each in self.members if each.folder.is_relative_to(self.folder)]

    @property
    def has_programs(self) -> bool:
        """Whether something ships; a package `xtask` is a tool for those who work here."""
        return any(each.is_program for each in self.members if each.name != "xtask")

    @cached_property
    def benches(self) -> list[tuple[Path, Package | None]]:
        """The folder of each crate that is checked, with the package that measures it."""
        by_folder = {each.folder: each for each in self.packages}
        crates = [each for each in by_folder if not (each.name == "bench" and each.parent in by_folder)]
        return [(folder, by_folder.get(folder / "bench")) for folder in crates]

    @cached_property
    def sections(self) -> list[tuple[Section, Path, Package | None]]:
        """Each section `# Hot path`, with the crate that has it, and the package that measures that."""
        return [
            (section, folder, bench)
            for folder, bench in self.benches
            for file in files_below(folder / "src")
            if file.suffix == ".rs"
            for section in sections(self.shown(file), read_text(file))
        ]

    @property
    def workflows(self) -> list[Path]:
        """The files of CI, also those of the crate's own."""
        of_gitlab = self.root / ".gitlab-ci.yml"
        return [*files_below(self.root / ".github" / "workflows"), *([of_gitlab] if of_gitlab.is_file() else [])]

    def table(self, path: str) -> Table:
        """Read a TOML file below the root."""
        return Table.read(self.root, path)

    def shown(self, path: Path) -> str:
        """Return a path as findings have it."""
        return path.relative_to(self.root).as_posix()

    def lines(self, files: Iterable[Path]) -> Iterator[tuple[str, int, str]]:
        """Yield the lines of files without their comments: the path, the number, and the text."""
        for file in files:
            for number, line in enumerate(read_text(file).splitlines(), 1):
                yield self.shown(file), number, without_comment(line)

    def is_staged(self, check: str) -> bool:
        """Return whether the manifest disables a check, with a reason."""
        staged = self.manifest.at("workspace", "metadata", "staged")
        named = staged.items() if isinstance(staged, dict) else ()
        return any(current_name(name) == check and words(reason) > 1 for name, reason in named)


def read_workspaces(path: Path, known: Metadata) -> Iterator[Workspace]:
    """Yield each part to check: the workspace of a folder, or its members of ours where the workspace is not.

    Raises WorkspaceError where a manifest cannot be read.
    """
    folder = path.resolve()
    root = Path(known["workspace_root"]).resolve()
    members = tuple(_package(root, each) for each in known["packages"])
    manifest = Table.read(root, "Cargo.toml")
    joined = [each.folder for each in members if each.folder != root and answers_file(each.folder).is_file()]
    is_foreign = folder == root and joined and not answers_file(root).is_file()
    for part in joined if is_foreign else [folder]:
        yield Workspace(root, part, manifest, members)


def _package(root: Path, known: dict[str, Any]) -> Package:
    folder = Path(known["manifest_path"]).parent
    targets = tuple(
        Target(_folder_of(each["kind"]), each["name"], Path(each["src_path"]), "bin" in each["kind"])
        for each in known["targets"]
    )
    manifest = Table.read(root, os.path.relpath(known["manifest_path"], root).replace(os.sep, "/"))
    return Package(
        known["name"],
        folder,
        manifest,
        targets,
        tuple(known["dependencies"]),
        tuple(known["features"].get("default", ())),
    )


def _folder_of(kinds: list[str]) -> str:
    return "benches" if "bench" in kinds else "tests" if "test" in kinds else "src"


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files of a folder in order, but those in folders that are hidden, built or of others."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
        elif entry.name not in LEFT_OUT and not entry.name.startswith("."):
            yield from files_below(Path(entry.path))


def identifiers(code: str) -> set[str]:
    """Return the words of some code."""
    return set(re.findall(r"\w+", code))
