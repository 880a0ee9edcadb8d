"""A template with a next release, and the edits of tests to it and to a crate of the last release."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from typer.testing import Result

from fast_rust.answers import ANSWERS_FILE
from support.command import invoke
from support.files import read_tree, replace_only
from support.git import commit, git, release
from support.template import Outcome, copier_in_process

OURS = "\n# A line of ours.\n"
# A file that the releases of these tests change.
CHANGED = ".config/nextest.toml"


@dataclass(frozen=True)
class Bench:
    """A template with a next release, and a crate of the last release."""

    template: Path
    crate: Path

    def edit(self, path: str, old: str, new: str) -> None:
        """Edit a file of the template."""
        file = self.template / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def act(self, path: str, text: str = OURS) -> None:
        """Edit a file of the crate."""
        file = self.crate / path
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")

    def publish(self) -> None:
        release(self.template, "v0.0.2")
        commit(self.crate)

    def copier(self) -> Outcome:
        """Make the release, and update with plain Copier."""
        self.publish()
        return copier_in_process("update", "--quiet", "--defaults", str(self.crate))

    def fast_rust(self, *arguments: str) -> Result:
        """Make the release, and update with our command."""
        self.publish()
        return self.update(*arguments)

    def update(self, *arguments: str) -> Result:
        """Update with our command."""
        return invoke("update", *arguments, self.crate)

    def status(self) -> str:
        return git(self.crate, "status", "--porcelain", "--untracked-files=all")

    def answers(self) -> dict[str, object]:
        return dict(yaml.safe_load((self.crate / ANSWERS_FILE).read_text(encoding="utf-8")))

    def unmerged(self) -> bool:
        return bool(git(self.crate, "ls-files", "--unmerged"))


def conflict(bench: Bench) -> None:
    replace_only(bench.crate / CHANGED, "30s", "10s")


def snapshot(crate: Path) -> tuple[object, ...]:
    """Return the working tree, the index, HEAD and all refs."""
    head = subprocess.run(["git", "-C", str(crate), "rev-parse", "HEAD"], check=False, capture_output=True).stdout
    refs, index = git(crate, "for-each-ref"), git(crate, "ls-files", "--stage")
    return read_tree(crate), index, head, refs, git(crate, "status", "--porcelain", "--ignored")
