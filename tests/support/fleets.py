"""Fleets for tests: all kinds and releases; users edited a fifth of the crates, and some are broken."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import cycle
from pathlib import Path
from typing import TypeAlias

from copier import run_copy

from support.files import edit
from support.git import commit_all, git

Act: TypeAlias = Callable[[Path], None]
Edit: TypeAlias = Callable[[Path, Path], None]

# Common kinds of crates in an organisation; each is rendered once for each release, then copied.
CHOICES: tuple[Mapping[str, str | bool], ...] = (
    {"kind": "service"},
    {"kind": "lib"},
    {"kind": "cli"},
    {"kind": "service", "allocator": "mimalloc", "cpu_level": "x86-64-v3", "container": True},
    {"kind": "service", "sample": False},
    {"kind": "cli", "sample": False, "panic": "unwind"},
    {"kind": "lib", "sample": False, "license": "proprietary"},
    {"kind": "lib", "publish": True},
)
MODEL = "model-crate"
# Another user, whose repositories git does not trust.
OTHER_USER = 65534


@dataclass(frozen=True)
class Fleet:
    """A manifest with its clones."""

    manifest: Path
    template: Path

    @property
    def clones(self) -> Path:
        return self.manifest.parent / "clones"


def make_fleet(folder: Path, template: Path, releases: list[str], count: int, *, is_broken: bool = True) -> Fleet:
    """Make a fleet; the same arguments give the same fleet."""
    clones = folder / "clones"
    clones.mkdir(parents=True)
    models = {
        (release, number): _model(folder / "models" / f"{release}-{number}", template, release, choices)
        for release in releases
        for number, choices in enumerate(CHOICES[:count])
    }
    edits, damages = cycle(EDITS), cycle(DAMAGES)
    rows = []
    for number in range(count):
        name = f"crate-{number:05}"
        release = releases[(number // len(CHOICES)) % len(releases)]
        crate = clones / name
        _copy(models[release, number % len(CHOICES)], crate, name)
        git(crate, "init", "--quiet", "--initial-branch=main")
        commit_all(crate)
        if number % 5 == 4:
            next(edits)(crate, models[releases[-1], number % len(CHOICES)])
            commit_all(crate)
        if is_broken and number % 50 in range(7, 7 + len(DAMAGES)):
            next(damages)(crate)
        rows.append(f'{name} = {{ ring = "{"canary" if number % 10 == 0 else "rest"}" }}\n')
    shutil.rmtree(folder / "models")
    manifest = folder / "fleet.toml"
    head = f'template = "{template}"\nfolder = "clones"\n\n[rings.canary]\n[rings.rest]\n\n[crates]\n'
    manifest.write_text(head + "".join(rows), encoding="utf-8")
    return Fleet(manifest, template)


def _model(folder: Path, template: Path, release: str, choices: Mapping[str, str | bool]) -> Path:
    holder = f"The {MODEL} team"
    # Releases before 0.6.0 name this answer `author`.
    answers = {"crate_name": MODEL, "description": f"Does what {MODEL} does"}
    answers |= {"author": holder, "copyright_holder": holder}
    run_copy(str(template), folder, data={**answers, **choices}, vcs_ref=release, defaults=True, quiet=True)
    return folder


def _copy(model: Path, crate: Path, name: str) -> None:
    """Copy a crate with another name; the copy is equal to a rendering, since only the name differs."""
    shutil.copytree(model, crate)
    for file in (path for path in crate.rglob("*") if path.is_file()):
        text = file.read_bytes()
        for write in (str, lambda one: one.replace("-", "_"), lambda one: one.replace("-", "_").upper()):
            text = text.replace(write(MODEL).encode(), write(name).encode())
        file.write_bytes(text)


# --- Edits of users ---


def own_code(crate: Path, _newest: Path) -> None:
    (crate / "src" / "lib.rs").write_text("//! Ours.\n", encoding="utf-8")
    (crate / "README.md").write_text("# Ours\n", encoding="utf-8")


def own_dependency(crate: Path, _newest: Path) -> None:
    edit(crate / "Cargo.toml", "[dependencies]\n", '[dependencies]\nahash = "0.8"\n')


def loosened(crate: Path, _newest: Path) -> None:
    edit(crate / "clippy.toml", "large-error-threshold = 128", "large-error-threshold = 256 # reason: <old> code")


def drifted(crate: Path, _newest: Path) -> None:
    edit(crate / "rust-toolchain.toml", "channel", "# ours\nchannel")


def clashing(crate: Path, newest: Path) -> None:
    """Change the first line that the newest release also changes; a crate of the newest release has no such line."""
    for path in ("Cargo.toml", "justfile", ".github/workflows/ci.yml", ".github/workflows/perf.yml"):
        old, new = ((folder / path).read_text(encoding="utf-8").splitlines() for folder in (crate, newest))
        blocks = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if first := next(
            (start for what, start, *_ in blocks if what == "replace" and crate.name not in old[start]), None
        ):
            old[first] += " # ours"
            (crate / path).write_text("\n".join(old) + "\n", encoding="utf-8")
            return
    own_code(crate, newest)


EDITS: tuple[Edit, ...] = (own_code, own_dependency, loosened, drifted, clashing)


# --- Damage ---


def without_answers(crate: Path) -> None:
    (crate / ".copier-answers.yml").unlink()
    commit_all(crate)


def dirty(crate: Path) -> None:
    (crate / "src" / "unfinished.rs").write_text("fn", encoding="utf-8")


def detached(crate: Path) -> None:
    git(crate, "switch", "--quiet", "--detach")


def template_gone(crate: Path) -> None:
    file = crate / ".copier-answers.yml"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    gone = (f"_src_path: {crate.parent / 'gone'}\n" if line.startswith("_src_path") else line for line in lines)
    file.write_text("".join(gone), encoding="utf-8")
    commit_all(crate)


def corrupt(crate: Path) -> None:
    for file in (crate / ".git" / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(b"")


def no_permission(crate: Path) -> None:
    # Root may read any file, but git does not trust the repository of another user.
    if os.geteuid() == 0:
        for path in (crate, crate / ".git"):
            os.chown(path, OTHER_USER, OTHER_USER)
    else:
        crate.chmod(0)


DAMAGES: tuple[Act, ...] = (without_answers, dirty, detached, template_gone, corrupt, no_permission)


# --- Comparing ---


def picture(fleet: Fleet) -> dict[str, object]:
    """Return the results of a run: branches and checkout of each repository, and the files next to them."""
    found: dict[str, object] = {"beside": sorted(path.name for path in fleet.clones.iterdir())}
    for crate in sorted(fleet.clones.iterdir()):
        git_folder = crate / ".git"
        if not git_folder.is_dir():
            continue
        try:
            refs = git(crate, "for-each-ref", "--format=%(refname) %(tree) %(contents:subject)").splitlines()
            counts = [git(crate, "rev-list", "--count", ref.split()[0]).strip() for ref in refs]
            status = git(crate, "status", "--porcelain", "--branch")
        except subprocess.CalledProcessError:
            refs, counts, status = [], [], "refused"
        left = sorted(path.name for path in git_folder.glob("copier-fast-rust/*")) if refs else []
        locks = sorted(str(path) for path in git_folder.rglob("*.lock"))
        found[crate.name] = (refs, counts, status, [name for name in left if name != "lock"], locks)
    return found
