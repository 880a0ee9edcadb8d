"""Git repositories of a fleet, changed atomically: a killed run leaves each as before or as after."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from fast_rust import git
from fast_rust.fleet.manifest import Crate
from fast_rust.git import Commit, GitError

OWN = "copier-fast-rust"
LOCKED_FOR = 120
TREE = "Fast-Rust-Tree"


def checked_out_branch(repository: Path) -> str:
    """Return the branch that is checked out: an update begins at its commit.

    Raises GitError if the repository has no commit, or HEAD is detached.
    """
    try:
        branch = git.branch_of(repository)
    except GitError:
        git.require_commit(repository)
        raise
    if branch:
        return branch
    raise GitError(f"HEAD of {repository} is detached, so the branch to update is unknown; run `git switch main`")


def require_base(repository: Path, branch: str, target: str) -> None:
    """Check that the branch that is checked out is not the one of the update itself.

    Raises GitError.
    """
    if branch == f"{OWN}/{target}":
        message = f"{branch}, the branch to which this command commits, is checked out in {repository}"
        raise GitError(f"{message}; run `git switch main`")


@dataclass
class Workplace:
    """A clone of ours in which the commits of a branch are prepared."""

    repository: Path
    folder: Path
    base: str
    """The commit that the work begins from."""
    commits: list[Commit] = field(default_factory=list)

    def commit(self, paths: Iterable[str], message: str) -> None:
        """Commit paths, ignored or not; here only, until the branch is published."""
        tree = git.stage(self.folder, paths)
        # The identity and the message of this one are ours: users see the commits that `publish` creates.
        head = git.commit_tree(self.folder, tree, [git.require_commit(self.folder)], message)
        git.output(self.folder, "update-ref", "--no-deref", "HEAD", head)
        self.commits.append(Commit(tree, message))

    def extend_last(self, lines: str) -> None:
        """Add lines to the message of the last commit."""
        last = self.commits.pop()
        self.commits.append(Commit(last.tree, f"{last.message}\n{lines}"))

    def discard(self) -> None:
        """Discard all that is not committed here."""
        git.output(self.folder, "reset", "--quiet", "--hard")
        git.output(self.folder, "clean", "-d", "--force", "--quiet", "-x")

    def publish(self, branch: str, before: str) -> None:
        """Create the commits with the user's identity and signature, then point a branch at them atomically.

        `before` is the commit of the branch until now, or empty. Raises GitError; the branch is then unchanged.
        """
        git.copy_objects(self.folder, self.repository, [entry.tree for entry in self.commits], [self.base])
        commit = self.base
        for entry in self.commits:
            message = f"{entry.message}\n{TREE}: {entry.tree}\n"
            commit = git.commit_tree(self.repository, entry.tree, [commit], message)
        git.set_branch(self.repository, branch, commit, before)


@contextmanager
def workplace(repository: Path) -> Iterator[Workplace]:
    """Give a clone of a repository, inside its git folder; the working tree and the index are not touched.

    The clone is deleted at the end, or by the next run. Raises GitError.
    """
    own = _own_folder(repository)
    own.mkdir(exist_ok=True)
    try:
        with FileLock(own / "lock", timeout=LOCKED_FOR):
            shutil.rmtree(own / "clone", ignore_errors=True)
            _unlock_branches(own.parent)
            base = git.require_commit(repository)
            with git.scratch_clone(repository, own / "clone", base) as clone:
                yield Workplace(repository, clone, base)
            shutil.rmtree(own / "clone", ignore_errors=True)
    except Timeout as error:
        raise GitError(
            f"another fast-rust process works in {repository}; wait for its end, and run the command again"
        ) from error


def require_separate(crates: Iterable[Crate]) -> None:
    """Check that no two folders are worktrees of one repository: they would share the branch of the update.

    Raises GitError.
    """
    found: dict[Path, Path] = {}
    for folder in dict.fromkeys(crate.repository for crate in crates):
        other = found.setdefault(_common_folder(folder), folder)
        if other != folder:
            message = (
                f"{other} and {folder} are worktrees of one repository, so the"
                " update would use the same branch for both"
            )
            raise GitError(f"{message}; keep one of them in the manifest")


def _common_folder(folder: Path) -> Path:
    """Return the git folder that all worktrees of a repository share, without running git."""
    place = folder / ".git"
    if place.is_file():
        text = place.read_text(encoding="utf-8", errors="surrogateescape")
        place = folder / text.partition("gitdir:")[2].strip()
        place = place.parents[1] if place.parent.name == "worktrees" else place
    return place.resolve()


def clear(repository: Path) -> None:
    """Delete the clone of a run that was killed after it had published its branch."""
    if (clone := _own_folder(repository) / "clone").exists():
        with FileLock(clone.with_name("lock"), timeout=LOCKED_FOR):
            shutil.rmtree(clone, ignore_errors=True)


def _own_folder(repository: Path) -> Path:
    return (repository / git.text(repository, "rev-parse", "--git-common-dir")).resolve() / OWN


def _unlock_branches(git_folder: Path) -> None:
    """Delete the lock files of branches that a killed git left behind: we hold the lock of all below our name."""
    for lock in (git_folder / "refs" / "heads" / OWN).glob("*.lock"):
        lock.unlink(missing_ok=True)
