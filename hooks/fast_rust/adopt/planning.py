"""Plan the adoption of a crate that the template did not create: what happens to each file, and why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from fast_rust import git
from fast_rust.adopt.inference import Answer, ExistingCrate, infer, read_crate
from fast_rust.answers import (
    ANSWERS_FILE,
    OTHER_ANSWERS_FILE,
    Answers,
    answers_file,
    is_of_another_template,
    with_source,
)
from fast_rust.errors import FastRustError
from fast_rust.files import as_git_has_it, link_to
from fast_rust.owned import Owned, of_rendering
from fast_rust.releases import Repository, open_repository
from fast_rust.rendering import render
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
NEEDS = {".github/workflows/ci.yml": "justfile", ".github/workflows/perf.yml": "justfile", ".gitlab-ci.yml": "justfile"}
FIXED = ("sample", "adopted", "place")


class AdoptError(FastRustError):
    """An adoption that cannot be made; the message says why, what was changed, and what to run."""


class FileAction(StrEnum):
    """What an adoption does to a file that the template owns or shares."""

    ADDED = "added"
    UNCHANGED = "unchanged"
    MERGED = "merged"
    PROPOSED = "proposed"
    LEFT_OUT = "left out"
    """It belongs to the root of the repository, and the crate is in a folder below."""


@dataclass(frozen=True)
class AdoptionPlan:
    """An adoption that has touched nothing yet."""

    crate: ExistingCrate
    answers: tuple[Answer, ...]
    release: str
    rendering: Mapping[str, bytes]
    owned: Owned
    actions: Mapping[str, FileAction]
    top: Path
    """The top folder of the git repository."""


def plan(
    folder: Path, template: str, target: str | None, data: Mapping[str, str], *, refresh: bool = True
) -> AdoptionPlan:
    """Plan an adoption; with `refresh`, the template is fetched first. Touches nothing.

    Raises FastRustError where the crate cannot be adopted.
    """
    crate = read_crate(folder)
    top = _require_clean(crate.folder)
    there = answers_file(crate.folder)
    if there.exists() and not is_of_another_template(there):
        raise AdoptError(f"{there} exists, so the template created or adopted this crate; run `fast-rust update`")
    if crate.is_member and "lints" not in crate.manifest.get("workspace", {}):
        message = f"{crate.folder} needs the lints of its workspace, and {crate.root} has no [workspace.lints]"
        raise AdoptError(f"{message}; run `fast-rust adopt {crate.root}` to adopt all its crates")
    repository = open_repository(template, needed=target, refresh=refresh)
    release = target or repository.newest(template)
    if "\nadopted:" not in repository.text(release, "copier.yml"):
        raise AdoptError(
            f"release {release} of the template does not support `fast-rust adopt`; pass a newer release with --to"
        )
    answers = _answers(crate, data)
    file = OTHER_ANSWERS_FILE if there.exists() else ANSWERS_FILE
    rendering = _render(repository, template, release, answers, file)
    recorded = yaml.safe_load(rendering[file])
    answers = tuple(answer for answer in answers if answer.name in recorded)
    if unused := sorted(data.keys() - recorded.keys()):
        kind = next(answer.value for answer in answers if answer.name == "kind")
        message = f"--data {unused[0]}: the template does not ask for `{unused[0]}` in a crate of kind `{kind}`"
        raise AdoptError(f"{message}; expected one of: {', '.join(answer.name for answer in answers)}")
    owned = of_rendering(repository, release, rendering)
    require_checked_out(crate.folder, [*rendering, *(name for names in ALIASES.values() for name in names)])
    actions = _actions(crate, rendering, owned, top)
    ignored = git.names(crate.folder, "ls-files", "-z", "--others", "--ignored", "--exclude-standard")
    changed = {path for path, action in actions.items() if action in {FileAction.MERGED, FileAction.PROPOSED}}
    if hidden := sorted(changed.intersection(ignored)):
        raise AdoptError(
            f"`adopt` would change {hidden[0]}, which git ignores and could not"
            f" restore; run `git add --force {hidden[0]}`"
        )
    _require_own_files(crate, actions)
    return AdoptionPlan(crate, answers, release, rendering, owned, actions, top)


def _require_own_files(crate: ExistingCrate, actions: Mapping[str, FileAction]) -> None:
    """Check that each file to be written is in the crate itself, and that no proposal exists yet.

    Raises AdoptError.
    """
    written = [*(package.folder / "Cargo.toml" for package in crate.packages), crate.root / "Cargo.toml"]
    for path, action in actions.items():
        file = crate.folder / path
        if action is FileAction.PROPOSED:
            file = file.with_name(f"{file.name}.proposed")
            if file.exists():
                raise AdoptError(f"{file} exists already, and `adopt` would write it; rename or delete the file")
        if action not in {FileAction.UNCHANGED, FileAction.LEFT_OUT}:
            written += [file, *(crate.folder / name for name in ALIASES.get(path, ()))]
    for file in written:
        if link := link_to(file, crate.root):
            message = f"{link} is a symlink; refusing to write {file.name} through it"
            raise AdoptError(f"{message}; replace it with a regular file or folder")


def _require_clean(folder: Path) -> Path:
    """Return the top folder of the git repository, if all is committed and the branch does not exist.

    Raises GitError or AdoptError.
    """
    top = require_committed(folder)
    if git.is_commit(top, f"refs/heads/{BRANCH}"):
        message = (
            f"the branch {BRANCH}, to which `adopt` commits, exists; merge it, or"
            f" run `git branch --delete --force {BRANCH}`"
        )
        raise AdoptError(message)
    return top


def require_committed(folder: Path) -> Path:
    git.require_commit(folder)
    top = git.top_of(folder)
    if found := git.status(top):
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise AdoptError(
            f"the working tree has uncommitted changes ({found[0][1]}{more}); commit them, or run `git stash -u`"
        )
    return top


def _answers(crate: ExistingCrate, data: Mapping[str, str]) -> tuple[Answer, ...]:
    if fixed := sorted(data.keys() & set(FIXED)):
        raise AdoptError(f"--data {fixed[0]}: `adopt` sets the answer to `{fixed[0]}` itself; omit this option")
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
    """Return the name of a file that is renamed to that of ours; empty if the crate has no such file."""
    is_there = (folder / path).exists()
    return next((name for name in ALIASES.get(path, ()) if (folder / name).is_file() and not is_there), "")


def spelling_of(folder: Path, path: str) -> str:
    """Return the other name under which a crate has a file of ours; empty where it has none."""
    return next((name for name in SPELLINGS.get(path, ()) if (folder / name).is_file()), "")


def _actions(crate: ExistingCrate, rendering: Mapping[str, bytes], owned: Owned, top: Path) -> dict[str, FileAction]:
    actions = {}
    for path, content in rendering.items():
        file = crate.folder / path
        if path.startswith((".github/", ".gitlab")) and crate.folder != top:
            actions[path] = FileAction.LEFT_OUT
        elif path in owned.shared:
            is_there = any((crate.folder / name).is_file() for name in (path, *ALIASES.get(path, ())))
            actions[path] = FileAction.MERGED if is_there else FileAction.ADDED
        elif not file.exists():
            actions[path] = FileAction.PROPOSED if spelling_of(crate.folder, path) else FileAction.ADDED
        else:
            same = file.is_file() and as_git_has_it(file.read_bytes()) == content
            actions[path] = FileAction.UNCHANGED if same else FileAction.PROPOSED
    for path, needed in NEEDS.items():
        if actions.get(path) is FileAction.ADDED and actions.get(needed) is FileAction.PROPOSED:
            actions[path] = FileAction.PROPOSED
    return actions
