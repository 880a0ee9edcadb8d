"""Each gate turns red for the faults that it is for, says what to do, and lets through what gives its reason."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from crates.workshop import NAMES, QUICK_BENCHES, Workshop
from standards.faults import DOORS, FAULTS, Door, Fault

from template import Template, git, release

WITH_ALL = ("--workspace", "--all-features")
QUICKLY = ("env", *(f"{name}={value}" for name, value in QUICK_BENCHES.items()))
# What a gate is run by: the recipe, or the line of it that has the gate.
COMMANDS = {
    "ast-grep": ("just", "lint"),
    "allocations": ("cargo", "nextest", "run", *WITH_ALL, "--test", "*_allocations"),
    "cargo-deny": ("just", "audit"),
    "cargo-shear": ("just", "audit"),
    "clippy": ("just", "lint"),
    "doctests": ("cargo", "test", *WITH_ALL, "--doc"),
    "instructions": (*QUICKLY, "just", "instructions"),
    "just perf": (*QUICKLY, "just", "perf", "HEAD", "--no-times"),
    "rustc": ("just", "lint"),
    "rustdoc": ("just", "doc"),
    "rustfmt": ("cargo", "fmt", "--all", "--check"),
    # What a fault has compilers do is read from its text; nothing is built in that way.
    "standards": ("env", "RUSTFLAGS=", "cargo", "nextest", "run", *WITH_ALL, "--no-fail-fast", "--test", "standards"),
    "tests": ("cargo", "nextest", "run", "--all-features"),
}
FOREIGN = """\
[workspace]
members = ["joined", "joined/bench"]
resolver = "3"

[workspace.lints.clippy]
all = "warn"

[profile.release]
lto = "thin"
codegen-units = 1
panic = "unwind"

[profile.bench]
debug = true
strip = false

[profile.profiling]
inherits = "release"
debug = true
"""


@pytest.fixture(scope="module")
def crates(workshop: Workshop) -> dict[str, Path]:
    """Crates to break and mend: one of each kind, and somebody else's workspace with a member of ours."""
    made = {kind: workshop.crate(f"{name}-broken", kind=kind) for kind, name in NAMES.items()}
    # What is compared with its base needs one.
    git(made["lib"], "init", "--quiet")
    release(made["lib"], "base")
    return {**made, "foreign": foreign_workspace(workshop)}


def foreign_workspace(workshop: Workshop) -> Path:
    """A workspace that this template did not make, which a program of ours has joined."""
    workspace = workshop.folder / "foreign"
    member = workshop.template.rendering({"crate_name": "joined", "kind": "cli", "place": "member", "sample": False})
    shutil.copytree(member, workspace / "joined")
    (workspace / "Cargo.toml").write_text(FOREIGN, encoding="utf-8")
    return workspace


@contextmanager
def changed(crate: Path, change: Fault | Door) -> Iterator[None]:
    """A crate with a change, which is taken back."""
    path = crate / change.path
    before = path.read_bytes() if path.exists() else None
    change.edit.apply(path)
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


def command_of(gate: str) -> tuple[str, ...]:
    """How a gate is run."""
    return COMMANDS[gate.partition("::")[0]]


def by_crate_and_gate(change: Fault | Door) -> tuple[str, str]:
    """So that the next change has little to build."""
    return change.crate, change.gate.partition("::")[0]


FAULTS_IN_ORDER: list[Fault] = sorted(FAULTS, key=by_crate_and_gate)
DOORS_IN_ORDER: list[Door] = sorted(DOORS, key=by_crate_and_gate)


@pytest.mark.parametrize("crate", ["lib", "cli", "service", "foreign"])
def test_without_a_fault_the_gates_are_green(workshop: Workshop, crates: dict[str, Path], crate: str) -> None:
    """So that red means the fault."""
    for command in sorted({command_of(fault.gate) for fault in FAULTS if fault.crate == crate}):
        workshop.run(crates[crate], *command)


@pytest.mark.parametrize("fault", FAULTS_IN_ORDER, ids=lambda fault: fault.name)
def test_a_fault_turns_its_gate_red(workshop: Workshop, crates: dict[str, Path], fault: Fault) -> None:
    """And the gate says which directive it is, and what to do."""
    with changed(crates[fault.crate], fault):
        done = workshop.try_to(crates[fault.crate], *command_of(fault.gate))
    assert done.returncode != 0, done.stdout
    assert fault.message in done.stdout, done.stdout
    tool, _, rule = fault.gate.partition("::")
    if tool == "standards":
        assert rule in re.findall(r"FAIL .*::standards (\w+)", done.stdout), done.stdout
        assert [directive for directive in fault.directives if directive not in done.stdout] == []


@pytest.mark.parametrize("door", DOORS_IN_ORDER, ids=lambda door: door.name)
def test_a_gate_lets_through_what_gives_its_reason(workshop: Workshop, crates: dict[str, Path], door: Door) -> None:
    """Ordinary good work meets no obstacle."""
    with changed(crates[door.crate], door):
        workshop.run(crates[door.crate], *command_of(door.gate))


def test_a_fault_is_named_once() -> None:
    """Since pages of the standards name it."""
    names = [*(fault.name for fault in FAULTS), *(door.name for door in DOORS)]
    assert sorted(set(names)) == sorted(names)


def test_every_rule_of_the_crate_is_seen_red(template: Template) -> None:
    """No rule without a fault."""
    rules = (template.files / "template" / "bench" / "tests" / "standards.rs").read_text(encoding="utf-8")
    expected = {f"standards::{name}" for name in re.findall(r"#\[test\]\nfn (\w+)", rules)}
    assert {fault.gate for fault in FAULTS if fault.gate.startswith("standards::")} == expected
