"""Builds the programs of the workspace with a profile of their own work (PGO), and says what that brought.

`just pgo` runs this. Each program is built three times: as it ships; instrumented, to be put under the load of
bench/examples/load.rs; and optimised by what that run counted. The last one is kept in target/pgo, and compared with
the first: the same answers, instructions by callgrind where valgrind is there, and time.

Exit codes: 0 it was built and compared, better or not; 2 something is missing or failed, and the message says what.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Rounds of the load: to train, to count under valgrind, and to time, where a run has to outlast its own start.
TRAINING, COUNTED, TIMED = 5, 1, 20
PAIRS = 7
# Less is noise: a program that does the same work may be laid out in another way.
NOTICEABLE = 0.01


class PgoError(Exception):
    """It cannot go on; the message says why, and what to type."""


class MergerMissingError(PgoError):
    """There is no llvm-profdata that reads what the compiler writes."""


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


@dataclass(frozen=True)
class Comparison:
    """What the plain build and the optimised one took, in this order."""

    instructions: tuple[int, int] | None
    seconds: tuple[list[float], list[float]]


def main() -> int:
    """Do all steps for each program."""
    try:
        refuse_flags_in_environment()
        workspace = inspect(Path.cwd())
        if not workspace.programs:
            print("Nothing to ship: this is a library.")
            return 0
        refuse_without_load(workspace)
        merger = find_merger(workspace)
        for program in workspace.programs:
            optimise(workspace, program, merger)
    except PgoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def refuse_flags_in_environment() -> None:
    """Flags of the environment replace all others: the processor level, and the ones that are needed here."""
    for name in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"):
        if os.environ.get(name):
            message = f"{name} is set, and would override .cargo/config.toml and what PGO needs. Type: unset {name}"
            raise PgoError(message)


def refuse_without_load(workspace: Workspace) -> None:
    """What has no load cannot be trained."""
    for program in workspace.programs:
        if not program.has_load:
            message = (
                f"{program.name} has nothing to be trained on. Write the example `load` of {program.bench}: "
                "`load ROUNDS COMMAND...` starts the program by the command, gives it so many rounds of work, and "
                "prints the seconds that the work took, and then the answers"
            )
            raise PgoError(message)


def inspect(crate: Path, target: Path | None = None) -> Workspace:
    """Ask cargo for the programs and its target folder, unless that is given, and rustc for its version."""
    manifest = crate / "Cargo.toml"
    metadata = json.loads(output("cargo", "metadata", "--no-deps", "--format-version=1", f"--manifest-path={manifest}"))
    packages = {package["name"]: package for package in metadata["packages"]}
    programs = [
        Program(name, target["name"], f"{name}-bench", has_load(packages.get(f"{name}-bench")))
        for name, package in packages.items()
        for target in package["targets"]
        if target["kind"] == ["bin"]
    ]
    version = output("rustc", "--version", "--verbose")
    facts = dict(re.findall(r"(?m)^(host|LLVM version): (\S+)", version))
    if len(facts) != 2:  # noqa: PLR2004  Both of them.
        message = f"rustc does not say which LLVM it has, so nothing can read its profiles:\n{version}"
        raise PgoError(message)
    llvm = int(facts["LLVM version"].partition(".")[0])
    return Workspace(programs, Path(target or metadata["target_directory"], "pgo"), facts["host"], llvm)


def has_load(bench: dict[str, Any] | None) -> bool:
    """Whether a crate of benches is there, and has the example."""
    return bench is not None and any(
        target["kind"] == ["example"] and target["name"] == "load" for target in bench["targets"]
    )


def find_merger(workspace: Workspace) -> str:
    """Find an llvm-profdata that can read what the compiler writes: the toolchain's, else one of the PATH."""
    own = Path(output("rustc", "--print", "sysroot").strip(), "lib", "rustlib", workspace.host, "bin")
    places = [("llvm-profdata", str(own)), (f"llvm-profdata-{workspace.llvm}", None), ("llvm-profdata", None)]
    found = []
    for name, folder in places:
        program = shutil.which(name, path=folder)
        if program is None:
            continue
        # Old ones know no `--version` of their own.
        stated = re.search(r"LLVM version (\d+)", output(program, "merge", "--version"))
        if stated and int(stated[1]) >= workspace.llvm:
            return program
        found.append(f"{program} is of LLVM {stated[1] if stated else 'unknown'}")
    seen = "; ".join(found) or "there is none"
    message = (
        f"PGO needs an llvm-profdata of LLVM {workspace.llvm}, as rustc is, or newer: {seen}. "
        "Type: rustup component add llvm-tools"
    )
    raise MergerMissingError(message)


def optimise(workspace: Workspace, program: Program, merger: str) -> None:
    """Build a program with a profile of its load, and compare it with the one that ships."""
    print(f"{program.name}: building it as it ships, and what puts it under load")
    load = build(workspace, "--package", program.bench, "--example", "load")
    plain = keep(workspace, build_program(workspace, program, None), "plain")
    print(f"{program.name}: building it instrumented, and training")
    instrumented = keep(workspace, build_program(workspace, program, "-Cprofile-generate"), "instrumented")
    profile = train(workspace, load, instrumented, merger)
    print(f"{program.name}: building it optimised, and comparing")
    optimised = keep(workspace, build_program(workspace, program, f"-Cprofile-use={profile}"), "")
    comparison = compare(workspace, load, plain, optimised)
    for line in report(comparison):
        print(f"{program.name}: {line}")
    print(f"{program.name}: it is {optimised}")


def build_program(workspace: Workspace, program: Program, flag: str | None) -> Path:
    """Build a program as it ships, with one more flag for the compiler."""
    options = ["--release", "--package", program.package, "--bin", program.name]
    if flag:
        # Cargo joins the flags of a target with those of `cfg(...)`, which .cargo/config.toml has. With a target that
        # is named they are not for build scripts, which would be instrumented, too.
        flags = f"target.{workspace.host}.rustflags=[{json.dumps(flag)}]"
        options += ["--target", workspace.host, "--config", flags]
    return build(workspace, *options)


def build(workspace: Workspace, *options: str) -> Path:
    """Build one program, and return where cargo put it."""
    workspace.folder.mkdir(parents=True, exist_ok=True)
    messages = output("cargo", "build", "--message-format=json-render-diagnostics", "--quiet", *options)
    artifacts = (json.loads(line) for line in messages.splitlines() if line.startswith("{"))
    [executable] = [artifact["executable"] for artifact in artifacts if artifact.get("executable")]
    return Path(executable)


def keep(workspace: Workspace, built: Path, folder: str) -> Path:
    """Copy a program away from where the next build replaces it."""
    kept = workspace.folder / folder / built.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(built, kept))


def train(workspace: Workspace, load: Path, instrumented: Path, merger: str) -> Path:
    """Run the load, and merge what was counted into a file whose name tells its content.

    Cargo looks at flags, not into files: by a name that stayed, it would not build the dependencies anew.
    """
    workspace.folder.mkdir(parents=True, exist_ok=True)
    raw = workspace.folder / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    for old in workspace.folder.glob("*.profdata"):
        old.unlink()
    output(load, str(TRAINING), instrumented, LLVM_PROFILE_FILE=str(raw / "%m-%p.profraw"))
    counted = sorted(raw.glob("*.profraw"))
    if not counted:
        message = f"the training left no profile in {raw}: did {instrumented.name} end by itself?"
        raise PgoError(message)
    merged = workspace.folder / "merged.profdata"
    output(merger, "merge", f"--output={merged}", *counted)
    digest = hashlib.sha256(merged.read_bytes()).hexdigest()[:16]
    return merged.rename(merged.with_name(f"{instrumented.stem}-{digest}.profdata"))


def compare(workspace: Workspace, load: Path, plain: Path, optimised: Path) -> Comparison:
    """Run both on the same load; what they answer has to be the same.

    The time is taken in pairs, so that a machine that slows down does so for both.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(PAIRS):
        answers = []
        for program, times in zip((plain, optimised), seconds):
            took, answer = run_load(load, TIMED, program)
            times.append(took)
            answers.append(answer)
        if answers[0] != answers[1]:
            message = f"{optimised} answers other than {plain} under the same load: do not ship it"
            raise PgoError(message)
    if not shutil.which("valgrind"):
        return Comparison(None, seconds)
    counts = [count(workspace.folder, load, program) for program in (plain, optimised)]
    return Comparison((counts[0], counts[1]), seconds)


def run_load(load: Path, rounds: int, *command: str | Path) -> tuple[float, str]:
    """Put a program under load: the seconds of the work, and what it answered."""
    seconds, _, answer = output(load, str(rounds), *command).partition("\n")
    return float(seconds), answer


def count(folder: Path, load: Path, program: Path) -> int:
    """Instructions of a run from start to end, by callgrind, whose file is left in the folder."""
    counted = folder / "callgrind.out"
    run_load(load, COUNTED, "valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={counted}", program)
    [total] = re.findall(r"(?m)^(?:summary|totals): (\d+)", counted.read_text("utf-8"))[-1:]
    return int(total)


def percent(ratio: float) -> str:
    """How much more or less a ratio is than one."""
    return f"{(ratio - 1) * 100:+.1f} %"


def report(comparison: Comparison) -> list[str]:
    """The figures, and whether it is worth its while."""
    ratios = sorted(after / before for before, after in zip(*comparison.seconds))
    time = statistics.median(ratios)
    plain, optimised = map(statistics.median, comparison.seconds)
    lines = ["the answers are the same"]
    if comparison.instructions:
        before, after = comparison.instructions
        lines.append(f"instructions {before:,} -> {after:,} ({percent(after / before)})")
    else:
        lines.append("instructions not counted: valgrind is not there")
    spread = f"{PAIRS} pairs from {percent(ratios[0])} to {percent(ratios[-1])}"
    lines.append(f"time {plain:.3f} s -> {optimised:.3f} s ({percent(time)}; {spread})")
    if time > 1 - NOTICEABLE or ratios[-1] > 1:
        lines.append("NOT better for certain: ship it only if you see more on your machines")
    return lines


def output(program: str | Path, *arguments: str | Path, **environment: str) -> str:
    """What a program prints that has to succeed."""
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=False, stdout=subprocess.PIPE, encoding="utf-8"
    )
    if done.returncode:
        message = f"this ended with {done.returncode}: {' '.join(command)}"
        raise PgoError(message)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
