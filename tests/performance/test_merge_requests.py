"""`perf` reads the variables of a GitLab merge request, as it reads those of a GitHub pull request."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fast_rust.main import application
from fast_rust.perf import judgement
from fast_rust.perf.acceptance import acceptance
from fast_rust.perf.options import Options
from support.git import commit, git
from support.variants import CHECKOUT

BASE, TARGET, HEAD = ("a" * 40, "b" * 40, "c" * 40)
REASON = "Faster for most.\r\nperf: accepted because the median is lower\r\n"


@pytest.fixture(autouse=True)
def _without_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERF_BASE", "PERF_HEAD", "PERF_RELEASE", "PERF_BODY", "PERF_LABELS"):
        monkeypatch.delenv(name, raising=False)


def options(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *arguments: str) -> Options:
    """Return the options that the command derives from its environment."""
    seen: list[Options] = []

    def judge(given: Options) -> bool:
        seen.append(given)
        return True

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(judgement, "judge_speed", judge)
    done = CliRunner().invoke(application, ["perf", *arguments], env=environment)
    assert done.exit_code == 0, done.output
    return seen[0]


def test_the_base_and_the_head_of_a_merge_request_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": BASE, "CI_COMMIT_SHA": HEAD}
    found = options(monkeypatch, {**given, "CI_MERGE_REQUEST_TARGET_BRANCH_SHA": ""})
    assert (found.base, found.head, found.release) == (BASE, HEAD, False)


def test_a_merged_result_is_compared_with_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": BASE, "CI_MERGE_REQUEST_TARGET_BRANCH_SHA": TARGET}
    assert options(monkeypatch, given).base == TARGET


def test_explicit_options_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": BASE, "CI_COMMIT_SHA": HEAD}
    found = options(monkeypatch, given, "other", "--head", TARGET)
    assert (found.base, found.head) == ("other", TARGET)


@pytest.mark.parametrize(
    ("labels", "description", "accepted", "hint"),
    [
        ("bug,perf-accepted", REASON, "the median is lower", ""),
        ("bug, perf-accepted", REASON, "the median is lower", ""),
        ("perf-accepted-not,bug", REASON, "", "a maintainer has not added the label"),
        ("perf-accepted", "", "", "its text has no line"),
        ("", "", "", "To accept the change"),
    ],
)
def test_a_merge_request_accepts_by_its_label_and_its_description(
    monkeypatch: pytest.MonkeyPatch, labels: str, description: str, accepted: str, hint: str
) -> None:
    monkeypatch.setenv("CI_MERGE_REQUEST_LABELS", labels)
    monkeypatch.setenv("CI_MERGE_REQUEST_DESCRIPTION", description)
    reason, message = acceptance("")
    assert reason == accepted
    assert hint in message


# --- The job of the pipeline ---

JOB = yaml.safe_load((CHECKOUT / "template" / ".gitlab-ci.yml").read_text(encoding="utf-8"))["performance"]


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository whose base and head have different recipes, and a `just` that records its commit."""
    repository, programs = tmp_path / "log-totals", tmp_path / "bin"
    programs.mkdir()
    just = programs / "just"
    just.write_text(
        '#!/bin/sh\necho "$* $(git rev-parse HEAD)" >>../called\ntest "$1" != --show || grep -q perf justfile\n'
    )
    just.chmod(0o755)
    repository.mkdir()
    git(repository, "init", "--quiet")
    commits = []
    for recipes in ("perf:\n    judge\n", "perf:\n    echo fine\n"):
        (repository / "justfile").write_text(recipes)
        commit(repository, "Change")
        commits.append(git(repository, "rev-parse", "HEAD").strip())
    return repository, commits[0], commits[1]


def calls(repository: Path, **environment: str) -> list[str]:
    """Run the commands of the job, and return the recorded calls of `just` with their commits."""
    path = f"{repository.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = ["sh", "-e", "-c", "\n".join(JOB["script"])]
    subprocess.run(command, cwd=repository, check=True, env={**os.environ, **environment, "PATH": path})
    return (repository.parent / "called").read_text().splitlines()


def test_the_base_of_a_merge_request_judges(history: tuple[Path, str, str]) -> None:
    repository, base, head = history
    called = calls(repository, CI_COMMIT_SHA=head, CI_MERGE_REQUEST_DIFF_BASE_SHA=base)
    assert called == [f"--show perf {base}", f"setup {base}", f"perf {base}"]


def test_without_the_recipe_in_the_base_the_head_judges(history: tuple[Path, str, str]) -> None:
    repository, _, head = history
    git(repository, "checkout", "--quiet", "--orphan", "empty")
    (repository / "justfile").write_text("test:\n")
    git(repository, "commit", "--quiet", "--all", "--message", "Without")
    empty = git(repository, "rev-parse", "HEAD").strip()
    called = calls(repository, CI_COMMIT_SHA=head, CI_MERGE_REQUEST_DIFF_BASE_SHA=empty)
    assert called == [f"--show perf {empty}", f"setup {head}", f"perf {head}"]


def test_a_tag_and_a_schedule_are_compared_with_the_last_release(history: tuple[Path, str, str]) -> None:
    repository, _, head = history
    assert calls(repository, CI_COMMIT_SHA=head)[-1] == f"perf {head}"
    [rule] = [rule for rule in JOB["rules"] if "variables" in rule]
    assert rule == {"if": '$CI_PIPELINE_SOURCE == "schedule" || $CI_COMMIT_TAG', "variables": {"PERF_RELEASE": "true"}}
