"""A filled-in skeleton is equal to a rendering of Copier."""

from pathlib import Path

import pytest

from fast_rust.answers import Answers
from fast_rust.fleet.skeletons import Renderings, Source, skeleton_of
from fast_rust.owned import part_of
from fast_rust.releases import Repository
from fast_rust.rendering import render
from fleet.small import OLD
from support.variants import AWKWARD, SHORT, USUAL, Variant, all_combinations

# A few variants that differ in their shared files, with the texts of each style.
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
def test_a_filled_in_skeleton_is_equal_to_a_rendering_of_copier(
    one: Variant, two_releases: Path, tmp_path: Path
) -> None:
    answers = Answers(str(two_releases), OLD, one.answers)
    renderings = Renderings()
    part, _ = renderings.part(Source(Repository(two_releases), OLD), answers)
    made = render(answers, tmp_path / "crate")
    assert "Cargo.toml" in part.files
    expected = part_of(Repository(two_releases), OLD, made)
    assert (part.files, part.starters) == (expected.files, expected.starters)
    assert all(one.skeletons is not None for one in renderings.prepared.values()), "Copier rendered each crate"


def test_an_identity_in_an_unknown_style_makes_no_skeleton() -> None:
    assert skeleton_of(b'name = "zq-crate-name"') is not None
    assert skeleton_of(b"ZqCrateName") is None


def test_a_file_in_another_encoding_is_unchanged() -> None:
    for content in (b"\xff\0 any bytes\n", b"\xff zq-crate-name\n"):
        skeleton = skeleton_of(content)
        assert skeleton is not None
        assert skeleton.filled({"crate_name": "orders"}) == content.replace(b"zq-crate-name", b"orders")
