"""Crates as users have them: made from a release, and committed."""

import shutil
from pathlib import Path

from filelock import FileLock

from support.git import git, release
from support.template import Template, copy_in_process, digest_of


def make(template: Template, crate: Path, **answers: str | bool) -> Path:
    """Make a crate; for equal answers Copier makes it once, and the others are copies."""
    first = template.renderings / f"made-{digest_of(answers)}"
    with FileLock(template.renderings / f"{first.name}.lock"):
        if not first.exists():
            part = first.with_suffix(".part")
            made = copy_in_process(template.repository, part, {"crate_name": "log-totals", **answers})
            assert made.exit_code == 0, made.stderr
            git(part, "init", "--quiet")
            release(part, "made")
            part.rename(first)
    shutil.copytree(first, crate, symlinks=True)
    return crate
