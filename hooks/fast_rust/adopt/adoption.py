"""Adopt a crate that the template did not create: its standards come on a separate branch."""

import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from fast_rust import git
from fast_rust.adopt import merging, staging
from fast_rust.adopt.enabling import ratchet, unstage_files
from fast_rust.adopt.inference import read_crate
from fast_rust.adopt.marks import FILES, Mark, marks
from fast_rust.adopt.planning import BRANCH, AdoptError, AdoptionPlan, FileAction, require_committed
from fast_rust.adopt.staging import Staging
from fast_rust.adopt.writing import write_files
from fast_rust.answers import require_answers
from fast_rust.checks.cargo import metadata
from fast_rust.errors import changing_nothing
from fast_rust.files import as_git_has_it, replace_file, with_ends_of_lines
from fast_rust.owned import Key
from fast_rust.programs import find_program
from fast_rust.standards.folder import standards_folder
from fast_rust.standards.lints import lints_of_the_standards
from fast_rust.standards.pages import Quality, directives, read_standards

# Gates that come with starters, or with a hot path.
ABSENT = {"tests", "allocations", "instructions", "clippy::print_stdout", "clippy::print_stderr"}


@dataclass(frozen=True)
class Result:
    """What an adoption did."""

    staging: Staging
    proposed: tuple[str, ...]
    directives: Sequence[tuple[str, str, str]]
    """For each directive its name, how it is enforced, and by what."""
    keys: Mapping[str, Sequence[Key]] = field(default_factory=dict)
    """Of each file of the crate, the keys that are new or longer."""
    warning: str = ""
    """What git said of the switch to the branch, where a hook failed after it."""


def apply(plan: AdoptionPlan) -> Result:
    """Adopt in a clone of ours, commit with the user's identity, and switch to the branch once all is done.

    Raises FastRustError where a tool is missing, or git refuses; the message says what was changed.
    """
    _require_tools()
    head = git.require_commit(plan.top)
    relative, root = (folder.relative_to(plan.top) for folder in (plan.crate.folder, plan.crate.root))
    with changing_nothing():
        # Before the gates, which take minutes.
        git.require_committer(plan.top)
        git.require_branch(plan.top, BRANCH, head)
    with _clone(plan.top, head) as (clone, target):
        staging.before(clone / relative, clone / root, target)
        own = {name: _content(clone / root / name) for name in FILES}
        own["clippy.toml"] = own["clippy.toml"] or _content(clone / root / ".clippy.toml")
        written = write_files(plan, clone / relative, clone / root)
        with changing_nothing():
            # Cargo has to be able to read the workspace that was written.
            metadata(clone / root)
        keys = _new_keys(clone, [file for file in written if file.suffix == ".toml"])
        result = _stage(clone / root, target, own)
        if result.left:
            raise AdoptError(_refusal(result))
        staging.after(clone / relative, clone / root, target)
        enforced = tuple(enforcement(result))
        tree = _tree(clone, clone / root, written)
        git.copy_objects(clone, plan.top, [tree], [head])
    commit = git.commit_tree(plan.top, tree, [head], _message(plan))
    git.set_branch(plan.top, BRANCH, commit)
    warning = _switch(plan.top, commit)
    proposed = tuple(path for path, action in plan.actions.items() if action is FileAction.PROPOSED)
    return Result(result, proposed, enforced, keys, warning)


def _new_keys(clone: Path, files: Sequence[Path]) -> dict[str, list[Key]]:
    """Return the keys that were added to files of the crate."""
    keys: dict[str, list[Key]] = {}
    for file in dict.fromkeys(files):
        path = file.relative_to(clone).as_posix()
        committed = git.run(clone, "cat-file", "blob", f"HEAD:{path}")
        if file.is_file() and not committed.returncode:
            before, after = (tomllib.loads(text.decode()) for text in (committed.stdout, file.read_bytes()))
            keys[path] = list(merging.added(before, after))
    return {path: added for path, added in keys.items() if added}


def _refusal(result: Staging) -> str:
    lines = "".join(f"\n- {line}" for line in result.left)
    return (
        "the crate fails these checks of the template, and its own configuration enables them, so `adopt` cannot"
        f" disable them; nothing was changed. Fix these, commit, and run `fast-rust adopt` again:{lines}"
    )


def _switch(top: Path, commit: str) -> str:
    """Switch to the branch under the user's configuration, and return a warning where git failed after that.

    Raises AdoptError where git did not switch.
    """
    done = git.run(top, "switch", "--quiet", "--no-overwrite-ignore", BRANCH)
    if not done.returncode:
        return ""
    reason = "; ".join(done.stderr.decode(errors="replace").strip().splitlines()) or "no reason given"
    has_switched = git.branch_of(top) == BRANCH and git.require_commit(top) == commit
    changed = git.status(top)
    if has_switched:
        state = f"; files have changed, such as {changed[0][1]}: run `git status`" if changed else ""
        return f"git switched to the branch {BRANCH}, but a git hook failed after that: {reason}{state}"
    state = (
        "the switch changed some files of the working tree: run `git status`" if changed else "nothing else was changed"
    )
    message = f"the adoption is committed on the branch {BRANCH}, but git could not switch to it: {reason}; {state}"
    raise AdoptError(f"{message}; fix the cause, then run `git switch {BRANCH}`")


@dataclass(frozen=True)
class Unstaging:
    """What was staged, and what the gates find now."""

    before: Mapping[Mark, int]
    now: Mapping[Mark, int]
    staging: Staging


def unstage(folder: Path) -> Unstaging:
    """Enable the gates that the code satisfies by now, in the crate's own files: nothing is committed.

    No gate is disabled, and no number grows. Raises FastRustError where not all is committed, or a tool is missing.
    """
    crate = read_crate(folder)
    top = require_committed(crate.folder)
    require_answers(crate.folder)
    before = marks(crate.root)
    if not before:
        return Unstaging(before, {}, Staging({}, ()))
    _require_tools()
    root = crate.root.relative_to(top)
    files = {name: crate.root / name for name in FILES}
    at_first = {name: _content(file) for name, file in files.items()}
    with _clone(top, git.require_commit(top)) as (clone, target):
        committed = {name: _content(clone / root / name) for name in files}
        unstage_files(clone / root)
        result = _stage(clone / root, target, {"clippy.toml": committed["clippy.toml"]})
        now = marks(clone / root)
        for name, content in committed.items():
            _restore(clone / root / name, content)
        unstage_files(clone / root, ratchet(before, now, result.unjudged))
        changed = {name: new for name in files if (new := _content(clone / root / name)) != committed[name]}
    for name in changed:
        # The gates take minutes, and none of them reads a file that git ignores.
        if _content(files[name]) != at_first[name] or (committed[name] is None) != (at_first[name] is None):
            message = f"{files[name]} was edited while the checks ran, or git ignores it; `adopt` changed nothing"
            raise AdoptError(f"{message}; commit the file, and run the command again")
    for name, content in changed.items():
        if content is None:
            files[name].unlink(missing_ok=True)
        else:
            replace_file(files[name], with_ends_of_lines(as_git_has_it(content), at_first[name] or content))
    return Unstaging(before, now, result)


def _restore(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(content)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _stage(root: Path, target: Path, own: Mapping[str, bytes | None]) -> Staging:
    justfile = next((name for name in ("justfile.proposed", "justfile") if (root / name).is_file()), "justfile")
    return staging.stage(root, justfile, target, own)


def _require_tools() -> None:
    if missing := [tool for tool in staging.TOOLS if find_program(tool) is None]:
        message = f"`adopt` runs these programs, and they are not installed: {', '.join(missing)}"
        raise AdoptError(
            f"{message}; run `cargo install --locked {' '.join(missing)}`, or rustup for cargo; nothing was changed"
        )


@contextmanager
def _clone(top: Path, commit: str) -> Iterator[tuple[Path, Path]]:
    """Give a clone of ours outside the crate, and a folder to build into; a killed run leaves nothing in the crate."""
    with TemporaryDirectory(prefix="fast-rust-adopt-") as base:
        folder = Path(base).resolve()
        with git.scratch_clone(top, folder / top.name, commit) as clone:
            for path in git.submodules(top):
                # Git has their address alone, and the working tree their files, if somebody asked for them.
                shutil.copytree(top / path, clone / path, symlinks=True, dirs_exist_ok=True)
            yield clone, folder / "target"


def _tree(clone: Path, root: Path, written: list[Path]) -> str:
    """Return the tree with what was written, and nothing that a tool left behind."""
    candidates = {*written, *(root / name for name in (*FILES, "Cargo.lock"))}
    tracked = {clone / name for name in git.names(clone, "ls-files", "-z")}
    ours = {path for path in candidates if path.exists() and path.name != "Cargo.lock"}
    listed = sorted(path.relative_to(clone).as_posix() for path in candidates & tracked | ours)
    return git.stage(clone, listed)


def _message(plan: AdoptionPlan) -> str:
    return (
        f"Adopt the standards of copier-fast-rust {plan.release}\n\n"
        "No line was deleted. Checks that the code fails are disabled; the comment `staged by adopt` gives the\n"
        "number of places. Run `fast-rust adopt --unstage .` to enable the checks that the code passes by now.\n"
    )


# --- Directives ---


def enforcement(staging: Staging) -> Iterator[tuple[str, str, str]]:
    """Yield how each directive is enforced, by the pages of the standards and what is staged."""
    warned_of_anyway = lints_of_the_standards()
    for directive in directives(read_standards(standards_folder())):
        name = f"{directive.id} {directive.level}"
        if directive.quality in {Quality.REVIEW, Quality.PENDING}:
            yield name, "review", "review" if directive.quality is Quality.REVIEW else "review, until it is measured"
        elif off := [f"`{gate}` ({staging.places[gate]})" for gate in directive.gates if gate in staging.places]:
            yield name, "staged", ", ".join(off)
        else:
            by = ", ".join(f"`{gate}`{'*' * warned_of_anyway.get(gate, False)}" for gate in directive.gates)
            yield name, "enforced" if set(directive.gates) - ABSENT else "review", by
