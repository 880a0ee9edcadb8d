"""The benches of each side, as cargo knows them, and how the two sides differ."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fast_rust.perf.errors import DoesNotRunError
from fast_rust.perf.figures import Target
from fast_rust.perf.programs import end_of
from fast_rust.perf.workspace import Workspace, is_below

GUNGRAUN = re.compile(r"(?m)^gungraun\s*=.*$")


@dataclass
class Benches:
    """The benches of a side."""

    metadata: dict[str, Any]
    tree: Path

    @property
    def packages(self) -> list[dict[str, Any]]:
        """The packages that have benches."""
        return [package for package in self.metadata["packages"] if any(map(is_bench, package["targets"]))]

    def targets(self) -> dict[Target, str]:
        """Return each bench with the path of its file in the tree."""
        pairs = [(package, target) for package in self.packages for target in filter(is_bench, package["targets"])]
        return {Target(package["name"], target["name"]): self.path(target["src_path"]) for package, target in pairs}

    def path(self, path: str) -> str:
        """Return a path relative to the tree."""
        return Path(path).relative_to(self.tree).as_posix()

    def texts(self) -> list[str]:
        """Return the folders that are the text of benches."""
        return [self._text_of(package) for package in self.packages]

    def _folder_of(self, package: Mapping[str, Any]) -> str:
        return self.path(str(Path(package["manifest_path"]).parent))

    def _text_of(self, package: Mapping[str, Any]) -> str:
        """Return a package's folder where it is a folder for benches, else its `benches`."""
        folder = self._folder_of(package)
        is_for_benches = Path(folder).name in {"bench", "benches"}
        return folder if is_for_benches else f"{folder}/benches".removeprefix("./")

    def requirement(self) -> str:
        """Return the version of gungraun that a bench requires; empty if none does."""
        found = (
            dependency
            for package in self.packages
            for dependency in package["dependencies"]
            if dependency["name"] == "gungraun"
        )
        return next((str(dependency["req"]).lstrip("=^") for dependency in found), "")

    def gungraun_line(self) -> str:
        """Return the line of a manifest that requires gungraun; empty if none does."""
        texts = (Path(package["manifest_path"]).read_text("utf-8") for package in self.packages)
        return next((found[0] for text in texts if (found := GUNGRAUN.search(text))), "")

    def digest(self, target: Target, files: Iterable[str]) -> str:
        """Return a digest of a bench: its file, the files that it shares with others, and its dependencies."""
        package = next(package for package in self.packages if package["name"] == target.package)
        folder, sources = self._folder_of(package), set(self.targets().values())
        foreign = (f"{folder}/tests", f"{folder}/target")
        shared = (path for path in files if is_below(path, [self._text_of(package)]) and path not in sources)
        parts = [self.targets()[target], *shared]
        parts = [path for path in parts if not is_below(path, foreign) and not path.endswith(("Cargo.toml", ".md"))]
        needed = [{**dependency, "path": None} for dependency in package["dependencies"]]
        digest = hashlib.sha256(json.dumps([needed, package["features"], package["edition"]], sort_keys=True).encode())
        for path in sorted(set(parts)):
            digest.update(path.encode() + b"\0" + (self.tree / path).read_bytes())
        return digest.hexdigest()


def is_bench(target: Mapping[str, Any]) -> bool:
    """Return whether a target of cargo is a bench."""
    return "bench" in target["kind"]


def read_benches(workspace: Workspace, tree: Path) -> Benches:
    """Return the benches of a tree, by `cargo metadata`.

    Raises DoesNotRunError where cargo cannot read the tree.
    """
    done = workspace.cargo(tree, "metadata", "--no-deps", "--format-version=1")
    if done.returncode:
        raise DoesNotRunError(end_of(done.stderr))
    return Benches(json.loads(done.stdout), tree)


def share_gungraun(workspace: Workspace, line: str) -> None:
    """Let all benches in the worktree require gungraun by one line: only one version fits the installed runner."""
    for path in sorted(workspace.base_files | workspace.head_files):
        place = workspace.worktree / path
        if line and place.name == "Cargo.toml" and place.is_file():
            text = place.read_text("utf-8")
            aligned = GUNGRAUN.sub(lambda _: line, text)
            if aligned != text:
                place.write_text(aligned, "utf-8")


def changes_of(workspace: Workspace, base: Benches, head: Benches) -> dict[Target, str]:
    """Return the benches that differ: each is `changed`, `new`, `deleted`, `renamed to` or `renamed from`."""
    before = {target: base.digest(target, workspace.base_files) for target in base.targets()}
    after = {target: head.digest(target, workspace.head_files) for target in head.targets()}
    changes = {target: "changed" for target in before.keys() & after.keys() if before[target] != after[target]}
    texts = {(head.tree / path).read_bytes(): target for target, path in head.targets().items() if target not in before}
    for target, path in base.targets().items():
        if target not in after:
            renamed = texts.get((base.tree / path).read_bytes())
            changes[target] = f"renamed to {renamed.name}" if renamed else "deleted"
            if renamed:
                changes[renamed] = f"renamed from {target.name}"
    return {**dict.fromkeys(after.keys() - before.keys(), "new"), **changes}
