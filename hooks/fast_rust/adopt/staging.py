"""Gates that a crate does not meet yet: found, switched off with how often they were met, and switched on again.

Each is switched off where its tool looks: a lint in the tables of Cargo.toml, a rule of ast-grep or a check of files in
[workspace.metadata.staged] there, a ban in clippy.toml, a licence in deny.toml, a dependency for cargo-shear. A gate
that the crate itself has on is never switched off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fast_rust.adopt.gates import Gates
from fast_rust.adopt.lint_gates import CLIPPY, DOC, disable_by_clippy, disable_warned, find_hits
from fast_rust.adopt.tool_output import first_error, first_places, last_lines
from fast_rust.errors import FastRustError

TOOLS = ("cargo", "just", "cargo-nextest", "cargo-deny", "cargo-shear")


class GateError(FastRustError):
    """Why a crate cannot be adopted, or not with the change that was made."""


@dataclass(frozen=True)
class Staging:
    """What was switched off, and what could not be."""

    places: Mapping[str, int]
    """Of each gate that is off, by its name in the pages of the standards, in how many places it is met."""
    left: tuple[str, ...]
    """What stays red: for people."""
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of a gate that is off, the places that are known."""
    unjudged: frozenset[str] = frozenset()
    """The tools that could not run, as `_tool_of` names them."""


def before(folder: Path, root: Path, target: Path) -> None:
    """Check that a crate can be judged: its own build and tests pass, and so does what it denies itself.

    Raises GateError.
    """
    gates = Gates(root, target, {})
    _require_own(gates, folder, "before the adoption, in a fresh clone of the last commit")
    hits, broken = find_hits(gates, *CLIPPY)
    if broken:
        message = f"clippy fails to build the crate: {broken}; run `{' '.join(CLIPPY)}`"
        raise GateError(
            f"{message} and fix the errors; the crate has to build with all features enabled. Nothing was changed"
        )
    if denied := {f"{hit.lint} at {hit.place}" for hit in hits if hit.is_denied}:
        message = f"the crate fails lints that it denies itself: {first_places(denied)}; run `{' '.join(CLIPPY)}`"
        raise GateError(f"{message}, and fix the code or allow the lint there; nothing was changed")


def after(folder: Path, root: Path, target: Path) -> None:
    """Check that the crate's own build and tests still pass.

    Raises GateError.
    """
    _require_own(Gates(root, target, {}), folder, "after the adoption")


def _require_own(gates: Gates, folder: Path, when: str) -> None:
    for command in (("cargo", "build"), ("cargo", "test")):
        done = gates.run(*command, cwd=folder)
        if done.returncode:
            advice = (
                "the crate needs a file that is not in git, or its last commit is broken"
                if "before" in when
                else "please report this as a bug of fast-rust"
            )
            name = " ".join(command)
            reason = first_error(done.stderr, done.stdout)
            raise GateError(
                f"`{name}` fails {when}, so nothing was changed: {reason}; {advice}."
                f" Run `{name}` in a fresh clone to see its full output"
            )


def stage(root: Path, justfile: str, target: Path, own: Mapping[str, bytes | None]) -> Staging:
    """Run all gates of a workspace, disable those that fail, and check that the recipes pass then.

    It is built into the target folder, if the environment names no other. `own` has the crate's own content of FILES.
    """
    gates = Gates(root, target, own)
    gates.format()
    disable_by_clippy(gates)
    disable_warned(gates, *DOC)
    gates.dependencies()
    gates.unused()
    gates.rules()
    if (root / justfile).is_file() and not gates.left:
        for recipe in ("lint", "test", "doc", "audit"):
            command = ("just", "--justfile", justfile, "--working-directory", ".", recipe)
            done = gates.run(*command)
            if "no tests to run" in done.stderr:
                gates.left.append(
                    "`just test` fails: the crate has no test except doctests, and"
                    " nextest runs no doctests; write a test"
                )
                continue
            if done.returncode and recipe == "test" and gates.one_at_a_time():
                done = gates.run(*command)
            if done.returncode:
                gates.left.append(f"`just {recipe}` fails:\n{last_lines(done.stdout + done.stderr)}")
    where = {gate: tuple(places) for gate, places in gates.where.items()}
    return Staging(dict(sorted(gates.places.items())), tuple(gates.left), where, frozenset(gates.unjudged))
