"""Adopting a crate that is older than the template: its standards come on a separate branch."""

import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from fast_rust import git
from fast_rust.adopt import merging, staging
from fast_rust.adopt.inference import Answer, Crate, infer, read_crate
from fast_rust.adopt.marks import FILES, Mark, marks
from fast_rust.adopt.staging import Staging
from fast_rust.answers import (
    ANSWERS_FILE,
    OTHER_ANSWERS_FILE,
    Answers,
    answers_file,
    is_of_another_template,
    require_answers,
    with_source,
)
from fast_rust.checks.cargo import metadata
from fast_rust.drift.keys import UnclearKeyError
from fast_rust.errors import FastRustError
from fast_rust.files import as_git_has_it, link_to, replace_file, with_ends_of_lines
from fast_rust.git import GitError
from fast_rust.hot.crate import BENCH, BENCH_MANIFEST
from fast_rust.hot.membership import with_member
from fast_rust.owned import Key, Owned, of_rendering
from fast_rust.programs import find_program
from fast_rust.releases import Repository, open_repository
from fast_rust.rendering import render
from fast_rust.standards.folder import standards_folder
from fast_rust.standards.lints import lints_of_the_standards
from fast_rust.standards.pages import Quality, directives, read_standards
from fast_rust.update.guard import require_checked_out

BRANCH = "adopt-fast-rust"
# Other names under which tools read a file of ours.
ALIASES = {"clippy.toml": (".clippy.toml",), "deny.toml": (".deny.toml", ".cargo/deny.toml")}
# Other names of a file of ours, of which a crate has one.
SPELLINGS = {
    "justfile": ("Justfile", "JUSTFILE", ".justfile"),
    ".github/renovate.json": (
        *("renovate.json", "renovate.json5", ".renovaterc", ".renovaterc.json", ".renovaterc.json5"),
        *(".github/renovate.json5", ".gitlab/renovate.json"),
    ),
    ".github/workflows/ci.yml": tuple(f".github/workflows/{name}" for name in ("CI.yml", "ci.yaml", "CI.yaml")),
    ".github/workflows/perf.yml": (".github/workflows/perf.yaml",),
}
# Workflows call the recipes, so they need them.
NEEDS = {".github/workflows/ci.yml": "justfile", ".github/workflows/perf.yml": "justfile"}
# Gates that come with starters, or with a hot path.
ABSENT = {"tests", "allocations", "instructions", "clippy::print_stdout", "clippy::print_stderr"}
FIXED = ("sample", "adopted", "place")


class AdoptError(FastRustError):
    """An adoption that cannot be made; the message says why, what was changed, and what to run."""


class Fate(StrEnum):
    """What an adoption does to a file that the template owns or shares."""

    ADDED = "added"
    UNCHANGED = "unchanged"
    MERGED = "merged"
    PROPOSED = "proposed"
    LEFT_OUT = "left out"
    """It belongs to the root of the repository, and the crate is in a folder below."""


@dataclass(frozen=True)
class Plan:
    """An adoption that has touched nothing yet."""

    crate: Crate
    answers: tuple[Answer, ...]
    release: str
    rendering: Mapping[str, bytes]
    owned: Owned
    fates: Mapping[str, Fate]
    top: Path
    """The top folder of the git repository."""


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


def plan(folder: Path, template: str, target: str | None, data: Mapping[str, str], *, refresh: bool = True) -> Plan:
    """Plan an adoption; with `refresh`, the template is fetched first. Touches nothing.

    Raises FastRustError where the crate cannot be adopted.
    """
    crate = read_crate(folder)
    top = _require_clean(crate.folder)
    there = answers_file(crate.folder)
    if there.exists() and not is_of_another_template(there):
        raise AdoptError(f"{there} exists, so the template created or adopted this crate; run `fast-rust update`")
    if crate.is_member and "lints" not in crate.manifest.get("workspace", {}):
        message = f"the workspace {crate.root} has no [workspace.lints]"
        raise AdoptError(f"{message}; run `fast-rust adopt {crate.root}` to adopt all its crates")
    repository = open_repository(template, needed=target, refresh=refresh)
    release = target or repository.newest(template)
    if "\nadopted:" not in repository.text(release, "copier.yml"):
        raise AdoptError(f"release {release} of the template cannot adopt a crate; name a newer one by --to")
    answers = _answers(crate, data)
    file = OTHER_ANSWERS_FILE if there.exists() else ANSWERS_FILE
    rendering = _render(repository, template, release, answers, file)
    recorded = yaml.safe_load(rendering[file])
    answers = tuple(answer for answer in answers if answer.name in recorded)
    if unused := sorted(data.keys() - recorded.keys()):
        kind = next(answer.value for answer in answers if answer.name == "kind")
        message = f"--data {unused[0]}: a {kind} has no question `{unused[0]}`"
        raise AdoptError(f"{message}; its questions are: {', '.join(answer.name for answer in answers)}")
    owned = of_rendering(repository, release, rendering)
    require_checked_out(crate.folder, [*rendering, *(name for names in ALIASES.values() for name in names)])
    fates = _fates(crate, rendering, owned, top)
    if hidden := sorted(
        _ignored(crate.folder) & {path for path, fate in fates.items() if fate in {Fate.MERGED, Fate.PROPOSED}}
    ):
        raise AdoptError(f"git ignores {hidden[0]}, so it could not restore it; run `git add --force {hidden[0]}`")
    _require_own_files(crate, fates)
    return Plan(crate, answers, release, rendering, owned, fates, top)


def _require_own_files(crate: Crate, fates: Mapping[str, Fate]) -> None:
    """Check that each file to be written is in the crate itself, and that no proposal exists yet.

    Raises AdoptError.
    """
    written = [*(package.folder / "Cargo.toml" for package in crate.packages), crate.root / "Cargo.toml"]
    for path, fate in fates.items():
        file = crate.folder / path
        if fate is Fate.PROPOSED:
            file = file.with_name(f"{file.name}.proposed")
            if file.exists():
                raise AdoptError(f"{file} exists; rename it, or delete it")
        if fate not in {Fate.UNCHANGED, Fate.LEFT_OUT}:
            written += [file, *(crate.folder / name for name in ALIASES.get(path, ()))]
    for file in written:
        if link := link_to(file, crate.root):
            message = f"{link} is a symlink; {file.name} is not written through it"
            raise AdoptError(f"{message}; replace it with a regular file or folder")


def _require_clean(folder: Path) -> Path:
    """Return the top folder of the git repository, if all is committed and the branch does not exist.

    Raises GitError or AdoptError.
    """
    top = _require_committed(folder)
    if git.is_commit(top, f"refs/heads/{BRANCH}"):
        message = f"the branch {BRANCH} exists; merge it, or run `git branch --delete --force {BRANCH}`"
        raise AdoptError(message)
    return top


def _require_committed(folder: Path) -> Path:
    git.require_commit(folder)
    top = git.top_of(folder)
    if found := git.status(top):
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise AdoptError(f"not everything is committed ({found[0][1]}{more}); commit, or run `git stash -u`")
    return top


def _answers(crate: Crate, data: Mapping[str, str]) -> tuple[Answer, ...]:
    if fixed := sorted(data.keys() & set(FIXED)):
        raise AdoptError(f"--data {fixed[0]}: an adopted crate has a fixed answer to `{fixed[0]}`; leave it out")
    # The kind decides which other questions apply.
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
    # Crates record the template's address, not the mirror on this machine.
    rendering[file] = with_source(rendering[file], template)
    return rendering


def renamed_from(folder: Path, path: str) -> str:
    """Return the name of a file that is renamed to that of ours; empty where there is none."""
    is_there = (folder / path).exists()
    return next((name for name in ALIASES.get(path, ()) if (folder / name).is_file() and not is_there), "")


def spelling_of(folder: Path, path: str) -> str:
    """Return the other name under which a crate has a file of ours; empty where it has none."""
    return next((name for name in SPELLINGS.get(path, ()) if (folder / name).is_file()), "")


def _fates(crate: Crate, rendering: Mapping[str, bytes], owned: Owned, top: Path) -> dict[str, Fate]:
    fates = {}
    for path, content in rendering.items():
        file = crate.folder / path
        if path.startswith(".github/") and crate.folder != top:
            fates[path] = Fate.LEFT_OUT
        elif path in owned.shared:
            is_there = any((crate.folder / name).is_file() for name in (path, *ALIASES.get(path, ())))
            fates[path] = Fate.MERGED if is_there else Fate.ADDED
        elif not file.exists():
            fates[path] = Fate.PROPOSED if spelling_of(crate.folder, path) else Fate.ADDED
        else:
            same = file.is_file() and as_git_has_it(file.read_bytes()) == content
            fates[path] = Fate.UNCHANGED if same else Fate.PROPOSED
    for path, needed in NEEDS.items():
        if fates.get(path) is Fate.ADDED and fates.get(needed) is Fate.PROPOSED:
            fates[path] = Fate.PROPOSED
    return fates


def _ignored(folder: Path) -> set[str]:
    return set(git.names(folder, "ls-files", "-z", "--others", "--ignored", "--exclude-standard"))


# --- Applying it ---


def apply(plan: Plan) -> Result:
    """Adopt in a clone of ours, commit with the user's identity, and switch to the branch once all is done.

    Raises FastRustError where a tool is missing, or git refuses; the message says what was changed.
    """
    _require_tools()
    head = git.require_commit(plan.top)
    relative, root = (folder.relative_to(plan.top) for folder in (plan.crate.folder, plan.crate.root))
    _require_publishable(plan.top, head)
    with _clone(plan.top, head) as (clone, target):
        staging.before(clone / relative, clone / root, target)
        own = {name: _content(clone / root / name) for name in FILES}
        own["clippy.toml"] = own["clippy.toml"] or _content(clone / root / ".clippy.toml")
        written = _write(plan, clone / relative, clone / root)
        _require_loadable(clone / root)
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
    proposed = tuple(path for path, fate in plan.fates.items() if fate is Fate.PROPOSED)
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
    lines = "".join(f"\n- {one}" for one in result.left)
    return f"gates fail that cannot be disabled without loosening the crate's own; nothing was changed:{lines}"


def _require_loadable(root: Path) -> None:
    """Check that cargo can read the workspace as it was written.

    Raises AdoptError.
    """
    try:
        metadata(root)
    except FastRustError as error:
        raise AdoptError(f"{error}; nothing was changed") from error


def _require_publishable(top: Path, head: str) -> None:
    """Check that a commit and the branch can be created, before the gates: they take minutes.

    Raises GitError.
    """
    try:
        git.require_committer(top)
        git.require_branch(top, BRANCH, head)
    except GitError as error:
        raise GitError(f"{error}; nothing was changed") from error


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
        state = f"; git shows changes, such as {changed[0][1]}: see `git status`" if changed else ""
        return f"git switched to {BRANCH}, and a hook failed after that: {reason}{state}"
    state = (
        "the working tree has files of an incomplete switch: see `git status`"
        if changed
        else "nothing else was changed"
    )
    message = f"the branch {BRANCH} has the adoption, and git could not switch to it: {reason}; {state}"
    raise AdoptError(f"{message}; run `git switch {BRANCH}` once that is fixed")


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
    top = _require_committed(crate.folder)
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
        staging.unstage(clone / root)
        result = _stage(clone / root, target, {"clippy.toml": committed["clippy.toml"]})
        now = marks(clone / root)
        for name, content in committed.items():
            _restore(clone / root / name, content)
        staging.unstage(clone / root, staging.ratchet(before, now, result.unjudged))
        changed = {name: new for name in files if (new := _content(clone / root / name)) != committed[name]}
    for name in changed:
        # The gates take minutes, and a file that git ignores is none of theirs.
        if _content(files[name]) != at_first[name] or (committed[name] is None) != (at_first[name] is None):
            message = f"{files[name]} was changed while the gates ran, or git ignores it; nothing was changed"
            raise AdoptError(f"{message}; commit it, and run this again")
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
        message = f"tools of the gates are missing: {', '.join(missing)}"
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


def _write(plan: Plan, folder: Path, root: Path) -> list[Path]:
    """Write the files of a plan, and return them."""
    written = []
    for path, fate in plan.fates.items():
        file = folder / path
        if fate is Fate.MERGED:
            written += _merge(plan, folder, path)
        elif fate in {Fate.ADDED, Fate.PROPOSED}:
            file = file if fate is Fate.ADDED else file.with_name(f"{file.name}.proposed")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_without_exemptions(folder, path, plan.rendering[path]))
            written.append(file)
    if BENCH_MANIFEST in plan.rendering:
        bench = (folder.relative_to(root) / BENCH).as_posix()
        merging.rewrite(root / "Cargo.toml", lambda text: with_member(text, bench))
    for package in _heirs(plan.crate):
        # A member may be beside the root.
        file = folder / os.path.relpath(package, plan.crate.folder) / "Cargo.toml"
        merging.rewrite(file, merging.with_inherited_lints)
        written.append(file)
    if plan.crate.main and plan.crate.main.fields["publish"] != [] and not plan.crate.is_member:
        new = sorted(f"/{file.relative_to(folder).as_posix()}" for file in written if not _is_tracked(file))
        merging.rewrite(folder / "Cargo.toml", lambda text: merging.without_new_files(text, new))
    return [*written, root / "Cargo.toml"]


def _is_tracked(file: Path) -> bool:
    return git.succeeds(file.parent, "ls-files", "--error-unmatch", "--", file.name)


# In tests: what of ours exempts code from a lint that a crate may have had on.
EXEMPTIONS = {
    "allow-dbg-in-tests": "dbg[-_]macro",
    "allow-print-in-tests": "print[-_]std(out|err)",
    "allow-unwrap-in-tests": "unwrap[-_]used",
}


def _without_exemptions(clone: Path, path: str, content: bytes) -> bytes:
    """Return a new file without exemptions from lints that the crate names: it may have them on in its tests."""
    if path != "clippy.toml":
        return content
    lines = content.decode().splitlines(keepends=True)
    named = [
        key
        for key, lint in EXEMPTIONS.items()
        if git.succeeds(clone, "grep", "-qIE", f"{lint}|clippy::restriction", "HEAD")
    ]
    return "".join(line for line in lines if line.partition(" ")[0] not in named).encode()


def _heirs(crate: Crate) -> list[Path]:
    """Return the packages that inherit the lints of the workspace from now on.

    Lints that are there already get no further package: what breaks them there would switch them off everywhere.
    """
    if crate.is_member:
        return [crate.folder]
    if "lints" in crate.manifest.get("workspace", {}):
        return []
    has_lints = "lints" in crate.manifest
    return [one.folder for one in crate.packages if not has_lints or one.folder == crate.folder]


def _nested(folder: Path) -> list[str]:
    """Return the folders of crates below one that no workspace has; a new workspace would claim them."""
    found = [Path(name).parent for name in git.names(folder, "ls-files", "-z") if Path(name).name == "Cargo.toml"]
    below = {one for one in found if one != Path()}
    return sorted(one.as_posix() for one in below if not below.intersection(one.parents))


def _merge(plan: Plan, folder: Path, path: str) -> list[Path]:
    file = folder / path
    written = [file]
    for name in ALIASES.get(path, ()):
        if not file.exists() and (folder / name).exists():
            written.append((folder / name).rename(file))
            written.append(folder / name)
    is_top = path == "Cargo.toml" and not plan.crate.is_member

    def change(text: str) -> str:
        release_text = plan.rendering[path].decode()
        if is_top:
            text = merging.with_excluded(text, _nested(folder))
            text = merging.with_shared_lints(text)
            # The keys stay those of the release: a stricter value is no drift.
            release_text = merging.with_denied_lints(plan.rendering[path].decode(), text)
        text = merging.merged(text, release_text, plan.owned.keys(path), with_dependencies=path != "Cargo.toml")
        return merging.with_platforms(merging.with_clear_lints(text), release_text) if is_top else text

    try:
        merging.rewrite(file, change)
    except (ValueError, UnclearKeyError) as error:
        raise AdoptError(f"{path} cannot be read or extended: {error}; fix it; nothing was changed") from error
    return written


def _tree(clone: Path, root: Path, written: list[Path]) -> str:
    """Return the tree with what was written, and nothing that a tool left behind."""
    candidates = {*written, *(root / name for name in (*FILES, "Cargo.lock"))}
    tracked = {clone / name for name in git.names(clone, "ls-files", "-z")}
    ours = {path for path in candidates if path.exists() and path.name != "Cargo.lock"}
    listed = sorted(path.relative_to(clone).as_posix() for path in candidates & tracked | ours)
    return git.stage(clone, listed)


def _message(plan: Plan) -> str:
    return (
        f"Adopt the standards of copier-fast-rust {plan.release}\n\n"
        "No line was deleted. Gates that the code does not satisfy yet are disabled, with `staged by adopt` as\n"
        "the reason and the number of places; `fast-rust adopt --unstage` enables those that it satisfies.\n"
    )


# --- Directives ---


def enforcement(staging: Staging) -> Iterator[tuple[str, str, str]]:
    """Yield how each directive is enforced, by the pages of the standards and what is staged."""
    warned_of_anyway = lints_of_the_standards()
    for one in directives(read_standards(standards_folder())):
        name = f"{one.id} {one.level}"
        if one.quality in {Quality.REVIEW, Quality.PENDING}:
            yield name, "review", "review" if one.quality is Quality.REVIEW else "review, until it is measured"
        elif off := [f"`{gate}` ({staging.places[gate]})" for gate in one.gates if gate in staging.places]:
            yield name, "staged", ", ".join(off)
        else:
            by = ", ".join(f"`{gate}`{'*' * warned_of_anyway.get(gate, False)}" for gate in one.gates)
            yield name, "enforced" if set(one.gates) - ABSENT else "review", by
