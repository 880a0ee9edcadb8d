"""The programs of a workspace, and the compiler that builds them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fast_rust.checks.cargo import metadata
from fast_rust.pgo.programs import PgoError, output


@dataclass(frozen=True)
class Program:
    """A program that ships, and the example that puts it under load."""

    package: str
    name: str
    bench: str
    has_load: bool


@dataclass(frozen=True)
class Workspace:
    """The crates that cargo found, and the compiler that builds them."""

    programs: list[Program]
    folder: Path
    """Where all that is made here goes."""
    host: str
    llvm: int
    """The major version of the compiler's LLVM, which decides the format of profiles."""


def inspect(crate: Path, target: Path | None = None) -> Workspace:
    """Ask cargo for the programs and its target folder, unless that is given, and rustc for its version.

    Raises PgoError where rustc does not say which LLVM it has.
    """
    known = metadata(crate)
    packages = {package["name"]: package for package in known["packages"]}
    programs = [
        Program(name, target["name"], f"{name}-bench", _has_load(packages.get(f"{name}-bench")))
        for name, package in packages.items()
        for target in package["targets"]
        if target["kind"] == ["bin"]
    ]
    version = output("rustc", "--version", "--verbose")
    facts = dict(re.findall(r"(?m)^(host|LLVM version): (\S+)", version))
    if len(facts) != 2:  # noqa: PLR2004  Both of them.
        message = (
            "`rustc --version --verbose` prints no LLVM version, which PGO"
            f" needs to read profiles; it printed:\n{version}"
        )
        raise PgoError(message)
    llvm = int(facts["LLVM version"].partition(".")[0])
    return Workspace(programs, Path(target or known["target_directory"], "pgo"), facts["host"], llvm)


def _has_load(bench: Mapping[str, Any] | None) -> bool:
    """Return whether a crate of benches exists, and has the example."""
    return bench is not None and any(
        target["kind"] == ["example"] and target["name"] == "load" for target in bench["targets"]
    )


def refuse_flags_in_environment() -> None:
    """Raise PgoError where flags of the environment would replace those of the crate, and those of PGO."""
    for name in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"):
        if os.environ.get(name):
            message = (
                f"the variable {name} is set, and would override the flags of"
                f" .cargo/config.toml and of PGO; run `unset {name}`"
            )
            raise PgoError(message)


def refuse_without_load(workspace: Workspace) -> None:
    """Raise PgoError where a program has no load to be trained on."""
    for program in workspace.programs:
        if not program.has_load:
            message = (
                f"PGO needs a load to profile {program.name}; write the example `load` of the package {program.bench}. "
                "`load ROUNDS COMMAND...` has to start the program with COMMAND, send it ROUNDS rounds of work, and "
                "print the seconds that the work took, then the program's output"
            )
            raise PgoError(message)
