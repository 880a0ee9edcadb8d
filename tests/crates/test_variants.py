"""Every variant builds, passes its own checks, and runs.

The usual run takes a pairwise cover of the variants. With --exhaustive the others follow, and all run optimised.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from support.built import COMPILED, build_release_and_run, compiled_variants, its_command, pairwise_compiled, run_once
from support.exhaustive import cases
from support.files import read_tree
from support.template import Template
from support.variants import Variant
from support.workshop import BUILD, QUICK_RELEASE, Workshop, flags_of_own_code

CHECKED = COMPILED[:-1]
# With --exhaustive also a member, and a service without the sample.
CHECKED_WITH_OTEL = {"kind": "service", "allocator": "system", "cpu_level": "portable"}
CHECKS = ("just lint", "just test", "just doc", "just audit", "cargo test --workspace --benches")


@cache
def checked_variants() -> tuple[Variant, ...]:
    """Return the cover, and one variant of each kind that differs from it in the checks."""
    first: dict[Variant, Variant] = {}
    for variant in (*pairwise_compiled(), *compiled_variants()):
        first.setdefault(variant.only((*CHECKED, "otel")), variant)
    with_otel = (
        Variant((*variant.items, ("otel", True)))
        for variant in first.values()
        if all(variant.answers.get(name, answer) == answer for name, answer in CHECKED_WITH_OTEL.items())
    )
    return (*pairwise_compiled(), *first.values(), *with_otel)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run for the cover, or with --exhaustive for all combinations."""
    if "checked_variant" in metafunc.fixturenames:
        metafunc.parametrize("checked_variant", cases(metafunc, pairwise_compiled(), checked_variants()), ids=str)


@pytest.fixture(scope="module")
def jemalloc(workshop: Workshop, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return an environment that links a stub of jemalloc: its C code takes minutes, so only --exhaustive builds it."""
    if request.config.getoption("--exhaustive"):
        return {}
    library, source = workshop.folder / "libjemalloc_pic.a", Path(__file__).with_name("jemalloc_stand_in.c")
    workshop.run(workshop.folder, "cc", "-c", "-O1", "-fPIC", "-Wall", "-Werror", "-o", "stand_in.o", str(source))
    workshop.run(workshop.folder, "ar", "rcs", str(library), "stand_in.o")
    return {"JEMALLOC_OVERRIDE": str(library)}


def test_it_passes_its_own_checks_and_runs(
    workshop: Workshop, checked_variant: Variant, tmp_path: Path, jemalloc: dict[str, str]
) -> None:
    """Formatting, clippy without warnings, tests, doctests, documentation, dependencies, and one run of each bench."""
    with its_command(checked_variant):
        crate = workshop.variant(checked_variant)
        flags = {**flags_of_own_code(workshop, crate), **jemalloc}
        for command in CHECKS:
            workshop.run(crate, *command.split(), **flags)
        workshop.run(crate, *BUILD, **flags)
        run_once(workshop, checked_variant, Path(workshop.environment["CARGO_TARGET_DIR"], "debug"), tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("variant_built", compiled_variants(), ids=str)
def test_it_runs_optimised(workshop: Workshop, variant_built: Variant, tmp_path: Path) -> None:
    """Built in the release profile, but without the optimisation that takes most of the time."""
    with its_command(variant_built):
        quick = {**QUICK_RELEASE, **flags_of_own_code(workshop, workshop.variant(variant_built))}
        build_release_and_run(workshop, variant_built, tmp_path, **quick)


@pytest.mark.exhaustive
def test_variants_that_are_not_checked_differ_only_in_the_release_profile(template: Template) -> None:
    """So the checks of one variant are also those of the others."""
    trees: dict[Variant, list[Mapping[str, bytes]]] = {}
    for variant in compiled_variants():
        tree = read_tree(template.rendering({"crate_name": "totals", **variant.answers}))
        trees.setdefault(variant.only(CHECKED), []).append(tree)
    compared = [(first, other) for first, *others in trees.values() for other in others]
    assert len(compared) == 36
    for first, other in compared:
        assert first.keys() == other.keys()
        for name in (name for name in first if first[name] != other[name]):
            lines = set(first[name].splitlines()) ^ set(other[name].splitlines())
            assert {line.partition(b" ")[0] for line in lines} <= {b"panic", b"panic:"}, name


def test_a_workspace_accepts_two_members(workshop: Workshop) -> None:
    """The members are made by two more `copier copy` commands and two lines in `members`."""
    workspace = workshop.crate("two-members", kind="lib", sample=False)
    workshop.add_member(workspace, "first-member", {"kind": "lib"})
    workshop.add_member(workspace, "second-member", {"kind": "cli", "sample": False})
    workshop.run(workspace, "just", "lint")
    assert "first-member" in workshop.run(workspace, "just", "test")


def test_plain_cargo_needs_nothing_installed(workshop: Workshop, tmp_path: Path) -> None:
    """A user who has only Rust can build and test."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("cargo", "rustc", "cc", "ld", "sh", "git"):
        found = workshop.run(tmp_path, "which", name).strip()
        (programs / name).symlink_to(found)
    workshop.run(workshop.ready("cli"), "cargo", "test", PATH=str(programs))
