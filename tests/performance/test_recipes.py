"""What the recipes for speed do where their tools are there, and what they say where not."""

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
    """Write a program for the shell."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare(workshop: Workshop, tmp_path: Path) -> Path:
    """A PATH with what every crate needs, and a compiler whose toolchain has no llvm-tools."""
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
    """A program for the oldest processors that have AVX2."""
    return workshop.crate("trained", kind="cli", cpu_level="x86-64-v3")


def test_pgo_builds_compares_and_says_what_it_brought(workshop: Workshop, program: Path) -> None:
    """With an llvm-profdata that fits; instructions repeat, so these have to be fewer."""
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
    """The flags of the crate and those of PGO reach the compiler together, and only what ships."""
    log = tmp_path / "log"
    wrapper = tmp_path / "wrapper"
    # What cargo compiles for a named target is only written down; build scripts run, and ask the compiler themselves.
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
def test_pgo_says_which_profdata_it_needs(
    workshop: Workshop, program: Path, bare: Path, version: str | None, seen: str
) -> None:
    """Before it builds anything: one that is too old cannot read what the compiler writes."""
    if version:
        script(bare / "llvm-profdata", f"echo 'Debian LLVM version {version}'")
    done = workshop.try_to(program, "just", "pgo", PATH=str(bare))
    assert done.returncode != 0
    assert re.search(r"PGO needs llvm-profdata of LLVM \d+, the LLVM of rustc, or newer", done.stdout)
    assert seen in done.stdout
    assert "rustup component add llvm-tools" in done.stdout


def test_pgo_refuses_a_program_that_answers_otherwise(tmp_path: Path) -> None:
    """What is quick and wrong is not better."""
    for name in ("plain", "optimised"):
        script(tmp_path / name, f"echo {name}")
    # A load that asks the program once, and takes a second.
    load = tmp_path / "load"
    script(load, 'echo 1; shift; "$@"')
    workspace = Workspace([], tmp_path, "host", 1)
    with pytest.raises(PgoError, match="do not ship it"):
        compare(workspace, load, tmp_path / "plain", tmp_path / "optimised")


@pytest.mark.parametrize(("after", "better"), [(0.8, True), (1.0, False), (1.2, False)])
def test_pgo_says_when_it_is_not_better(after: float, better: bool) -> None:
    """Fewer instructions alone do not make a program faster."""
    comparison = Comparison((100, 90), ([1.0] * 7, [after] * 7))
    assert any("NOT certain" in line for line in report(comparison)) is not better


def test_pgo_has_nothing_to_ship_of_a_library(workshop: Workshop) -> None:
    """Which is an error, as for `just dist`."""
    done = workshop.try_to(workshop.crate("nothing-to-train", kind="lib"), "just", "pgo")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        2,
        "error: no package of the workspace has a binary target, so there is nothing to optimise",
    )


def test_pgo_says_how_to_write_a_load(workshop: Workshop) -> None:
    """A program without the sample has none yet."""
    done = workshop.try_to(workshop.crate("untrained", kind="cli", sample=False), "just", "pgo")
    assert done.returncode != 0
    assert (
        "PGO needs a load to profile untrained; write the example `load` of the package untrained-bench" in done.stdout
    )


def test_pgo_refuses_flags_that_would_override_its_own(workshop: Workshop, program: Path) -> None:
    """Cargo takes one source of flags, and the environment comes first."""
    done = workshop.try_to(program, "just", "pgo", RUSTFLAGS="-Ctarget-cpu=native")
    assert done.returncode != 0
    assert "unset RUSTFLAGS" in done.stdout


def test_flame_records_where_time_goes(workshop: Workshop) -> None:
    """By perf, where that is allowed."""
    if shutil.which("samply"):
        pytest.skip("samply opens a browser")
    perf = shutil.which("perf")
    allowed = perf and subprocess.run(
        [perf, "record", "--output", os.devnull, "true"], check=False, capture_output=True
    )
    if not allowed or allowed.returncode:
        pytest.skip("perf is not there, or may not record here")
    crate = workshop.crate("recorded", kind="lib")
    # Long enough to be met by many samples.
    (crate / "work.py").write_text("print(sum(range(30_000_000)))\n")
    workshop.run(crate, "just", "flame", "python3", "work.py")
    assert (crate / "perf.data").stat().st_size > 0
