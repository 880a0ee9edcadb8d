"""Runs programs that end with us, and asks them for their versions."""

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fast_rust.git import no_git_env

FRAME = re.compile(r" +(\d+: |at )")


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program; when this process is ended, that one ends too, with all processes that it started."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, errors = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def version(program: str, *arguments: str, **environment: str) -> str:
    """Return the version that a program prints; empty where the program is missing."""
    found = shutil.which(program)
    command = [str(found), *(arguments or ["--version"])]
    return run(command, Path.cwd(), {**no_git_env(), **environment}).stdout.strip() if found else ""


def end_of(text: str, lines: int = 12) -> str:
    """Return the first errors and panics, and the last lines, without the frames of a backtrace."""
    printed = [line for line in text.rstrip().splitlines() if not FRAME.match(line)]
    first = [
        # The message of a panic is on the line that follows.
        "\n".join(printed[number : number + 1 + line.startswith("thread")])
        for number, line in enumerate(printed)
        if line.startswith(("error", "thread"))
    ]
    return "\n".join([*first[:3], *printed[-lines:]])


def processor() -> str:
    """Return the model of the processor."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text("utf-8").splitlines() if information.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
