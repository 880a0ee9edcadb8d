"""Updating the crates of a repository on a branch of their own, and leaving its checkout alone."""

import difflib
import os
import re
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fast_rust.answers import read_answers
from fast_rust.errors import FastRustError
from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.outcome import Outcome, State, failed
from fast_rust.fleet.repositories import (
    OWN,
    branch_at_hand,
    clear,
    commit_all,
    git,
    is_commit,
    publish,
    try_git,
    workplace,
)
from fast_rust.fleet.workers import Task
from fast_rust.git import GitError
from fast_rust.update.apply import apply
from fast_rust.update.merge import Fate
from fast_rust.update.plan import OlderReleaseError, Plan, Standing
from fast_rust.update.plan import plan as plan_update

REPORT = "UPDATE-CONFLICTS.md"
SECONDS_A_MINUTE = 60.0
TRAILER = re.compile(r"^Fast-Rust-Update: (\S+) (\w+)$", re.MULTILINE)
# What a commit holds, so that one which somebody has amended is known to be theirs.
TREE = re.compile(r"^Fast-Rust-Tree: (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Wanted:
    """To which release, what has to succeed then, and where the result goes."""

    target: str
    checks: tuple[str, ...]
    max_minutes: int
    logs: Path
    push: bool
    dry_run: bool

    @property
    def branch(self) -> str:
        """The same in every repository and in every run."""
        return f"{OWN}/{self.target}"


def update(task: Task[Wanted]) -> list[Outcome]:
    """Update the crates of a repository: a commit for each, on one branch."""
    frozen = [Outcome(crate.name, State.FROZEN, crate.freeze) for crate in task.crates if crate.freeze]
    crates = [crate for crate in task.crates if not crate.freeze]
    if not crates:
        return frozen
    repository, wanted = crates[0].repository, task.job
    if not repository.is_dir():
        message = f"{repository} is not there: `fast-rust fleet bootstrap` makes or clones it"
        return [*frozen, *(Outcome(crate.name, State.ERROR, message) for crate in crates)]
    base = branch_at_hand(repository)
    clear(repository)
    if base == wanted.branch:
        raise GitError(f"branch {base} is checked out, so it cannot be made: switch to the one it is for")
    existing, is_ours = _existing(repository, base, wanted.branch)
    if existing and not is_ours and all(_is_at(crate, wanted.target) for crate in crates):
        # Squashed and merged, say; the branch is a left-over.
        return [*frozen, *(Outcome(crate.name, State.UP_TO_DATE, wanted.target, _facts(wanted)) for crate in crates)]
    if existing and not is_ours:
        message = f"{existing} has commits of others: merge or delete it"
        return [*frozen, *(Outcome(crate.name, State.CHANGED_BY_OTHERS, message) for crate in crates)]
    if existing and _is_on_top(repository, base, existing) and {crate.name for crate in crates} <= is_ours.keys():
        pushed = _push(repository, wanted) if {State.UPDATED, State.CONFLICT} & {*is_ours.values()} else ""
        return [*frozen, *(_as_it_was(crate, is_ours[crate.name], wanted, pushed) for crate in crates)]
    return [*frozen, *_update(repository, crates, wanted)]


def _existing(repository: Path, base: str, branch: str) -> tuple[str, dict[str, State]]:
    """A branch that is there already, here or on the remote, and for each crate what it holds.

    Nothing where others changed either of them.
    """
    found: dict[str, dict[str, State]] = {}
    for ref in (f"refs/heads/{branch}", _tracking(branch)):
        if is_commit(repository, ref) and not _is_on_top(repository, ref, base):
            found[ref] = _states(repository, base, ref)
    if theirs := next((ref for ref, states in found.items() if not states), None):
        return theirs, {}
    return next(iter(found.items()), ("", {}))


def _is_at(crate: Crate, release: str) -> bool:
    answers = read_answers(crate.folder)
    return answers is not None and answers.release == release


def _tracking(branch: str) -> str:
    """The branch of the remote, as it was when it was fetched or pushed."""
    return f"refs/remotes/origin/{branch}"


def _states(repository: Path, base: str, ref: str) -> dict[str, State]:
    """What a branch holds of each crate; nothing where a commit of it is not as it was made here."""
    states: dict[str, State] = {}
    for entry in filter(None, git(repository, "log", "-z", "--format=%T%n%B", f"{base}..{ref}").split("\0")):
        tree, _, message = entry.partition("\n")
        trailers = TRAILER.findall(message)
        if not trailers or TREE.findall(message) != [tree]:
            return {}
        states |= {crate: STATES[what] for crate, what in trailers}
    return states


STATES = {"updated": State.UPDATED, "conflict": State.CONFLICT, "nothing": State.UP_TO_DATE}


def _is_on_top(repository: Path, base: str, branch: str) -> bool:
    """Whether a branch has all of its base."""
    return try_git(repository, "merge-base", "--is-ancestor", base, branch).returncode == 0


def _as_it_was(crate: Crate, state: State, wanted: Wanted, pushed: str) -> Outcome:
    there = State.THERE if state is State.UPDATED else state
    detail = f"see {REPORT} on branch {wanted.branch}" if state is State.CONFLICT else f"branch {wanted.branch}"
    return Outcome(crate.name, there, "; ".join(filter(None, [detail, pushed])), _facts(wanted))


def _facts(wanted: Wanted) -> dict[str, Any]:
    return {"target": wanted.target, "branch": wanted.branch}


def _update(repository: Path, crates: Iterable[Crate], wanted: Wanted) -> list[Outcome]:
    with workplace(repository) as clone:
        outcomes = [_update_in(clone, crate, wanted) for crate in crates]
        changed = [one for one in outcomes if one.state in {State.UPDATED, State.CONFLICT}]
        # The branch says of each crate what became of it, so that a later run need not try again.
        if changed and (idle := [one for one in outcomes if one.state is State.UP_TO_DATE]):
            lines = "\n".join(_trailer(one.crate, "nothing") for one in idle)
            git(clone, "commit", "--quiet", "--no-verify", "--amend", "--message", f"{_message(clone)}\n{lines}")
        if any(one.state is State.UPDATED for one in outcomes) and (failure := check(clone, wanted, crates)):
            return [_with_failure(one, failure) for one in outcomes]
        if changed and not wanted.dry_run:
            publish(repository, clone, wanted.branch)
    if pushed := _push(repository, wanted) if changed else "":
        outcomes = [Outcome(one.crate, one.state, f"{one.detail}; {pushed}", one.facts) for one in outcomes]
    return outcomes


def _message(clone: Path) -> str:
    return git(clone, "log", "-1", "--format=%B").strip()


def _trailer(crate: str, what: str) -> str:
    return f"Fast-Rust-Update: {crate} {what}"


def _update_in(clone: Path, crate: Crate, wanted: Wanted) -> Outcome:
    folder = clone / crate.subdirectory
    facts = _facts(wanted)
    if not folder.is_dir():
        return Outcome(crate.name, State.ERROR, f"{crate.subdirectory} is not on the branch that is checked out", facts)
    try:
        plan = plan_update(folder, wanted.target)
        if isinstance(plan, Standing):
            return Outcome(crate.name, State.UP_TO_DATE, wanted.target, facts)
        move = f"{plan.answers.release} to {plan.target}"
        facts |= {"release": plan.answers.release, "touches": {p: str(c.fate) for p, c in plan.changes.items()}}
        if conflicts := plan.having(Fate.CONFLICT):
            (folder / REPORT).write_text(report(crate, plan), encoding="utf-8")
            message = f"Report why {crate.name} cannot come from {move} by itself"
            commit_all(clone, crate.subdirectory, f"{message}\n\n{_trailer(crate.name, 'conflict')}")
            return Outcome(crate.name, State.CONFLICT, f"{move}, conflicts in {', '.join(conflicts)}", facts)
        lock = apply(plan)
        notes = [*_notes(plan), *([f"Cargo.lock: {lock}"] if lock else [])]
        body = "".join(f"{note}\n" for note in notes)
        commit_all(
            clone,
            crate.subdirectory,
            f"Update {crate.name} from {move} of the template\n\n{body}{_trailer(crate.name, 'updated')}",
        )
        return Outcome(crate.name, State.UPDATED, "; ".join([move, *notes]), facts)
    except OlderReleaseError as error:
        return Outcome(crate.name, State.UP_TO_DATE, str(error), facts)
    except FastRustError as error:
        # What it left half done is no part of the branch.
        git(clone, "reset", "--quiet", "--hard")
        git(clone, "clean", "-d", "--force", "--quiet")
        # People know the crate by where it lives, not by where it was worked on.
        said = str(error).replace(str(clone), str(crate.repository))
        return Outcome(crate.name, State.ERROR, " ".join(said.split()), facts)


def _notes(plan: Plan) -> list[str]:
    kept = [f"{path} is no longer the template's; you had changed it, so it stays" for path in plan.having(Fate.KEPT)]
    changed = [f"the release did not take the answer to {name} as it was" for name in plan.changed_answers]
    return [*kept, *changed]


def report(crate: Crate, plan: Plan) -> str:
    """What a person finds on the branch where both sides changed the same lines: no markers, and what to type."""
    conflicts = plan.having(Fate.CONFLICT)
    sections = [
        f"# {crate.name} cannot come from {plan.answers.release} to {plan.target} by itself\n",
        "The crate and the release changed the same lines. On this branch nothing is updated yet. Type here:\n",
        "```sh",
        f"git rm --quiet {REPORT} && git commit --quiet --message 'Take up the update'",
        f"fast-rust update --to {plan.target}   # then look for <<<<<<< in the files below",
        "git add --all && git commit\n```\n",
    ]
    for path in conflicts:
        before, own, after = ((side or b"").decode(errors="replace").splitlines() for side in plan.changes[path].sides)
        sections.append(f"## {path}\n")
        for title, side in (("The crate changed", own), ("The release changes", after)):
            lines = difflib.unified_diff(before, side, lineterm="", n=1)
            # Indented, so that no line looks like a marker of a conflict.
            sections.append(f"{title}:\n\n" + "".join(f"    {line}\n" for line in list(lines)[2:]))
    return "\n".join(sections)


def check(clone: Path, wanted: Wanted, crates: Iterable[Crate]) -> str:
    """Run the checks in the updated crates; the first that fails is named, and its output kept."""
    command = " ".join(wanted.checks)
    for crate in crates if wanted.checks else ():
        wanted.logs.mkdir(parents=True, exist_ok=True)
        log = wanted.logs / f"{crate.name}.log"
        try:
            code = _run_check(wanted, clone / crate.subdirectory, log)
        except OSError as error:
            return f"{wanted.checks[0]}: {error.strerror}"
        except subprocess.TimeoutExpired:
            return f"`{command}` took more than {wanted.max_minutes} minutes, so there is no branch: see {log}"
        if code:
            return f"`{command}` ended with {code}, so there is no branch: see {log}"
        log.unlink()
    return ""


def _run_check(wanted: Wanted, folder: Path, log: Path) -> int:
    """Run a check with its output in a file, and end whatever it leaves running, which would hold up the fleet."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            list(wanted.checks),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            return process.wait(wanted.max_minutes * SECONDS_A_MINUTE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _with_failure(outcome: Outcome, failure: str) -> Outcome:
    if outcome.state is State.UPDATED:
        return Outcome(outcome.crate, State.CHECKS_FAILED, failure, outcome.facts)
    return outcome


def _push(repository: Path, wanted: Wanted) -> str:
    if not wanted.push or wanted.dry_run:
        return ""
    ref = f"refs/heads/{wanted.branch}"
    if not is_commit(repository, ref):
        return ""
    # Over what was looked at, and over nothing that came to the remote since.
    seen = try_git(repository, "rev-parse", "--verify", "--quiet", _tracking(wanted.branch)).stdout.strip()
    git(repository, "push", "--quiet", f"--force-with-lease={ref}:{seen}", "origin", f"{ref}:{ref}")
    return "pushed"


# --- One repository at a time, for a runner that has its own branches ---


def update_here(folder: Path, target: str | None, *, dry_run: bool = False) -> Outcome:
    """Update the crate in a folder, in its checkout: for a runner that commits what it finds.

    Where there is a conflict, nothing is changed.
    """
    name = folder.resolve().name
    try:
        plan = plan_update(folder, target)
        if isinstance(plan, Standing):
            return Outcome(name, State.UP_TO_DATE)
        move = f"{plan.answers.release} to {plan.target}"
        if conflicts := plan.having(Fate.CONFLICT):
            return Outcome(name, State.CONFLICT, f"{move}, conflicts in {', '.join(conflicts)}; nothing was changed")
        if not dry_run:
            apply(plan)
        return Outcome(name, State.UPDATED, "; ".join([move, *_notes(plan)]))
    except OlderReleaseError as error:
        return Outcome(name, State.UP_TO_DATE, str(error))
    except FastRustError as error:
        return failed(name, error)
