"""A run of a command over a fleet: ring by ring, in worker processes, with a journal."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic

from fast_rust.fleet.journal import Journal, only_run
from fast_rust.fleet.manifest import Manifest
from fast_rust.fleet.outcome import CrateState, Outcome
from fast_rust.fleet.workers import Job, Task, by_repository, work_on

# A run that resumes tries these again.
TRIED_AGAIN = {CrateState.ERROR, CrateState.CHECKS_FAILED}


@dataclass(frozen=True)
class Result:
    """The outcome of each crate of a run, in the order of the manifest."""

    crates: tuple[Outcome, ...]
    stopped: str = ""
    """Why a ring was stopped; empty where none was."""

    @property
    def needs_a_person(self) -> bool:
        """Return whether a person has to act on a crate."""
        return any(outcome.state.needs_a_person for outcome in self.crates)


@dataclass(frozen=True)
class Run(Generic[Job]):
    """A command that is to work on a fleet."""

    manifest: Manifest
    command: str
    """The name of its journal."""
    options: Mapping[str, Any]
    """A run of other options does not resume this one."""
    work: Callable[[Task[Job]], list[Outcome]]
    job_of: Callable[[str], Job]
    """Returns the job of the crates of a ring."""
    jobs: int
    resumes: bool = True
    """Whether a run that was killed resumes; a command that only reads begins from the start."""

    def go(self, show: Callable[[Outcome], None], skip: Callable[[int], None] = lambda _: None) -> Result:
        """Work ring by ring; `show` gets each outcome, `skip` the number of crates that are done already.

        Raises BusyError where another run works on the manifest.
        """
        with only_run(self.manifest):
            journal = Journal(self.manifest.state_folder / f"{self.command}.jsonl", self._options())
            for name in [name for name, outcome in journal.done.items() if outcome.state in TRIED_AGAIN]:
                del journal.done[name]
            skip(len(journal.done))
            resumed = frozenset(journal.done)
            stopped = ""
            for ring in self.manifest.rings:
                if not stopped and not self._ring(ring, journal, resumed, show):
                    stopped = (
                        f"the run stopped in the ring (group of crates) {ring}: the"
                        " checks failed in too many of its crates"
                    )
            crates = self.manifest.crates
            found = (
                journal.done.get(crate.name) or Outcome(crate.name, CrateState.NOT_REACHED, stopped) for crate in crates
            )
            result = Result(tuple(found), stopped)
            journal.end()
        return result

    def _options(self) -> dict[str, Any]:
        names = [crate.name for crate in self.manifest.crates]
        started = {} if self.resumes else {"started": time.time_ns()}
        return {**self.options, "manifest": self.manifest.digest, "crates": names, **started}

    def _ring(self, ring: str, journal: Journal, resumed: frozenset[str], show: Callable[[Outcome], None]) -> bool:
        """Work on the crates of a ring, and return whether the next ring may begin."""
        members = [crate for crate in self.manifest.crates if crate.ring == ring]
        limit = self.manifest.rings[ring].max_failures * len(members)

        def may_continue() -> bool:
            states = [journal.done[crate.name].state for crate in members if crate.name in journal.done]
            return states.count(CrateState.CHECKS_FAILED) <= limit

        groups = [group for group in by_repository(members) if not {crate.name for crate in group} <= resumed]
        tasks = [Task(group, self.job_of(ring)) for group in groups]
        with closing(work_on(tasks, self.work, self.jobs, may_continue)) as results:
            for _, outcomes in results:
                for outcome in outcomes:
                    journal.note(outcome)
                    show(outcome)
        return may_continue()
