"""Worker processes: Copier changes the current folder, so threads would interfere."""

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Generic, TypeVar

from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.outcome import Outcome, failed

Job = TypeVar("Job")


@dataclass(frozen=True)
class Task(Generic[Job]):
    """The crates of one repository, which one worker takes, and the job to do on them."""

    crates: tuple[Crate, ...]
    job: Job


def by_repository(crates: Sequence[Crate]) -> list[tuple[Crate, ...]]:
    """Return the crates of each repository, in the order of the manifest."""
    found: dict[Path, list[Crate]] = {}
    for crate in crates:
        found.setdefault(crate.repository, []).append(crate)
    return [tuple(group) for group in found.values()]


def work_on(
    tasks: Sequence[Task[Job]],
    work: Callable[[Task[Job]], list[Outcome]],
    jobs: int,
    may_continue: Callable[[], bool] = lambda: True,
) -> Generator[tuple[Task[Job], list[Outcome]], None, None]:
    """Do the work in processes, and yield each task with its outcomes as they arrive; no task stops the others.

    When a worker dies, as where memory runs out, the tasks that may be the cause are tried again, each alone.
    Once the run may not continue, tasks that have not begun are left, and those that have are completed.
    """
    left = list(tasks)
    while left and may_continue():
        try:
            with _pool(min(jobs, len(left))) as pool:
                for task, outcomes in _rounds(pool, left, work, jobs, may_continue):
                    left.remove(task)
                    yield task, outcomes
        except BrokenProcessPool:
            for task in left[: 2 * jobs]:
                if not may_continue():
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
        error = RuntimeError("its worker process died; check the free memory, or use fewer --jobs")
        return [failed(crate.name, error) for crate in task.crates]


def _rounds(
    pool: ProcessPoolExecutor,
    tasks: Sequence[Task[Job]],
    work: Callable[[Task[Job]], list[Outcome]],
    jobs: int,
    may_continue: Callable[[], bool],
) -> Iterator[tuple[Task[Job], list[Outcome]]]:
    # Few at a time, so that a run stops soon, and the death of a worker has few possible causes.
    waiting = iter(list(tasks))
    running: dict[Future[list[Outcome]], Task[Job]] = {}
    while True:
        while may_continue() and len(running) < 2 * jobs and (task := next(waiting, None)):
            running[pool.submit(_guarded, work, task)] = task
        if not may_continue():
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
    # No person answers a question here.
    os.environ["GIT_TERMINAL_PROMPT"] = "0"


def _end_with_parent() -> None:
    """End the worker when its parent is killed: it would wait for work forever, or run next to the resumed run."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
