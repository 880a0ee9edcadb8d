"""Crates with a history, and functions that change and compare them."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from support.files import replace_only
from support.git import commit, git, start_history
from support.variants import CHECKOUT
from support.workshop import QUICK_BENCHES, Workshop

Changes: TypeAlias = Mapping[str, tuple[str, str] | str | None]

KNOWN = "aggregate_instructions::records::fed known_keys"
HOT_LOOP = "        let (record, rest) = record::split_usual(text)?;\n"
A_CLONE: Changes = {"src/aggregate.rs": (HOT_LOOP, f"{HOT_LOOP}        std::hint::black_box(record.key.to_vec());\n")}
BENCH = "bench/benches/aggregate_instructions.rs"
MANIFEST = "bench/Cargo.toml"
ENTRY = '\n[[bench]]\nname = "aggregate_instructions"\n'
# A tool that accepts every change.
GUTTED = "#!/bin/sh\necho fine\n"


# The tool of the tests is already installed.
NOT_RUN = ("just setup", "pipx install")


@dataclass(frozen=True)
class History:
    """A crate whose first commit is on the branch `main`, which is checked out."""

    workshop: Workshop
    repository: Path
    crate: Path

    def perf(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `just perf`, which may fail."""
        return self.workshop.try_to(self.crate, "just", "perf", *arguments, **{**QUICK_BENCHES, **environment})

    def judge(self, *, body: str = "", labels: str = "[]", **environment: str) -> subprocess.CompletedProcess[str]:
        """Commit all changes on a branch, and run the lines of the workflow for its pull request, but for `just setup`.

        The tool of the base's pin is the one of this checkout; for any other pin, it is a tool that accepts every
        change.
        """
        git(self.repository, "checkout", "--quiet", "-B", "change")
        commit(self.repository, "Change")
        cache = self.workshop.folder / "cache"
        self._install(cache, GUTTED)
        try:
            git(self.repository, "checkout", "--quiet", "main")
            self._install(cache, f'#!/bin/sh\nexec {self.workshop.environment["FAST_RUST"]} "$@"\n')
            git(self.repository, "checkout", "--quiet", "change")
            return self._run_workflow(body, labels, {"XDG_CACHE_HOME": str(cache), **environment})
        finally:
            # Restore the state before: the branch `main`, with uncommitted changes.
            git(self.repository, "checkout", "--quiet", "--force", "change")
            git(self.repository, "symbolic-ref", "HEAD", "refs/heads/main")
            git(self.repository, "reset", "--quiet")

    def _install(self, cache: Path, program: str) -> None:
        """Install a tool for the pin of the checked-out commit; before release 0.9 there was no tool."""
        tool = self.workshop.try_to(self.crate, "just", "--evaluate", "tool", XDG_CACHE_HOME=str(cache))
        if tool.returncode == 0:
            # The files that the recipe looks for before it runs the tool.
            for path in ("bin/fast-rust", "fast-rust/bin/python"):
                place = Path(tool.stdout) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(program, encoding="utf-8")
                place.chmod(0o755)

    def _run_workflow(self, body: str, labels: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        workflow = yaml.safe_load((CHECKOUT / "template/.github/workflows/perf.yml").read_text(encoding="utf-8"))
        [job] = workflow["jobs"].values()
        values = {
            "github.event.pull_request.body": body,
            "github.event_name != 'pull_request'": "false",
            "github.sha": git(self.repository, "rev-parse", "change").strip(),
            "toJSON(github.event.pull_request.labels.*.name)": labels,
        }
        given = {name: values[text[3:-2].strip()] if text else "" for name, text in job["env"].items()}
        lines = [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith(NOT_RUN)]
        file = self.workshop.folder / "github-env"
        file.write_text("", encoding="utf-8")
        for line in lines:
            command = f"{line} --no-times" if line == "just perf" else line
            shell = ("bash", "--noprofile", "--norc", "-e", "-c", command)
            exported = dict(each.split("=", 1) for each in file.read_text(encoding="utf-8").splitlines())
            known = {**QUICK_BENCHES, **given, **exported, **environment, "GITHUB_ENV": str(file)}
            done = self.workshop.try_to(self.crate, *shell, **known)
            if done.returncode:
                break
        return done

    def report(self) -> dict[str, Any]:
        """Return the figures of the last run."""
        report: dict[str, Any] = json.loads((self.crate / "target" / "perf.json").read_text(encoding="utf-8"))
        return report

    def row(self, name: str) -> dict[str, Any]:
        """Return the figures of a bench."""
        [row] = [row for row in self.report()["rows"] if row["name"] == name]
        return dict(row)

    def worktrees(self) -> list[str]:
        """Return the worktrees except the repository itself, both those that git lists and those on the disk."""
        listed = git(self.repository, "worktree", "list").splitlines()[1:]
        return [*listed, *map(str, (self.crate / "target" / "perf").glob("worktree"))]

    @contextmanager
    def changed(self, changes: Changes) -> Iterator[None]:
        """Change files of the crate: replace a text in a file or the whole file, or delete it."""
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
            replace_only(path, before, after)


def begin(workshop: Workshop, crate: Path, repository: Path) -> History:
    """Commit a crate as its user would."""
    workshop.run(crate, "cargo", "generate-lockfile", "--quiet")
    start_history(repository)
    return History(workshop, repository, crate)
