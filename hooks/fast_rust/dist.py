"""Builds the programs of a workspace as they ship, members included, into one folder with their checksums."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from fast_rust.checks.cargo import metadata
from fast_rust.errors import FastRustError

BUILD = ("cargo", "build", "--quiet", "--release", "--locked", "--message-format=json-render-diagnostics")
SUMS = "SHA256SUMS"


class DistError(FastRustError):
    """The programs cannot be built, or the workspace has none."""


def build_dist(folder: Path) -> str:
    """Build all programs of the workspace into target/dist/bin below a folder, and return their checksums.

    Raises DistError where no package has a program, or cargo fails.
    """
    packages = [package for package in metadata(folder)["packages"] if _has_program(package)]
    if not packages:
        raise DistError("no package of the workspace has a binary target, so there is nothing to build")
    selected = [argument for package in packages for argument in ("--package", package["id"])]
    done = subprocess.run([*BUILD, "--bins", *selected], cwd=folder, check=False, stdout=subprocess.PIPE)
    if done.returncode:
        raise DistError(
            f"`cargo build` failed with exit code {done.returncode} and the errors above, so target/dist is unchanged"
        )
    target = folder / "target" / "dist"
    shutil.rmtree(target, ignore_errors=True)
    (target / "bin").mkdir(parents=True)
    messages = map(json.loads, done.stdout.splitlines())
    programs = [Path(message["executable"]) for message in messages if message.get("executable")]
    for program in programs:
        shutil.copy2(program, target / "bin")
    names = sorted(program.name for program in programs)
    sums = "".join(f"{_sha256(target / 'bin' / name)}  bin/{name}\n" for name in names)
    (target / SUMS).write_text(sums, encoding="utf-8", newline="\n")
    return sums


def _has_program(package: dict[str, Any]) -> bool:
    # A package `xtask` is a tool for those who work on the crate.
    return package["name"] != "xtask" and any("bin" in target["kind"] for target in package["targets"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
