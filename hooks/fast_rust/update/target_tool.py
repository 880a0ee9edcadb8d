"""Hands an update over to the tool of the target release: only that tool knows what its release needs."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from fast_rust import git
from fast_rust.answers import require_answers
from fast_rust.git import Config
from fast_rust.programs import launcher
from fast_rust.releases import Order, Repository, TemplateError, open_repository
from fast_rust.update.plan import UpdateError

# The release whose tool was started by another tool, and so starts no third.
HANDED_OVER = "FAST_RUST_HANDED_OVER"


def hand_over(crate: Path, to: str | None) -> int | None:
    """Run this command by the tool of the target release, and return its exit code; None where this tool has to run it.

    The crate's recipe installs that tool, so that the recipe finds it after the update.
    Raises FastRustError where the release is not available, and where its tool cannot be installed.
    """
    justfile = launcher()
    if not justfile or os.environ.get(HANDED_OVER):
        return None
    answers = require_answers(crate)
    repository = open_repository(answers.source, needed=answers.release, refresh=True)
    target = to or repository.newest(answers.source)
    # Planning reports a release that does not exist, or is older.
    if not git.is_commit(repository.folder, target, Config.OURS):
        return None
    if repository.order(answers.release, target) is not Order.OLDER:
        return None
    if not _has_tool(repository, target):
        print(
            f"Template release {target} has no fast-rust to install; fast-rust {answers.release} makes the update.",
            file=sys.stderr,
        )
        return None
    # As Copier records it.
    release = repository.described(target)
    pin = ["--set", "source", answers.source, "--set", "release", release]
    just = ["just", f"--justfile={justfile}", "--working-directory=.", *pin, "fast-rust"]
    environment = {**os.environ, HANDED_OVER: release}
    installed = subprocess.run([*just, "--version"], env=environment, check=False, stdout=subprocess.DEVNULL)
    if installed.returncode:
        raise UpdateError(
            f"cannot install fast-rust {release}, which makes the update, see the errors above; "
            f"nothing was changed. Fix the cause, and run the command again, or update with fast-rust "
            f"{answers.release}: FAST_RUST={sys.argv[0]} just fast-rust update"
        )
    return subprocess.run([*just, *sys.argv[1:]], env=environment, check=False).returncode


def _has_tool(repository: Repository, release: str) -> bool:
    try:
        project = tomllib.loads(repository.text(release, "pyproject.toml")).get("project", {})
    except (TemplateError, ValueError):
        return False
    return "fast-rust" in project.get("scripts", {})
