"""docs/evidence.md has a measured line for each figure of the guide, and the verdict agrees with the measurement."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from evidence import Case, Claim, Figure, measure_pairs, middle, page, read_claims, rows, verdict
from fast_rust.standards.pages import directives, read_standards
from support.variants import CHECKOUT
from support.workshop import QUICK_RELEASE, Workshop

CLAIMS, UNMEASURED = read_claims()


@pytest.fixture(scope="module")
def found(workshop: Workshop) -> list[Sequence[Case]]:
    """The crate's measurements in its quickest mode, in two processes.

    Its times mean nothing, but its counts do. So the build leaves out optimisations that take long.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK_RELEASE.items():
            patch.setenv(name, value)
        return measure_pairs(Path(workshop.environment["CARGO_TARGET_DIR"]), "--quick", processes=2)


@pytest.fixture(scope="module")
def cases(found: list[Sequence[Case]]) -> list[Case]:
    """The medians of these measurements."""
    return [middle(same) for same in found]


# --- Claims ---


def test_every_claim_names_an_existing_directive() -> None:
    known = {one.id for one in directives(read_standards(CHECKOUT / "standards"))}
    assert {claim.directive for claim in CLAIMS} | {claim.directive for claim in UNMEASURED} <= known


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.directive}-{claim.bench[0]}")
def test_a_claim_has_a_bound_that_can_be_missed(claim: Claim) -> None:
    assert claim.low is not None or claim.high is not None
    assert (claim.low or 0) <= (claim.high or float("inf"))


# --- Measurements ---


def test_every_claim_has_a_line(cases: list[Case]) -> None:
    assert [line[0] for line in rows(CLAIMS, cases)] == [claim.directive for claim in CLAIMS]


def test_the_page_contains_all_claims(found: list[Sequence[Case]]) -> None:
    text = page(CLAIMS, UNMEASURED, found)
    claimed = [claim.text for claim in CLAIMS] + [claim.text for claim in UNMEASURED]
    assert [claim for claim in claimed if claim not in text] == []


def test_every_pair_belongs_to_a_claim(cases: list[Case]) -> None:
    """The only exception is a pair that shows how not to measure."""
    assert {case.bench for case in cases} - {bench for claim in CLAIMS for bench in claim.bench} == {"black-box-within"}


def test_a_claim_without_a_measurement_is_rejected(cases: list[Case]) -> None:
    with pytest.raises(ValueError, match="nothing measures flying"):
        rows([Claim("OWN-1", "", ["flying"], Figure.RATIO)], cases)


def test_allocations_are_counted(cases: list[Case]) -> None:
    """A `Vec` grows from 4 to 16,384 in 13 steps; `+` appends in place, so it allocates far less than once per part."""
    counted = {(case.bench, case.name): case for case in cases}
    assert counted["growing", "10,000 `u64`"].slow == 13
    assert counted["appended", "1,000 parts"].slow < 0.1
    assert counted["clone", "10,000 `String`"].slow_blocks == 10_001
    assert counted["clone", "10,000 `String`"].fast_blocks == 0


def test_reads_are_counted(cases: list[Case]) -> None:
    """For a megabyte and its end, read byte by byte, or in blocks of 8 KiB."""
    [bytewise] = [case for case in cases if case.name == "reads of 1 B"]
    assert (bytewise.slow, bytewise.fast) == (2**20 + 1, 2**7 + 1)


def test_a_case_is_the_median_of_all_processes() -> None:
    runs = [Case("any", "early", time, 2 * time, time / 10, 0, 1) for time in (3.0, 1.0, 90.0)]
    assert middle(runs) == Case("any", "early", 3, 6, 0.3, 0, 1)


# --- Verdicts ---


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        pytest.param([2, 2.5, 3], "holds", id="within"),
        pytest.param([1.61, 3.7], "holds", id="within the tolerance"),
        pytest.param([1.5, 2.5], "holds for size 1", id="one size is less"),
        pytest.param([2.5, 4, 3], "holds for size 0; size 2", id="one size is more"),
        pytest.param([1, 0.5], "false: less", id="all are less"),
        pytest.param([4, 400], "false: more", id="all are more"),
        pytest.param([1, 400], "depends", id="on both sides, none within"),
    ],
)
def test_the_verdict_follows_from_the_figures(ratios: list[float], expected: str) -> None:
    claim = Claim("PRE-1", "", [], Figure.RATIO, low=2, high=3)
    assert verdict(claim, {f"size {number}": ratio for number, ratio in enumerate(ratios)}) == expected


def test_a_claim_with_one_bound_is_open_at_the_other() -> None:
    assert verdict(Claim("OWN-1", "", [], Figure.FAST, high=1), {"": 0.01}) == "holds"
    assert verdict(Claim("PRE-1", "", [], Figure.RATIO, low=1.25), {"": 500}) == "holds"
    assert verdict(Claim("PRE-1", "", [], Figure.RATIO, low=1.25), {"": 0.9}) == "false: less"


def test_counts_have_less_tolerance_than_times() -> None:
    timed, divided, counted = (
        Claim("OWN-4", "", [], figure, low=10, high=10) for figure in (Figure.SLOW, Figure.RATIO, Figure.COUNT)
    )
    assert [verdict(timed, {"": 19}), verdict(timed, {"": 21})] == ["holds", "false: more"]
    assert [verdict(divided, {"": 12}), verdict(divided, {"": 13})] == ["holds", "false: more"]
    assert [verdict(counted, {"": 11}), verdict(counted, {"": 12})] == ["holds", "false: more"]
