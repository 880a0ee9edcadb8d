"""Programs run as they ship: built in their release profile, with link-time optimisation and their own flags."""

from pathlib import Path

import pytest

from support.built import build_release_and_run, its_command, pairwise_compiled
from support.variants import Variant
from support.workshop import Workshop

# Those with jemalloc come last: test_variants.py, which runs at the same time, has built its C code by then.
CASES = sorted(pairwise_compiled(), key=lambda variant: variant.answers.get("allocator") == "jemalloc")


@pytest.mark.exhaustive
@pytest.mark.parametrize("variant_shipped", CASES, ids=str)
def test_it_runs_in_its_release_profile(workshop: Workshop, variant_shipped: Variant, tmp_path: Path) -> None:
    """The build uses the crate's own flags for its dependencies, too."""
    # Programs of the same names are built at the same time; they would wait for each other, or replace each other.
    own_target = Path(workshop.environment["CARGO_TARGET_DIR"]) / "shipped"
    with its_command(variant_shipped):
        build_release_and_run(workshop, variant_shipped, tmp_path, CARGO_TARGET_DIR=str(own_target))
