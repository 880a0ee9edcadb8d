"""The comparison with the peers, on few rows."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import compare
import workbench
from support.workshop import QUICK_RELEASE, Workshop

ROWS = 20_000


@pytest.fixture(scope="module")
def entered(workshop: Workshop) -> Iterator[compare.Field]:
    """Our program, built where the other tests build, and the peers as the script installs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARGO_TARGET_DIR", workshop.environment["CARGO_TARGET_DIR"])
        # The claims are about the page, the answers and the memory.
        for name, value in {**QUICK_RELEASE, "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0"}.items():
            patch.setenv(name, value)
        compare.PLACE.mkdir(parents=True, exist_ok=True)
        ours = compare.our_program("our program", compare.build_ours(keyed=False))
        yield compare.Field(compare.build_ladder(), [ours], compare.peers(compare.install_peers()))


def saying(name: str, answers: str) -> compare.Contestant:
    """A contestant that says always the same."""
    return compare.Contestant(name, lambda _path, _threads: ["printf", "%s", answers])


def test_the_page_has_a_row_for_each_that_took_part(
    entered: compare.Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written only where all of them answered the same."""
    monkeypatch.setattr(workbench, "DOCUMENTS", tmp_path)
    monkeypatch.setattr(compare, "COUNTED_ROWS", 2_000)
    compare.compare(entered, ROWS, rounds=1)
    page = (tmp_path / "compare.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| ([^|]+) \| [\d.]+ \| ", page)
    steps = [step.name for step in compare.steps(entered.ladder)]
    others = [rival.name for rival in entered.rivals]
    alone = [*others, "counting lines (memchr)"]
    with_two_threads = [rival.name for rival in entered.rivals if 2 in rival.threads]
    assert rows == ["our program", steps[0], *alone, "our program", *with_two_threads, *steps, "our program"]


def test_our_program_holds_less_than_a_script_does(entered: compare.Field) -> None:
    """A process that is smaller than the one that starts it is measured, not its parent."""
    path = compare.make_input(entered.ladder, 1_000_000)
    assert workbench.measure(entered.ours[0].command(path, 1)).memory < 8 * 2**20


@pytest.mark.parametrize(
    "wrong",
    ["a,2,1,1.5,2", "a,3,0,1.5,2", "a,3,1,1.5,2.1", "a,3,1,1.5002,2", "b,3,1,1.5,2", "", "a,3,1,1.5,2\nb,1,1,1,1"],
    ids=["count", "least", "greatest", "mean", "other key", "no key", "a key more"],
)
def test_a_wrong_answer_is_an_error(wrong: str, tmp_path: Path) -> None:
    right = saying("right", "key,count,min,mean,max\na,3,1,1.5,2")
    with pytest.raises(compare.WrongAnswerError, match=r"^liar .* key '[ab]'"):
        compare.take_turns([right, saying("liar", wrong)], tmp_path, rows=3, rounds=1)


def test_a_mean_may_differ_by_rounding(tmp_path: Path) -> None:
    """Ours has four digits, others write more."""
    both = [saying("ours", "a,3,1,1.6667,2"), saying("other", "a,3,1.0,1.666667,2.0")]
    runs = compare.take_turns(both, tmp_path, rows=3, rounds=2)
    assert [len(run.usages) for run in runs] == [2, 2]


def test_a_wrong_number_of_lines_is_an_error(tmp_path: Path) -> None:
    floor = compare.Contestant("floor", lambda _path, _threads: ["echo", "4"], counts_lines=True)
    with pytest.raises(compare.WrongAnswerError, match="there are 3 lines"):
        compare.take_turns([floor], tmp_path, rows=3, rounds=1)


def test_what_cannot_be_had_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "PLACE", tmp_path)
    monkeypatch.setattr(sys, "executable", "false")
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    left = compare.peers(compare.install_peers())
    assert [peer.name for peer in left] == ["Python's csv"]
    said = capsys.readouterr().err
    assert "LEFT OUT: DuckDB and Polars" in said
    assert "LEFT OUT: mawk" in said
