"""Finds the commit to compare with."""

from pathlib import Path

from fast_rust import git
from fast_rust.perf.errors import NothingToCompare, NotMeasuredError

# After origin/HEAD and git's own setting, which name the default branch; many repositories have neither.
USUAL_BRANCHES = ("main", "master", "trunk", "develop")


def find_base(repository: Path, base: str, head: str, *, release: bool) -> str:
    """Return the commit to compare with: where the head left `base`, or the last release before the head.

    Raises NotMeasuredError where that commit cannot be found, and NothingToCompare before the first release.
    """
    return _last_release(repository, head) if release else _fork(repository, base, head)


def _last_release(repository: Path, head: str) -> str:
    described = git.run(repository, "describe", "--tags", "--abbrev=0", "--match=v*", f"{head}^")
    if described.returncode:
        if _is_shallow(repository):
            reason = "this clone is shallow and has no release tag (v*) to compare with"
            raise NotMeasuredError(f"{reason}; run `git fetch --tags --unshallow origin`")
        raise NothingToCompare("Skipped: the repository has no release tag (v*) to compare with.")
    return git.text(repository, "rev-parse", f"{described.stdout.decode().strip()}^{{commit}}")


def _fork(repository: Path, base: str, head: str) -> str:
    names = [base] if base else default_branches(repository)
    known = next((name for name in names if git.is_commit(repository, name)), "")
    fork = git.run(repository, "merge-base", head, known) if known else None
    if fork is not None and fork.returncode == 0:
        return fork.stdout.decode().strip()
    missing = f"{base} does not exist" if base else "the default branch is unknown"
    none = f"no commit to compare with: {missing}"
    problem = f"{head} and {known} have no commit in common" if known else none
    if _is_shallow(repository):
        raise NotMeasuredError(f"{problem}: this clone is shallow; run `git fetch --unshallow origin`")
    advice = or_fetch(repository, "name a branch or commit that exists: `just perf BASE`")
    raise NotMeasuredError(f"{problem}; {advice}")


def or_fetch(repository: Path, advice: str) -> str:
    """Return advice on a commit that is missing; only a remote could have it."""
    return f"run `git fetch --all`, or {advice}" if git.text(repository, "remote") else advice


def default_branches(repository: Path) -> list[str]:
    """Return names that the default branch may have, most certain first; a branch without a rival is one of them."""
    configured = git.run(repository, "config", "init.defaultBranch").stdout.decode().strip()
    names = [name for name in dict.fromkeys((configured, *USUAL_BRANCHES)) if name]
    local = git.text(repository, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    others = [name for name in local if name != _current_branch(repository)] or local
    return [
        "origin/HEAD",
        *(f"{remote}{name}" for name in names for remote in ("origin/", "")),
        *others[: len(others) == 1],
    ]


def _current_branch(repository: Path) -> str:
    return git.run(repository, "symbolic-ref", "--quiet", "--short", "HEAD").stdout.decode().strip()


def _is_shallow(repository: Path) -> bool:
    return git.text(repository, "rev-parse", "--is-shallow-repository") == "true"
