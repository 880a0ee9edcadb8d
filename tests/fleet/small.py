"""Small fleets: manifests, and a small template with two releases that Copier renders in a tenth of the time."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from copier import run_copy
from typer.testing import Result

from support.files import write
from support.git import commit_all, git, release

Type: TypeAlias = Callable[..., Result]
OLD, NEW = "v0.0.1", "v0.0.2"

QUESTIONS = """\
_subdirectory: template
_envops: { keep_trailing_newline: true }
crate_name: { type: str }
description: { type: str, default: "Does {{ crate_name }}" }
level: { type: str, default: LEVEL, choices: [CHOICES] }
adopted: { type: bool, default: false, when: false }
"""
LINES = "".join(f"# Line {number}\n" for number in range(1, 10))
JUST = f"check:\n    cargo check\n{LINES}test:\n    cargo test\n"
CLIPPY = "first = 1\n# a\n# b\n# c\nlast = 9\n"
CARGO = """\
[package]
name = "{{ crate_name }}"
description = {{ description | to_json(ensure_ascii=False) }}

[profile.dev]
debug = 1
"""
OWNERSHIP = """\
managed: [justfile, tools, news.yml, ci/new.yml, level.txt, MANAGED]
starter: [src, README.md, STARTER]
shared:
  Cargo.toml: [profile.*.*]
  clippy.toml: ["*"]
"""
FILES = {
    "copier.yml": QUESTIONS.replace("LEVEL", "low").replace("CHOICES", "low, high"),
    "ownership.yml": OWNERSHIP.replace("MANAGED", "handed.txt").replace("STARTER", "build.rs"),
    "CHANGELOG.md": "# Changelog\n",
    "template/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers | to_nice_yaml -}}\n",
    "template/justfile": JUST,
    "template/clippy.toml": CLIPPY,
    "template/Cargo.toml.jinja": CARGO,
    "template/level.txt.jinja": "{{ level }}\n",
    "template/tools/check.sh": "#!/bin/sh\necho check\n",
    "template/handed.txt": "From the template\n",
    "template/src/lib.rs": "//! Code\n",
}
SECOND = {
    "copier.yml": QUESTIONS.replace("LEVEL", "middle").replace("CHOICES", "middle, high"),
    "ownership.yml": OWNERSHIP.replace("MANAGED", "tools").replace("STARTER", "handed.txt"),
    "template/justfile": JUST.replace("cargo check", "cargo check --all-targets"),
    "template/clippy.toml": CLIPPY.replace("first = 1", "first = 1\nnewer = 2"),
    "template/Cargo.toml.jinja": CARGO.replace("debug = 1", "debug = 2"),
    "template/news.yml": "new: true\n",
    "template/ci/new.yml": "on: push\n",
}


def write_manifest(folder: Path, template: Path | str, rows: str, head: str = "") -> Path:
    manifest = folder / "fleet.toml"
    manifest.write_text(f'template = "{template}"\nfolder = "clones"\n{head}\n[crates]\n{rows}', encoding="utf-8")
    return manifest


def make_template(folder: Path) -> Path:
    """Make a template with two releases."""
    write(folder, FILES)
    git(folder, "init", "--quiet")
    release(folder, OLD)
    write(folder, SECOND)
    for name in ("tools/check.sh", "handed.txt"):
        (folder / "template" / name).unlink()
    release(folder, NEW)
    return folder


def make_crate(template: Path | str, folder: Path, tag: str = OLD, **answers: str) -> Path:
    """Make a crate, and commit it."""
    data = {"crate_name": folder.name, **answers}
    run_copy(str(template), folder, data=data, vcs_ref=tag, defaults=True, quiet=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit_all(folder)
    return folder


def snapshot(repository: Path) -> dict[str, object]:
    """Return the state that must be unchanged after an error: the refs, HEAD, the index, and the working tree."""
    command = ["git", "-C", str(repository), "for-each-ref", "--format=%(refname) %(objectname)"]
    refs = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    files = {
        path.relative_to(repository).as_posix(): path.read_bytes() if path.is_file() else path.readlink()
        for path in sorted(repository.rglob("*"))
        if (path.is_file() or path.is_symlink()) and ".git" not in path.relative_to(repository).parts
    }
    git_folder = repository / ".git"
    states = [(git_folder / name).read_bytes() for name in ("HEAD", "index") if (git_folder / name).exists()]
    locks = [str(path) for path in git_folder.rglob("*.lock")]
    return {"refs": refs, "files": files, "states": states, "locks": locks}
