"""What a change does to speed: base and head, measured on one machine in one run.

`just perf [BASE]` runs this, as a rule the base's copy of it, so that no change loosens its own judge. All is measured
in one worktree in target/perf, since equal sources in an equal place make equal programs:

base  the base's sources with the base's benches;
head  the head's sources (the working tree) with the base's benches: the verdict is base against head;
own   the head's sources with the head's benches, where a bench is new or was changed: shown, and never judged.

Instructions, heap blocks and peak bytes repeat exactly and are held to the limits of `[workspace.metadata.perf]` in the
base's Cargo.toml. Cycles, cache misses and times are shown.

Exit codes: 0 nothing is beyond a limit, or that was accepted; 2 it could not be measured, and the message says what to
type; 3 something is beyond its limit; 128 and the signal's number where one ended it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Figures = dict[str, float]
GATED = ("instructions", "blocks", "peak")
COLUMNS = {
    "median": "median",
    "p95": "p95 of sample means",
    "instructions": "instructions",
    "cycles": "estimated cycles",
    "misses": "cache misses",
    "blocks": "heap blocks",
    "peak": "peak bytes",
}
DEFAULTS = {"instructions": 2.0, "blocks": 8.0, "peak-bytes": 10.0, "cumulative-instructions": 5.0}
# A buffer of this size more is no matter, however small the peak was before.
PEAK_SLACK = 4096
DIRECTIVES = {"instructions": "OP-1, BENCH-2", "blocks": "BENCH-2, BENCH-7", "peak": "BENCH-2, BENCH-7"}
SUMMARY_VERSION = "7"
LABEL = "perf-accepted"
REASON = re.compile(r"(?m)^perf: accepted because (\S.*?)\s*$")
# Times are measured in pairs, so that a machine that slows down does so for both.
ROUNDS = 2
SHORT = ["--warm-up-time=0.2", "--measurement-time=0.5", "--sample-size=20", "--nresamples=2000"]


class NotMeasuredError(Exception):
    """Nothing can be said; the message says why, and what to type."""


class NothingToCompare(Exception):  # noqa: N818  It is no error.
    """There is nothing that could be faster or slower; the message says why."""


class DoesNotRunError(Exception):
    """Benches that do not build or run; the message is the end of what was printed."""


@dataclass(frozen=True, order=True)
class Target:
    """A bench of the workspace, as `cargo bench --package P --bench N` names it."""

    package: str
    name: str

    @property
    def counts(self) -> bool:
        """Whether it counts instructions; the others take the time."""
        return self.name.endswith("_instructions")

    def named(self, bench: str, *, many: bool) -> str:
        """The name of a bench of this target in the table, where there are many packages of benches or one."""
        return f"{self.package}: {bench}" if many else bench


@dataclass
class Row:
    """A bench of the table."""

    name: str
    base: Figures = field(default_factory=dict)
    head: Figures = field(default_factory=dict)
    own: Figures = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    offences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """What the benches of one role counted, and where callgrind's files are."""

    figures: dict[str, Figures]
    files: dict[str, Path]
    targets: dict[str, Target]


# --- Programs ---


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program; where we are ended, it ends too, with all that it started."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, errors = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def environment() -> dict[str, str]:
    """Ours, without what git sets where a hook of it runs us."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def try_git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or nothing where it fails."""
    done = run(["git", "-c", "core.hooksPath=/dev/null", *arguments], folder, environment())
    return done.stdout if done.returncode == 0 else None


def git(folder: Path, *arguments: str) -> str:
    """What git prints; it has to succeed."""
    done = run(["git", "-c", "core.hooksPath=/dev/null", *arguments], folder, environment())
    if done.returncode:
        raise NotMeasuredError(f"`git {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def version(program: str, *arguments: str) -> str:
    """The version that a program prints; empty where there is none."""
    found = shutil.which(program)
    return run([found, *(arguments or ["--version"])], Path.cwd(), environment()).stdout.strip() if found else ""


def end_of(text: str, lines: int = 12) -> str:
    """The first errors of a compiler, else the last lines."""
    errors = [line for line in text.splitlines() if line.startswith(("error", "thread"))]
    return "\n".join([*errors[:3], *text.rstrip().splitlines()[-lines:]])


# --- The two sides ---


def base_commit(repository: Path, base: str | None, *, release: bool) -> str:
    """The commit to compare with: where HEAD left `base`, or the last release before HEAD."""
    if release:
        tag = try_git(repository, "describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
        if tag is None and git(repository, "rev-parse", "--is-shallow-repository").strip() == "true":
            raise NotMeasuredError(
                "this clone is shallow and has no release; type: git fetch --tags --unshallow origin"
            )
        if tag is None:
            raise NothingToCompare("No release yet, so nothing to compare.")
        return git(repository, "rev-parse", f"{tag.strip()}^{{commit}}").strip()
    names = [base] if base else ["origin/HEAD", "origin/main", "main"]
    known = [name for name in names if try_git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")]
    fork = try_git(repository, "merge-base", "HEAD", known[0]) if known else None
    if fork is not None:
        return fork.strip()
    wanted = known[0] if known else names[0]
    fault = f"HEAD and {wanted} have no commit in common" if known else f"there is no commit {' or '.join(names)}"
    if git(repository, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise NotMeasuredError(f"{fault}: this clone is shallow; type: git fetch --unshallow origin")
    raise NotMeasuredError(f"{fault}; type: git fetch origin, or name the base: just perf BASE")


@dataclass
class Workspace:
    """A workspace of cargo in a repository, and the worktree that it is measured in."""

    repository: Path
    inside: Path
    target: Path
    base: str
    many: bool = False
    """Whether the benches are in several packages."""

    def __post_init__(self) -> None:
        self.root = self.repository / self.inside
        self.folder = self.root / "target" / "perf"
        self.worktree = self.folder / "worktree"
        listed = git(self.repository, "ls-tree", "-r", "-z", "--name-only", self.base)
        self.base_files = set(filter(None, listed.split("\0")))
        listed = git(self.repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        perf = f"{(self.inside / 'target' / 'perf').as_posix()}/"
        paths = {path for path in listed.split("\0") if path and not path.startswith(perf)}
        self.head_files = {path for path in paths if os.path.lexists(self.repository / path)}

    def cargo(self, tree: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run cargo on the workspace of a tree, by the head's toolchain.

        Cargo reads the settings of the folders above the one that it is started in. For the worktree those would be the
        head's, and so its `rustflags` would be the base's too; started above the repository it reads the tree's alone.
        """
        folders = [tree, *(tree / part for part in reversed(list(self.inside.parents)[:-1])), tree / self.inside]
        settings = [str(path) for place in dict.fromkeys(folders) if (path := place / ".cargo/config.toml").exists()]
        command = ["cargo", arguments[0], f"--manifest-path={tree / self.inside / 'Cargo.toml'}"]
        command += [f"--config={path}" for path in settings]
        own = {"CARGO_TARGET_DIR": str(self.target), "CARGO_TERM_COLOR": "never"}
        if channel := self.toolchain():
            own["RUSTUP_TOOLCHAIN"] = os.environ.get("RUSTUP_TOOLCHAIN", channel)
        return run([*command, *arguments[1:]], self.repository.parent, {**environment(), **own, **extra})

    def toolchain(self) -> str:
        """The toolchain that the head asks for."""
        for path in (self.root / "rust-toolchain.toml", self.repository / "rust-toolchain.toml"):
            if path.exists() and (found := re.search(r'(?m)^channel\s*=\s*"(.+?)"', path.read_text("utf-8"))):
                return found[1]
        return ""

    def base_text(self, path: str) -> str:
        """A file of the base, by its path in the workspace; empty where there is none."""
        return try_git(self.repository, "show", f"{self.base}:{(self.inside / path).as_posix()}") or ""

    @contextlib.contextmanager
    def checked_out(self) -> Iterator[None]:
        """A worktree of the base, which goes whatever happens."""
        self.remove()
        try:
            git(self.repository, "worktree", "add", "--quiet", "--detach", str(self.worktree), self.base)
            # Files that git does not have, and that both sides need alike: versions, and where packages come from.
            for path in ("Cargo.lock", ".cargo/local.toml"):
                if (self.inside / path).as_posix() not in self.base_files and (self.root / path).exists():
                    copy(self.root / path, self.worktree / self.inside / path)
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            self.remove()

    def remove(self) -> None:
        """Take the worktree away; one that a killed run left, too."""
        try_git(self.repository, "worktree", "remove", "--force", "--force", str(self.worktree))
        shutil.rmtree(self.worktree, ignore_errors=True)
        try_git(self.repository, "worktree", "prune")

    def fill(self, keep: Sequence[str]) -> None:
        """Bring the head's files into the worktree, but for those in folders that keep the base's."""
        for path in sorted(self.base_files - self.head_files):
            if not is_below(path, keep):
                (self.worktree / path).unlink(missing_ok=True)
        for path in sorted(self.head_files):
            if not is_below(path, keep):
                copy(self.repository / path, self.worktree / path)


def copy(source: Path, place: Path) -> None:
    """Copy a file that differs; cargo builds again what has a new time."""
    if source.is_symlink():
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source.readlink())
    elif source.is_file() and not (place.is_file() and place.read_bytes() == source.read_bytes()):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is in one of the folders."""
    return any(path.startswith(f"{folder}/") for folder in folders)


# --- Benches ---


@dataclass
class Benches:
    """The benches of a side."""

    metadata: dict[str, Any]
    tree: Path

    @property
    def packages(self) -> list[dict[str, Any]]:
        """The packages that have one."""
        return [package for package in self.metadata["packages"] if any(map(is_bench, package["targets"]))]

    def targets(self) -> dict[Target, str]:
        """Each bench with the path of its file in the tree."""
        pairs = [(package, target) for package in self.packages for target in filter(is_bench, package["targets"])]
        return {Target(package["name"], target["name"]): self.path(target["src_path"]) for package, target in pairs}

    def path(self, path: str) -> str:
        return Path(path).relative_to(self.tree).as_posix()

    def texts(self) -> list[str]:
        """The folders that are the text of benches: a package in a folder `bench`, of another one its `benches`."""
        folders = [self.path(str(Path(package["manifest_path"]).parent)) for package in self.packages]
        return [folder if is_for_benches(folder) else f"{folder}/benches".removeprefix("./") for folder in folders]

    def requirement(self) -> str:
        """The version of gungraun that a bench asks for."""
        found = (one for package in self.packages for one in package["dependencies"] if one["name"] == "gungraun")
        return next((str(one["req"]).lstrip("=^") for one in found), "")

    def digest(self, target: Target, files: Iterable[str]) -> str:
        """What a bench is made of beside the crate: its file, what it shares with others, its dependencies."""
        package = next(package for package in self.packages if package["name"] == target.package)
        folder = self.path(str(Path(package["manifest_path"]).parent))
        sources = set(self.targets().values())
        root = folder if is_for_benches(folder) else f"{folder}/benches".removeprefix("./")
        foreign = (f"{folder}/tests", f"{folder}/target")
        parts = [self.targets()[target], *(path for path in files if is_below(path, [root]) and path not in sources)]
        parts = [path for path in parts if not is_below(path, foreign) and not path.endswith(("Cargo.toml", ".md"))]
        needed = [{**one, "path": None} for one in package["dependencies"]]
        digest = hashlib.sha256(json.dumps([needed, package["features"], package["edition"]], sort_keys=True).encode())
        for path in sorted(set(parts)):
            digest.update(path.encode() + b"\0" + (self.tree / path).read_bytes())
        return digest.hexdigest()


def is_bench(target: Mapping[str, Any]) -> bool:
    return "bench" in target["kind"]


def is_for_benches(folder: str) -> bool:
    return Path(folder).name in {"bench", "benches"}


def read_benches(workspace: Workspace, tree: Path) -> Benches:
    """The benches of a tree, by `cargo metadata`."""
    done = workspace.cargo(tree, "metadata", "--no-deps", "--format-version=1")
    if done.returncode:
        raise DoesNotRunError(end_of(done.stderr))
    return Benches(json.loads(done.stdout), tree)


def share_gungraun(workspace: Workspace, head: Benches) -> None:
    """Let the base's benches use the head's gungraun: the runner that is installed fits that one alone."""
    line = re.compile(r"(?m)^gungraun\s*=.*$")
    manifests = [workspace.repository / head.path(package["manifest_path"]) for package in head.packages]
    lines = [found[0] for path in manifests if (found := line.search(path.read_text("utf-8")))]
    for path in sorted(workspace.base_files):
        place = workspace.worktree / path
        if lines and place.name == "Cargo.toml" and place.is_file():
            text = place.read_text("utf-8")
            aligned = line.sub(lambda _: lines[0], text)
            if aligned != text:
                place.write_text(aligned, "utf-8")


def build(workspace: Workspace, targets: Iterable[Target]) -> tuple[dict[Target, Path], dict[Target, str]]:
    """Build benches in the worktree; returns their programs, and why others do not build."""
    programs: dict[Target, Path] = {}
    faults: dict[Target, str] = {}
    packages: dict[str, list[Target]] = {}
    for target in targets:
        packages.setdefault(target.package, []).append(target)
    for group in packages.values():
        # All at once is quicker; one by one tells which of them fail.
        if try_build(workspace, group, programs) is not None:
            tried = {target: try_build(workspace, [target], programs) for target in group}
            faults.update({target: fault for target, fault in tried.items() if fault is not None})
    return programs, faults


def try_build(workspace: Workspace, group: Sequence[Target], programs: dict[Target, Path]) -> str | None:
    """Build benches of one package, and note their programs; returns why it failed."""
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


# --- Counting: gungraun ---


def count(workspace: Workspace, targets: Iterable[Target], home: Path) -> tuple[Measured, dict[Target, str]]:
    """Run instruction benches in the worktree; returns what they counted, and why others do not run."""
    shutil.rmtree(home, ignore_errors=True)
    faults: dict[Target, str] = {}
    for target in targets:
        options = ("--package", target.package, "--bench", target.name, "--", "--save-summary=json")
        done = workspace.cargo(workspace.worktree, "bench", *options, GUNGRAUN_HOME=str(home))
        # 3 is a limit that the bench itself has; it counted all the same.
        if done.returncode not in {0, 3}:
            faults[target] = end_of(done.stdout + done.stderr)
        elif not any((home / target.package / target.name).rglob("summary.json")):
            raise NotMeasuredError(f"{target.name} ended well and left no summary in {home}\n{end_of(done.stdout)}")
    return read_counts(home, faults, many=workspace.many), faults


def read_counts(home: Path, faults: Iterable[Target], *, many: bool) -> Measured:
    """Read what gungraun saved below a folder, by the names of the benches."""
    figures: dict[str, Figures] = {}
    files: dict[str, Path] = {}
    targets: dict[str, Target] = {}
    for path in sorted(home.rglob("summary.json")):
        target = Target(*path.relative_to(home).parts[:2])
        if target not in set(faults):
            name, found = read_summary(path)
            name = target.named(name, many=many)
            figures[name] = found
            targets[name] = target
            files[name] = next(iter(sorted(path.parent.glob("callgrind.*.out"))), path)
    return Measured(figures, files, targets)


def read_summary(path: Path) -> tuple[str, Figures]:
    """The name of a bench and what it counted, of a summary in version 7 of gungraun's format."""
    summary = json.loads(path.read_text("utf-8"))
    if summary.get("version") != SUMMARY_VERSION:
        fault = (
            f"{path} has version {summary.get('version')} of the format, and version {SUMMARY_VERSION} is understood"
        )
        raise NotMeasuredError(f"{fault}; type: just setup, or update tools/perf.py by `copier update`")
    try:
        totals = [profile["data"]["total"]["metrics"] for profile in summary["profiles"]]
        values = {name: one["values"]["new"] for metrics in totals for name, one in metrics.items()}
        name = " ".join(filter(None, [summary["module_path"], summary["id"]]))
    except (KeyError, TypeError) as fault:
        raise NotMeasuredError(f"{path} cannot be read: {fault!r}; update tools/perf.py by `copier update`") from fault
    names = {"instructions": "Ir", "cycles": "EstimatedCycles", "blocks": "TotalBlocks", "peak": "AtTGmaxBytes"}
    figures = {ours: float(values[theirs]) for ours, theirs in names.items() if theirs in values}
    if {"LLhits", "RamHits"} <= values.keys():
        figures["misses"] = float(values["LLhits"] + values["RamHits"])
    if not figures:
        raise NotMeasuredError(f"{path} has no count of callgrind or DHAT")
    return name, figures


def cost_by_function(path: Path) -> Counter[str]:
    """Instructions of each function itself, of a file that callgrind wrote."""
    costs: Counter[str] = Counter()
    names: dict[str, str] = {}
    function, column, skip = "", 0, False
    for line in path.read_text("utf-8", "replace").splitlines():
        if line.startswith("events:"):
            column = line.split()[1:].index("Ir") + 1
        elif line.startswith("fn="):
            number, _, name = re.fullmatch(r"(?:(\(\d+\))( ?))?(.*)", line[3:]).groups()  # type: ignore[union-attr]
            function = names.setdefault(number, name) if number else name
        elif line.startswith("calls="):
            # The next line is the cost of what is called, which stands where that is defined.
            skip = True
        elif line[:1].isdigit() or line[:1] in {"+", "-", "*"}:
            fields = line.split()
            costs[function] += int(fields[column]) if not skip and len(fields) > column else 0
            skip = False
    return costs


def growth(base: Path, head: Path) -> list[str]:
    """The five functions that grew most."""
    grown = cost_by_function(head)
    grown.subtract(cost_by_function(base))
    return [f"{cost:+,} {name}" for name, cost in grown.most_common(5) if cost > 0]


# --- Times: criterion ---


def time_pairs(
    workspace: Workspace, programs: Mapping[str, Mapping[Target, Path]], *, long: bool
) -> tuple[dict[str, dict[str, Figures]], list[str]]:
    """Run the benches of time, base and head by turns; returns the figures of each side, and notes."""
    samples: dict[str, dict[str, list[Figures]]] = {side: {} for side in programs}
    notes: list[str] = []
    for turn in range(ROUNDS):
        for side, found in samples.items():
            for target, program in sorted(programs.get(side, {}).items()):
                home = workspace.folder / "criterion" / f"{side}-{turn}" / target.package / target.name
                shutil.rmtree(home, ignore_errors=True)
                own = {"CRITERION_HOME": str(home), "CARGO_MANIFEST_DIR": str(workspace.worktree / workspace.inside)}
                options = ["--bench", "--noplot", *([] if long else SHORT)]
                done = run([str(program), *options], workspace.worktree, {**environment(), **own})
                if done.returncode:
                    notes.append(f"{target.name} takes no time on the {side}: {end_of(done.stderr, 3)}")
                for name, figures in read_times(home, notes):
                    found.setdefault(target.named(name, many=workspace.many), []).append(figures)
    times = {side: {name: merged(rounds) for name, rounds in found.items()} for side, found in samples.items()}
    return times, list(dict.fromkeys(notes))


def read_times(home: Path, notes: list[str]) -> Iterator[tuple[str, Figures]]:
    """What criterion left of each bench; its files are private to it, so what is not as expected is said, and left."""
    for path in sorted(home.rglob("new/benchmark.json")):
        if (read := read_time(path, notes)) is not None:
            yield read


def read_time(path: Path, notes: list[str]) -> tuple[str, Figures] | None:
    """The name and the times of one bench, in nanoseconds, by the files beside a `benchmark.json`."""
    try:
        name = str(json.loads(path.read_text("utf-8"))["full_id"])
        sample = json.loads(path.with_name("sample.json").read_text("utf-8"))
        interval = json.loads(path.with_name("estimates.json").read_text("utf-8"))["median"]["confidence_interval"]
        means = sorted(took / rounds for took, rounds in zip(sample["times"], sample["iters"]))
        figures = {"median": statistics.median(means), "p95": means[-(-95 * len(means) // 100) - 1]}
        bounds = {"lower": float(interval["lower_bound"]), "upper": float(interval["upper_bound"])}
    except (KeyError, TypeError, ValueError, OSError, ArithmeticError, IndexError) as fault:
        notes.append(f"times cannot be shown: {path} is not as criterion 0.8 writes it ({fault!r})")
        return None
    return name, {**figures, **bounds}


def merged(rounds: Sequence[Figures]) -> Figures:
    """One figure of all rounds: the middle one; the interval is the widest."""
    figures = {name: statistics.median(one[name] for one in rounds) for name in ("median", "p95")}
    return {**figures, "lower": min(one["lower"] for one in rounds), "upper": max(one["upper"] for one in rounds)}


# --- The three measurements ---


@dataclass
class Comparison:
    """What is known of all benches."""

    rows: dict[str, Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row(name))

    @property
    def offences(self) -> list[str]:
        return [offence for row in self.rows.values() for offence in row.offences]


def compare(workspace: Workspace, head: Benches, options: argparse.Namespace) -> Comparison:
    """Measure both sides, and judge."""
    comparison = Comparison()
    with workspace.checked_out():
        try:
            base = read_benches(workspace, workspace.worktree)
        except DoesNotRunError as fault:
            raise base_fault(workspace, str(fault)) from fault
        workspace.many = len({target.package for side in (base, head) for target in side.targets()}) > 1
        changes = changes_of(workspace, base, head)
        share_gungraun(workspace, head)
        timed: dict[str, dict[Target, Path]] = {}
        counted = count_base(workspace, [target for target in base.targets() if target.counts])
        timed["base"] = programs_to_time(workspace, "base", base.targets(), options, {})
        faults: dict[Target, str] = {}
        workspace.fill(base.texts())
        judged, failed = count(workspace, filter(is_counting, base.targets()), workspace.folder / "head")
        faults.update(failed)
        timed["head"] = programs_to_time(workspace, "head", base.targets(), options, faults)
        own = [target for target in head.targets() if changes.get(target) in {"changed", "new"} or target in faults]
        workspace.fill(())
        shown = count_own(workspace, own)
        timed["own"] = programs_to_time(workspace, "own", own, options, {})
        times, notes = time_pairs(workspace, timed, long=options.long) if options.times else ({}, [])
    comparison.notes += notes
    limits = (head if options.release else base).metadata
    enter_counts(comparison, counted, judged, shown, faults)
    for side, benches in times.items():
        for name, figures in benches.items():
            getattr(comparison.row(name), side).update(figures)
    name_changes(comparison, changes, faults, [counted, judged, shown])
    judge(comparison, counted, judged, limits, cumulative=options.release)
    return comparison


def is_counting(target: Target) -> bool:
    return target.counts


def base_fault(workspace: Workspace, fault: str) -> NotMeasuredError:
    """A base that cannot be measured says nothing about the head."""
    commit = workspace.base[:12]
    hint = "name another base: just perf BASE, or mend it there first"
    return NotMeasuredError(f"the base {commit} does not build or run, so there is nothing to compare; {hint}\n{fault}")


def changes_of(workspace: Workspace, base: Benches, head: Benches) -> dict[Target, str]:
    """Benches that are not the same on both sides: `changed`, `new`, `deleted`, `renamed to` or `renamed from`."""
    before = {target: base.digest(target, workspace.base_files) for target in base.targets()}
    after = {target: head.digest(target, workspace.head_files) for target in head.targets()}
    changes = {target: "changed" for target in before.keys() & after.keys() if before[target] != after[target]}
    texts = {(head.tree / path).read_bytes(): target for target, path in head.targets().items() if target not in before}
    for target, path in base.targets().items():
        if target not in after:
            renamed = texts.get((base.tree / path).read_bytes())
            changes[target] = f"renamed to {renamed.name}" if renamed else "deleted"
            if renamed:
                changes[renamed] = f"renamed from {target.name}"
    return {**dict.fromkeys(after.keys() - before.keys(), "new"), **changes}


def count_base(workspace: Workspace, targets: Sequence[Target]) -> Measured:
    """Count the base, unless an earlier run did so in the same circumstances."""
    home = workspace.folder / "bases" / base_key(workspace)
    done = home.with_suffix(".done")
    if not done.exists():
        _, faults = count(workspace, targets, home)
        for fault in faults.values():
            raise base_fault(workspace, fault)
        for old in sorted(home.parent.glob("*.done"), key=lambda path: path.stat().st_mtime)[:-3]:
            shutil.rmtree(old.with_suffix(""), ignore_errors=True)
            old.unlink()
        home.mkdir(parents=True, exist_ok=True)
        done.touch()
    return read_counts(home, [], many=workspace.many)


def base_key(workspace: Workspace) -> str:
    """All that a count of the base depends on: its sources, this script, the tools, the settings and the machine."""
    lock = workspace.worktree / workspace.inside / "Cargo.lock"
    settings = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    manifests = [path for path in workspace.base_files if path.endswith("Cargo.toml")]
    texts = [lock, Path(__file__), workspace.root / ".cargo/local.toml", settings / "config.toml"]
    texts += [workspace.worktree / path for path in sorted(manifests)]
    texts += [folder / ".cargo/config.toml" for folder in workspace.repository.parents]
    parts = [workspace.base, str(workspace.worktree), str(workspace.target), workspace.toolchain(), processor()]
    parts += [version("rustc", "-vV"), version("valgrind"), version("gungraun-runner"), "".join(platform.libc_ver())]
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in texts]
    named = ("CARGO", "RUST", "GUNGRAUN", "VALGRIND", "CC", "CFLAGS")
    parts += [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(named)]
    # Without a lock the packages may be others next time.
    parts += [] if lock.exists() else [os.urandom(8).hex()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def count_own(workspace: Workspace, targets: Sequence[Target]) -> Measured:
    """Count by the head's text; here a fault is the head's."""
    measured, faults = count(workspace, filter(is_counting, targets), workspace.folder / "own")
    for target, fault in faults.items():
        raise NotMeasuredError(f"{target.name} of the head does not build or run; type: just bench\n{fault}")
    return measured


def programs_to_time(
    workspace: Workspace, side: str, targets: Iterable[Target], options: argparse.Namespace, faults: dict[Target, str]
) -> dict[Target, Path]:
    """Build the benches of time and put them aside, since the next side is built in the same place."""
    if not options.times:
        return {}
    programs, failed = build(workspace, [target for target in targets if not target.counts])
    if failed and side == "base":
        raise base_fault(workspace, next(iter(failed.values())))
    if failed and side == "own":
        raise NotMeasuredError(f"the head does not build; type: just bench\n{next(iter(failed.values()))}")
    faults.update(failed)
    kept: dict[Target, Path] = {}
    for target, program in programs.items():
        kept[target] = workspace.folder / "programs" / side / f"{target.package}-{target.name}"
        kept[target].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(program, kept[target])
    return kept


def enter_counts(
    comparison: Comparison, counted: Measured, judged: Measured, shown: Measured, faults: Mapping[Target, str]
) -> None:
    """Write the counts into the rows; a bench that was not counted where it should be is an error."""
    for name, figures in counted.figures.items():
        row = comparison.row(name)
        row.base.update(figures)
        if name in judged.figures:
            row.head.update(judged.figures[name])
            missing = [key for key in GATED if key in row.base and key not in row.head]
        else:
            missing = [] if counted.targets[name] in faults else ["all"]
        if missing:
            raise NotMeasuredError(f"{name}: {', '.join(missing)} of the head cannot be read; type: just instructions")
    for name in judged.figures.keys() - counted.figures.keys():
        raise NotMeasuredError(f"{name} was not counted on the base; type: rm -r target/perf, then again")
    for name, figures in shown.figures.items():
        comparison.row(name).own.update(figures)


def name_changes(
    comparison: Comparison, changes: Mapping[Target, str], faults: Mapping[Target, str], sides: Sequence[Measured]
) -> None:
    """Say of each bench that is not the same on both sides what became of it."""
    counted, _, shown = sides
    targets = {**counted.targets, **shown.targets}
    for name, target in targets.items():
        row, change = comparison.row(name), changes.get(target, "")
        if target in faults:
            row.notes.append("NOT COMPARABLE: the base's bench does not build or run with the head's sources")
        if change == "changed" and name not in shown.targets:
            row.notes.append("deleted; judged by the base's text")
        elif change == "changed" and name not in counted.targets:
            row.notes.append("new, nothing to compare with")
        elif change == "changed":
            row.notes.append("bench changed: by its own text not comparable; judged by the base's text")
        elif change:
            row.notes.append(change if change != "new" else "new, nothing to compare with")
    for target, change in sorted(changes.items()):
        judged = "" if change in {"new", "deleted"} or target in faults else "; the base's text is what judges"
        comparison.notes.append(f"bench `{target.name}`: {change}{judged}")
    for target, fault in sorted(faults.items()):
        first = fault.splitlines()[0] if fault else "no message"
        comparison.notes.append(f"**NOT JUDGED**: `{target.name}` of the base does not run on the head: `{first}`")


# --- The verdict ---


def limits_of(metadata: Mapping[str, Any], name: str) -> dict[str, float]:
    """The limits of a bench: those of all, and what is said of the bench, its function or its file."""
    table = (metadata.get("metadata") or {}).get("perf") or {}
    limits: dict[str, float] = {**DEFAULTS, **{key: value for key, value in table.items() if key != "benches"}}
    name = name.rpartition(": ")[2]
    for bench, own in sorted(table.get("benches", {}).items()):
        if name == bench or name.startswith((f"{bench} ", f"{bench}::")):
            limits.update(own)
    for key, value in limits.items():
        if key not in DEFAULTS or isinstance(value, bool) or not isinstance(value, (int, float)):
            fault = f"[workspace.metadata.perf] of Cargo.toml has {key} = {value!r}"
            raise NotMeasuredError(f"{fault}; it takes numbers for {', '.join(DEFAULTS)}")
    return limits


def judge(
    comparison: Comparison, counted: Measured, judged: Measured, metadata: Mapping[str, Any], *, cumulative: bool
) -> None:
    """Hold what was counted to the limits; an offence names the directives, and where to look."""
    for name, row in comparison.rows.items():
        limits = limits_of(metadata, name)
        limits["instructions"] = limits["cumulative-instructions" if cumulative else "instructions"]
        if beyond := [line for key in GATED if (line := offence(row, key, limits))]:
            grown = growth(counted.files[name], judged.files[name])
            target = counted.targets[name].name.removesuffix("_instructions")
            look = [
                f"callgrind_annotate {os.path.relpath(judged.files[name])}",
                f"just flame cargo bench --bench {target}",
            ]
            lines = [*(f"grew: {line}" for line in grown), *(f"look: {line}" for line in look)]
            row.offences = ["\n    ".join([*beyond, *lines])]
        if {"lower", "upper"} <= row.base.keys() & row.head.keys():
            if row.head["upper"] < row.base["lower"]:
                row.notes.append("faster: the confidence intervals of all pairs lie apart")
            elif row.head["lower"] > row.base["upper"]:
                row.notes.append("slower (shown, not judged): the confidence intervals of all pairs lie apart")


def offence(row: Row, key: str, limits: Mapping[str, float]) -> str:
    """What is beyond its limit; empty where nothing is."""
    base, head = row.base.get(key), row.head.get(key)
    if base is None or head is None:
        return ""
    if key == "blocks":
        most, limit = base + limits["blocks"], f"+{limits['blocks']:g}"
    else:
        percent = limits["instructions" if key == "instructions" else "peak-bytes"]
        most, limit = base * (1 + percent / 100), f"+{percent:g} %"
    if key == "peak":
        most = max(most, base + PEAK_SLACK)
    if head <= most:
        return ""
    return f"{DIRECTIVES[key]}: {row.name}: {COLUMNS[key]} {cell(key, base, head)}, the limit is {limit}"


def acceptance(argument: str) -> tuple[str, str]:
    """The reason why what is beyond a limit was accepted, or a hint at what is missing for that."""
    if argument.strip():
        return argument.strip(), ""
    try:
        labels = json.loads(os.environ.get("PERF_LABELS") or "[]")
    except ValueError:
        labels = []
    reason = REASON.search(os.environ.get("PERF_BODY", "").replace("\r", ""))
    is_labelled = isinstance(labels, list) and LABEL in labels
    if is_labelled and reason:
        return reason[1], ""
    if is_labelled:
        return "", f"The label {LABEL} is there; the text has no line `perf: accepted because REASON`."
    if reason:
        return "", f"The reason is there; a maintainer has not set the label {LABEL}."
    return "", f"To accept it: a maintainer's label {LABEL}, and a line `perf: accepted because REASON` in the text."


# --- The report ---


def amount(key: str, value: float) -> str:
    """A figure as people read it; times are in nanoseconds."""
    if key not in {"median", "p95"}:
        return f"{value:,.0f}"
    unit = next(unit for unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")) if value >= unit[0] or unit[0] == 1)
    return f"{value / unit[0]:.3g} {unit[1]}"


def cell(key: str, base: float | None, head: float | None) -> str:
    """Base, head and change, as far as they are there."""
    if base is None or head is None:
        return " → ".join(amount(key, value) if value is not None else "?" for value in (base, head))
    if base == head:
        return f"{amount(key, base)} ="
    change = f"{(head / base - 1) * 100:+.2f} %" if base else "new"
    return f"{amount(key, base)} → {amount(key, head)} ({change})"


def table(comparison: Comparison, accepted: str) -> str:
    """The Markdown table, a bench a row."""
    lines = [["bench", *COLUMNS.values(), "verdict"], ["---", *["---:"] * len(COLUMNS), "---"]]
    for row in comparison.rows.values():
        cells = [row.name]
        for key in COLUMNS:
            known = key in row.base or key in row.head
            text = cell(key, row.base.get(key), row.head.get(key)) if known else ""
            text += f" [own text: {amount(key, row.own[key])}]" if key in row.own else ""
            cells.append(text.strip())
        gated = any(key in row.head for key in GATED)
        verdict = ["accepted" if accepted else "**beyond its limit**"] if row.offences else ["ok"] if gated else []
        lines.append([*cells, "; ".join([*verdict, *row.notes])])
    return "\n".join(f"| {' | '.join(escaped(cell) for cell in line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text of others, which is to be nothing but text in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def processor() -> str:
    """The model of the processor."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text("utf-8").splitlines() if information.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def facts(workspace: Workspace, options: argparse.Namespace) -> list[str]:
    """What was compared, and by what."""
    changed = (
        " with changes that are not committed" if git(workspace.repository, "status", "--porcelain").strip() else ""
    )
    head = git(workspace.repository, "rev-parse", "HEAD").strip()
    lines = [
        f"base {workspace.base[:12]}, head {head[:12]}{changed}",
        f"{version('rustc')}, {version('valgrind') or 'no valgrind'}, {processor()}, {os.cpu_count()} cores",
    ]
    if options.release:
        return [*lines, "against the last release, by the head's script and limits"]
    for path, what in (("tools/perf.py", "script"), ("rust-toolchain.toml", "toolchain")):
        place = workspace.root / path
        text, own = workspace.base_text(path), place.read_text("utf-8") if place.exists() else ""
        if text and text != own:
            judge_is = "the base's one judges" if what == "script" else "both sides are built by the head's"
            lines.append(f"{path} changed: {judge_is}")
    return lines


def write(workspace: Workspace, comparison: Comparison, about: Sequence[str], accepted: str, exit_code: int) -> None:
    """Write the table to the terminal and to the summary of the job, and all figures into target/perf.json."""
    lines = ["## Performance", "", *(f"- {escaped(line)}" for line in [*about, *comparison.notes])]
    lines += [f"- accepted because {escaped(accepted)}"] if accepted and comparison.offences else []
    lines += ["", table(comparison, accepted)]
    if comparison.offences:
        lines += ["", "```text", *comparison.offences, "```"]
    text = "\n".join(lines)
    print(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    rows = [asdict(row) for row in comparison.rows.values()]
    report = {"version": 1, "exit": exit_code, "base": workspace.base, "about": about, "notes": comparison.notes}
    report.update({"accepted": accepted, "rows": rows})
    (workspace.root / "target" / "perf.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")


# --- The command ---


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just perf", description="Compare the speed of this branch with its base.")
    parser.add_argument("base", nargs="?", default=os.environ.get("PERF_BASE"), help="what it is to be merged into")
    parser.add_argument("--release", action="store_true", help="compare with the last release, tagged v*")
    parser.add_argument("--long", action="store_true", help="take times with criterion's own settings")
    parser.add_argument("--no-times", dest="times", action="store_false", help="count only")
    parser.add_argument("--accept", default="", metavar="=REASON", help="accept what is beyond a limit")
    return parser.parse_args(arguments)


def check_tools(benches: Iterable[Target], wanted: str) -> None:
    """Counting needs valgrind, and the runner in the very version of the library."""
    if not any(target.counts for target in benches):
        return
    runner = version("gungraun-runner").rpartition(" ")[2]
    missing = [] if shutil.which("valgrind") else ["valgrind"]
    if not runner or not f"{runner}.".startswith(f"{wanted}."):
        missing.append(f"gungraun-runner {wanted} (there is {runner or 'none'})")
    if missing:
        raise NotMeasuredError(f"missing: {', '.join(missing)}; type: just setup")


def open_workspace(options: argparse.Namespace) -> Workspace:
    """The workspace that we are in."""
    done = run(["cargo", "metadata", "--no-deps", "--format-version=1"], Path.cwd(), environment())
    if done.returncode:
        raise NotMeasuredError(f"cargo metadata fails here; go to the folder of the crate\n{done.stderr.strip()}")
    metadata = json.loads(done.stdout)
    root = Path(metadata["workspace_root"]).resolve()
    repository = try_git(root, "rev-parse", "--show-toplevel")
    if repository is None:
        raise NotMeasuredError(f"{root} is in no git repository; type: git init, and commit")
    top = Path(repository.strip()).resolve()
    base = base_commit(top, options.base, release=options.release)
    workspace = Workspace(top, root.relative_to(top), Path(metadata["target_directory"]), base)
    has_benches = any(map(is_bench, (target for package in metadata["packages"] for target in package["targets"])))
    has_had = any("[[bench]]" in workspace.base_text(path) for path in manifests_of(workspace))
    if not has_benches and not has_had:
        raise NothingToCompare("No hot path, so nothing to compare.")
    return workspace


def manifests_of(workspace: Workspace) -> list[str]:
    """The manifests of the base, by their paths in the workspace."""
    inside = "" if workspace.inside == Path() else f"{workspace.inside.as_posix()}/"
    found = (path for path in workspace.base_files if path.startswith(inside) and path.endswith("Cargo.toml"))
    return [path[len(inside) :] for path in sorted(found)]


def perf(options: argparse.Namespace) -> int:
    """Measure, judge and report; returns the exit code."""
    workspace = open_workspace(options)
    workspace.folder.mkdir(parents=True, exist_ok=True)
    with (workspace.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotMeasuredError("another `just perf` is at work in this folder; wait for its end") from None
        try:
            head = read_benches(workspace, workspace.repository)
        except DoesNotRunError as fault:
            raise NotMeasuredError(f"cargo metadata fails; type: cargo metadata\n{fault}") from fault
        check_tools(head.targets(), head.requirement())
        comparison = compare(workspace, head, options)
    accepted, hint = acceptance(options.accept)
    exit_code = 3 if comparison.offences and not accepted else 0
    write(workspace, comparison, facts(workspace, options), accepted, exit_code)
    if exit_code:
        print(hint, file=sys.stderr)
    return exit_code


def end(number: int, _: object) -> NoReturn:
    """Leave by way of all that is to be tidied up."""
    sys.exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        return perf(read_arguments(arguments))
    except NothingToCompare as reason:
        print(reason)
        return 0
    except NotMeasuredError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
