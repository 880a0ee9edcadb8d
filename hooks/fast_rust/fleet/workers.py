"""Worker processes: Copier changes the folder it stands in, so threads would get in each other's way."""

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock, Timeout

from fast_rust.cache import cache_folder
from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.outcome import Outcome, failed
from fast_rust.git import PATIENT_SSH

Job = TypeVar("Job")
_held: list[FileLock] = []


@dataclass(frozen=True)
class Task(Generic[Job]):
    """The crates of one repository, which go through one worker, and what is to be done to them."""

    crates: tuple[Crate, ...]
    job: Job


def by_repository(crates: Sequence[Crate]) -> list[tuple[Crate, ...]]:
    """The crates of each repository, in the order of the manifest."""
    found: dict[Path, list[Crate]] = {}
    for crate in crates:
        found.setdefault(crate.repository, []).append(crate)
    return [tuple(group) for group in found.values()]


def run(
    tasks: Sequence[Task[Job]],
    work: Callable[[Task[Job]], list[Outcome]],
    jobs: int,
    goes_on: Callable[[], bool] = lambda: True,
) -> Generator[tuple[Task[Job], list[Outcome]], None, None]:
    """Do the work in processes, and give each task's outcomes as they come; no task stops the others.

    When a worker dies, for want of memory say, those tasks that may have been the cause are tried again, each alone.
    Once it does not go on, what has not begun is not begun, and what has is brought to its end.
    """
    left = list(tasks)
    while left and goes_on():
        try:
            with _pool(min(jobs, len(left))) as pool:
                for task, outcomes in _rounds(pool, left, work, jobs, goes_on):
                    left.remove(task)
                    yield task, outcomes
        except BrokenProcessPool:
            for task in left[: 2 * jobs]:
                if not goes_on():
                    return
                left.remove(task)
                yield task, _alone(task, work)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(task: Task[Job], work: Callable[[Task[Job]], list[Outcome]]) -> list[Outcome]:
    try:
        with _pool(1) as pool:
            return pool.submit(_guarded, work, task).result()
    except BrokenProcessPool:
        error = RuntimeError("its worker process died: is there memory enough?")
        return [failed(crate.name, error) for crate in task.crates]


def _rounds(
    pool: ProcessPoolExecutor,
    tasks: Sequence[Task[Job]],
    work: Callable[[Task[Job]], list[Outcome]],
    jobs: int,
    goes_on: Callable[[], bool],
) -> Iterator[tuple[Task[Job], list[Outcome]]]:
    # Few at a time, so that what is asked to stop soon does, and a death has few suspects.
    waiting = iter(list(tasks))
    running: dict[Future[list[Outcome]], Task[Job]] = {}
    while True:
        while goes_on() and len(running) < 2 * jobs and (task := next(waiting, None)):
            running[pool.submit(_guarded, work, task)] = task
        if not goes_on():
            running = {future: task for future, task in running.items() if not future.cancel()}
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            yield running.pop(future), future.result()


def _guarded(work: Callable[[Task[Job]], list[Outcome]], task: Task[Job]) -> list[Outcome]:
    try:
        return work(task)
    except Exception as error:  # noqa: BLE001  One bad crate never stops the others.
        return [failed(crate.name, error) for crate in task.crates]


def _begin() -> None:
    """Make a process a worker."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")
    for name in [name for name in os.environ if name.startswith("GIT_") and name in FOREIGN]:
        del os.environ[name]
    # A question, or a server that says nothing, would hold up the fleet for ever.
    os.environ["GIT_TERMINAL_PROMPT"] = "0"
    os.environ.setdefault("GIT_SSH_COMMAND", PATIENT_SSH)
    os.environ.setdefault("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
    os.environ.setdefault("GIT_HTTP_LOW_SPEED_TIME", "60")
    os.environ["COPIER_CACHE_DIR"] = str(_own_folder())


# What git sets for a hook; it would lead every command here to that repository.
FOREIGN = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_COMMON_DIR"}


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, or meet the run that goes on."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _own_folder() -> Path:
    """Copier's mirrors of templates, for this process alone: two that fetch into one destroy it."""
    folder = cache_folder() / "copier"
    folder.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        lock = FileLock(folder / f"{number}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        _held.append(lock)
        break
    return folder / str(number)
