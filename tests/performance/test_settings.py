"""A profile counts as loosened exactly if it makes programs slower; both sides are built by the base's profiles."""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fast_rust.perf.settings import changes_of_measuring, keep_settings, loosened
from fast_rust.perf.workspace import Workspace, channel_of

BASE = """\
[workspace]
members = ["bench"]

[profile.release]
lto = "fat"
codegen-units = 1

[profile.bench]
debug = true
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('lto = "fat"', 'lto = "thin"', ['profile.release.lto "fat" → "thin"', 'profile.bench.lto "fat" → "thin"']),
        ('lto = "fat"\n', "", ['profile.release.lto "fat" → false', 'profile.bench.lto "fat" → false']),
        ("codegen-units = 1\n", "", ["profile.release.codegen-units 1 → 16", "profile.bench.codegen-units 1 → 16"]),
        ("debug = true", "overflow-checks = true", ["profile.bench.overflow-checks false → true"]),
        ("debug = true", "debug-assertions = true", ["profile.bench.debug-assertions false → true"]),
        ("debug = true", "incremental = true", ["profile.bench.incremental false → true"]),
        ("debug = true", 'opt-level = "z"', ['profile.bench.opt-level 3 → "z"']),
        ("debug = true", "package.memchr.opt-level = 0", ["profile.bench.package.memchr.opt-level 3 → 0"]),
        ("debug = true", "unknown = 1", ["profile.bench.unknown not set → 1"]),
        ("[profile.release]", "[profile.slow]", ['profile.release.lto "fat" → false', "codegen-units 1 → 16"]),
        # Settings that are as fast, or faster, or irrelevant.
        ('lto = "fat"', "lto = true", []),
        ("debug = true", "package.memchr.opt-level = 3", []),
        ("debug = true", "build-override.opt-level = 0", []),
        ("debug = true", "debug = false\nstrip = true", []),
        ("debug = true", 'panic = "abort"', []),
        ("[profile.bench]", "[profile.profiling]", []),
    ],
)
def test_a_setting_that_makes_programs_slower_is_loosened(before: str, after: str, said: list[str]) -> None:
    assert BASE.count(before) == 1
    found = "\n".join(loosened(BASE, BASE.replace(before, after)))
    assert [line for line in said if line not in found] == []
    assert bool(found) == bool(said)


def test_a_tightened_profile_is_not_loosened() -> None:
    loose = BASE.replace('"fat"', '"off"').replace("codegen-units = 1", "codegen-units = 256")
    assert list(loosened(loose, BASE)) == []


def test_both_sides_have_the_profiles_and_the_members_of_the_base(tmp_path: Path) -> None:
    """The head may have its profiles elsewhere: tomlkit reads tables in separate places as one table."""
    head = '[workspace]\nmembers = ["other"]\n[profile.bench]\nlto = "off"\n[package]\nname = "x"\n[profile.release]\n'
    (tmp_path / "Cargo.toml").write_text(head)
    stand_in = SimpleNamespace(worktree=tmp_path, inside=Path(), base_text=lambda _: BASE)
    keep_settings(cast("Workspace", stand_in), profiles=True)
    kept = tomllib.loads((tmp_path / "Cargo.toml").read_text())
    assert kept["profile"] == tomllib.loads(BASE)["profile"]
    assert kept["workspace"]["members"] == ["other", "bench"]
    assert kept["package"] == {"name": "x"}


@pytest.mark.parametrize(
    ("head", "changed"),
    [
        ('[env]\nGUNGRAUN_RUNNER = "/bin/true"\n', ["env"]),
        ('[target.x]\nrunner = "true"\n[target.y]\nrustflags = ["-Cx"]\n', ["target.x"]),
        ('[build]\nrustc-wrapper = "wrap"\n', ["build"]),
        ('include = ["other.toml"]\n', ["include"]),
        ('[build]\nrustflags = ["-Cx"]\n[alias]\nb = "build"\n[profile.bench]\nlto = "off"\n', []),
    ],
)
def test_settings_of_cargo_that_change_how_programs_run_are_named(head: str, changed: list[str]) -> None:
    assert changes_of_measuring("", head) == changes_of_measuring(head, "") == changed


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ('[toolchain]\nchannel = "1.95.0" # so\n', "1.95.0"),
        ("[toolchain]\n  channel='nightly'\n", "nightly"),
        ("1.88.0\n", "1.88.0"),
        ('[toolchain]\npath = "elsewhere"\n', ""),
    ],
)
def test_a_tree_names_its_toolchain(text: str, channel: str) -> None:
    assert channel_of(text) == channel
