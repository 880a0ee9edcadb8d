"""Making the crates of a manifest that do not exist, and adopting those that do."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from fast_rust.adopt import adoption as adopt
from fast_rust.answers import ANSWERS_FILE, Answers, answers_file
from fast_rust.errors import FastRustError
from fast_rust.fleet.manifest import Crate, Manifest, ManifestError
from fast_rust.fleet.outcome import Outcome, State, failed
from fast_rust.fleet.repositories import git, is_commit
from fast_rust.fleet.workers import Task
from fast_rust.git import GitError
from fast_rust.owned import IDENTITY
from fast_rust.rendering import RenderingError, render

MAIN = "main"


@dataclass(frozen=True)
class Wanted:
    """From which template and release, as Copier is to record them, and whether to push what is new."""

    template: str
    release: str
    push: bool
    dry_run: bool


class RefusedError(FastRustError):
    """Answers that the template does not ask of such a crate."""


def bootstrap(task: Task[Wanted]) -> list[Outcome]:
    """See to it that the crates of a repository exist, and were made from the template or adopted."""
    outcomes = []
    for crate in task.crates:
        if crate.freeze:
            outcomes.append(Outcome(crate.name, State.FROZEN, crate.freeze))
            continue
        try:
            outcomes.append(_bootstrap(crate, task.job))
        except Exception as error:  # noqa: BLE001  One bad crate never stops the others.
            outcomes.append(failed(crate.name, error))
    return outcomes


def _bootstrap(crate: Crate, wanted: Wanted) -> Outcome:
    facts = {"release": wanted.release, "folder": str(crate.folder)}
    if not crate.repository.exists() and not crate.url:
        return _start(crate, wanted, facts)
    if not crate.repository.exists():
        if wanted.dry_run:
            return Outcome(crate.name, State.WOULD_BE_MADE, f"cloned from {crate.url}", facts)
        _clone(crate)
    if not (crate.repository / ".git").exists():
        raise GitError(f"{crate.repository} is there, and is no git repository: `git init`, and commit all")
    if not is_commit(crate.repository, "HEAD"):
        _require_empty(crate.repository)
        return _start(crate, wanted, facts)
    if answers_file(crate.folder).is_file():
        return Outcome(crate.name, State.THERE, _push(crate, wanted), facts)
    if not (crate.folder / "Cargo.toml").is_file():
        message = "a further crate of a repository is made by hand, since its workspace has to name it: docs/create.md"
        return Outcome(crate.name, State.SKIPPED, message, facts)
    return _adopt(crate, wanted, facts)


def _require_empty(repository: Path) -> None:
    """Where HEAD is no commit, only a clone of an empty remote may be exchanged for a new crate.

    Raises GitError where git cannot read the repository, or there is work in it.
    """
    if branches := git(repository, "for-each-ref", "--format=%(refname:short)").split():
        raise GitError(f"{repository} has {branches[0]}, and none of it is checked out: `git switch` to a branch")
    if any(path.name != ".git" for path in repository.iterdir()):
        raise GitError(f"{repository} has files and no commit: commit them, then it is adopted; or delete them")


_not_asked: dict[str, frozenset[str]] = {}


def asked(crate: Crate, wanted: Wanted) -> dict[str, Any]:
    """The answers of a crate that the template asks for; crates of the same choices are looked at once.

    Raises RefusedError where an answer of the crate's own is not asked, RenderingError where one is not valid.
    """
    choices = sorted((name, answer) for name, answer in crate.given.items() if name not in IDENTITY)
    key = json.dumps([wanted.template, wanted.release, choices, sorted(crate.answers)])
    if key not in _not_asked:
        _not_asked[key] = _find_not_asked(crate, wanted)
    return {name: answer for name, answer in crate.given.items() if name not in _not_asked[key]}


def _find_not_asked(crate: Crate, wanted: Wanted) -> frozenset[str]:
    """The answers that do not apply, by Copier itself: it does not record them."""
    # Nothing but the file of answers is rendered, which is quick.
    from copier import run_copy  # noqa: PLC0415

    with TemporaryDirectory(prefix="fast-rust-") as folder:
        try:
            run_copy(
                wanted.template,
                Path(folder) / crate.name,
                # What a crate is called is a matter of its own, and of others than those that are made here.
                data={**crate.given, "crate_name": IDENTITY["crate_name"]},
                vcs_ref=wanted.release,
                defaults=True,
                quiet=True,
                exclude=["*", f"!/{ANSWERS_FILE}"],
            )
        except ValueError as error:
            raise RenderingError(str(error).strip().splitlines()[-1]) from error
        recorded = yaml.safe_load((Path(folder) / crate.name / ANSWERS_FILE).read_text(encoding="utf-8"))
    if refused := [name for name in crate.answers if name not in recorded]:
        choice = ", ".join(f"{name} {recorded[name]}" for name in ("kind", "place") if name in recorded)
        raise RefusedError(f"the template does not ask {', '.join(refused)} of it ({choice}): take that out")
    return frozenset(crate.given.keys() - recorded.keys())


def require_answers_that_apply(manifest: Manifest, release: str) -> None:
    """Refuse the manifest where answers do not apply to a crate; crates of the same choices are asked about once.

    Raises ManifestError.
    """
    wanted = Wanted(manifest.template, release, push=False, dry_run=True)
    faults = []
    for crate in manifest.crates:
        try:
            if crate.freeze or answers_file(crate.folder).is_file():
                continue
            asked(crate, wanted)
        except OSError:
            # What cannot be read is said of the crate by who works on it.
            continue
        except (RefusedError, RenderingError) as error:
            faults.append(f"{manifest.path}:{crate.line}: crates.{crate.name}.answers: {error}")
    if faults:
        raise ManifestError("\n".join(faults))


def _start(crate: Crate, wanted: Wanted, facts: Mapping[str, Any]) -> Outcome:
    choices = asked(crate, wanted)
    if crate.subdirectory != ".":
        message = "the repository is not there: give its root a row, and make this crate by hand: docs/create.md"
        return Outcome(crate.name, State.SKIPPED, message, facts)
    if wanted.dry_run:
        return Outcome(crate.name, State.WOULD_BE_MADE, f"from {wanted.release}", facts)
    # Made beside, and put in place as a whole; what a run that was killed left there is of no use.
    part, old = (crate.repository.with_name(f".{crate.repository.name}.{end}") for end in ("part", "old"))
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    cloned = crate.repository / ".git"
    if cloned.exists():
        shutil.copytree(cloned, part / ".git")
    else:
        git(part, "init", "--quiet", f"--initial-branch={MAIN}")
        if crate.url:
            git(part, "remote", "add", "origin", crate.url)
    render(Answers(wanted.template, wanted.release, choices), part)
    git(part, "add", "--all", "--force")
    git(part, "commit", "--quiet", "--message", f"Start from copier-fast-rust {wanted.release}")
    if cloned.exists():
        crate.repository.rename(old)
    part.rename(crate.repository)
    shutil.rmtree(old, ignore_errors=True)
    return Outcome(crate.name, State.CREATED, "; ".join(filter(None, [wanted.release, _push(crate, wanted)])), facts)


def _clone(crate: Crate) -> None:
    part = crate.repository.with_name(f".{crate.repository.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    git(part.parent, "clone", "--quiet", "--", crate.url, str(part))
    part.rename(crate.repository)


def _push(crate: Crate, wanted: Wanted) -> str:
    """Push the first commit where the remote has no branch yet; what was done is returned."""
    if not wanted.push or not crate.url or wanted.dry_run:
        return ""
    branch = git(crate.repository, "symbolic-ref", "--short", "HEAD").strip()
    if git(crate.repository, "ls-remote", "--heads", "origin").strip():
        return ""
    git(crate.repository, "push", "--quiet", "--set-upstream", "origin", branch)
    return f"pushed {branch}"


def _adopt(crate: Crate, wanted: Wanted, facts: Mapping[str, Any]) -> Outcome:
    if is_commit(crate.repository, f"refs/heads/{adopt.BRANCH}"):
        return Outcome(crate.name, State.THERE, f"branch {adopt.BRANCH} waits for review", facts)
    # As they would be typed.
    data = {name: str(value).lower() if isinstance(value, bool) else value for name, value in crate.answers.items()}
    plan = adopt.plan(crate.folder, wanted.template, wanted.release, data)
    if wanted.dry_run:
        return Outcome(crate.name, State.WOULD_BE_MADE, "adopted", facts)
    adopt.apply(plan)
    return Outcome(crate.name, State.ADOPTED, f"on branch {adopt.BRANCH}", facts)
