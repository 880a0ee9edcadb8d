"""The first day of a new user: the commands of the closing message, missing programs, the last line."""

import os
import re
from pathlib import Path

import pytest

from support.git import git, start_history
from support.template import copier
from support.workshop import QUICK_BENCHES, Workshop

RUSTUP = "curl -sSf https://sh.rustup.rs | sh"
SETUP = "just setup"
# A recipe, a program that it calls, and the command that installs the program.
MISSING = [
    *((recipe, "cargo", RUSTUP) for recipe in ("fmt", "lint", "clippy", "test", "doc", "audit", "msrv", "dist")),
    *((recipe, "cargo", RUSTUP) for recipe in ("bench", "instructions", "flame", "check", "rules", "advice")),
    *((recipe, "cargo", RUSTUP) for recipe in ("pgo", "perf", "setup")),
    ("fmt", "cargo-fmt", RUSTUP),
    ("clippy", "cargo-clippy", RUSTUP),
    ("test", "cargo-nextest", SETUP),
    ("audit", "cargo-deny", SETUP),
    ("audit", "cargo-shear", SETUP),
    ("msrv", "rustup", RUSTUP),
    ("instructions", "valgrind", SETUP),
    ("instructions", "gungraun-runner", SETUP),
    ("perf", "valgrind", SETUP),
    ("perf", "git", "https://git-scm.com"),
]
# Recipes that only run other recipes, or that end without a program.
WITHOUT_PROGRAMS = {"fast-rust", "format", "prepared"}


def without(program: str, folder: Path) -> str:
    """Return a PATH with every program except one."""
    for entry in os.environ["PATH"].split(os.pathsep):
        for path in sorted(Path(entry).glob("*")):
            if path.name != program and not (folder / path.name).is_symlink():
                (folder / path.name).symlink_to(path)
    return str(folder)


@pytest.fixture(scope="module")
def small(workshop: Workshop) -> Path:
    """A library with a hot path, with two commits to compare."""
    crate = workshop.crate("first-day", kind="lib")
    workshop.run(crate, "cargo", "generate-lockfile")
    start_history(crate)
    return crate


@pytest.mark.parametrize(("recipe", "program", "command"), MISSING)
def test_a_recipe_names_a_missing_program_and_the_command_that_installs_it(
    workshop: Workshop, small: Path, tmp_path: Path, recipe: str, program: str, command: str
) -> None:
    if recipe == "perf" and program != "git":
        (small / "src" / "lib.rs").write_text((small / "src" / "lib.rs").read_text() + "// Changed.\n")
    arguments = ["true"] if recipe == "flame" else []
    done = workshop.try_to(small, "just", recipe, *arguments, PATH=without(program, tmp_path))
    git(small, "checkout", "--quiet", ".")
    assert done.returncode != 0
    assert re.search(rf"(?m)^error: .*\b{program}\b.*{re.escape(command)}", done.stdout), done.stdout


def test_every_recipe_is_tried_without_a_program(workshop: Workshop, small: Path) -> None:
    recipes = set(workshop.run(small, "just", "--summary").split())
    assert recipes - WITHOUT_PROGRAMS == {recipe for recipe, *_ in MISSING}


def test_setup_without_uv_and_pipx_explains_how_to_get_uv(workshop: Workshop, small: Path, tmp_path: Path) -> None:
    path = without("uv", tmp_path)
    (tmp_path / "pipx").unlink()
    done = workshop.try_to(small, "just", "setup", PATH=path, FAST_RUST="", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode != 0
    assert "it needs uv (to install it, run: curl -LsSf https://astral.sh/uv/install.sh | sh" in done.stdout


@pytest.mark.parametrize("kind", ["lib", "cli", "service"])
def test_the_closing_message_commits_the_lockfile_on_main(workshop: Workshop, kind: str, tmp_path: Path) -> None:
    """For any default branch of git."""
    repository, crate = workshop.template.repository, tmp_path / "log-totals"
    outcome = copier("copy", "--defaults", f"--data=kind={kind}", str(repository), str(crate))
    commands = re.findall(r"(?m)^ {4,}(\S.*)$", outcome.stderr.partition("Created the crate ")[2])
    first = [line.strip() for line in commands[: next(at for at, line in enumerate(commands) if "git" in line) + 1]]
    branch = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "init.defaultBranch", "GIT_CONFIG_VALUE_0": "trunk"}
    workshop.run(tmp_path, "sh", "-ec", "\n".join(first), **branch)
    assert git(crate, "branch", "--show-current").strip() == "main"
    assert "Cargo.lock" in git(crate, "ls-tree", "--name-only", "HEAD").split()
    # No later command writes a file that is missing in the commit.
    workshop.run(crate, "cargo", "metadata", "--format-version", "1", "--locked")
    assert git(crate, "status", "--porcelain") == ""


@pytest.mark.parametrize("is_green", [True, False])
def test_the_last_line_of_check_reports_success(
    workshop: Workshop, small: Path, tmp_path: Path, *, is_green: bool
) -> None:
    """Tested with a cargo that does nothing, and with one that fails at the end."""
    path = without("cargo", tmp_path)
    for name, code in (("cargo", 0), ("fast-rust", 0), ("gungraun-runner", 0)):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).write_text(
            f'#!/bin/sh\ncase "$*" in *_instructions*) exit {int(not is_green)};; esac\n'
            f'case "$1" in metadata) echo \'"a_instructions"\';; esac\nexit {code}\n'
        )
        (tmp_path / name).chmod(0o755)
    done = workshop.try_to(small, "just", "check", PATH=path, FAST_RUST=str(tmp_path / "fast-rust"))
    assert (done.returncode == 0) is is_green, done.stdout
    assert (done.stdout.rstrip().splitlines()[-1] == "All checks passed.") is is_green


def test_instructions_print_few_lines_for_each_bench(workshop: Workshop) -> None:
    """On the first run callgrind has no earlier figures, and prints N/A for each of 14 figures."""
    crate = workshop.ready("lib")
    printed = workshop.run(crate, "just", "instructions", **{**QUICK_BENCHES, "GUNGRAUN_HOME": str(crate / "target")})
    figures = re.findall(r"(?m)^ +[A-Z][\w +-]+: +[\d,]+\|", printed)
    names = re.findall(r"(?m)^\w+::\w+::.*$", printed)
    assert len(names) >= 3
    assert len(figures) == 2 * len(names), printed
