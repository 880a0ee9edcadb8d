"""What the workflows and the recipes of a crate say is run, as it is written."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from crates.workshop import QUICK_BENCHES, UNOPTIMISED_BENCHES, Workshop, commit

from variants import CHECKOUT

NOT_RUN_HERE = {
    "just advisories": "the database of advisories is not in a package registry",
    "just msrv": "there is one toolchain here, and none older can be fetched",
    "cargo publish": "it would publish; `cargo package` is run instead",
    "cargo semver-checks": "it compares with a version that is published, and none is",
    "exit 1": "the gate itself, run only where a job failed",
}


@dataclass(frozen=True)
class Step:
    """A step of a workflow that runs a command."""

    job: str
    command: str
    environment: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.job}: {self.command}"


def run_steps(workflow: Path) -> Iterator[Step]:
    """All such steps of a workflow."""
    for job, content in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].items():
        for step in content["steps"]:
            if "run" in step:
                yield Step(job, step["run"], tuple(step.get("env", {}).items()))


WORKFLOWS = CHECKOUT / "template" / ".github" / "workflows"
STEPS = list(run_steps(WORKFLOWS / "ci.yml"))


@pytest.mark.parametrize("kind", ["lib", "cli", "service"])
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_workflow_step_works_as_written(workshop: Workshop, tmp_path: Path, kind: str, step: Step) -> None:
    """By the shell that GitHub runs it with."""
    if step.command in NOT_RUN_HERE:
        pytest.skip(f"not run here: {NOT_RUN_HERE[step.command]}")
    output = tmp_path / "output"
    # Its bench is that of the library, whose instructions are counted as they ship.
    quick = QUICK_BENCHES if kind == "cli" else {}
    workshop.run(
        workshop.ready(kind),
        *("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.command),
        **{"CI": "true", "GITHUB_OUTPUT": str(output), **quick, **dict(step.environment)},
    )
    if step.job == "plan":
        name, _, value = output.read_text().strip().partition("=")
        platforms = json.loads(value)["metadata"]["ci"]["platforms"]
        assert (name, platforms[0], len(platforms)) == ("metadata", "ubuntu-24.04", 1 if kind == "service" else 3)


def test_every_step_that_is_not_run_is_there() -> None:
    """So that the list of exceptions does not outlive them."""
    commands = {step.command for name in ("ci.yml", "publish.yml") for step in run_steps(WORKFLOWS / name)}
    assert NOT_RUN_HERE.keys() <= commands


def test_every_recipe_is_run_by_some_test(workshop: Workshop) -> None:
    """By the steps above, by `test_variants`, by those of `tests/performance`, or below."""
    crate = workshop.ready("lib")
    recipes = set(workshop.run(crate, "just", "--summary").split())
    in_steps = {match for step in STEPS for match in re.findall(r"^just (\w+)", step.command)}
    assert recipes == in_steps | {"fmt", "bench", "check", "quick", "dist", "pgo", "flame", "asm", "perf", "fast-rust"}


def test_fmt_mends_what_lint_refuses(workshop: Workshop) -> None:
    """And nothing else."""
    crate = workshop.crate("unformatted", kind="lib")
    path = crate / "src" / "lib.rs"
    text = path.read_text()
    path.write_text(text.replace("pub mod error;", "pub  mod  error;"))
    workshop.run(crate, "just", "fmt")
    assert path.read_text() == text


def test_bench_takes_arguments(workshop: Workshop) -> None:
    """Of cargo, and behind `--` of criterion, which here runs each bench once."""
    crate = workshop.ready("lib")
    printed = workshop.run(crate, "just", "bench", "--bench", "aggregate", "--", "--test", **UNOPTIMISED_BENCHES)
    assert "Testing aggregate/read_by_2_threads/200000\nSuccess" in printed


def test_dist_ships_a_program_with_its_checksum(workshop: Workshop) -> None:
    """And a library has none to ship."""
    crate = workshop.ready("cli")
    workshop.run(crate, "cargo", "generate-lockfile")
    workshop.run(crate, "just", "dist")
    shipped = crate / "target" / "dist"
    assert sorted(path.name for path in shipped.iterdir()) == ["SHA256SUMS", crate.name]
    workshop.run(shipped, "sha256sum", "--check", "--strict", "SHA256SUMS")
    assert workshop.run(shipped, f"./{crate.name}", "--version").startswith(f"{crate.name} 0.1.0")
    library = workshop.ready("lib")
    workshop.run(library, "cargo", "generate-lockfile")
    assert "this is a library" in workshop.run(library, "just", "dist")


def test_quick_builds_what_runs(workshop: Workshop) -> None:
    """In a folder of its own."""
    crate = workshop.ready("cli")
    workshop.run(crate, "just", "quick", CARGO_PROFILE_QUICK_OPT_LEVEL="0")
    program = Path(workshop.environment["CARGO_TARGET_DIR"]) / "quick" / crate.name
    assert workshop.run(crate, str(program), "--version").startswith(f"{crate.name} 0.1.0")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("flame", "true"), "Missing: samply (cargo install --locked samply) or perf"),
        (("asm", "parse"), "Missing: cargo-show-asm (cargo install --locked cargo-show-asm)"),
    ],
)
def test_a_recipe_says_which_tool_it_misses(
    workshop: Workshop, tmp_path: Path, command: tuple[str, ...], message: str
) -> None:
    """And how to get it."""
    crate = workshop.ready("lib")
    for name in ("cargo", "rustc", "just", "sh", "cc", "ld"):
        (tmp_path / name).symlink_to(workshop.run(crate, "which", name).strip())
    done = workshop.try_to(crate, "just", *command, PATH=str(tmp_path))
    assert done.returncode != 0
    assert message in done.stdout


def test_check_runs_what_ci_runs(workshop: Workshop) -> None:
    """The recipes of the jobs, in one."""
    crate = workshop.ready("lib")
    shown = workshop.run(crate, "just", "--show", "check")
    in_steps = {step.command.removeprefix("just ") for step in STEPS if step.job in ("lint", "test", "instructions")}
    assert set(shown.rstrip().rpartition(":")[2].split()) == in_steps - {"setup", "advice"}


@pytest.mark.parametrize("kind", ["lib", "cli"])
def test_a_package_builds_from_what_it_includes(workshop: Workshop, kind: str) -> None:
    """Without the benches, the workspace, and what is not for users."""
    crate = workshop.crate(f"package-{kind}", kind=kind, publish=True, repository_url="https://example.org/a/b")
    commit(crate)
    workshop.run(crate, "cargo", "package", "--allow-dirty")
    listed = set(workshop.run(crate, "cargo", "package", "--allow-dirty", "--list").split())
    assert {"Cargo.toml", "LICENSE-MIT", "README.md", "src/lib.rs"} <= listed
    assert not {path for path in listed if path.startswith(("bench", ".github", "tests"))}


def test_the_hooks_of_a_crate_pass_and_bite(workshop: Workshop) -> None:
    """Run by pre-commit itself."""
    crate = workshop.crate("hooked", kind="lib", sample=False)
    commit(crate)
    workshop.run(crate, "pre-commit", "run", "--all-files")
    library = "//! Nothing.\n\npub  mod error;\n\n/// Says no.\npub fn f() -> Result<(), String> {\n    Ok(())\n}\n"
    (crate / "src" / "lib.rs").write_text(library)
    done = workshop.try_to(crate, "pre-commit", "run", "--all-files")
    assert done.returncode != 0
    assert re.search(r"cargo fmt\.+Failed", done.stdout)
    assert re.search(r"ast-grep\.+Failed", done.stdout)


def test_setup_lists_the_tools_of_the_crate(workshop: Workshop) -> None:
    """With their versions, and what installed them."""
    printed = workshop.run(workshop.ready("lib"), "just", "setup")
    assert re.search(r"(?m)^gungraun-runner +0\.20\.0$", printed)


def test_the_example_of_a_library_runs(workshop: Workshop, tmp_path: Path) -> None:
    """As its first line says, on a file."""
    (tmp_path / "measurements.txt").write_text("oslo;-1.5\nrome;20\noslo;2\n")
    crate = workshop.ready("lib")
    printed = workshop.run(crate, "cargo", "run", "--quiet", "--example", "totals", str(tmp_path / "measurements.txt"))
    assert printed == "oslo 2 x 0.25\nrome 1 x 20\n"
