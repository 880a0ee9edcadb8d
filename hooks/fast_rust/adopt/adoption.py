"""Bringing a crate that is older than the template under its standards, on a branch of its own."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import yaml
from filelock import FileLock, Timeout

from fast_rust import git
from fast_rust.adopt import merging, staging
from fast_rust.adopt.inference import Answer, Crate, infer, read_crate
from fast_rust.adopt.staging import Staging
from fast_rust.answers import (
    ANSWERS_FILE,
    OTHER_ANSWERS_FILE,
    Answers,
    answers_file,
    is_of_another_template,
    require_answers,
)
from fast_rust.errors import FastRustError
from fast_rust.files import as_git_has_it, link_to, replace_file
from fast_rust.owned import Owned, of_rendering
from fast_rust.releases import Repository, open_repository
from fast_rust.rendering import render

BRANCH = "adopt-fast-rust"
WORKTREE = "fast-rust-adopt-"
# Beside the working tree, as long as somebody works there.
LOCK = "fast-rust-adopt.lock"
# What else a tool reads in place of a file of ours.
ALIASES = {"clippy.toml": (".clippy.toml",), "deny.toml": (".deny.toml", ".cargo/deny.toml")}
# CI calls the recipes, so it is of no use before they are there.
NEEDS = {".github/workflows/ci.yml": "justfile"}
# Gates that come with starters, or with a hot path.
ABSENT = {"tests", "allocations", "instructions", "clippy::print_stdout", "clippy::print_stderr"}
FIXED = ("sample", "adopted", "place")


class AdoptError(FastRustError):
    """What stands in the way, and what to type; nothing was changed."""


class Fate(StrEnum):
    """What adoption does about a file that the template has a part in."""

    ADDED = "added"
    THERE = "as it should be"
    MERGED = "merged"
    PROPOSED = "proposed"


@dataclass(frozen=True)
class Plan:
    """An adoption that was thought through, and not begun."""

    crate: Crate
    answers: tuple[Answer, ...]
    release: str
    rendering: Mapping[str, bytes]
    owned: Owned
    fates: Mapping[str, Fate]
    top: Path
    """The folder of the git repository."""


@dataclass(frozen=True)
class Result:
    """What an adoption did."""

    staging: Staging
    proposed: tuple[str, ...]
    held: Sequence[tuple[str, str, str]]
    """For each directive its name, how it is held, and by what."""


def plan(folder: Path, template: str, target: str | None, data: Mapping[str, str]) -> Plan:
    """Think an adoption through.

    Raises AdoptError, CrateError, TemplateError or RenderingError.
    """
    crate = read_crate(folder)
    top = _require_clean(crate.folder)
    there = answers_file(crate.folder)
    if there.exists() and not is_of_another_template(there):
        raise AdoptError(f"{crate.folder} was made from a template, or adopted already: `fast-rust update`")
    if crate.is_member and "lints" not in crate.manifest.get("workspace", {}):
        raise AdoptError(f"its workspace has no standards yet; this adopts all of it: `fast-rust adopt {crate.root}`")
    repository = open_repository(template, needed=target, refresh=True)
    newest = repository.newest(template)
    release = target or newest
    if "\nadopted:" not in repository.text(release, "copier.yml"):
        raise AdoptError(f"release {release} of the template cannot adopt a crate: take a newer one by --to")
    answers = _answers(crate, data)
    file = OTHER_ANSWERS_FILE if there.exists() else ANSWERS_FILE
    rendering = _render(repository, template, release, answers, file)
    recorded = yaml.safe_load(rendering[file])
    answers = tuple(answer for answer in answers if answer.name in recorded)
    if unused := sorted(data.keys() - recorded.keys()):
        kind = next(answer.value for answer in answers if answer.name == "kind")
        raise AdoptError(f"`{unused[0]}` is no question that a {kind} is asked: leave out --data {unused[0]}=...")
    owned = of_rendering(repository, release, rendering)
    fates = _fates(crate, rendering, owned)
    if hidden := sorted(_ignored(crate.folder) & {path for path, fate in fates.items() if fate is not Fate.ADDED}):
        raise AdoptError(f"git ignores {hidden[0]}, so it could not bring it back: `git add --force {hidden[0]}`")
    _require_own_files(crate, fates)
    return Plan(crate, answers, release, rendering, owned, fates, top)


def _require_own_files(crate: Crate, fates: Mapping[str, Fate]) -> None:
    """What is going to be written is in the crate itself, and is nobody's file yet where it is new."""
    written = [*(package.folder / "Cargo.toml" for package in crate.packages), crate.root / "Cargo.toml"]
    for path, fate in fates.items():
        file = crate.folder / path
        if fate is Fate.PROPOSED:
            file = file.with_name(f"{file.name}.proposed")
            if file.exists():
                raise AdoptError(f"{file} is there already: give it another name, or delete it")
        if fate is not Fate.THERE:
            written += [file, *(crate.folder / name for name in ALIASES.get(path, ()))]
    for file in written:
        if link := link_to(file, crate.root):
            raise AdoptError(f"{link} is a link, so {file.name} may be elsewhere: make it no link")


def _require_clean(folder: Path) -> Path:
    """The top of the git repository, if all is committed and the branch is free."""
    top = _require_committed(folder)
    if not _git(folder, "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}").returncode:
        raise AdoptError(f"there is a branch {BRANCH} already: merge it, or `git branch --delete --force {BRANCH}`")
    return top


def _require_committed(folder: Path) -> Path:
    if _git(folder, "rev-parse", "--verify", "--quiet", "HEAD").returncode:
        raise AdoptError(f"{folder} is in no git repository with a commit: `git init`, and commit all")
    status = _git(folder, "--no-optional-locks", "status", "--porcelain", "--untracked-files=all")
    if status.returncode:
        raise AdoptError(f"git status: {status.stderr.strip()}")
    if status.stdout:
        raise AdoptError("not everything is committed: commit, or `git stash -u`")
    return Path(_git(folder, "rev-parse", "--show-toplevel").stdout.strip()).resolve()


def _answers(crate: Crate, data: Mapping[str, str]) -> tuple[Answer, ...]:
    if fixed := sorted(data.keys() & set(FIXED)):
        raise AdoptError(f"`{fixed[0]}` is not to be chosen here: leave out --data {fixed[0]}=...")
    # What it is decides which other questions there are.
    kind = data.get("kind")
    answers = {answer.name: answer for answer in infer(crate, kind)}
    answers.update({name: Answer(name, value, "--data") for name, value in data.items()})
    return tuple(answers.values())


def _render(
    repository: Repository, template: str, release: str, answers: tuple[Answer, ...], file: str
) -> dict[str, bytes]:
    choices = {answer.name: answer.value for answer in answers}
    with TemporaryDirectory() as folder:
        rendering = render(Answers(str(repository.folder), release, choices), Path(folder), file)
    # The mirror here is nobody else's address.
    source = yaml.safe_dump({"_src_path": template}, allow_unicode=True, width=1000)
    rendering[file] = re.sub(r"(?m)^_src_path: .*\n", lambda _: source, rendering[file].decode()).encode()
    return rendering


def _fates(crate: Crate, rendering: Mapping[str, bytes], owned: Owned) -> dict[str, Fate]:
    fates = {}
    for path, content in rendering.items():
        file = crate.folder / path
        if path in owned.shared:
            is_there = any((crate.folder / name).is_file() for name in (path, *ALIASES.get(path, ())))
            fates[path] = Fate.MERGED if is_there else Fate.ADDED
        elif not file.exists():
            fates[path] = Fate.ADDED
        else:
            same = file.is_file() and as_git_has_it(file.read_bytes()) == content
            fates[path] = Fate.THERE if same else Fate.PROPOSED
    for path, needed in NEEDS.items():
        if fates.get(path) is Fate.ADDED and fates.get(needed) is Fate.PROPOSED:
            fates[path] = Fate.PROPOSED
    return fates


def _ignored(folder: Path) -> set[str]:
    listing = _git(folder, "ls-files", "-z", "--others", "--ignored", "--exclude-standard").stdout
    return set(listing.split("\0"))


# --- Doing it ---


def apply(plan: Plan) -> Result:
    """Adopt in a working tree beside, commit there, and switch to the branch once all is done.

    Raises AdoptError where a tool is missing, or git refuses; nothing was changed.
    """
    _require_tools()
    relative, root = (folder.relative_to(plan.top) for folder in (plan.crate.folder, plan.crate.root))
    with _worktree(plan.top) as (tree, target):
        written = _write(plan, tree / relative, tree / root)
        result = _stage(tree / root, tree / relative, target)
        held = tuple(directives((tree / root / "STANDARDS.md").read_text(encoding="utf-8"), result))
        commit = _commit(plan, tree, tree / root, written)
    switched = _git(plan.top, "switch", "--quiet", "--no-overwrite-ignore", "--create", BRANCH, commit)
    if switched.returncode:
        raise AdoptError(f"git switch: {switched.stderr.strip()}")
    return Result(result, tuple(path for path, fate in plan.fates.items() if fate is Fate.PROPOSED), held)


def unstage(folder: Path) -> tuple[dict[str, int], Staging]:
    """Switch on what the code meets by now, in the crate's own files: nothing is committed.

    Gives what was staged before, and what still is. Raises AdoptError where the crate is not as git has it, or a tool
    is missing.
    """
    crate = read_crate(folder)
    top = _require_committed(crate.folder)
    require_answers(crate.folder)
    before = staging.staged(crate.root)
    _require_tools()
    root = crate.root.relative_to(top)
    files = {name: crate.root / name for name in staging.FILES}
    at_first = {name: _content(file) for name, file in files.items()}
    with _worktree(top) as (tree, target):
        committed = {name: _content(tree / root / name) for name in files}
        staging.unstage(tree / root)
        result = _stage(tree / root, tree / crate.folder.relative_to(top), target)
        changed = {name: now for name in files if (now := _content(tree / root / name)) != committed[name]}
    for name in changed:
        # The gates take minutes, and a file that git ignores is none of theirs.
        if _content(files[name]) != at_first[name] or (committed[name] is None) != (at_first[name] is None):
            raise AdoptError(f"{files[name]} was changed meanwhile, or git ignores it; nothing was written: commit it")
    for name, content in changed.items():
        if content is None:
            files[name].unlink(missing_ok=True)
        else:
            replace_file(files[name], content)
    return before, result


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _stage(root: Path, crate: Path, target: Path) -> Staging:
    bench = tomllib.loads((crate / "bench" / "Cargo.toml").read_text(encoding="utf-8"))["package"]["name"]
    justfile = next((name for name in ("justfile.proposed", "justfile") if (root / name).is_file()), "justfile")
    return staging.stage(root, bench, justfile, target)


def _require_tools() -> None:
    if missing := [tool for tool in staging.TOOLS if shutil.which(tool) is None]:
        message = f"missing, to run the gates: {', '.join(missing)}"
        raise AdoptError(f"{message}; `cargo install --locked {' '.join(missing)}` installs what is not cargo itself")


@contextmanager
def _worktree(top: Path) -> Iterator[tuple[Path, Path]]:
    """A working tree of the same commit out of the way, and a folder to build into.

    What is killed leaves nothing in the crate's own tree.
    """
    _remove_left_over(top)
    with TemporaryDirectory(prefix=WORKTREE) as base, FileLock(Path(base) / LOCK):
        tree = Path(base).resolve() / top.name
        try:
            made = _git(top, "worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
            if made.returncode:
                raise AdoptError(f"git worktree: {made.stderr.strip()}")
            yield tree, tree.parent / "target"
        finally:
            _git(top, "worktree", "remove", "--force", str(tree))


def _remove_left_over(top: Path) -> None:
    """Take away the working trees of runs that were killed: those with our lock beside them, held by nobody."""
    listed = _git(top, "worktree", "list", "--porcelain").stdout.splitlines()
    # The first is the repository itself.
    for line in [line for line in listed if line.startswith("worktree ")][1:]:
        tree = Path(line.removeprefix("worktree "))
        base = tree.parent
        is_ours = base.name.startswith(WORKTREE) and base.parent == Path(gettempdir()).resolve()
        if not is_ours or not (base / LOCK).is_file():
            continue
        with suppress(Timeout), FileLock(base / LOCK, timeout=0):
            _git(top, "worktree", "remove", "--force", str(tree))
            shutil.rmtree(base, ignore_errors=True)


def _write(plan: Plan, folder: Path, root: Path) -> list[Path]:
    """Write what the plan says, and give the files."""
    written = []
    for path, fate in plan.fates.items():
        file = folder / path
        if fate is Fate.MERGED:
            written += _merge(plan, folder, path)
        elif fate is not Fate.THERE:
            file = file if fate is Fate.ADDED else file.with_name(f"{file.name}.proposed")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(plan.rendering[path])
            written.append(file)
    packages = [package.folder for package in plan.crate.packages]
    if plan.crate.is_member:
        bench = (folder.relative_to(root) / "bench").as_posix()
        merging.rewrite(root / "Cargo.toml", lambda text: merging.with_workspace(text, bench))
        packages = [plan.crate.folder]
    for package in packages:
        file = root / package.relative_to(plan.crate.root) / "Cargo.toml"
        merging.rewrite(file, merging.with_inherited_lints)
        written.append(file)
    return [*written, root / "Cargo.toml"]


def _merge(plan: Plan, folder: Path, path: str) -> list[Path]:
    file = folder / path
    written = [file]
    for name in ALIASES.get(path, ()):
        if not file.exists() and (folder / name).exists():
            written.append((folder / name).rename(file))
            written.append(folder / name)
    release_text = plan.rendering[path].decode()
    is_top = path == "Cargo.toml" and not plan.crate.is_member

    def change(text: str) -> str:
        if is_top:
            text = merging.with_workspace(merging.with_shared_lints(text), "bench")
        text = merging.merged(text, release_text, plan.owned.keys(path), with_dependencies=path != "Cargo.toml")
        return merging.with_platforms(merging.with_clear_lints(text), release_text) if is_top else text

    try:
        merging.rewrite(file, change)
    except ValueError as error:
        raise AdoptError(f"{path} cannot be read: {error}") from error
    return written


def _commit(plan: Plan, tree: Path, root: Path, written: list[Path]) -> str:
    """Commit what was written, and nothing that a tool left behind."""
    candidates = {*written, *(root / name for name in (*staging.FILES, "Cargo.lock"))}
    is_tracked = {path for path in candidates if _git(tree, "ls-files", "--", str(path)).stdout}
    ours = {path for path in candidates if path.exists() and path.name != "Cargo.lock"}
    listed = sorted(map(str, is_tracked | ours))
    for command in (["add", "--force", "--", *listed], ["commit", "--quiet", "--no-verify", "-m", _message(plan)]):
        done = _git(tree, *command)
        if done.returncode:
            raise AdoptError(f"git {command[0]}: {done.stderr.strip()}")
    return _git(tree, "rev-parse", "HEAD").stdout.strip()


def _message(plan: Plan) -> str:
    return (
        f"Adopt the standards of copier-fast-rust {plan.release}\n\n"
        "No line was taken out. Gates that the code does not meet yet are off, with `staged by adopt` as\n"
        "the reason and the number of places; `fast-rust adopt --unstage` switches on those that it meets.\n"
    )


# --- Telling ---


def directives(standards: str, staging: Staging) -> Iterator[tuple[str, str, str]]:
    """How each directive is held, by the table of STANDARDS.md and what is staged."""
    for row in re.findall(r"(?m)^\| ([A-Z]+-\d+ [A-Z]+) \|.*\| ([^|]*) \|[^|]*\|$", standards):
        name, by = row
        gates = re.findall(r"`([^`]+)`", by)
        if off := [f"`{gate}` ({staging.places[gate]})" for gate in gates if gate in staging.places]:
            yield name, "staged", ", ".join(off)
        else:
            yield name, "held" if set(gates) - ABSENT else "review", by


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = git.run(folder, *arguments)
    return subprocess.CompletedProcess(done.args, done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))
