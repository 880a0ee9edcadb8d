"""Crates that are built: rendered once, all with one target folder, and the commands that run in them."""

import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from support.command import COMMAND
from support.git import start_history
from support.template import Template
from support.variants import CHECKOUT, Answers, Variant

# These builds are not debugged, and each crate is built once.
QUICK_BUILDS = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_INCREMENTAL": "0", "CARGO_TERM_COLOR": "never"}
# Benches whose tests do not measure the release profile skip the settings that make linking slow.
QUICK_BENCHES = {
    "CARGO_PROFILE_BENCH_LTO": "off",
    "CARGO_PROFILE_BENCH_CODEGEN_UNITS": "4",
    "CARGO_PROFILE_BENCH_DEBUG": "0",
}
# Programs that are tested only for their behaviour are built without the optimisation that takes most of a build.
QUICK_RELEASE = {
    **{name.replace("BENCH", "RELEASE"): value for name, value in QUICK_BENCHES.items()},
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
}
# Packages that no bench that counts instructions runs, and that few link: the dependencies of criterion and dhat, and
# packages that read a command line or write to a terminal.
NOT_COUNTED = (
    "anes ciborium ciborium-io ciborium-ll criterion criterion-plot half itertools num-traits regex regex-automata"
    " regex-syntax tinytemplate walkdir zerocopy addr2line backtrace dhat gimli miniz_oxide object rustc-demangle"
    " clap clap_builder clap_complete clap_mangen console csv csv-core indicatif"
)
# With the examples, since they use the dependencies of the tests, so both builds have the same features.
BUILD = ("cargo", "build", "--workspace", "--bins", "--examples")
# A build script runs on this machine, so it is compiled as usual. The wrapper is not for sh, which drops variables
# whose name has a hyphen, such as the variable with the path of a program.
OWN_CODE_ONLY = """#!/usr/bin/env bash
case "$CARGO_PRIMARY_PACKAGE $*" in
    " "* | *"--crate-name build_script"*) exec "$@" ;;
    *) exec "$@" $OWN_FLAGS ;;
esac
"""
DEFAULT_UNITS = "256"
NAMES = {"lib": "totals", "cli": "totals-cli", "service": "totals-service"}


@dataclass(frozen=True)
class Workshop:
    """The folder of the crates, and the environment of their tools."""

    template: Template
    folder: Path
    environment: Mapping[str, str]

    def crate(self, name: str, **answers: str | bool) -> Path:
        """Return a separate crate to build and to edit, newly made from the template."""
        return self._place(self.folder / name, {"crate_name": name, **answers})

    def ready(self, kind: str) -> Path:
        """Return the committed crate of a kind with the most common answers; tests share it, and must not change it."""
        crate = self.folder / NAMES[kind]
        if not crate.exists():
            start_history(self.crate(crate.name, kind=kind))
        return crate

    def variant(self, variant: Variant) -> Path:
        """Return the workspace to build a variant in: the crate itself, or the workspace that it is a member of."""
        answers, name = variant.answers, program_name(variant)
        workspace = self.folder / (name if answers["place"] == "repository" else f"in-{name}")
        if not workspace.exists():
            if answers["place"] == "repository":
                return self.crate(name, **answers)
            self.crate(workspace.name, kind="lib", sample=False)
            self.add_member(workspace, name, answers)
        return workspace

    def add_member(self, workspace: Path, name: str, answers: Answers) -> None:
        """Make a further crate in a workspace, and list it as the message after copying says."""
        crate = self._place(workspace / "crates" / name, {**answers, "crate_name": name, "place": "member"})
        manifest = workspace / "Cargo.toml"
        document = tomlkit.parse(manifest.read_text(encoding="utf-8"))
        for folder in (crate, crate / "bench"):
            if folder.exists():
                document["workspace"]["members"].append(folder.relative_to(workspace).as_posix())
        if answers["kind"] != "lib":
            document["profile"]["release"] = {"lto": "fat", "codegen-units": 1, "panic": "unwind"}
        manifest.write_text(tomlkit.dumps(document), encoding="utf-8")

    def run(self, folder: Path, *command: str, **environment: str) -> str:
        """Run a command that must succeed, and return all its output."""
        done = self.try_to(folder, *command, **environment)
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-20_000:]}"
        return done.stdout

    def try_to(self, folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail; its standard error is part of its output."""
        return subprocess.run(
            command,
            cwd=folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def debug_binary(self, crate: Path, **environment: str) -> Path:
        """Build a crate with the dependencies of its tests, and return a copy of the program."""
        self.run(crate, *BUILD, **environment)
        built = Path(self.environment["CARGO_TARGET_DIR"]) / "debug" / crate.name
        # Another crate of this name would replace it.
        return Path(shutil.copy2(built, Path(tempfile.mkdtemp(dir=self.folder.parent)) / crate.name))

    def release_binary(self, crate: Path, **environment: str) -> Path:
        """Build a crate in its release profile with an environment, and return the program."""
        self.run(crate, "cargo", "build", "--release", **environment)
        return Path(self.environment["CARGO_TARGET_DIR"]) / "release" / crate.name

    def _place(self, crate: Path, answers: Answers) -> Path:
        shutil.copytree(self.template.rendering(answers), crate)
        return crate


def program_name(variant: Variant) -> str:
    """Return the name of the crate of a variant."""
    return str(variant).replace("_", "-")


def flags_of_own_code(workshop: Workshop, crate: Path) -> dict[str, str]:
    """Return an environment that passes a crate's flags to its own code only, so that dependencies are not rebuilt."""
    configuration = crate / ".cargo" / "config.toml"
    if not configuration.exists():
        return {}
    [target] = tomllib.loads(configuration.read_text(encoding="utf-8"))["target"].values()
    wrapper = workshop.folder / "own-code-only"
    wrapper.write_text(OWN_CODE_ONLY, encoding="utf-8")
    wrapper.chmod(0o755)
    return {"RUSTFLAGS": "", "RUSTC_WRAPPER": str(wrapper), "OWN_FLAGS": " ".join(target["rustflags"])}


def make_workshop(template: Template, folder: Path) -> Workshop:
    """Return a workshop in which all crates share one target folder, so that dependencies are built once."""
    do_without_optimisation(folder.parent)
    target = Path(os.environ.get("FAST_RUST_TARGET", CHECKOUT / "build" / "target"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CARGO_BUILD", "RUSTFLAGS"))}
    # These crates use this checkout as their tool, since no git repository has their pin.
    own = {"CARGO_TARGET_DIR": str(target), "FAST_RUST": COMMAND}
    # Another number gives the crates of a concurrent pytest run separate files in the target folder.
    units = {"CARGO_PROFILE_DEV_CODEGEN_UNITS": os.environ.get("FAST_RUST_CODEGEN_UNITS", DEFAULT_UNITS)}
    return Workshop(template, folder, {**inherited, **QUICK_BUILDS, **units, **own})


def do_without_optimisation(folder: Path) -> None:
    """Build packages that benches do not count without optimisation, and dependencies in the same way, below a folder.

    Cargo reads the settings of all folders above a crate. Variables cannot name a package.
    """
    settings = folder / ".cargo" / "config.toml"
    settings.parent.mkdir(exist_ok=True)
    packages = "".join(f"{name} = {{ opt-level = 0, debug = 0 }}\n" for name in NOT_COUNTED.split())
    dependencies = f'[profile.dev.package."*"]\ncodegen-units = {DEFAULT_UNITS}\n'
    settings.write_text(f"{dependencies}[profile.bench.package]\n{packages}", encoding="utf-8")
