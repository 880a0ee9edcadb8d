"""Each gate fails for its violations with instructions, and accepts exceptions with a reason."""

from pathlib import Path

import pytest

from standards.violations import ALLOWED, VIOLATIONS, AllowedChange, PlantedViolation, changed
from support.git import git, release
from support.workshop import NAMES, QUICK_BENCHES, Workshop

WITH_ALL = ("--workspace", "--all-features")
QUICKLY = ("env", *(f"{name}={value}" for name, value in QUICK_BENCHES.items()))
# The recipe that runs the gate, or the line of the recipe.
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
    """Crates to break and restore, one of each kind."""
    made = {kind: workshop.crate(f"{name}-broken", kind=kind) for kind, name in NAMES.items()}
    # Gates that compare with the base need a commit as the base.
    git(made["lib"], "init", "--quiet")
    release(made["lib"], "base")
    return made


def command_of(gate: str) -> tuple[str, ...]:
    """Return the command that runs a gate."""
    return COMMANDS[gate.partition("::")[0]]


def by_crate_and_gate(change: PlantedViolation | AllowedChange) -> tuple[str, str]:
    """Return a sort key by which the next change has little to build."""
    return change.crate, change.gate.partition("::")[0]


# The other violations are in test_checks.py; their gates need no crate that builds.
VIOLATIONS_IN_ORDER: list[PlantedViolation] = sorted(
    (f for f in VIOLATIONS if f.gate.partition("::")[0] in COMMANDS), key=by_crate_and_gate
)
ALLOWED_IN_ORDER: list[AllowedChange] = sorted(
    (allowed for allowed in ALLOWED if allowed.gate in COMMANDS), key=by_crate_and_gate
)


@pytest.mark.parametrize("crate", sorted({violation.crate for violation in VIOLATIONS_IN_ORDER}))
def test_without_a_violation_the_gates_pass(workshop: Workshop, crates: dict[str, Path], crate: str) -> None:
    """So a failure is caused by the violation."""
    for command in sorted(
        {command_of(violation.gate) for violation in VIOLATIONS_IN_ORDER if violation.crate == crate}
    ):
        workshop.run(crates[crate], *command)


@pytest.mark.parametrize("violation", VIOLATIONS_IN_ORDER, ids=lambda violation: violation.name)
def test_the_gate_of_a_violation_fails(
    workshop: Workshop, crates: dict[str, Path], violation: PlantedViolation
) -> None:
    """The gate also says what to do."""
    with changed(crates[violation.crate], [violation]):
        done = workshop.try_to(crates[violation.crate], *command_of(violation.gate))
    assert done.returncode != 0, done.stdout
    assert violation.message in done.stdout, done.stdout


@pytest.mark.parametrize("part", ["format", "clippy", "rules"])
def test_lint_fails_for_a_violation_in_each_part(workshop: Workshop, crates: dict[str, Path], part: str) -> None:
    """All parts run at the same time, and the others pass."""
    [violation] = [each for each in VIOLATIONS if each.name == PARTS_OF_LINT[part]]
    with changed(crates["lib"], [violation]):
        done = workshop.try_to(crates["lib"], "just", "lint")
    assert done.returncode != 0, done.stdout
    assert violation.message in done.stdout, done.stdout


@pytest.mark.parametrize("allowed", ALLOWED_IN_ORDER, ids=lambda allowed: allowed.name)
def test_a_gate_accepts_an_exception_with_a_reason(
    workshop: Workshop, crates: dict[str, Path], allowed: AllowedChange
) -> None:
    """Usual good code is accepted, too."""
    with changed(crates[allowed.crate], [allowed]):
        workshop.run(crates[allowed.crate], *command_of(allowed.gate))


def test_the_name_of_a_violation_is_unique() -> None:
    """Pages of the standards refer to it."""
    names = [*(violation.name for violation in VIOLATIONS), *(allowed.name for allowed in ALLOWED)]
    assert sorted(set(names)) == sorted(names)
