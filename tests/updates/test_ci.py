"""A crate of a release without the question about CI keeps GitHub."""

import shutil
from pathlib import Path

import pytest
import yaml

from fast_rust.answers import ANSWERS_FILE
from support.files import read_tree
from support.git import commit_all, git
from support.releases import Releases
from support.template import copier_in_process
from updates.bench import Bench

OTHERS = (".gitlab/", ".gitlab-ci.yml")


@pytest.mark.parametrize("kind", ["lib", "cli", "service"])
def test_an_update_keeps_an_older_crate_on_github(releases: Releases, tmp_path: Path, kind: str) -> None:
    older = [tag for tag in releases.tags if "ci" not in releases.questions(tag)][-1]
    crate = tmp_path / "log-totals"
    shutil.copytree(releases.rendering(older, {"crate_name": "log-totals", "kind": kind}), crate)
    git(crate, "init", "--quiet")
    commit_all(crate, "Start")
    before = read_tree(crate)
    assert copier_in_process("update", "--quiet", "--defaults", str(crate)).exit_code == 0
    after = read_tree(crate)
    assert yaml.safe_load(after[ANSWERS_FILE])["ci"] == "github"
    assert [path for path in after if path.startswith(OTHERS)] == []
    assert {path for path in before if path.startswith(".github/workflows/")} <= after.keys()


def test_an_answer_replaces_the_workflows_by_a_pipeline(bench: Bench) -> None:
    """An edited workflow of the crate itself is kept."""
    own = bench.crate / ".github" / "workflows" / "own.yml"
    own.write_text("on: push\njobs: {}\n")
    done = bench.fast_rust("--data", "ci=gitlab")
    assert done.exit_code in {0, 1}, done.output
    tree = read_tree(bench.crate)
    assert {".gitlab-ci.yml", ".gitlab/renovate.json", ".github/workflows/own.yml"} <= tree.keys()
    assert [path for path in tree if path.startswith(".github/") and path != ".github/workflows/own.yml"] == []
