"""The workspace that is measured: the files of both sides, and the one folder in which both are built."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fast_rust import git
from fast_rust.perf.programs import run

# Files that git may not have, and that both sides need alike: versions, and where packages come from.
LOCAL_FILES = ("Cargo.lock", ".cargo/local.toml")
# Rustup prefers the older name, under which the channel may be alone.
TOOLCHAIN_FILES = ("rust-toolchain", "rust-toolchain.toml")
ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@dataclass
class Workspace:
    """A workspace of cargo in a repository, and the worktree that it is measured in."""

    repository: Path
    inside: Path
    """The path of the workspace in the repository."""
    target: Path
    base: str
    head: str = ""
    """The commit that is the head; empty where that is the working tree."""
    many: bool = False
    """Whether several packages have benches."""

    def __post_init__(self) -> None:
        """Find the folders, and list the files of both sides."""
        self.root = self.repository / self.inside
        self.folder = self.root / "target" / "perf"
        self.worktree = self.folder / "worktree"
        self.head_tree = self.folder / "sources" if self.head else self.repository
        self.base_files = set(
            git.names(self.repository, "ls-tree", "-r", "-z", "--full-tree", "--name-only", self.base)
        )
        self.head_files = self._list_head()

    def _list_head(self) -> set[str]:
        if self.head:
            return set(git.names(self.repository, "ls-tree", "-r", "-z", "--full-tree", "--name-only", self.head))
        listed = git.names(self.repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        perf = f"{(self.inside / 'target' / 'perf').as_posix()}/"
        return {path for path in listed if not path.startswith(perf) and os.path.lexists(self.repository / path)}

    # --- Cargo ---

    def cargo(self, tree: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run cargo on the workspace of a tree, by the toolchain that the tree asks for.

        Cargo reads the settings of the folders above the folder that it is started in. For the worktree those would be
        the head's, and so its `rustflags` would be the base's too; started above the repository it reads the tree's
        alone.
        """
        folders = [tree, *(tree / part for part in reversed(list(self.inside.parents)[:-1])), tree / self.inside]
        settings = [str(path) for place in dict.fromkeys(folders) if (path := place / ".cargo/config.toml").exists()]
        command = ["cargo", arguments[0], f"--manifest-path={tree / self.inside / 'Cargo.toml'}"]
        command += [f"--config={path}" for path in settings]
        own = {"CARGO_TARGET_DIR": str(self.target), "CARGO_TERM_COLOR": "never", **self.toolchain(tree)}
        return run([*command, *arguments[1:]], self.repository.parent, {**git.no_git_env(), **own, **extra})

    def toolchain(self, tree: Path) -> dict[str, str]:
        """Return the variable that names the toolchain of a tree; empty where the tree asks for none."""
        if "RUSTUP_TOOLCHAIN" in os.environ:
            return {}
        for folder in dict.fromkeys((tree / self.inside, tree)):
            for path in (folder / name for name in TOOLCHAIN_FILES):
                if path.is_file() and (channel := channel_of(path.read_text("utf-8", "replace"))):
                    return {"RUSTUP_TOOLCHAIN": channel}
        return {}

    # --- Files ---

    def base_text(self, path: str) -> str:
        """Return a file of the base, by its path in the workspace; empty where the base has no such file."""
        inside = os.path.normpath(self.inside / path)
        done = git.run(self.repository, "show", f"{self.base}:{inside}")
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""

    def head_text(self, path: str) -> str:
        """Return a file of the head, by its path in the workspace; empty where the head has no such file."""
        place = self.head_tree / self.inside / path
        return place.read_text("utf-8", "replace") if place.is_file() else ""

    @contextlib.contextmanager
    def checked_out(self) -> Iterator[None]:
        """Add a worktree of the base, and one of a head that is a commit; remove them however this ends."""
        self.remove()
        try:
            self._add(self.worktree, self.base)
            if self.head:
                self._add(self.head_tree, self.head)
            for path in LOCAL_FILES:
                if (self.inside / path).as_posix() not in self.base_files and (self.root / path).exists():
                    copy(self.root / path, self.worktree / self.inside / path)
            yield
        finally:
            with uninterrupted():
                self.remove()

    def _add(self, place: Path, commit: str) -> None:
        git.output(self.repository, *git.NO_HOOKS, "worktree", "add", "--quiet", "--detach", str(place), commit)

    def remove(self) -> None:
        """Remove the worktrees, also those that a killed run left."""
        for place in (self.worktree, self.folder / "sources"):
            git.run(self.repository, "worktree", "remove", "--force", "--force", str(place))
            shutil.rmtree(place, ignore_errors=True)
        git.run(self.repository, "worktree", "prune")

    def fill(self, keep: Sequence[str]) -> None:
        """Copy the head's files into the worktree, except into folders that keep the base's."""
        for path in sorted(self.base_files - self.head_files):
            if not is_below(path, keep):
                (self.worktree / path).unlink(missing_ok=True)
        for path in sorted(self.head_files):
            if not is_below(path, keep):
                copy(self.head_tree / path, self.worktree / path)


def channel_of(text: str) -> str:
    """Return the channel that a toolchain file names."""
    found = re.search(r"""(?m)^\s*channel\s*=\s*["'](.+?)["']""", text)
    return found[1] if found else "" if "[toolchain]" in text else text.strip()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore the signals that end a process, while it cleans up."""
    numbers = [getattr(signal, name) for name in ENDING_SIGNALS]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def copy(source: Path, place: Path) -> None:
    """Copy a file that differs; cargo builds again what has a new time."""
    if source.is_symlink():
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source.readlink())
    elif source.is_file() and not (place.is_file() and place.read_bytes() == source.read_bytes()):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Return whether a path is in one of the folders."""
    return any(path.startswith(f"{folder}/") for folder in folders)
