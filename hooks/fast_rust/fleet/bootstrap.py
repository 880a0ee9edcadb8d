"""Creating the crates of a manifest that do not exist, and adopting those that do."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import yaml

from fast_rust import git
from fast_rust.adopt import adoption, planning
from fast_rust.answers import ANSWERS_FILE, Answers, answers_file, with_source
from fast_rust.errors import FastRustError
from fast_rust.fleet.manifest import Crate, Manifest, ManifestError
from fast_rust.fleet.outcome import CrateState, Facts, Outcome, failed, on_one_line
from fast_rust.fleet.workers import Task
from fast_rust.git import GitError
from fast_rust.owned import IDENTITY
from fast_rust.releases import open_repository
from fast_rust.rendering import RenderingError, questions_asked, render

MAIN = "main"
StateAndDetail: TypeAlias = tuple[CrateState, str]


@dataclass(frozen=True)
class BootstrapOptions:
    """The template's address and release, as crates record them, and whether to push new repositories."""

    template: str
    release: str
    push: bool
    dry_run: bool


class RefusedError(FastRustError):
    """Answers to questions that the template does not ask for such a crate."""


def bootstrap(task: Task[BootstrapOptions]) -> list[Outcome]:
    """Create the crates of a repository that do not exist, and adopt those that the template did not create."""
    return [_outcome(crate, task.job) for crate in task.crates]


def _outcome(crate: Crate, options: BootstrapOptions) -> Outcome:
    if crate.freeze:
        return Outcome(crate.name, CrateState.FROZEN, crate.freeze)
    try:
        state, detail = _bootstrap(crate, options)
    except Exception as error:  # noqa: BLE001  One bad crate never stops the others.
        return failed(crate.name, error)
    return Outcome(crate.name, state, detail, Facts(release=options.release, folder=str(crate.folder)))


def _bootstrap(crate: Crate, options: BootstrapOptions) -> StateAndDetail:
    if not crate.repository.exists() and not crate.url:
        return _start(crate, options)
    if not crate.repository.exists():
        if options.dry_run:
            return CrateState.PLANNED, f"clone {crate.url}"
        _clone(crate)
    if not (crate.repository / ".git").exists():
        raise GitError(f"{crate.repository} is not a git repository; run `git init` in it, and commit all files")
    if not git.is_commit(crate.repository, "HEAD"):
        _require_empty(crate.repository)
        return _start(crate, options)
    if answers_file(crate.folder).is_file():
        return _with_push(crate, options, CrateState.EXISTS)
    if not (crate.folder / "Cargo.toml").is_file():
        message = "this command creates no member of an existing workspace; run `fast-rust member add` in the workspace"
        return CrateState.SKIPPED, message
    return _adopt(crate, options)


def _require_empty(repository: Path) -> None:
    """Check that a repository without a commit at HEAD is empty: only that is replaced by a new crate.

    Raises GitError where git cannot read the repository, or it has work.
    """
    if branches := git.text(repository, "for-each-ref", "--format=%(refname:short)").split():
        raise GitError(
            f"{repository} has the branch {branches[0]}, but no branch is checked out; run `git switch` to a branch"
        )
    if any(path.name != ".git" for path in repository.iterdir()):
        raise GitError(
            f"{repository} has files, but no commit; commit them to adopt the crate, or delete them to create a new one"
        )


# --- Answers ---

_not_asked: dict[str, frozenset[str]] = {}


def asked(crate: Crate, options: BootstrapOptions) -> dict[str, Any]:
    """Return the answers of a crate that the template asks for; crates with the same choices are asked about once.

    Raises RefusedError where an answer in the crate's row is not asked, RenderingError where one is not valid.
    """
    choices = sorted((name, answer) for name, answer in crate.given.items() if name not in IDENTITY)
    key = json.dumps([options.template, options.release, choices, sorted(crate.answers)])
    if key not in _not_asked:
        _not_asked[key] = _find_not_asked(crate, options)
    return {name: answer for name, answer in crate.given.items() if name not in _not_asked[key]}


def _find_not_asked(crate: Crate, options: BootstrapOptions) -> frozenset[str]:
    """Return the answers that do not apply, by Copier itself: it does not record them."""
    # Other crates with the same choices have other names.
    data = {**crate.given, "crate_name": IDENTITY["crate_name"]}
    source = str(open_repository(options.template).folder)
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        recorded = yaml.safe_load(questions_asked(source, options.release, data, Path(folder) / crate.name))
    if refused := [name for name in crate.answers if name not in recorded]:
        choice = ", ".join(f"{name} {recorded[name]}" for name in ("kind", "place") if name in recorded)
        names = ", ".join(refused)
        raise RefusedError(
            f"the template does not ask for {names} in a crate with {choice}; delete {names} from the manifest"
        )
    return frozenset(crate.given.keys() - recorded.keys())


def require_answers_that_apply(manifest: Manifest, release: str) -> None:
    """Check the answers of all crates of a manifest; crates with the same choices are checked once.

    Raises ManifestError with a line for each crate whose answers do not apply.
    """
    options = BootstrapOptions(manifest.template, release, push=False, dry_run=True)
    errors = []
    for crate in manifest.crates:
        try:
            if crate.freeze or answers_file(crate.folder).is_file():
                continue
            asked(crate, options)
        except OSError:
            # The worker of the crate reports it.
            continue
        except (RefusedError, RenderingError) as error:
            errors.append(f"{manifest.path}:{crate.line}: crates.{crate.name}.answers: {error}")
    if errors:
        raise ManifestError("\n".join(errors))


# --- New repositories ---


def _start(crate: Crate, options: BootstrapOptions) -> StateAndDetail:
    choices = asked(crate, options)
    if crate.subdirectory != ".":
        message = (
            "its repository does not exist; add the root crate to the manifest, then run `fast-rust member add` there"
        )
        return CrateState.SKIPPED, message
    if options.dry_run:
        return CrateState.PLANNED, f"create from {options.release}"
    # Created next to the folder, and renamed atomically; leftovers of a killed run are deleted.
    part, old = (crate.repository.with_name(f".{crate.repository.name}.{end}") for end in ("part", "old"))
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        _create(crate, options, choices, part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if crate.repository.exists():
        crate.repository.rename(old)
    part.rename(crate.repository)
    shutil.rmtree(old, ignore_errors=True)
    return _with_push(crate, options, CrateState.CREATED, options.release)


def _create(crate: Crate, options: BootstrapOptions, choices: Mapping[str, Any], part: Path) -> None:
    """Create the repository of a crate in a folder, with one commit of the user's.

    The files are staged in a clone of ours, so that no hook, filter or ignore rule of the user has an effect on the
    commit; then git checks them out under the user's configuration.
    """
    cloned = crate.repository / ".git"
    if cloned.exists():
        shutil.copytree(cloned, part / ".git", symlinks=True)
    else:
        git.output(part, *git.NO_HOOKS, "init", "--quiet", f"--initial-branch={MAIN}")
        if crate.url:
            git.output(part, "remote", "add", "origin", crate.url)
    git.require_committer(part)
    with TemporaryDirectory(prefix="fast-rust-") as folder, git.empty_clone(part, Path(folder).resolve()) as clone:
        _render(options, choices, clone)
        tree = git.stage(clone)
        git.copy_objects(clone, part, [tree])
    commit = git.commit_tree(part, tree, [], f"Start from copier-fast-rust {options.release}\n")
    git.output(part, *git.NO_HOOKS, "update-ref", "HEAD", commit)
    git.output(part, *git.NO_HOOKS, "reset", "--quiet", "--hard")
    if changed := git.status(part):
        message = (
            f"git reports {changed[0][1]} as changed right after its checkout;"
            " check the filters in your git configuration"
        )
        raise GitError(f"{message}; nothing was created")


def _render(options: BootstrapOptions, choices: Mapping[str, Any], folder: Path) -> None:
    """Render a crate from the template's repository on this machine; its answers record the template's address."""
    repository = open_repository(options.template)
    with TemporaryDirectory(prefix="fast-rust-") as empty:
        rendering = render(Answers(str(repository.folder), options.release, choices), Path(empty) / "crate")
        shutil.copytree(Path(empty) / "crate", folder, dirs_exist_ok=True, symlinks=True)
    (folder / ANSWERS_FILE).write_bytes(with_source(rendering[ANSWERS_FILE], options.template))


def _clone(crate: Crate) -> None:
    part = crate.repository.with_name(f".{crate.repository.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    # `clone.defaultRemoteName` may have another name for the remote.
    command = ("clone", "--quiet", "--origin=origin", "--", crate.url, str(part))
    git.output(part.parent, *git.NO_HOOKS, *command, environment=git.patient_env(part.parent))
    part.rename(crate.repository)


def _with_push(crate: Crate, options: BootstrapOptions, state: CrateState, detail: str = "") -> StateAndDetail:
    """Push the first commit where the remote has no branch yet, and return the state with what was done."""
    if not options.push or not crate.url or options.dry_run:
        return state, detail
    try:
        pushed = _push(crate.repository)
    except GitError as error:
        was = "was created" if state is CrateState.CREATED else "exists"
        message = (
            f"the crate {was} on this machine, but was not pushed: {error};"
            " run `fast-rust fleet bootstrap --push` again"
        )
        return CrateState.ERROR, on_one_line(message)
    return state, "; ".join(filter(None, [detail, pushed]))


def _push(repository: Path) -> str:
    patient = git.patient_env(repository)
    if git.output(repository, "ls-remote", "--heads", "origin", environment=patient).strip():
        return ""
    branch = git.branch_of(repository)
    ref = f"refs/heads/{branch}"
    git.output(repository, "push", "--quiet", "--set-upstream", "origin", f"{ref}:{ref}", environment=patient)
    return f"pushed {branch}"


# --- Existing crates ---


def _adopt(crate: Crate, options: BootstrapOptions) -> StateAndDetail:
    if git.is_commit(crate.repository, f"refs/heads/{planning.BRANCH}"):
        return CrateState.EXISTS, f"already adopted on the branch {planning.BRANCH}; review and merge it"
    # As a person types them.
    data = {name: str(value).lower() if isinstance(value, bool) else value for name, value in crate.answers.items()}
    plan = planning.plan(crate.folder, options.template, options.release, data, refresh=False)
    if options.dry_run:
        return CrateState.PLANNED, "adopt"
    result = adoption.apply(plan)
    warning = f"; warning: {result.warning}" if result.warning else ""
    return CrateState.ADOPTED, f"on branch {planning.BRANCH}{warning}"
