"""The comparison with the peers, with few rows."""

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
    """Our program, built where the other tests build, and the peers, installed by the script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARGO_TARGET_DIR", workshop.environment["CARGO_TARGET_DIR"])
        # The tests are about the page, the answers and the memory.
        for name, value in {**QUICK_RELEASE, "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0"}.items():
            patch.setenv(name, value)
        compare.PLACE.mkdir(parents=True, exist_ok=True)
        ours = compare.our_program("our program", compare.build_ours(keyed=False))
        yield compare.Field(compare.build_ladder(), [ours], compare.peers(compare.install_peers()))


def printing(name: str, answers: str) -> compare.Contestant:
    """Return a contestant that always prints the same text."""
    return compare.Contestant(name, lambda _path, _threads: ["printf", "%s", answers])


def test_the_page_has_a_row_for_each_contestant(
    entered: compare.Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script writes the page only if all contestants gave the same answers."""
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


def test_our_program_uses_less_memory_than_a_script(entered: compare.Field) -> None:
    """The measured memory is that of the process itself, also if it is less than the memory of its parent."""
    path = compare.make_input(entered.ladder, 1_000_000)
    assert workbench.measure(entered.ours[0].command(path, 1)).memory < 8 * 2**20


@pytest.mark.parametrize(
    "wrong",
    ["a,2,1,1.5,2", "a,3,0,1.5,2", "a,3,1,1.5,2.1", "a,3,1,1.5002,2", "b,3,1,1.5,2", "", "a,3,1,1.5,2\nb,1,1,1,1"],
    ids=["count", "least", "greatest", "mean", "other key", "no key", "a key more"],
)
def test_a_wrong_answer_is_an_error(wrong: str, tmp_path: Path) -> None:
    right = printing("right", "key,count,min,mean,max\na,3,1,1.5,2")
    with pytest.raises(compare.WrongAnswerError, match=r"^liar .* key '[ab]'"):
        compare.take_turns([right, printing("liar", wrong)], tmp_path, rows=3, rounds=1)


def test_a_mean_may_differ_by_rounding(tmp_path: Path) -> None:
    """Our means have four digits; others write more."""
    both = [printing("ours", "a,3,1,1.6667,2"), printing("other", "a,3,1.0,1.666667,2.0")]
    runs = compare.take_turns(both, tmp_path, rows=3, rounds=2)
    assert [len(run.usages) for run in runs] == [2, 2]


def test_a_wrong_number_of_lines_is_an_error(tmp_path: Path) -> None:
    floor = compare.Contestant("floor", lambda _path, _threads: ["echo", "4"], counts_lines=True)
    with pytest.raises(compare.WrongAnswerError, match="there are 3 lines"):
        compare.take_turns([floor], tmp_path, rows=3, rounds=1)


def test_an_unavailable_peer_is_omitted_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "PLACE", tmp_path)
    monkeypatch.setattr(sys, "executable", "false")
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    left = compare.peers(compare.install_peers())
    assert [peer.name for peer in left] == ["Python's csv"]
    printed = capsys.readouterr().err
    assert "LEFT OUT: DuckDB and Polars" in printed
    assert "LEFT OUT: mawk" in printed
