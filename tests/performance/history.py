"""Crates with a history, and what is changed in them and compared."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crates.workshop import QUICK_BENCHES, Workshop, commit

from template import git


@dataclass(frozen=True)
class History:
    """A crate whose first commit is the branch `main`, which is checked out."""

    workshop: Workshop
    repository: Path
    crate: Path

    def perf(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the recipe, which may fail."""
        return self.workshop.try_to(self.crate, "just", "perf", *arguments, **{**QUICK_BENCHES, **environment})

    def report(self) -> dict[str, Any]:
        """The figures of the last run."""
        report: dict[str, Any] = json.loads((self.crate / "target" / "perf.json").read_text(encoding="utf-8"))
        return report

    def row(self, name: str) -> dict[str, Any]:
        """The figures of a bench."""
        [row] = [row for row in self.report()["rows"] if row["name"] == name]
        return dict(row)

    def worktrees(self) -> list[str]:
        """Worktrees beside the repository itself, by git and on the disk."""
        listed = git(self.repository, "worktree", "list").splitlines()[1:]
        return [*listed, *map(str, (self.crate / "target" / "perf").glob("worktree"))]

    @contextmanager
    def changed(self, changes: Mapping[str, tuple[str, str] | str | None]) -> Iterator[None]:
        """Change files of the crate: a text in it becomes another, or all of it does, or it goes."""
        try:
            for path, change in changes.items():
                edit(self.crate / path, change)
            yield
        finally:
            git(self.repository, "reset", "--quiet", "--hard", "main")
            git(self.repository, "clean", "--quiet", "-d", "--force")


def edit(path: Path, change: tuple[str, str] | str | None) -> None:
    """Make one change."""
    match change:
        case None:
            path.unlink()
        case str():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(change, encoding="utf-8")
        case before, after:
            text = path.read_text(encoding="utf-8")
            assert text.count(before) == 1, f"{before!r} is {text.count(before)} times in {path.name}"
            path.write_text(text.replace(before, after), encoding="utf-8")


def begin(workshop: Workshop, crate: Path, repository: Path) -> History:
    """Commit a crate as its user would."""
    workshop.run(crate, "cargo", "generate-lockfile", "--quiet")
    commit(repository)
    return History(workshop, repository, crate)
