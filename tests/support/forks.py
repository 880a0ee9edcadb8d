"""Processes that are copies of this one, with Python, Copier and our modules already loaded.

Each command has a separate process there, with its environment, folder, output and exit code, and can be killed; it
only saves the half second in which Python loads everything. Modules that read the environment when they are loaded get
the new one. Tests of Python itself (its encoding, an installation, a closed pipe) need a real start.
"""

import contextlib
import functools
import gc
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile

from plumbum import local


def renew() -> None:
    """Reset in a copy everything that this process has cached from its environment."""
    local.env.clear()
    local.env.update(os.environ)
    for name, module in list(sys.modules.items()):
        if name.startswith("fast_rust"):
            for each in vars(module).values():
                if isinstance(each, functools._lru_cache_wrapper):  # noqa: SLF001  It has no other name.
                    each.cache_clear()
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")


def run_here(
    work: Callable[[], object],
    arguments: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a function in a copy of this process, as the command in the first argument, and wait for its end.

    It is killed after the given seconds. A program that a killed process has started may still write, so this waits for
    it, too.
    """
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        child = os.fork()
        if not child:
            _be_a_process(work, arguments, folder, environment, stdout.fileno(), stderr.fileno())
        status = _wait(child, seconds)
        if os.WIFSIGNALED(status):
            _wait_for_group(child)
        outputs = []
        for file in (stdout, stderr):
            file.seek(0)
            outputs.append(file.read().decode(errors="replace"))
    return subprocess.CompletedProcess([*arguments], os.waitstatus_to_exitcode(status), *outputs)


def _wait(child: int, seconds: float | None) -> int:
    if seconds is not None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _wait_for_group(leader: int) -> None:
    for _ in range(500):
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def _be_a_process(
    work: Callable[[], object],
    arguments: Sequence[str],
    folder: Path | None,
    environment: Mapping[str, str] | None,
    stdout: int,
    stderr: int,
) -> None:
    code = 1
    try:
        # Enumerating all objects of this process would copy their memory.
        gc.freeze()
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, wanted in enumerate((os.open(os.devnull, os.O_RDONLY), stdout, stderr)):
            os.dup2(wanted, number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  It is closed with the process.
        sys.stdout = _writer(1)
        sys.stderr = _writer(2)
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        if folder is not None:
            os.chdir(folder)
        renew()
        sys.argv = [*arguments]
        code = _exit_code(work)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _writer(number: int) -> TextIOWrapper:
    stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  It is closed with the process.
    assert isinstance(stream, TextIOWrapper)
    return stream


def _exit_code(work: Callable[[], object]) -> int:
    try:
        result = work()
    except SystemExit as end:
        result = end.code
    except BaseException:  # noqa: BLE001  The interpreter would print any of them, and end with 1.
        traceback.print_exc()
        return 1
    if isinstance(result, str):
        print(result, file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0
