"""Counts instructions and heap blocks, by gungraun."""

import hashlib
import os
import platform
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from fast_rust.perf.building import base_error
from fast_rust.perf.errors import NotMeasuredError
from fast_rust.perf.figures import Figures, Measured, Target
from fast_rust.perf.programs import end_of, processor, version
from fast_rust.perf.summaries import read_summary
from fast_rust.perf.workspace import Workspace


def count(workspace: Workspace, targets: Iterable[Target], home: Path) -> tuple[Measured, dict[Target, str]]:
    """Run instruction benches in the worktree; return what they counted, and why others do not run."""
    shutil.rmtree(home, ignore_errors=True)
    failures: dict[Target, str] = {}
    for target in targets:
        options = ("--package", target.package, "--bench", target.name, "--", "--save-summary=json")
        done = workspace.cargo(workspace.worktree, "bench", *options, GUNGRAUN_HOME=str(home))
        # 3 is a limit that the bench itself has; it counted all the same.
        if done.returncode not in {0, 3}:
            failures[target] = end_of(done.stdout + done.stderr)
        elif not any((home / target.package / target.name).rglob("summary.json")):
            raise NotMeasuredError(
                f"the benchmark {target.name} succeeded, but wrote no summary.json to {home}\n{end_of(done.stdout)}"
            )
    return read_counts(home, failures, many=workspace.many), failures


def read_counts(home: Path, failures: Iterable[Target], *, many: bool) -> Measured:
    """Read what gungraun saved below a folder, by the names of the benches."""
    figures: dict[str, Figures] = {}
    files: dict[str, Path] = {}
    targets: dict[str, Target] = {}
    for path in sorted(home.rglob("summary.json")):
        target = Target(*path.relative_to(home).parts[:2])
        if target not in set(failures):
            name, found = read_summary(path)
            name = target.named(name, many=many)
            figures[name] = found
            targets[name] = target
            files[name] = next(iter(sorted(path.parent.glob("callgrind.*.out"))), path)
    return Measured(figures, files, targets)


def count_base(workspace: Workspace, targets: Sequence[Target]) -> Measured:
    """Count the base, unless an earlier run did so in the same circumstances."""
    home = workspace.folder / "bases" / _base_key(workspace)
    done = home.with_suffix(".done")
    if not done.exists():
        _, failures = count(workspace, targets, home)
        for failure in failures.values():
            raise base_error(workspace, failure)
        for old in sorted(home.parent.glob("*.done"), key=lambda path: path.stat().st_mtime)[:-3]:
            shutil.rmtree(old.with_suffix(""), ignore_errors=True)
            old.unlink()
        home.mkdir(parents=True, exist_ok=True)
        done.touch()
    return read_counts(home, [], many=workspace.many)


def _base_key(workspace: Workspace) -> str:
    """Return a digest of all that a count of the base depends on: sources, these modules, tools, settings, machine."""
    lock = workspace.worktree / workspace.inside / "Cargo.lock"
    settings = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    manifests = [path for path in workspace.base_files if path.endswith("Cargo.toml")]
    texts = [
        lock,
        *sorted(Path(__file__).parent.glob("*.py")),
        workspace.root / ".cargo/local.toml",
        settings / "config.toml",
    ]
    texts += [workspace.worktree / path for path in sorted(manifests)]
    texts += [folder / ".cargo/config.toml" for folder in workspace.repository.parents]
    parts = [workspace.base, str(workspace.worktree), str(workspace.target), processor()]
    parts += [
        version("rustc", "-vV", **workspace.toolchain(workspace.worktree)),
        version("valgrind"),
        version("gungraun-runner"),
        "".join(platform.libc_ver()),
    ]
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in texts]
    named = ("CARGO", "RUST", "GUNGRAUN", "VALGRIND", "CC", "CFLAGS")
    parts += [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(named)]
    # Without a lock the packages may be others next time.
    parts += [] if lock.exists() else [os.urandom(8).hex()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def count_own(workspace: Workspace, targets: Iterable[Target]) -> Measured:
    """Count by the head's text.

    Raises NotMeasuredError where that does not build or run.
    """
    measured, failures = count(workspace, targets, workspace.folder / "own")
    for target, failure in failures.items():
        raise NotMeasuredError(
            f"the benchmark {target.name} of the head (the code to measure) does"
            f" not build or run; run `just bench`\n{failure}"
        )
    return measured
