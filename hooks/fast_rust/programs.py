"""Finds the programs that are installed with this tool."""

import os
import shutil
import sysconfig


def search_path() -> str:
    """Return PATH with the programs of the tool's environment first."""
    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


def find_program(name: str) -> str | None:
    """Return the path of a program: the one that was installed with this tool, else one that is on PATH."""
    return shutil.which(name, path=search_path())


def launcher() -> str | None:
    """Return the justfile whose recipe started this tool; None where the user chose another program by FAST_RUST."""
    return None if os.environ.get("FAST_RUST") else os.environ.get("FAST_RUST_LAUNCHER") or None
