"""Each gate turns red for the violations that it is for, says what to do, and lets through what gives its reason."""

from pathlib import Path

import pytest

from standards.violations import ALLOWED, VIOLATIONS, AllowedChange, PlantedViolation, changed
from support.git import git, release
from support.workshop import NAMES, QUICK_BENCHES, Workshop

WITH_ALL = ("--workspace", "--all-features")
QUICKLY = ("env", *(f"{name}={value}" for name, value in QUICK_BENCHES.items()))
# The recipe, or the line of it, that has the gate.
COMMANDS = {
    "ast-grep": ("just", "rules"),
    "allocations": ("cargo", "nextest", "run", *WITH_ALL, "--test", "*_allocations"),
    "cargo-deny": ("just", "audit"),
    "cargo-shear": ("just", "audit"),
    "clippy": ("just", "clippy"),
    "doctests": ("cargo", "test", *WITH_ALL, "--doc"),
    "instructions": (*QUICKLY, "just", "instructions"),
    "just perf": (*QUICKLY, "just", "perf", "HEAD", "--no-times"),
    "rustc": ("just", "clippy"),
    "rustdoc": ("just", "doc"),
    "rustfmt": ("just", "format"),
    "tests": ("cargo", "nextest", "run", "--all-features", "--no-fail-fast"),
}


PARTS_OF_LINT = {
    "format": "code that is not formatted",
    "clippy": "a panic in library code",
    "rules": "any toolchain",
}


@pytest.fixture(scope="module")
def crates(workshop: Workshop) -> dict[str, Path]:
    """Crates to break and mend, one of each kind."""
    made = {kind: workshop.crate(f"{name}-broken", kind=kind) for kind, name in NAMES.items()}
    # What is compared with its base needs one.
    git(made["lib"], "init", "--quiet")
    release(made["lib"], "base")
    return made


def command_of(gate: str) -> tuple[str, ...]:
    """How a gate is run."""
    return COMMANDS[gate.partition("::")[0]]


def by_crate_and_gate(change: PlantedViolation | AllowedChange) -> tuple[str, str]:
    """So that the next change has little to build."""
    return change.crate, change.gate.partition("::")[0]


# test_checks.py has the others, whose gate needs no crate that builds.
VIOLATIONS_IN_ORDER: list[PlantedViolation] = sorted(
    (f for f in VIOLATIONS if f.gate.partition("::")[0] in COMMANDS), key=by_crate_and_gate
)
ALLOWED_IN_ORDER: list[AllowedChange] = sorted(
    (allowed for allowed in ALLOWED if allowed.gate in COMMANDS), key=by_crate_and_gate
)


@pytest.mark.parametrize("crate", sorted({violation.crate for violation in VIOLATIONS_IN_ORDER}))
def test_without_a_violation_the_gates_are_green(workshop: Workshop, crates: dict[str, Path], crate: str) -> None:
    """So that red means the violation."""
    for command in sorted(
        {command_of(violation.gate) for violation in VIOLATIONS_IN_ORDER if violation.crate == crate}
    ):
        workshop.run(crates[crate], *command)


@pytest.mark.parametrize("violation", VIOLATIONS_IN_ORDER, ids=lambda violation: violation.name)
def test_a_violation_turns_its_gate_red(
    workshop: Workshop, crates: dict[str, Path], violation: PlantedViolation
) -> None:
    """And the gate says what to do."""
    with changed(crates[violation.crate], [violation]):
        done = workshop.try_to(crates[violation.crate], *command_of(violation.gate))
    assert done.returncode != 0, done.stdout
    assert violation.message in done.stdout, done.stdout


@pytest.mark.parametrize("part", ["format", "clippy", "rules"])
def test_a_violation_in_each_part_turns_lint_red(workshop: Workshop, crates: dict[str, Path], part: str) -> None:
    """Though all parts run side by side, and the others pass."""
    [violation] = [each for each in VIOLATIONS if each.name == PARTS_OF_LINT[part]]
    with changed(crates["lib"], [violation]):
        done = workshop.try_to(crates["lib"], "just", "lint")
    assert done.returncode != 0, done.stdout
    assert violation.message in done.stdout, done.stdout


@pytest.mark.parametrize("allowed", ALLOWED_IN_ORDER, ids=lambda allowed: allowed.name)
def test_a_gate_lets_through_what_gives_its_reason(
    workshop: Workshop, crates: dict[str, Path], allowed: AllowedChange
) -> None:
    """Ordinary good work meets no obstacle."""
    with changed(crates[allowed.crate], [allowed]):
        workshop.run(crates[allowed.crate], *command_of(allowed.gate))


def test_a_violation_is_named_once() -> None:
    """Since pages of the standards name it."""
    names = [*(violation.name for violation in VIOLATIONS), *(allowed.name for allowed in ALLOWED)]
    assert sorted(set(names)) == sorted(names)
