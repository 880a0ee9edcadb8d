"""A program that is built for newer processors prints an error on an older one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.workshop import Workshop, flags_of_own_code


@pytest.fixture(scope="module")
def program(workshop: Workshop) -> Path:
    """Build the crate's own code for processors with AVX2, and link it with dependencies from other tests' builds."""
    crate = workshop.crate("modern", kind="cli", cpu_level="x86-64-v3")
    return workshop.release_binary(crate, **flags_of_own_code(workshop, crate))


def run_on(processor: str, program: Path) -> subprocess.CompletedProcess[str]:
    """Run a program on an emulated processor."""
    emulator = shutil.which("qemu-x86_64")
    assert emulator, "qemu-x86_64 is not there: apt-get install qemu-user"
    command = [emulator, "-cpu", processor, str(program), "--format", "csv"]
    return subprocess.run(command, input="a;1", capture_output=True, text=True, check=False, timeout=60)


def test_an_old_processor_is_rejected_with_a_message(program: Path) -> None:
    """Otherwise the program would stop at an illegal instruction."""
    done = run_on("Nehalem", program)
    message = "error: this program is built for processors with AVX, which this one lacks\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_a_newer_processor_is_accepted(program: Path) -> None:
    """The emulator warns of features that it does not emulate; the program does not need them."""
    done = run_on("Haswell", program)
    assert (done.returncode, done.stdout) == (0, "key,count,min,mean,max\na,1,1,1,1\n")
