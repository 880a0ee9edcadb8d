"""The recipes for speed, with their tools, and their messages without them."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from fast_rust.pgo.building import build_program
from fast_rust.pgo.comparing import Comparison, compare, report
from fast_rust.pgo.programs import PgoError
from fast_rust.pgo.workspace import Workspace, inspect
from support.workshop import Workshop


def script(path: Path, text: str) -> None:
    """Write a shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare(workshop: Workshop, tmp_path: Path) -> Path:
    """A PATH with the programs that every crate needs, and a compiler whose toolchain has no llvm-tools."""
    for name in ("cargo", "cc", "just", "ld", "python3", "sh"):
        (tmp_path / name).symlink_to(workshop.run(tmp_path, "which", name).strip())
    rustc = workshop.run(tmp_path, "which", "rustc").strip()
    script(
        tmp_path / "rustc",
        f'if [ "$*" = "--print sysroot" ]; then echo {tmp_path}/nowhere; else exec {rustc} "$@"; fi',
    )
    return tmp_path


@pytest.fixture(scope="module")
def program(workshop: Workshop) -> Path:
    """A program for the oldest processors with AVX2."""
    return workshop.crate("trained", kind="cli", cpu_level="x86-64-v3")


def test_pgo_builds_compares_and_reports_the_gain(workshop: Workshop, program: Path) -> None:
    """With a compatible llvm-profdata; instruction counts are repeatable, so they must decrease."""
    done = workshop.try_to(program, "just", "pgo")
    if "PGO needs llvm-profdata" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout
    assert "trained: both builds print the same output" in done.stdout
    counted = re.search(r"instructions ([\d,]+) -> ([\d,]+) \(-", done.stdout)
    assert counted, done.stdout
    assert re.search(r"time [\d.]+ s -> [\d.]+ s \([+-][\d.]+ %; 7 pairs from", done.stdout)
    built = done.stdout.rstrip().rpartition("program is ")[2]
    assert workshop.run(program, built, "--version").startswith("trained 0.1.0")


def test_pgo_keeps_the_processor_level(
    workshop: Workshop, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crate's flags and those of PGO reach the compiler together, for the shipped program only."""
    log = tmp_path / "log"
    wrapper = tmp_path / "wrapper"
    # Cargo's compilations for a named target are only recorded; build scripts run, and call the compiler themselves.
    lines = f'case " $* " in *",link "*" --target "*) echo "$*" >>{log}; exit 1 ;; esac'
    script(wrapper, f'{lines}\nexec "$@"')
    for name, value in {**workshop.environment, "RUSTC_WRAPPER": str(wrapper)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CARGO_TARGET_DIR", str(tmp_path / "target"))
    monkeypatch.chdir(program)
    workspace = inspect(program)
    with pytest.raises(PgoError, match="cargo build"):
        build_program(workspace, workspace.programs[0], "-Cprofile-generate")
    compiled = log.read_text().splitlines()
    assert compiled
    for line in compiled:
        assert "-Ctarget-cpu=x86-64-v3" in line
        assert "-Cprofile-generate" in line


@pytest.mark.parametrize(("version", "seen"), [(None, "not installed"), ("14.0.6", "has LLVM 14")])
def test_pgo_names_the_profdata_that_it_needs(
    workshop: Workshop, program: Path, bare: Path, version: str | None, seen: str
) -> None:
    """Before it builds anything: a version that is too old cannot read the compiler's output."""
    if version:
        script(bare / "llvm-profdata", f"echo 'Debian LLVM version {version}'")
    done = workshop.try_to(program, "just", "pgo", PATH=str(bare))
    assert done.returncode != 0
    assert re.search(r"PGO needs llvm-profdata of LLVM \d+, the LLVM of rustc, or newer", done.stdout)
    assert seen in done.stdout
    assert "rustup component add llvm-tools" in done.stdout


def test_pgo_rejects_a_program_with_other_results(tmp_path: Path) -> None:
    """A faster program with wrong results is not better."""
    for name in ("plain", "optimised"):
        script(tmp_path / name, f"echo {name}")
    # A load that calls the program once, and takes a second.
    load = tmp_path / "load"
    script(load, 'echo 1; shift; "$@"')
    workspace = Workspace([], tmp_path, "host", 1)
    with pytest.raises(PgoError, match="do not ship it"):
        compare(workspace, load, tmp_path / "plain", tmp_path / "optimised")


@pytest.mark.parametrize(("after", "better"), [(0.8, True), (1.0, False), (1.2, False)])
def test_pgo_reports_when_the_result_is_not_faster(after: float, better: bool) -> None:
    """Fewer instructions do not always make a program faster."""
    comparison = Comparison((100, 90), ([1.0] * 7, [after] * 7))
    assert any("NOT certain" in line for line in report(comparison)) is not better


def test_pgo_of_a_library_is_an_error(workshop: Workshop) -> None:
    """The same applies to `just dist`."""
    done = workshop.try_to(workshop.crate("nothing-to-train", kind="lib"), "just", "pgo")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        2,
        "error: no package of the workspace has a binary target, so there is nothing to optimise",
    )


def test_pgo_says_how_to_write_a_load(workshop: Workshop) -> None:
    """A program without the sample has no load yet."""
    done = workshop.try_to(workshop.crate("untrained", kind="cli", sample=False), "just", "pgo")
    assert done.returncode != 0
    assert (
        "PGO needs a load to profile untrained; write the example `load` of the package untrained-bench" in done.stdout
    )


def test_pgo_rejects_flags_that_would_override_its_own(workshop: Workshop, program: Path) -> None:
    """Cargo uses only one source of flags, and the environment takes precedence."""
    done = workshop.try_to(program, "just", "pgo", RUSTFLAGS="-Ctarget-cpu=native")
    assert done.returncode != 0
    assert "unset RUSTFLAGS" in done.stdout


def test_flame_records_a_profile(workshop: Workshop) -> None:
    """It uses perf, if the system permits that."""
    if shutil.which("samply"):
        pytest.skip("samply opens a browser")
    perf = shutil.which("perf")
    allowed = perf and subprocess.run(
        [perf, "record", "--output", os.devnull, "true"], check=False, capture_output=True
    )
    if not allowed or allowed.returncode:
        pytest.skip("perf is not there, or may not record here")
    crate = workshop.crate("recorded", kind="lib")
    # Long enough for many samples.
    (crate / "work.py").write_text("print(sum(range(30_000_000)))\n")
    workshop.run(crate, "just", "flame", "python3", "work.py")
    assert (crate / "perf.data").stat().st_size > 0
