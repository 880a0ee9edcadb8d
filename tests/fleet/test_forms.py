"""A form that is filled in is what Copier makes."""

from pathlib import Path

import pytest

from fast_rust.answers import Answers
from fast_rust.fleet.forms import Shelf, form_of
from fast_rust.releases import Repository
from fast_rust.rendering import render
from fleet.conftest import OLD
from variants import AWKWARD, SHORT, USUAL, Variant, all_combinations

# Few that differ in what shared files hold; the texts of each style.
VARIANTS = [
    next(one for one in all_combinations(style) if one.answers["kind"] == kind and one.answers["place"] == place)
    for style, kind, place in (
        (USUAL, "service", "repository"),
        (SHORT, "lib", "member"),
        (AWKWARD, "cli", "repository"),
        (AWKWARD, "lib", "repository"),
    )
]


@pytest.mark.parametrize("one", VARIANTS, ids=str)
def test_what_is_filled_in_is_what_copier_makes(one: Variant, two_releases: Path, tmp_path: Path) -> None:
    answers = Answers(str(two_releases), OLD, one.answers)
    shelf = Shelf()
    part = shelf.part(Repository(two_releases), answers)
    made = render(answers, tmp_path / "crate")
    assert "Cargo.toml" in part
    assert part == {path: made[path] for path in part}
    assert all(form is not None for form in shelf.forms.values()), "Copier rendered each crate"


def test_an_identity_that_is_written_in_an_unknown_way_makes_no_form() -> None:
    assert form_of(b'name = "zq-crate-name"') is not None
    assert form_of(b"ZqCrateName") is None
