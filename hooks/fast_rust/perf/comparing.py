"""Compares two sides, all in one worktree, since equal sources in an equal place make equal programs.

base  the base's sources with the base's benches;
head  the head's sources with the base's benches and profiles: the verdict is base against head;
own   the head's sources with the head's benches, where a bench is new or was changed: shown, and never judged.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fast_rust.perf.benches import Benches, changes_of, read_benches, share_gungraun
from fast_rust.perf.building import base_error, builds, programs_to_time
from fast_rust.perf.counting import count, count_base, count_own
from fast_rust.perf.errors import DoesNotRunError, NotMeasuredError
from fast_rust.perf.figures import GATED, Comparison, Measured, Target
from fast_rust.perf.options import Options
from fast_rust.perf.programs import version
from fast_rust.perf.settings import keep_settings, offences_of
from fast_rust.perf.times import time_pairs
from fast_rust.perf.verdict import judge, unknown_benches
from fast_rust.perf.workspace import Workspace


def compare(workspace: Workspace, options: Options) -> Comparison:
    """Measure both sides, and judge.

    Raises NotMeasuredError where a side cannot be measured.
    """
    base, head = _read_sides(workspace)
    gungraun, counts_own = _gungraun_for_both(base, head)
    changes = changes_of(workspace, base, head)
    comparison, programs, failures = Comparison(), _Programs(workspace, options), dict[Target, str]()
    share_gungraun(workspace, gungraun)
    counted = count_base(workspace, _counting(base.targets()))
    programs.build("base", base.targets(), {})
    workspace.fill(base.texts())
    keep_settings(workspace, profiles=not options.release)
    share_gungraun(workspace, gungraun)
    judged, failed = count(workspace, _counting(base.targets()), workspace.folder / "head")
    failures.update(failed)
    comparison.refusals += [_failure_of(target) for target in failed if builds(workspace, target)]
    programs.build("head", base.targets(), failures)
    own = [target for target in head.targets() if changes.get(target) in {"changed", "new"} or target in failures]
    workspace.fill(())
    share_gungraun(workspace, gungraun)
    shown = count_own(workspace, _counting(own) if counts_own else [])
    programs.build("own", own, {})
    programs.run(comparison)
    if _counting(own) and not counts_own:
        reason = "no gungraun-runner of the version that they require is installed"
        comparison.notes.append(f"new and changed benchmarks are not counted: {reason}")
    _enter_counts(comparison, counted, judged, shown, failures)
    _name_changes(comparison, changes, failures, [counted, judged, shown])
    if not options.release:
        comparison.refusals += offences_of(workspace)
    limits = (head if options.release else base).metadata
    judge(comparison, counted, judged, limits, cumulative=options.release)
    comparison.notes += unknown_benches(head.metadata, comparison.rows)
    return comparison


def _read_sides(workspace: Workspace) -> tuple[Benches, Benches]:
    try:
        head = read_benches(workspace, workspace.head_tree)
    except DoesNotRunError as error:
        raise NotMeasuredError(f"cargo cannot read the workspace; run `cargo metadata`\n{error}") from error
    try:
        base = read_benches(workspace, workspace.worktree)
    except DoesNotRunError as error:
        raise base_error(workspace, str(error)) from error
    workspace.many = len({target.package for side in (base, head) for target in side.targets()}) > 1
    return base, head


def _gungraun_for_both(base: Benches, head: Benches) -> tuple[str, bool]:
    """Return the line that requires gungraun in the version of the installed runner, as the head or the base has it.

    Return also whether the head's own text can be counted by that runner. Raises NotMeasuredError where valgrind or the
    runner is missing, and the base has benches that count.
    """
    if not _counting([*base.targets(), *head.targets()]):
        return "", False
    missing = [] if shutil.which("valgrind") else ["valgrind"]
    runner = version("gungraun-runner").rpartition(" ")[2]
    sides = [side for side in (head, base) if runner and f"{runner}.".startswith(f"{side.requirement()}.")]
    if not sides:
        wanted = head.requirement() or base.requirement()
        missing.append(f"gungraun-runner {wanted} (installed: {runner or 'none'})")
    if missing and _counting(base.targets()):
        raise NotMeasuredError(f"programs to count instructions are missing: {', '.join(missing)}; run `just setup`")
    # In CI the base's `just setup` installs what the base needs, which may be nothing.
    if missing:
        return "", False
    return sides[0].gungraun_line(), sides[0].requirement() == head.requirement()


def _failure_of(target: Target) -> str:
    """Return the offence of a bench of the base that fails on the head; a change of an interface would not build."""
    return (
        f"BENCH-2: {target.name}: the base's version of this benchmark builds with the change, and fails when it runs"
    )


def _counting(targets: Iterable[Target]) -> list[Target]:
    return [target for target in targets if target.counts]


class _Programs:
    """The programs that take the time, by side."""

    def __init__(self, workspace: Workspace, options: Options) -> None:
        self._workspace, self._options = workspace, options
        self._built: dict[str, dict[Target, Path]] = {}

    def build(self, side: str, targets: Iterable[Target], failures: dict[Target, str]) -> None:
        """Build the benches of a side, and note why some do not build."""
        if self._options.times:
            self._built[side] = programs_to_time(self._workspace, side, targets, failures)

    def run(self, comparison: Comparison) -> None:
        """Run the benches of all sides, and enter their times."""
        times, notes = time_pairs(self._workspace, self._built, long=self._options.long)
        comparison.notes += notes
        for side, benches in times.items():
            for name, figures in benches.items():
                getattr(comparison.row(name), side).update(figures)


def _enter_counts(
    comparison: Comparison, counted: Measured, judged: Measured, shown: Measured, failures: Mapping[Target, str]
) -> None:
    """Write the counts into the rows; a bench that was not counted where it should be is an error."""
    for name, figures in counted.figures.items():
        row = comparison.row(name)
        row.base.update(figures)
        if name in judged.figures:
            row.head.update(judged.figures[name])
            missing = [key for key in GATED if key in row.base and key not in row.head]
        else:
            missing = [] if counted.targets[name] in failures else ["all"]
        if missing:
            raise NotMeasuredError(
                f"{name}: the benchmark reported no {', '.join(missing)} for the head; run `just instructions`"
            )
    for name in judged.figures.keys() - counted.figures.keys():
        raise NotMeasuredError(
            f"{name}: the cached counts of the base are incomplete; run `rm -r"
            " target/perf/bases`, then `just perf` again"
        )
    for name, figures in shown.figures.items():
        comparison.row(name).own.update(figures)


def _name_changes(
    comparison: Comparison, changes: Mapping[Target, str], failures: Mapping[Target, str], sides: Sequence[Measured]
) -> None:
    """Note for each bench that differs between the sides what became of it."""
    counted, _, shown = sides
    for name, target in {**counted.targets, **shown.targets}.items():
        row, change = comparison.row(name), changes.get(target, "")
        if target in failures:
            row.notes.append(
                "NOT COMPARABLE: the base's version of this benchmark does not build or run with the change"
            )
        if change == "changed" and name not in shown.targets:
            row.notes.append("benchmark deleted; compared with the base's version of it")
        elif change == "new" or (change == "changed" and name not in counted.targets):
            row.notes.append("new benchmark, nothing to compare with")
        elif change == "changed":
            row.notes.append("benchmark changed; compared with the base's version of it")
        elif change:
            row.notes.append(change)
    for target, change in sorted(changes.items()):
        judged = (
            "" if change in {"new", "deleted"} or target in failures else "; the base's version measures both sides"
        )
        comparison.notes.append(f"benchmark `{target.name}`: {change}{judged}")
    for target, failure in sorted(failures.items()):
        comparison.notes.append(
            f"**NOT JUDGED**: the base's version of the benchmark `{target.name}` does not build or run with the change"
        )
        comparison.failures[target.name] = failure
