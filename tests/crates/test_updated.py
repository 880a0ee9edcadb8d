"""A crate of each kind that was made from the oldest release, and is updated, passes its own checks."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from crates.workshop import NAMES, QUICK_BENCHES, Workshop, commit
from updates import acts
from updates.acts import Given
from updates.releases import Releases

from fast_rust.update.apply import apply
from fast_rust.update.merge import Fate
from fast_rust.update.plan import Plan, plan
from variants import domain

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
    """So does its own test, and its own recipe. One of them never had the sample."""
    crate = tmp_path / NAMES[kind]
    answers: dict[str, str | bool] = {"crate_name": NAMES[kind], "kind": kind, "sample": kind != "service"}
    shutil.copytree(releases.rendering(releases.tags[0], answers), crate)
    begun = [act(Given(crate, ())) for act in ACTS]
    assert {next(act) for act in begun} == {crate}
    commit(crate)

    planned = plan(crate)
    assert isinstance(planned, Plan)
    assert planned.having(Fate.CONFLICT) == []
    apply(planned)
    assert [list(act) for act in begun] == [[] for _ in begun]
    here = dataclasses.replace(workshop, folder=tmp_path)
    # A service's limits hold for what ships; its debug information was tuned, and would build all dependencies again.
    service = {"CARGO_PROFILE_BENCH_DEBUG": "line-tables-only"}
    here.run(crate, "just", "check", **(service if kind == "service" else QUICK_BENCHES))
    own_tests = ("--workspace", "--all-features", "--profile", "nightly", "-E", "binary(ours)")
    assert "ours" in here.run(crate, "cargo", "nextest", "run", *own_tests)
    here.run(crate, "just", "deploy")


def test_a_rule_of_the_crates_own_is_a_gate(releases: Releases, workshop: Workshop, tmp_path: Path) -> None:
    """`just lint` runs it beside ours, and knows the exceptions from either."""
    crate = tmp_path / "totals"
    shutil.copytree(releases.rendering(releases.tags[-1], {"crate_name": "totals", "sample": False}), crate)
    own = "id: ours-no-todo\nlanguage: rust\nseverity: error\nrule:\n  pattern: fn later() {}\n"
    (crate / "lints" / "own").mkdir()
    (crate / "lints" / "own" / "ours.yml").write_text(own, encoding="utf-8")
    command = ("ast-grep", "scan", "--min-severity", "error", "--error=unused-suppression")
    assert " ".join(command) in (crate / "justfile").read_text(encoding="utf-8")
    workshop.run(crate, *command)
    library = crate / "src" / "lib.rs"
    text = library.read_text(encoding="utf-8")
    library.write_text(f"{text}\nfn later() {{}}\n", encoding="utf-8")
    assert "error[ours-no-todo]" in workshop.try_to(crate, *command).stdout
    library.write_text(f"{text}\n// ast-grep-ignore: ours-no-todo -- soon\nfn later() {{}}\n", encoding="utf-8")
    workshop.run(crate, *command)


def test_the_configuration_of_cargo_takes_in_the_crates_own(
    releases: Releases, workshop: Workshop, tmp_path: Path
) -> None:
    crate = tmp_path / "totals-cli"
    answers: dict[str, str | bool] = {"crate_name": "totals-cli", "kind": "cli", "cpu_level": "x86-64-v3"}
    shutil.copytree(releases.rendering(releases.tags[-1], answers), crate)
    (crate / ".cargo" / "local.toml").write_text('[alias]\nours = "version"\n', encoding="utf-8")
    assert workshop.run(crate, "cargo", "ours").startswith("cargo ")
