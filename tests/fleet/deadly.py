"""A task that kills its own process; in a module that a new process can import."""

import os
import signal

from fast_rust.fleet.outcome import CrateState, Outcome
from fast_rust.fleet.workers import Task


def die(task: Task[None]) -> list[Outcome]:
    """Kill the process at the crate `b`."""
    if task.crates[0].name == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return [Outcome(task.crates[0].name, CrateState.EXISTS)]
