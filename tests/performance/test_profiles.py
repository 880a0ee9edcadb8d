"""The page of build settings has a row for each build, and a failed build is an error."""

import subprocess
import sys
from pathlib import Path

import pytest

import profiles
from support.variants import CHECKOUT
from support.workshop import Workshop


def test_the_page_has_a_row_for_each_build(workshop: Workshop, tmp_path: Path) -> None:
    """Run the script as `make profiles` does, with two small unoptimised builds in the target folder of the tests."""
    written = tmp_path / "profiles.md"
    command = [sys.executable, str(CHECKOUT / "measure" / "profiles.py"), "--quick", "--output", str(written)]
    environment = {
        **workshop.environment,
        "FAST_RUST_TARGET": workshop.environment["CARGO_TARGET_DIR"],
        # Below the settings of the other tests, so that dependencies are built already.
        "FAST_RUST_SCRATCH": str(tmp_path / "scratch"),
        "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    }
    subprocess.run(command, check=True, env=environment)
    lines = [line for line in written.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(cells[0]) == profiles.HEADS
    assert [row[0] for row in cells[2:]] == [knob.name for knob in profiles.QUICK.knobs["cli"]]
    shipped, other = cells[2:]
    assert shipped[5:7] == ["1.00", "1.00 to 1.00"]
    # Both are really built: without optimisation across crates the program differs.
    assert shipped[3:5] != other[3:5]


def test_a_failed_build_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is missing without a message would read as if the setting had not been tried."""
    monkeypatch.setattr(profiles, "FOLDER", tmp_path)
    broken = profiles.Knob("broken", flag="-Cno-such-option")
    crate = profiles.crate_of("cli", {})
    with pytest.raises(subprocess.CalledProcessError, match="cargo"):
        profiles.build(crate, broken, tmp_path / "load")
