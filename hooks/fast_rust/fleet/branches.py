"""The branch of an update: its content and author, and whether it can be created and pushed."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from fast_rust import git
from fast_rust.errors import changing_nothing
from fast_rust.fleet.outcome import CrateState
from fast_rust.fleet.repositories import TREE
from fast_rust.git import Commit

TRAILER = re.compile(r"^Fast-Rust-Update: (\S+) (\w+)$", re.MULTILINE)
# The tree that a commit was created with; a commit that somebody has amended has another one.
TREE_LINE = re.compile(rf"^{TREE}: (\w+)$", re.MULTILINE)
STATES = {
    "updated": CrateState.UPDATED,
    "conflict": CrateState.CONFLICT,
    "nothing": CrateState.UP_TO_DATE,
    "ahead": CrateState.AHEAD,
}


def trailer(crate: str, what: str) -> str:
    """Return the line of a commit's message that says what happened to a crate."""
    return f"Fast-Rust-Update: {crate} {what}"


@dataclass(frozen=True)
class Existing:
    """A branch that exists, here or on the remote."""

    ref: str = ""
    """Empty without a branch."""
    states: dict[str, CrateState] = field(default_factory=dict)
    """Its content for each crate; empty if someone else made a commit in it."""

    @property
    def is_of_others(self) -> bool:
        """Return whether somebody else has changed the branch."""
        return bool(self.ref) and not self.states


def existing(repository: Path, base: str, branch: str) -> Existing:
    """Return the branch of an update, if it exists: the one that others have changed before any other."""
    refs = (f"refs/heads/{branch}", tracking(branch))
    open_refs = [ref for ref in refs if git.is_commit(repository, ref) and not is_on_top(repository, ref, base)]
    found = [Existing(ref, _states(git.commits(repository, ref, f"^{base}"))) for ref in open_refs]
    theirs = next((branch for branch in found if branch.is_of_others), None)
    return theirs or next(iter(found), Existing())


def _states(commits: list[Commit]) -> dict[str, CrateState]:
    """Return the content of a branch for each crate; nothing if someone else made or changed a commit in it."""
    states: dict[str, CrateState] = {}
    for commit in commits:
        trailers = TRAILER.findall(commit.message)
        is_known = trailers and all(what in STATES for _, what in trailers)
        if not is_known or TREE_LINE.findall(commit.message) != [commit.tree]:
            return {}
        states |= {crate: STATES[what] for crate, what in trailers}
    return states


def is_on_top(repository: Path, base: str, branch: str) -> bool:
    """Return whether a branch has all commits of its base."""
    return git.succeeds(repository, "merge-base", "--is-ancestor", base, branch)


def tracking(branch: str) -> str:
    """Return the ref of the remote's branch, as of the last fetch or push."""
    return f"refs/remotes/origin/{branch}"


def commit_of(repository: Path, ref: str) -> str:
    """Return the commit of a ref; empty where it does not exist."""
    return git.run(repository, "rev-parse", "--verify", "--quiet", ref).stdout.decode().strip()


def push(repository: Path, branch: str, *flags: str, commit: str = "") -> None:
    """Push a branch, or another commit as that branch; only over the commit of the remote that was fetched last.

    Raises GitError.
    """
    ref = f"refs/heads/{branch}"
    lease = f"--force-with-lease={ref}:{commit_of(repository, tracking(branch))}"
    command = ("push", "--quiet", *flags, lease, "origin", f"{commit or ref}:{ref}")
    git.output(repository, *command, environment=git.patient_env(repository))


def require_publishable(repository: Path, branch: str, base: str, *, is_pushed: bool) -> None:
    """Check that commits can be created, the branch set, and pushed, before minutes of work.

    Raises GitError; nothing was changed then.
    """
    with changing_nothing():
        git.require_committer(repository)
        git.require_branch(repository, branch, base)
        if is_pushed:
            # A pre-push hook may take minutes; it runs before the real push.
            push(repository, branch, "--dry-run", "--no-verify", commit=base)
