"""Runs the commands of a crate's workflows and recipes unchanged."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from support.git import start_history
from support.variants import CHECKOUT, domain
from support.workshop import QUICK_BENCHES, QUICK_RELEASE, Workshop

NOT_RUN_HERE = {
    "just prepared audit advisories": "the database of advisories is not in a package registry",
    "just prepared msrv": "there is one toolchain here, and none older can be fetched",
    "pipx install": "test_repository.py holds its versions to those that the tests use",
    "cargo publish": "it would publish; `cargo package` is run instead",
    "cargo semver-checks": "it compares with a version that is published, and none is",
    "exit 1": "the gate itself, run only where a job failed",
}
# Recipes that only call other recipes.
PARTS = ("check", "lint")
# Outputs of `plan` for a changed and an unchanged lockfile.
OUTPUTS = ("advisories", "")


@dataclass(frozen=True)
class Step:
    """A step of a workflow that runs a command."""

    job: str
    command: str
    environment: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.job}: {self.expanded.splitlines()[0]}"

    @property
    def expanded(self) -> str:
        """The command with the variables that its step sets expanded, as the shell runs it."""
        return re.sub(r"\$(RECIPES|TOOLS)", lambda name: dict(self.environment)[name[1]], self.command).strip()

    @property
    def reason(self) -> str:
        """Return why the step is not run here; an empty string if it is run."""
        return next((why for name, why in NOT_RUN_HERE.items() if self.expanded.startswith(name)), "")


def run_steps(workflow: Path) -> Iterator[Step]:
    """Return all steps with commands of a workflow, for each job of a matrix."""
    for job, content in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].items():
        matrix = content.get("strategy", {}).get("matrix", {}).get("include", [{}])
        for one in matrix:
            for step in content["steps"]:
                if "run" in step:
                    environment = {name: with_values(value, one) for name, value in step.get("env", {}).items()}
                    yield from dict.fromkeys(
                        Step(one.get("name", job), step["run"], tuple((n, v[at]) for n, v in environment.items()))
                        for at in range(len(OUTPUTS))
                    )


def with_values(text: str, one: dict[str, str]) -> list[str]:
    """Return an expression as GitHub expands it, for each output of `plan`."""
    text = re.sub(r"\$\{\{ matrix\.(\w+) }}", lambda name: one.get(name[1], ""), text)
    return [text.replace("${{ needs.plan.outputs.advisories }}", output).strip() for output in OUTPUTS]


WORKFLOWS = CHECKOUT / "template" / ".github" / "workflows"
STEPS = list(run_steps(WORKFLOWS / "ci.yml"))
WORDS = {word for step in STEPS if step.expanded.startswith("just ") for word in step.expanded.split()[1:]}
# `advisories` is an argument of `audit`.
RECIPES = {word for word in WORDS if not word.startswith("-")} - {"advisories"}


@pytest.mark.parametrize("kind", ["lib", "cli", "service"])
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_workflow_step_works_as_written(workshop: Workshop, tmp_path: Path, kind: str, step: Step) -> None:
    """The step runs in the shell that GitHub uses."""
    if step.reason:
        pytest.skip(f"not run here: {step.reason}")
    output = tmp_path / "output"
    # Its bench is that of the library, which counts the instructions of the release profile.
    quick = QUICK_BENCHES if kind == "cli" else {}
    workshop.run(
        workshop.ready(kind),
        *("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.command),
        **{"CI": "true", "GITHUB_OUTPUT": str(output), "GITHUB_EVENT_NAME": "schedule", **quick},
        **dict(step.environment),
    )
    if "GITHUB_OUTPUT" in step.command:
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        assert outputs["advisories"] == "advisories"
        platforms = json.loads(outputs["platforms"])
        assert (platforms[0], len(platforms)) == ("ubuntu-24.04", 1 if kind == "service" else 3)


def test_every_exempt_step_exists() -> None:
    """So the list of exceptions contains no stale entry."""
    commands = [step.expanded for name in ("ci.yml", "publish.yml") for step in run_steps(WORKFLOWS / name)]
    assert [name for name in NOT_RUN_HERE if not any(command.startswith(name) for command in commands)] == []


def test_every_recipe_is_run_by_some_test(workshop: Workshop) -> None:
    """The steps above run it, or `test_variants`, the tests of `tests/performance`, or a test below."""
    recipes = set(workshop.run(workshop.ready("lib"), "just", "--summary").split())
    assert recipes == (RECIPES - {"prepared"}) | {"lint", "fmt", "bench", "check", "dist", "pgo", "flame", "perf"} | {
        "fast-rust"
    }


def test_prepare_of_the_crate_runs_first(workshop: Workshop) -> None:
    """In each job, and in `setup`; without `prepare`, no other step works."""
    crate = workshop.crate("prepared", kind="lib", sample=False)
    assert workshop.run(crate, "just", "prepared") == ""
    (crate / "local.just").write_text("prepare:\n    @echo prepared\n")
    assert workshop.run(crate, "just", "prepared", "format").startswith("prepared\n")
    assert workshop.run(crate, "just", "setup").startswith("prepared\n")
    (crate / "local.just").write_text("prepare:\n    @exit 3\n")
    assert workshop.try_to(crate, "just", "prepared").returncode != 0


def test_fmt_fixes_the_format_that_lint_rejects(workshop: Workshop) -> None:
    """The recipe changes nothing else."""
    crate = workshop.crate("unformatted", kind="lib")
    path = crate / "src" / "lib.rs"
    text = path.read_text()
    path.write_text(text.replace("pub mod error;", "pub  mod  error;"))
    workshop.run(crate, "just", "fmt")
    assert path.read_text() == text


def test_bench_accepts_arguments(workshop: Workshop) -> None:
    """Arguments of cargo, and behind `--` those of criterion, which here runs each bench once."""
    crate = workshop.ready("lib")
    printed = workshop.run(crate, "just", "bench", "--bench", "aggregate", "--", "--test", **QUICK_BENCHES)
    assert "Testing aggregate/read_by_2_threads/200000\nSuccess" in printed


def test_dist_packs_a_program_with_its_checksum(workshop: Workshop) -> None:
    """A library has no program to ship."""
    crate = workshop.ready("cli")
    workshop.run(crate, "cargo", "generate-lockfile")
    workshop.run(crate, "just", "dist")
    shipped = crate / "target" / "dist"
    assert sorted(path.name for path in shipped.rglob("*")) == ["SHA256SUMS", "bin", crate.name]
    workshop.run(shipped, "sha256sum", "--check", "--strict", "SHA256SUMS")
    assert workshop.run(shipped, f"bin/{crate.name}", "--version").startswith(f"{crate.name} 0.1.0")
    library = workshop.ready("lib")
    workshop.run(library, "cargo", "generate-lockfile")
    assert "error: no package of the workspace has a binary target" in workshop.try_to(library, "just", "dist").stdout


def test_dist_packs_a_program_that_is_a_member_of_a_library(workshop: Workshop) -> None:
    """The program is in target/dist of the root, and the developers' tools are not."""
    root = workshop.crate("with-a-member", kind="lib", sample=False)
    workshop.add_member(root, "shipped-member", {"kind": "cli", "sample": False})
    (root / "xtask" / "src").mkdir(parents=True)
    (root / "xtask" / "Cargo.toml").write_text('[package]\nname = "xtask"\nedition = "2024"\n')
    (root / "xtask" / "src" / "main.rs").write_text("fn main() {}\n")
    manifest = root / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("members = [", 'members = ["xtask", '))
    workshop.run(root, "cargo", "generate-lockfile")
    printed = workshop.run(root, "just", "dist", **QUICK_RELEASE)
    assert [path.name for path in (root / "target" / "dist" / "bin").iterdir()] == ["shipped-member"]
    assert printed.endswith("  bin/shipped-member\n")
    workshop.run(root / "target" / "dist", "sha256sum", "--check", "--strict", "SHA256SUMS")


def test_flame_names_the_missing_tool(workshop: Workshop, tmp_path: Path) -> None:
    """The error also says how to install it."""
    crate = workshop.ready("lib")
    for name in ("cargo", "rustc", "just", "sh", "cc", "ld"):
        (tmp_path / name).symlink_to(workshop.run(crate, "which", name).strip())
    done = workshop.try_to(crate, "just", "flame", "true", PATH=str(tmp_path))
    assert done.returncode != 0
    assert "Missing: samply (cargo install --locked samply) or perf" in done.stdout


def test_arguments_reach_cargo_unchanged(workshop: Workshop) -> None:
    """Quotes are kept; `cargo test --doc` does not support filter expressions."""
    crate = workshop.ready("lib")
    printed = workshop.run(crate, "just", "test", "-E", "test(reads_and_writes) | test(no such test)")
    assert "1 test run: 1 passed" in printed
    assert "Skipped: doctests have no filter expressions." in printed
    assert "doctests ran" not in printed


@pytest.mark.parametrize("kind", domain("kind"))
def test_a_new_crate_has_no_advice(workshop: Workshop, kind: str) -> None:
    printed = workshop.run(workshop.ready(kind), "just", "advice")
    assert re.findall(r"(?m)^(?:advice|warning)\b(?!: FAST_RUST).*$", printed) == []


def test_check_runs_the_recipes_of_ci(workshop: Workshop) -> None:
    """`just check` runs the recipes of all jobs."""
    crate = workshop.ready("lib")
    shown = {name: re.findall(rf"(?m)^{name}:(.*)$", workshop.run(crate, "just", "--show", name)) for name in PARTS}
    shown = {name: line.split() for name, [line] in shown.items()}
    run = {part for name in shown["check"] for part in shown.get(name, [name])}
    assert run == RECIPES - {"prepared", "setup", "advice", "msrv"}


@pytest.mark.parametrize("kind", ["lib", "cli"])
def test_a_package_builds_from_the_files_that_it_includes(workshop: Workshop, kind: str) -> None:
    """The package excludes the benches, the workspace, and files that users do not need."""
    crate = workshop.crate(f"package-{kind}", kind=kind, publish=True, repository_url="https://example.org/a/b")
    start_history(crate)
    workshop.run(crate, "cargo", "package", "--allow-dirty")
    listed = set(workshop.run(crate, "cargo", "package", "--allow-dirty", "--list").split())
    assert {"Cargo.toml", "LICENSE-MIT", "README.md", "src/lib.rs"} <= listed
    assert not {path for path in listed if path.startswith(("bench", ".github", "tests"))}


def test_the_hooks_of_a_crate_pass_and_reject_violations(workshop: Workshop) -> None:
    """pre-commit itself runs the hooks."""
    crate = workshop.crate("hooked", kind="lib", sample=False)
    start_history(crate)
    workshop.run(crate, "pre-commit", "run", "--all-files")
    library = "//! Nothing.\n\npub  mod error;\n\n/// Says no.\npub fn f() -> Result<(), String> {\n    Ok(())\n}\n"
    (crate / "src" / "lib.rs").write_text(library)
    done = workshop.try_to(crate, "pre-commit", "run", "--all-files")
    assert done.returncode != 0
    assert re.search(r"just lint\.+Failed", done.stdout)
    assert "err-string-result" in done.stdout


def test_setup_lists_the_tools_of_the_crate(workshop: Workshop) -> None:
    """The list has their versions, and the program that installed each."""
    printed = workshop.run(workshop.ready("lib"), "just", "setup")
    assert re.search(r"(?m)^gungraun-runner +0\.20\.0$", printed)


def test_the_example_of_a_library_runs(workshop: Workshop, tmp_path: Path) -> None:
    """The command is the one of its first line, with a file."""
    (tmp_path / "measurements.txt").write_text("oslo;-1.5\nrome;20\noslo;2\n")
    crate = workshop.ready("lib")
    printed = workshop.run(crate, "cargo", "run", "--quiet", "--example", "totals", str(tmp_path / "measurements.txt"))
    assert printed == "oslo 2 x 0.25\nrome 1 x 20\n"
