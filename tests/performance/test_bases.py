"""The base of a comparison is found for any name of the default branch."""

from pathlib import Path

import pytest

from fast_rust.perf.bases import find_base
from fast_rust.perf.errors import NotMeasuredError
from support.git import git


def begin(folder: Path, branch: str) -> str:
    """Make a repository with one commit on a branch, and one on a branch that starts there; return the first commit."""
    folder.mkdir(exist_ok=True)
    git(folder, "init", "--quiet", f"--initial-branch={branch}")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Start")
    first = git(folder, "rev-parse", "HEAD").strip()
    git(folder, "switch", "--quiet", "--create", "change")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Change")
    return first


@pytest.mark.parametrize("branch", ["main", "master", "trunk", "of-the-company"])
def test_the_default_branch_may_have_any_name(tmp_path: Path, branch: str) -> None:
    first = begin(tmp_path, branch)
    assert find_base(tmp_path, "", "HEAD", release=False) == first


def test_work_on_the_default_branch_itself_is_compared_with_its_commit(tmp_path: Path) -> None:
    first = begin(tmp_path, "of-the-company")
    git(tmp_path, "switch", "--quiet", "of-the-company")
    git(tmp_path, "branch", "--quiet", "--delete", "--force", "change")
    assert find_base(tmp_path, "", "HEAD", release=False) == first


def test_the_setting_of_git_names_the_default_branch(tmp_path: Path) -> None:
    first = begin(tmp_path, "of-the-company")
    git(tmp_path, "branch", "--quiet", "another")
    git(tmp_path, "config", "init.defaultBranch", "of-the-company")
    assert find_base(tmp_path, "", "HEAD", release=False) == first


def test_the_origin_names_its_default_branch(tmp_path: Path) -> None:
    first = begin(tmp_path / "origin", "of-the-company")
    git(tmp_path / "origin", "switch", "--quiet", "of-the-company")
    git(tmp_path, "clone", "--quiet", "origin", "clone")
    clone = tmp_path / "clone"
    git(clone, "switch", "--quiet", "--create", "main")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "Change")
    assert find_base(clone, "", "HEAD", release=False) == first


def test_an_ambiguous_base_must_be_named(tmp_path: Path) -> None:
    begin(tmp_path, "of-the-company")
    git(tmp_path, "branch", "--quiet", "another")
    with pytest.raises(NotMeasuredError, match=r"the default branch is unknown; name .*just perf BASE"):
        find_base(tmp_path, "", "HEAD", release=False)


def test_a_fetch_is_advised_only_where_a_remote_may_have_the_base(tmp_path: Path) -> None:
    begin(tmp_path, "main")
    for remotes, advice in (([], "name a branch"), (["upstream"], "run `git fetch --all`, or name a branch")):
        for remote in remotes:
            git(tmp_path, "remote", "add", remote, "https://example.org/a.git")
        with pytest.raises(NotMeasuredError, match=f"nosuch does not exist; {advice}"):
            find_base(tmp_path, "nosuch", "HEAD", release=False)
