"""`perf` reads what GitLab says of a merge request, as it reads what the workflow of GitHub says of a pull request."""

import signal
import sys

import pytest
from typer.testing import CliRunner

from fast_rust.main import application
from fast_rust.perf import judgement
from fast_rust.perf.acceptance import acceptance
from fast_rust.perf.options import Options

BASE, TARGET, HEAD = ("a" * 40, "b" * 40, "c" * 40)
REASON = "Faster for most.\r\nperf: accepted because the median is lower\r\n"


@pytest.fixture(autouse=True)
def _without_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERF_BASE", "PERF_HEAD", "PERF_RELEASE", "PERF_BODY", "PERF_LABELS"):
        monkeypatch.delenv(name, raising=False)


def options(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *arguments: str) -> Options:
    """Return what the command makes of its environment."""
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


def test_what_is_named_by_hand_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": BASE, "CI_COMMIT_SHA": HEAD}
    found = options(monkeypatch, given, "other", "--head", TARGET)
    assert (found.base, found.head) == ("other", TARGET)


@pytest.mark.parametrize(
    ("labels", "description", "accepted", "hint"),
    [
        ("bug,perf-accepted", REASON, "the median is lower", ""),
        ("bug, perf-accepted", REASON, "the median is lower", ""),
        ("perf-accepted-not,bug", REASON, "", "a maintainer has not set the label"),
        ("perf-accepted", "", "", "the text has no line"),
        ("", "", "", "To accept it"),
    ],
)
def test_a_merge_request_accepts_by_its_label_and_its_description(
    monkeypatch: pytest.MonkeyPatch, labels: str, description: str, accepted: str, hint: str
) -> None:
    monkeypatch.setenv("CI_MERGE_REQUEST_LABELS", labels)
    monkeypatch.setenv("CI_MERGE_REQUEST_DESCRIPTION", description)
    reason, said = acceptance("")
    assert reason == accepted
    assert hint in said
