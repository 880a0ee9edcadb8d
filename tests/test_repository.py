"""The repository itself: versions, pins, workflows, and no trace of the machine on which it was written."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.git import git
from support.variants import CHECKOUT

PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
OUR_WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))
CRATE_WORKFLOWS = sorted((CHECKOUT / "template" / ".github" / "workflows").glob("*"))
PIPELINE = CHECKOUT / "template" / ".gitlab-ci.yml"
WORKFLOWS = [pytest.param(path, id=str(path.relative_to(CHECKOUT))) for path in [*OUR_WORKFLOWS, *CRATE_WORKFLOWS]]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool that is installed next to this Python."""
    tool, *arguments = map(str, command)
    program = str(Path(sys.executable).with_name(tool))
    return subprocess.run([program, *arguments], check=False, capture_output=True, text=True)


def pins() -> dict[str, Requirement]:
    """Return the lines of requirements.txt."""
    lines = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def tracked_texts() -> dict[str, str]:
    """Return the texts of all files that are tracked or would be."""
    names = git(CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    paths = [CHECKOUT / name for name in names if name]
    return {str(path.relative_to(CHECKOUT)): path.read_text(errors="replace") for path in paths if path.is_file()}


# --- Version ---


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"(?m)^## \[?v?(\d+\.\d+\.\d+)", changelog)
    assert newest is not None
    assert newest[1] == PYPROJECT["project"]["version"]


def test_the_command_prints_this_version() -> None:
    done = run("fast-rust", "--version")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, PYPROJECT["project"]["version"], "")


# --- Requirements ---


@pytest.mark.parametrize("name", pins())
def test_a_requirement_is_one_exact_version_from_any_registry(name: str) -> None:
    assert re.fullmatch(r"==[\w.]+", str(pins()[name].specifier))
    assert pins()[name].url is None


@pytest.mark.parametrize("name", pins())
def test_the_dependencies_of_a_requirement_are_pinned_too(name: str) -> None:
    needed = (Requirement(text) for text in requires(name) or [])
    here = {canonicalize_name(need.name) for need in needed if not need.marker or need.marker.evaluate({"extra": ""})}
    assert here - pins().keys() == set()


@pytest.mark.parametrize("name", pins())
def test_a_requirement_is_installed_in_its_version(name: str) -> None:
    assert pins()[name].specifier.contains(version(name), prereleases=True)


def test_the_requirements_of_pyproject_are_pinned() -> None:
    groups = [PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"].values()]
    asked = {canonicalize_name(Requirement(text).name) for group in groups for text in group}
    assert asked - pins().keys() == set()


def test_the_tool_requires_the_tested_versions() -> None:
    """A resolver has no choice: a later installation of a release has the same tools."""
    for text in PYPROJECT["project"]["dependencies"]:
        requirement = Requirement(text)
        assert requirement.specifier == pins()[canonicalize_name(requirement.name)].specifier


def test_copier_is_not_older_than_the_minimum_of_the_template() -> None:
    least = yaml.safe_load((CHECKOUT / "copier.yml").read_text(encoding="utf-8"))["_min_copier_version"]
    assert Requirement(f"copier>={least}").specifier.contains(str(pins()["copier"].specifier).removeprefix("=="))


# --- Workflows of this repository and of crates ---


def test_a_crate_gets_the_workflows_unchanged() -> None:
    """They have no suffix .jinja, so that zizmor and bots read them here."""
    assert [path.name for path in CRATE_WORKFLOWS if path.suffix != ".yml"] == []
    assert "ci.yml" in [path.name for path in CRATE_WORKFLOWS]


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_workflow_has_no_finding_of_zizmor(path: Path) -> None:
    done = run("zizmor", "--offline", "--no-progress", "--persona=auditor", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_workflow_satisfies_the_schema(path: Path) -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)
    assert done.returncode == 0, done.stdout + done.stderr


def check_gitlab(pipeline: Path) -> subprocess.CompletedProcess[str]:
    """Check a pipeline against GitLab's schema."""
    return run("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", pipeline)


def test_the_pipeline_for_gitlab_satisfies_the_schema(tmp_path: Path) -> None:
    done = check_gitlab(PIPELINE)
    assert done.returncode == 0, done.stdout + done.stderr
    spoilt = tmp_path / ".gitlab-ci.yml"
    spoilt.write_text(PIPELINE.read_text(encoding="utf-8").replace("  script:\n", "  scripts:\n", 1))
    assert check_gitlab(spoilt).returncode != 0


def recipes_of(ci: object) -> set[str]:
    """Return the recipes that the commands of a workflow or of a pipeline call, also by a matrix."""
    texts: list[str] = []
    todo = [ci]
    while todo:
        match todo.pop():
            case str(text):
                texts.append(text)
            case dict(table):
                texts += [f"just {table[key]}" for key in ("recipes",) if key in table]
                todo += table.values()
            case list(items):
                todo += items
    lines = [line for text in texts for line in text.splitlines() if re.match("just (?!--)", line)]
    words = {word for line in lines for word in line.split()[1:] if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)}
    return words - {"advisories"}


def test_the_pipeline_for_gitlab_calls_the_recipes_of_the_workflows() -> None:
    folder = CHECKOUT / "template" / ".github" / "workflows"
    workflows = [yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in ("ci.yml", "perf.yml")]
    called = map(recipes_of, workflows)
    assert recipes_of(yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))) == set().union(*called)


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_workflow_pins_actions_by_commit_and_says_the_version(path: Path) -> None:
    uses = re.findall(r"(?m)^\s*(?:- )?uses: *(.*)$", path.read_text(encoding="utf-8"))
    assert uses
    assert [use for use in uses if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


@pytest.mark.parametrize("path", WORKFLOWS)
def test_every_job_has_a_time_limit(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    assert [name for name, job in jobs.items() if "timeout-minutes" not in job] == []


def test_an_action_has_one_commit_everywhere() -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in [*OUR_WORKFLOWS, *CRATE_WORKFLOWS])
    commits: dict[str, set[str]] = {}
    for action, commit in re.findall(r"uses: *([\w./-]+)@(\w+)", texts):
        commits.setdefault(action, set()).add(commit)
    assert {action: found for action, found in commits.items() if len(found) > 1} == {}


# --- Text ---


def test_no_file_contains_a_path_of_the_machine_it_was_written_on() -> None:
    folders = re.compile(r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+)/")
    assert {name: hit[0] for name, text in tracked_texts().items() if (hit := folders.search(text))} == {}


def test_no_file_has_a_conflict_marker() -> None:
    markers = re.compile(r"(?m)^(?:<{7}|>{7}|\|{7})(?: |$)")
    assert [name for name, text in tracked_texts().items() if markers.search(text)] == []


# --- The structure of the tool ---

SOURCES = {
    path.relative_to(CHECKOUT / "hooks" / "fast_rust").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((CHECKOUT / "hooks" / "fast_rust").rglob("*.py"))
}
# What modules must not do, and the modules in which it is allowed.
STRUCTURE = {
    "starts git": (r'\[\s*"git"', {"git.py"}),
    "imports a command": (r"fast_rust\.commands\b", {"main.py"}),
    "has a base class of errors besides ours": (
        r"(?m)^class \w+\((Exception|RuntimeError|ValueError)\)",
        {"errors.py"},
    ),
    "ends the process": (
        r"\b(sys\.exit|typer\.Exit)\b",
        {"main.py", "start.py", *(name for name in SOURCES if "commands/" in name)},
    ),
    "starts a shell": (r"shell=True|os\.system", set()),
}


@pytest.mark.parametrize("rule", STRUCTURE)
def test_the_structure_of_the_tool_is_enforced(rule: str) -> None:
    pattern, allowed = STRUCTURE[rule]
    found = {name for name, text in SOURCES.items() if re.search(pattern, text)}
    assert found <= allowed


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("starts git", 'run([\n    "git", "status"])'),
        ("imports a command", "from fast_rust.commands.drift import inspect"),
        ("has a base class of errors besides ours", "class MyError(Exception):"),
        ("ends the process", "raise typer.Exit(2)"),
        ("starts a shell", "run(command, shell=True)"),
    ],
)
def test_a_violation_of_the_structure_is_detected(rule: str, text: str) -> None:
    assert re.search(STRUCTURE[rule][0], text)


# --- Imports between tests and measuring scripts ---

FOLDERS = {path.name for path in (CHECKOUT / "tests").iterdir() if path.is_dir()}
# The empty name is for relative imports.
OURS = {"", "fast_rust", *FOLDERS, *(path.stem for path in (CHECKOUT / "measure").glob("*.py"))}


def imported(text: str) -> Iterator[list[str]]:
    """Yield the parts of each name that a module imports."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names):
                yield from (one.name.split(".") for one in names)
            case ast.ImportFrom(module, names, level):
                yield from (f"{'.' * (level or 0)}{module or ''}.{one.name}".split(".") for one in names)


def forbidden_imports(path: str, text: str) -> list[str]:
    """Return forbidden imports of a module: a test, a conftest, a private name, or a helper of another folder."""
    allowed = {"support"} if path.startswith(("measure/", "tests/support/")) else {"support", path.split("/")[1]}
    return [
        ".".join(parts)
        for parts in imported(text)
        if any(re.match("conftest$|test_", part) for part in parts)
        or (parts[0] in OURS and any(re.match("_(?!_)", part) for part in parts))
        or parts[0] in FOLDERS - allowed
    ]


def test_no_module_imports_a_test_or_a_private_name() -> None:
    paths = [path for folder in ("tests", "measure") for path in (CHECKOUT / folder).rglob("*.py")]
    texts = {path.relative_to(CHECKOUT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    assert {name: found for name, text in texts.items() if (found := forbidden_imports(name, text))} == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tests/crates/test_otel.py", "from crates.test_service import Service"),
        ("tests/crates/test_otel.py", "import crates.test_service as service"),
        ("tests/crates/test_otel.py", "from crates import test_service"),
        ("tests/updates/campaign.py", "from updates.conftest import Bench"),
        ("tests/updates/campaign.py", "def make() -> None:\n    from .conftest import Bench"),
        ("tests/tool/test_start.py", "from support.template import copy, _copy_arguments"),
        ("tests/tool/test_start.py", "from fast_rust.git import _run"),
        ("tests/performance/history.py", "from updates.campaign import make"),
        ("tests/support/releases.py", "from updates.campaign import make"),
        ("measure/fleet_bench.py", "from fleet.small import make_template"),
    ],
)
def test_a_forbidden_import_is_detected(path: str, text: str) -> None:
    assert forbidden_imports(path, text)


@pytest.mark.parametrize("workflow", [*CRATE_WORKFLOWS, PIPELINE], ids=lambda path: path.name)
def test_a_workflow_of_a_crate_installs_the_tools_of_the_tests(workflow: Path) -> None:
    named = re.findall(r"([a-z][a-z-]+)==([0-9.]+)", workflow.read_text(encoding="utf-8"))
    assert {name: str(pins()[name].specifier) for name, _ in named} == {name: f"=={v}" for name, v in named}
    assert named
