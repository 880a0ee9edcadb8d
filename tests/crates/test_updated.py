"""A crate of each kind, made from the oldest release and updated to this one, passes its own checks."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from fast_rust.checks.everything import find_all
from fast_rust.checks.findings import Severity
from fast_rust.update.apply import apply
from fast_rust.update.merge import MergeResult
from fast_rust.update.plan import UpdatePlan, plan
from support import acts
from support.acts import Given
from support.exhaustive import cases
from support.git import start_history
from support.releases import Releases, past_releases
from support.template import copier_in_process
from support.variants import domain
from support.workshop import NAMES, QUICK_BENCHES, Workshop

ACTS = (
    acts.lint_loosened,
    acts.profile_tuned,
    acts.own_job,
    acts.own_recipe,
    acts.own_rules_tests_and_profile,
    acts.licence_accepted,
)


@pytest.mark.parametrize("kind", domain("kind"))
def test_a_crate_from_the_oldest_release_passes_its_checks(
    workshop: Workshop, releases: Releases, tmp_path: Path, kind: str
) -> None:
    """Its own tests and recipes pass, too. One of the crates never had the sample."""
    crate = tmp_path / NAMES[kind]
    answers: dict[str, str | bool] = {"crate_name": NAMES[kind], "kind": kind, "sample": kind != "service"}
    shutil.copytree(releases.rendering(releases.tags[0], answers), crate)
    begun = [act(Given(crate, ())) for act in ACTS]
    assert {next(act) for act in begun} == {crate}
    start_history(crate)

    planned = plan(crate)
    assert isinstance(planned, UpdatePlan)
    assert planned.having(MergeResult.CONFLICT) == []
    apply(planned)
    assert [list(act) for act in begun] == [[] for _ in begun]
    here = dataclasses.replace(workshop, folder=tmp_path)
    # The limits of a service are for the release profile; its debug information is tuned, and would rebuild all
    # dependencies.
    service = {"CARGO_PROFILE_BENCH_DEBUG": "line-tables-only"}
    here.run(crate, "just", "check", **(service if kind == "service" else QUICK_BENCHES))
    own_tests = ("--workspace", "--all-features", "--profile", "nightly", "-E", "binary(ours)")
    assert "ours" in here.run(crate, "cargo", "nextest", "run", *own_tests)
    here.run(crate, "just", "deploy")


@dataclass(frozen=True)
class Plain:
    """A crate of an older release that plain Copier updates."""

    tag: str
    kind: str
    has_sample: bool

    def __str__(self) -> str:
        return f"{self.tag}-{self.kind}-{'sample' if self.has_sample else 'plain'}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Build one library in the usual run, and a crate of each release, kind and form with --exhaustive."""
    if "plain" in metafunc.fixturenames:
        tags = list(past_releases())
        every = [
            Plain(tag, str(kind), has_sample) for tag in tags for kind in domain("kind") for has_sample in (True, False)
        ]
        metafunc.parametrize("plain", cases(metafunc, [Plain(tags[-1], "lib", has_sample=True)], every), ids=str)


def test_a_plain_update_leaves_a_workspace_that_passes_its_tests(
    plain: Plain, workshop: Workshop, releases: Releases, tmp_path: Path
) -> None:
    """Files of older releases stay, and break nothing; `just rules` names them."""
    crate = tmp_path / NAMES[plain.kind]
    answers: dict[str, str | bool] = {"crate_name": crate.name, "kind": plain.kind, "sample": plain.has_sample}
    shutil.copytree(releases.rendering(plain.tag, answers), crate)
    start_history(crate)
    done = copier_in_process("update", "--quiet", "--defaults", str(crate))
    assert done.exit_code == 0, done.stderr
    assert (crate / "bench" / "tests" / "standards.rs").exists()
    left = {
        path
        for path in ("STANDARDS.md", "lints/ast-grep.yml", "sgconfig.yml", "tools/perf.py")
        if (crate / path).exists()
    }
    assert left
    assert "test result: ok" in workshop.run(crate, "cargo", "test", "--workspace", "--all-features")
    printed = workshop.run(crate, "just", "rules")
    assert {path for path in left if f"run `git rm {path}`" in printed} == left


STAGED = """
[workspace.metadata.staged]
err-string-result = "staged by adopt, 1 place"
"""
BREAKS_A_RULE = (
    "\n/// Reads.\n///\n/// # Errors\n///\n/// Never.\npub fn later() -> Result<(), String> {\n    Ok(())\n}\n"
)
IGNORED = "// ast-grep-ignore: ours-no-todo -- it is next\nfn todo() {}\n"


@pytest.mark.parametrize("way", ["copier", "fast-rust"])
def test_the_decisions_of_a_crate_are_enforced_after_an_update(releases: Releases, tmp_path: Path, way: str) -> None:
    """Its own rules, staged gates, limits, accepted licences and advisories, and exceptions stay in force."""
    crate = tmp_path / "totals"
    answers: dict[str, str | bool] = {"crate_name": "totals", "kind": "lib", "sample": True}
    shutil.copytree(releases.rendering(releases.tags[-2], answers), crate)
    own = "id: ours-no-todo\nlanguage: rust\nseverity: error\nrule:\n  pattern: fn todo() {}\n"
    given = Given(crate, ())
    given.write("lints/own/ours.yml", own)
    text = (crate / "src" / "error.rs").read_text(encoding="utf-8")
    given.write("src/error.rs", f"{text}\n{IGNORED}{BREAKS_A_RULE}")
    given.edit("Cargo.toml", "\n[workspace.lints.clippy]", f"{STAGED}\n[workspace.lints.clippy]")
    given.edit("Cargo.toml", "\ninstructions = 2.0", "\ninstructions = 4.0")
    given.edit("Cargo.toml", '\nunwrap_used = "warn"', '\nunwrap_used = "allow" # reason: prototypes unwrap;')
    ignored = 'ignore = [{ id = "RUSTSEC-2025-0057", reason = "only in a tool of tests" }]'
    given.edit("deny.toml", 'yanked = "deny"\n', f'yanked = "deny"\n{ignored}\n')
    start_history(crate)
    if way == "copier":
        done = copier_in_process("update", "--quiet", "--defaults", str(crate))
        assert done.exit_code == 0, done.stderr
    else:
        planned = plan(crate)
        assert isinstance(planned, UpdatePlan)
        apply(planned)
    assert errors(crate) == []
    assert given.toml("Cargo.toml")["workspace"]["metadata"]["perf"]["instructions"] == 4.0
    given.edit("Cargo.toml", STAGED, "")
    assert errors(crate) == ["ast-grep::err-string-result"]
    given.edit("src/error.rs", IGNORED, "fn todo() {}\n")
    given.edit("Cargo.toml", "# reason: prototypes unwrap;", "#")
    given.edit("deny.toml", "only in a tool of tests", "")
    table = "standards::exceptions_in_tables_have_reasons"
    assert errors(crate) == sorted(["ast-grep::err-string-result", "ast-grep::ours-no-todo", table, table])


def errors(crate: Path) -> list[str]:
    return sorted(one.gate for one in find_all(crate, advice=False) if one.severity is Severity.ERROR)


def test_the_crates_own_rule_is_a_gate(releases: Releases, workshop: Workshop, tmp_path: Path) -> None:
    """`just rules` runs it with our rules, and accepts suppressions of both."""
    crate = tmp_path / "totals"
    shutil.copytree(releases.rendering(releases.tags[-1], {"crate_name": "totals", "sample": False}), crate)
    own = "id: ours-no-todo\nlanguage: rust\nseverity: error\nrule:\n  pattern: fn later() {}\n"
    (crate / "lints" / "own").mkdir(parents=True)
    (crate / "lints" / "own" / "ours.yml").write_text(own, encoding="utf-8")
    workshop.run(crate, "just", "rules")
    library = crate / "src" / "lib.rs"
    text = library.read_text(encoding="utf-8")
    library.write_text(f"{text}\nfn later() {{}}\n", encoding="utf-8")
    assert "error[ast-grep::ours-no-todo]" in workshop.try_to(crate, "just", "rules").stdout
    library.write_text(f"{text}\n// ast-grep-ignore: ours-no-todo -- soon\nfn later() {{}}\n", encoding="utf-8")
    workshop.run(crate, "just", "rules")


def test_the_configuration_of_cargo_includes_the_crates_own(
    releases: Releases, workshop: Workshop, tmp_path: Path
) -> None:
    crate = tmp_path / "totals-cli"
    answers: dict[str, str | bool] = {"crate_name": "totals-cli", "kind": "cli", "cpu_level": "x86-64-v3"}
    shutil.copytree(releases.rendering(releases.tags[-1], answers), crate)
    (crate / ".cargo" / "local.toml").write_text('[alias]\nours = "version"\n', encoding="utf-8")
    assert workshop.run(crate, "cargo", "ours").startswith("cargo ")


def test_a_service_of_the_last_release_compiles_with_the_new_middleware(
    workshop: Workshop, releases: Releases, tmp_path: Path
) -> None:
    """An update replaces src/plumbing, and leaves the starters that use it unchanged."""
    crate = tmp_path / NAMES["service"]
    answers: dict[str, str | bool] = {"crate_name": crate.name, "kind": "service", "sample": True}
    shutil.copytree(releases.rendering(releases.tags[-2], answers), crate)
    start_history(crate)
    starters = [crate / path for path in ("src/main.rs", "src/routes.rs", "src/config.rs", "tests/http.rs")]
    before = [starter.read_bytes() for starter in starters]
    done = copier_in_process("update", "--quiet", "--defaults", str(crate))
    assert done.exit_code == 0, done.stderr
    assert [starter.read_bytes() for starter in starters] == before
    assert (crate / "src" / "plumbing" / "connections.rs").exists()
    assert "test result: ok" in workshop.run(crate, "cargo", "test", "--test", "http")
