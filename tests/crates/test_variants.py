"""Every variant builds, and passes the checks that it brings."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from crates.workshop import Workshop

from variants import Variant, all_combinations, cover

# The answers that change what is compiled.
COMPILED = ("kind", "place", "sample", "allocator", "panic", "cpu_level")


def compiled_variants() -> Iterator[Variant]:
    """Each combination of the answers that change what is compiled, once."""
    of_interest = (
        Variant(tuple(item for item in variant.items if item[0] in COMPILED)) for variant in all_combinations()
    )
    yield from dict.fromkeys(of_interest)


@cache
def pairwise_compiled() -> tuple[Variant, ...]:
    """Few of them, in which any two answers meet; those with the same processor one after another."""
    return tuple(sorted(cover(compiled_variants()), key=lambda variant: str(variant.answers.get("cpu_level"))))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run for all combinations where that is asked for."""
    if "compiled_variant" in metafunc.fixturenames:
        exhaustive = metafunc.config.getoption("exhaustive")
        variants = list(compiled_variants()) if exhaustive else pairwise_compiled()
        metafunc.parametrize("compiled_variant", variants, ids=str)


def test_it_passes_its_own_checks(workshop: Workshop, compiled_variant: Variant) -> None:
    """Formatting, clippy without a warning, tests, doctests, documentation, dependencies, benches run once."""
    crate = workshop.variant(compiled_variant.answers)
    built = built_for_all_processors(workshop, compiled_variant)
    for command in ("just lint", "just test", "just doc", "just audit", "cargo test --workspace --benches"):
        workshop.run(crate, *command.split(), **built)


def built_for_all_processors(workshop: Workshop, variant: Variant) -> dict[str, str]:
    """What a level does not build again: what runs in builds, and jemalloc, whose C takes longer than all else."""
    if variant.answers.get("cpu_level", "portable") == "portable":
        return {}
    named = {"CARGO_BUILD_TARGET": "host-tuple"}
    builds = Path(workshop.environment["CARGO_TARGET_DIR"], "debug", "build")
    built = sorted(builds.glob("tikv-jemalloc-sys-*/out/lib/libjemalloc_pic.a"), key=lambda path: path.stat().st_mtime)
    return {**named, "JEMALLOC_OVERRIDE": str(built[-1])} if built else named


def test_a_workspace_takes_two_members(workshop: Workshop) -> None:
    """Made by two more `copier copy` and two lines in `members`."""
    workspace = workshop.crate("two-members", kind="lib", sample=False)
    workshop.add_member(workspace, "first-member", {"kind": "lib"})
    workshop.add_member(workspace, "second-member", {"kind": "cli", "sample": False})
    workshop.run(workspace, "just", "lint")
    assert "first-member" in workshop.run(workspace, "just", "test")


def test_plain_cargo_needs_nothing_installed(workshop: Workshop, tmp_path: Path) -> None:
    """Who has only Rust can build and test."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("cargo", "rustc", "cc", "ld", "sh", "git"):
        found = workshop.run(tmp_path, "which", name).strip()
        (programs / name).symlink_to(found)
    workshop.run(workshop.ready("cli"), "cargo", "test", PATH=str(programs))
