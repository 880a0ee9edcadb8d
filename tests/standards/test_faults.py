"""Each gate turns red for the faults that it is for, says what to do, and lets through what gives its reason."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from crates.workshop import NAMES, QUICK_BENCHES, Workshop
from standards.faults import DOORS, FAULTS, Door, Edit, Fault, Replace

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
def changed(crate: Path, changes: Sequence[Fault | Door]) -> Iterator[None]:
    """A crate with some changes, which are taken back."""
    before: dict[Path, bytes | None] = {}
    try:
        for change in changes:
            path = crate / change.path
            before.setdefault(path, path.read_bytes() if path.exists() else None)
            change.edit.apply(path)
        yield
    finally:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)


def command_of(gate: str) -> tuple[str, ...]:
    """How a gate is run."""
    return COMMANDS[gate.partition("::")[0]]


def by_crate_and_gate(change: Fault | Door) -> tuple[str, str]:
    """So that the next change has little to build."""
    return change.crate, change.gate.partition("::")[0]


FAULTS_IN_ORDER: list[Fault] = sorted(FAULTS, key=by_crate_and_gate)
DOORS_IN_ORDER: list[Door] = sorted(DOORS, key=by_crate_and_gate)
# The rules of a library report all that they find, so faults of different rules can be there at once.
COMPLETE = ("lib", COMMANDS["standards"])
# Seen to make another rule say what that says of a fault of its own. Each other one was seen not to, by itself.
ALONE = {"a module that is no longer declared hot", "a group of lints that is lowered"}


def are_apart(one: Edit, other: Edit) -> bool:
    """Whether two edits of one file replace lines of their own."""
    if not (isinstance(one, Replace) and isinstance(other, Replace)):
        return False
    lines, others = (set(filter(None, edit.before.splitlines())) for edit in (one, other))
    return not any(line in text or text in line for line in lines for text in others)


def can_join(fault: Fault, others: Sequence[Fault]) -> bool:
    """Whether a fault can be in a crate together with others, and each still be seen by what its own gate says.

    One gate could take its message from another's fault, and a fault that switches a gate off hides what that sees.
    """
    return (
        {(each.crate, command_of(each.gate)) for each in (fault, *others)} == {COMPLETE}
        and not ALONE.intersection(each.name for each in (fault, *others))
        and not any(other.gate == fault.gate or other.message == fault.message for other in others)
        and not any(other.gate in fault.message or fault.gate in other.message for other in others)
        and all(are_apart(fault.edit, other.edit) for other in others if other.path == fault.path)
    )


def grouped() -> list[list[Fault]]:
    """Each fault in the first group that it can join."""
    groups: list[list[Fault]] = []
    for fault in FAULTS_IN_ORDER:
        for group in groups:
            if can_join(fault, group):
                group.append(fault)
                break
        else:
            groups.append([fault])
    return groups


GROUP_OF = {fault.name: tuple(group) for group in grouped() for fault in group}


@pytest.fixture(scope="module")
def run(workshop: Workshop, crates: dict[str, Path]) -> Callable[[Fault], CompletedProcess[str]]:
    """Run the gate of a fault, once for all faults of its group."""

    @cache
    def run_group(group: tuple[Fault, ...]) -> CompletedProcess[str]:
        with changed(crates[group[0].crate], group):
            return workshop.try_to(crates[group[0].crate], *command_of(group[0].gate))

    return lambda fault: run_group(GROUP_OF[fault.name])


def said_by(rule: str, printed: str) -> str:
    """What nextest prints of a test of the standards that fails; nothing if it does not."""
    parts = re.split(r"(?m)^ *(FAIL|PASS) .*::standards (\w+)$", printed)
    return "".join(
        text
        for status, name, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
        if (status, name) == ("FAIL", rule)
    )


@pytest.mark.parametrize("crate", ["lib", "cli", "service", "foreign"])
def test_without_a_fault_the_gates_are_green(workshop: Workshop, crates: dict[str, Path], crate: str) -> None:
    """So that red means the fault."""
    for command in sorted({command_of(fault.gate) for fault in FAULTS if fault.crate == crate}):
        workshop.run(crates[crate], *command)


@pytest.mark.parametrize("fault", FAULTS_IN_ORDER, ids=lambda fault: fault.name)
def test_a_fault_turns_its_gate_red(run: Callable[[Fault], CompletedProcess[str]], fault: Fault) -> None:
    """And the gate says which directive it is, and what to do."""
    done = run(fault)
    assert done.returncode != 0, done.stdout
    tool, _, rule = fault.gate.partition("::")
    said = said_by(rule, done.stdout) if tool == "standards" else done.stdout
    assert fault.message in said, done.stdout
    if tool == "standards":
        assert [directive for directive in fault.directives if directive not in said] == [], said


@pytest.mark.parametrize("door", DOORS_IN_ORDER, ids=lambda door: door.name)
def test_a_gate_lets_through_what_gives_its_reason(workshop: Workshop, crates: dict[str, Path], door: Door) -> None:
    """Ordinary good work meets no obstacle."""
    with changed(crates[door.crate], [door]):
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
