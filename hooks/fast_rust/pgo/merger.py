"""Finds the program that merges profiles."""

import re
import shutil
from pathlib import Path

from fast_rust.pgo.programs import PgoError, output
from fast_rust.pgo.workspace import Workspace


class MergerMissingError(PgoError):
    """No llvm-profdata is installed that reads the compiler's profiles."""


def find_merger(workspace: Workspace) -> str:
    """Return an llvm-profdata that can read what the compiler writes: the toolchain's, else one on PATH.

    Raises MergerMissingError.
    """
    own = Path(output("rustc", "--print", "sysroot").strip(), "lib", "rustlib", workspace.host, "bin")
    places = [("llvm-profdata", str(own)), (f"llvm-profdata-{workspace.llvm}", None), ("llvm-profdata", None)]
    found = []
    for name, folder in places:
        program = shutil.which(name, path=folder)
        if program is None:
            continue
        # Old ones have no option `--version`.
        stated = re.search(r"LLVM version (\d+)", output(program, "merge", "--version"))
        if stated and int(stated[1]) >= workspace.llvm:
            return program
        found.append(f"{program} has LLVM {stated[1] if stated else 'unknown'}")
    seen = "; ".join(found) or "not installed"
    message = (
        f"PGO needs llvm-profdata of LLVM {workspace.llvm}, the LLVM of rustc, or newer: {seen}. "
        "Run `rustup component add llvm-tools`"
    )
    raise MergerMissingError(message)
