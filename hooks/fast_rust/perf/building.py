"""Builds benches in the worktree."""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from fast_rust.perf.errors import NotMeasuredError
from fast_rust.perf.figures import Target
from fast_rust.perf.programs import end_of
from fast_rust.perf.workspace import Workspace


def programs_to_time(
    workspace: Workspace, side: str, targets: Iterable[Target], failures: dict[Target, str]
) -> dict[Target, Path]:
    """Build the benches of time and put them aside, since the next side is built in the same place."""
    programs, failed = _build(workspace, [target for target in targets if not target.counts])
    if failed and side == "base":
        raise base_error(workspace, next(iter(failed.values())))
    if failed and side == "own":
        raise NotMeasuredError(
            "the benchmarks of the head (the code to measure) do not build; run"
            f" `just bench`\n{next(iter(failed.values()))}"
        )
    failures.update(failed)
    kept: dict[Target, Path] = {}
    for target, program in programs.items():
        kept[target] = workspace.folder / "programs" / side / f"{target.package}-{target.name}"
        kept[target].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(program, kept[target])
    return kept


def builds(workspace: Workspace, target: Target) -> bool:
    """Return whether a bench builds in the worktree."""
    return _try_build(workspace, [target], {}) is None


def _build(workspace: Workspace, targets: Iterable[Target]) -> tuple[dict[Target, Path], dict[Target, str]]:
    """Build benches in the worktree; return their programs, and why others do not build."""
    programs: dict[Target, Path] = {}
    failures: dict[Target, str] = {}
    packages: dict[str, list[Target]] = {}
    for target in targets:
        packages.setdefault(target.package, []).append(target)
    for group in packages.values():
        # All at once is quicker; one by one tells which of them fail.
        if _try_build(workspace, group, programs) is not None:
            tried = {target: _try_build(workspace, [target], programs) for target in group}
            failures.update({target: failure for target, failure in tried.items() if failure is not None})
    return programs, failures


def _try_build(workspace: Workspace, group: Sequence[Target], programs: dict[Target, Path]) -> str | None:
    """Build benches of one package, and note their programs; return why it failed."""
    names = [argument for target in group for argument in ("--bench", target.name)]
    options = ("--package", group[0].package, *names, "--no-run", "--message-format=json-render-diagnostics")
    done = workspace.cargo(workspace.worktree, "bench", *options)
    if done.returncode:
        return end_of(done.stderr)
    for line in done.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        target = Target(group[0].package, message.get("target", {}).get("name", ""))
        if message.get("executable") and target in group:
            programs[target] = Path(message["executable"])
    return None


def base_error(workspace: Workspace, failure: str) -> NotMeasuredError:
    """Return the error of a base that cannot be measured, which says nothing about the head."""
    commit = workspace.base[:12]
    hint = "pass another commit: `just perf BASE`, or fix that commit first"
    problem = f"the benchmarks of the base (the commit to compare with), {commit}, do not build or run"
    return NotMeasuredError(f"{problem}; {hint}\n{failure}")
