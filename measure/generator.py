"""Measures the time of copying and updating, compared with `cargo new` and cargo-generate: `make compare-generator`.

All commands are timed as whole processes, in turns. The template is a clone of this checkout with two releases; the
newer one has the files of the working tree, committed or not.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from workbench import CHECKOUT, SCRATCH, measure, table, write_page

RUNS = 11
# The newest version that the Rust of versions.yml builds with the dependencies of its lockfile.
CARGO_GENERATE = "0.23.14"
NAME = "probe-crate"
ANSWERS = ("--quiet", "--defaults", "--data", f"crate_name={NAME}", "--data", "kind=cli")
# Time limits for copying and updating, in seconds for the whole process.
AIMS = {"copier copy": 1.0, "copier update": 2.0}
COPIER = Path(sys.executable).with_name("copier")
FAST_RUST = Path(sys.executable).with_name("fast-rust")
INSIDE = Path(__file__).with_name("inside_copier.py")
PARTS = {
    "python": "starting and ending Python",
    "import": "importing Copier",
    "git": "git, and waiting for it",
    "templates": "compiling and rendering templates",
    "folders": "removing temporary folders",
    "rest": "all else: questions, reading and writing files",
}


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder with a neutral identity, and return its output."""
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgSign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


# --- The sources of generation ---


@dataclass(frozen=True)
class Releases:
    """A template in git with its last two releases."""

    repository: Path
    old: str
    new: str


def make_releases(folder: Path) -> Releases:
    """Clone this checkout, tag the release before, then commit the files of the working tree and tag them, too.

    Raises ValueError if the history does not reach back to another version.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(CHECKOUT, "clone", "--quiet", "--no-hardlinks", str(CHECKOUT), str(folder))
    raised = git(folder, "log", "--format=%H", "--max-count=1", "--extended-regexp", "-G^version = ", "pyproject.toml")
    commit = f"{raised.strip()}^"
    try:
        old = _version(git(folder, "show", f"{commit}:pyproject.toml"))
    except subprocess.CalledProcessError as error:
        raise ValueError("there is no older version in the history; fetch it: git fetch --unshallow") from error
    git(folder, "tag", f"v{old}", commit)
    git(folder, "rm", "-r", "--quiet", "--force", ".")
    for name in filter(None, git(CHECKOUT, "ls-files", "-z", "-co", "--exclude-standard").split("\0")):
        # git still lists files whose deletion is not committed yet.
        if (CHECKOUT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name, follow_symlinks=False)
    new = _version((folder / "pyproject.toml").read_text(encoding="utf-8"))
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "The files as they are")
    git(folder, "tag", f"v{new}")
    # In one pack, as a clone from a server has it.
    git(folder, "gc", "--quiet")
    return Releases(folder, f"v{old}", f"v{new}")


def _version(project: str) -> str:
    found = re.search(r'(?m)^version = "([\d.]+)"', project)
    if found is None:
        raise ValueError("pyproject.toml has no version")
    return found[1]


def make_old_crate(releases: Releases, crate: Path) -> None:
    """Make a crate from the older release, and commit it as the closing message says."""
    shutil.rmtree(crate, ignore_errors=True)
    options = [*ANSWERS, f"--vcs-ref={releases.old}"]
    subprocess.run([str(COPIER), "copy", *options, str(releases.repository), str(crate)], check=True)
    git(crate, "init", "--quiet")
    git(crate, "add", "--all")
    git(crate, "commit", "--quiet", "--message", "Start")


def make_liquid_template(crate: Path, folder: Path) -> None:
    """Make a template for cargo-generate from a rendered crate: it renders the same files as our template."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(crate, folder)
    ours = {
        path.relative_to(CHECKOUT / "template").with_suffix("") for path in (CHECKOUT / "template").rglob("*.jinja")
    }
    rendered = [path for path in sorted(ours) if (folder / path).is_file()]
    for path in rendered:
        text = (folder / path).read_text(encoding="utf-8")
        # Braces in the text itself must not reach the template engine.
        text = re.sub(r"\{\{|\}\}|\{%|%\}", r"{% raw %}\g<0>{% endraw %}", text)
        (folder / path).write_text(text.replace(NAME, "{{project-name}}"), encoding="utf-8")
    listed = ", ".join(json.dumps(path.as_posix()) for path in rendered)
    (folder / "cargo-generate.toml").write_text(f"[template]\ninclude = [{listed}]\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "A template")
    git(folder, "gc", "--quiet")


def install_cargo_generate() -> Path | None:
    """Return the program, building it if it is missing; None if it cannot be built."""
    root = SCRATCH / f"cargo-generate-{CARGO_GENERATE}"
    program = root / "bin" / "cargo-generate"
    if not program.exists():
        options = ["--quiet", "--locked", "--root", str(root), "--version", f"={CARGO_GENERATE}"]
        subprocess.run(["cargo", "install", *options, "cargo-generate"], check=False)
    return program if program.exists() else None


# --- The commands that are timed ---


@dataclass(frozen=True)
class Contestant:
    """A command that is timed, and the function that restores the state before it."""

    name: str
    command: Sequence[str | Path]
    folder: Path
    """The folder that the command makes or changes."""
    prepare: Callable[[], object]
    inside: Path | None = None
    """The folder that the command runs in."""


def contestants(folder: Path, releases: Releases, cargo_generate: Path | None) -> list[Contestant]:
    """Return all commands, and make what they need in a folder."""
    start, copied, updated, new = (folder / name for name in ("start", "copied", "updated", NAME))
    make_old_crate(releases, start)

    def fresh(crate: Path) -> Callable[[], object]:
        return lambda: shutil.rmtree(crate, ignore_errors=True)

    def restored() -> None:
        shutil.rmtree(updated, ignore_errors=True)
        shutil.copytree(start, updated)

    copy: tuple[str | Path, ...] = ("copy", *ANSWERS, releases.repository, copied)
    found = [
        Contestant("copier copy", (COPIER, *copy), copied, fresh(copied)),
        Contestant("copier update", (COPIER, "update", "--quiet", "--defaults"), updated, restored, updated),
        Contestant("fast-rust update", (FAST_RUST, "update"), updated, restored, updated),
        Contestant("cargo new", ("cargo", "new", "--quiet", "--vcs=none", new), new, fresh(new)),
    ]
    if cargo_generate:
        found.append(_cargo_generate(cargo_generate, found[0], folder))
    return found


def _cargo_generate(program: Path, copy: Contestant, folder: Path) -> Contestant:
    """Return cargo-generate as a contestant: the same crate, from a template that is made of it."""
    copy.prepare()
    subprocess.run(copy.command, check=True)
    make_liquid_template(copy.folder, folder / "liquid")
    generated = folder / "generated" / NAME

    def emptied() -> None:
        shutil.rmtree(generated, ignore_errors=True)
        generated.parent.mkdir(exist_ok=True)

    place = ("--destination", generated.parent, "--name", NAME, "--vcs", "none")
    command = (program, "generate", "--silent", "--git", folder / "liquid", *place)
    return Contestant("cargo generate", command, generated, emptied)


def time_all(found: Sequence[Contestant], runs: int) -> dict[str, list[float]]:
    """Return the seconds of each whole process; the contestants run in turns."""
    walls: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        for one in found:
            one.prepare()
            walls[one.name].append(measure(one.command, folder=one.inside).wall)
    return walls


def look_inside(one: Contestant, runs: int) -> dict[str, float]:
    """Return the median seconds of each part of a `copier` command, and how often it starts git."""
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        one.prepare()
        command = [sys.executable, str(INSIDE), *map(str, one.command[1:])]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=one.inside)
        wall = time.perf_counter() - start
        parts = json.loads(done.stderr.splitlines()[-1])
        parts["python"] = wall - sum(seconds for part, seconds in parts.items() if part in PARTS)
        for part, seconds in parts.items():
            spent[part].append(seconds)
    return {part: median(seconds) for part, seconds in spent.items()}


# --- The page ---

PAGE = """\
# How long do a copy and an update take?

{table}

{runs} runs of each command, in turns, as complete processes with a warm cache. The spread is from the fastest to the
slowest. {aims}

- **copier copy** creates a program with all defaults from a git repository on this machine. **copier update** updates
  it from {old} to {new}; both releases are made from the files of this checkout.
- **fast-rust update** does the same update without a trial repository, and prints the changelog ({ratio}).
- **cargo generate** is cargo-generate {version} with a git repository that has the same number of files; the same
  files as in ours are templates. It cannot update.{absent}
- **cargo new** writes two files, and asks no questions.

## Where the time goes

{inside}

These times are medians of the same number of runs, measured inside Copier
([inside_copier.py](../measure/inside_copier.py)), which takes a little time itself. Time in nested parts counts only
for the innermost part. An update renders three times: the older release, the newer one, and the newer one into the
crate.
"""


def page(releases: Releases, found: Sequence[Contestant], walls: Mapping[str, Sequence[float]], runs: int) -> str:
    """Return the whole page; this profiles Copier for it."""
    rows = [_row(one, walls[one.name]) for one in found]
    inside = {one.name: look_inside(one, runs) for one in found if one.name in AIMS}
    lines = [[text, *(f"{spent.get(part, 0):.2f} s" for spent in inside.values())] for part, text in PARTS.items()]
    lines.append(["processes of git", *(f"{spent['processes']:.0f}" for spent in inside.values())])
    has_generate = any(one.name == "cargo generate" for one in found)
    return PAGE.format(
        table=table(("command", "median", "spread", "files"), rows),
        runs=runs,
        aims="\n".join(_aim(name, median(walls[name])) for name in AIMS),
        old=releases.old,
        new=releases.new,
        ratio=f"{median(walls['fast-rust update']) / median(walls['copier update']):.2f} of its time",
        version=CARGO_GENERATE,
        absent="" if has_generate else " It could not be built here, so it is not in the table.",
        inside=table(("part", *inside), lines),
    )


def _row(one: Contestant, walls: Sequence[float]) -> list[str]:
    files = sum(path.is_file() and ".git" not in path.relative_to(one.folder).parts for path in one.folder.rglob("*"))
    return [f"`{one.name}`", f"{median(walls):.2f} s", f"{min(walls):.2f} to {max(walls):.2f} s", str(files)]


def _aim(name: str, wall: float) -> str:
    outcome = "reached" if wall < AIMS[name] else "missed"
    return f"The aim for `{name}` is less than {AIMS[name]:g} s: {outcome}."


def main() -> None:
    """Measure all, and write the page."""
    folder = SCRATCH / "generator"
    releases = make_releases(folder / "template")
    found = contestants(folder, releases, install_cargo_generate())
    write_page("compare-generator.md", "compare-generator", page(releases, found, time_all(found, RUNS), RUNS))


if __name__ == "__main__":
    main()
