"""The effects of the commands on a small fleet."""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fast_rust.adopt import adoption, planning
from fast_rust.adopt.staging import Staging
from fast_rust.drift.report import inspect
from fast_rust.fleet.bootstrap import BootstrapOptions, bootstrap
from fast_rust.fleet.checks import Checks
from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.outcome import CrateState
from fast_rust.fleet.repositories import workplace
from fast_rust.fleet.workers import Task, work_on
from fast_rust.update import plan as single
from fast_rust.update.merge import MergeResult
from fleet.deadly import die
from fleet.small import NEW, OLD, Type, write_manifest
from support.command import COMMAND
from support.files import edit, read_tree
from support.fleets import Fleet, corrupt, no_permission, picture, template_gone, without_answers
from support.git import commit_all, git

BRANCH = f"copier-fast-rust/{NEW}"
ROWS = """\
orders = { ring = "canary", answers = { kind = "service" } }
stock = { answers = { kind = "lib" } }
bills = { answers = { kind = "cli", description = 'Adds "all" up' } }
audit = { answers = { kind = "lib" } }
"""
RINGS = """\
[defaults]
ring = "rest"
answers = { copyright_holder = 'Acme "é" & Sons', allocator = "mimalloc" }
[rings.canary]
[rings.rest]
"""


@pytest.fixture(scope="module")
def made(two_releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Four crates of the first release: unchanged, drifted, with a conflict, and with a reason; read only."""
    folder = tmp_path_factory.mktemp("fleet")
    manifest = write_manifest(folder, two_releases, ROWS, RINGS)
    done = subprocess.run([COMMAND, "fleet", "bootstrap", "--to", OLD], cwd=folder, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    clones = folder / "clones"
    edit(clones / "stock" / "rust-toolchain.toml", "[toolchain]", "# ours\n[toolchain]")
    edit(clones / "bills" / "Cargo.toml", 'todo = "warn"', 'todo = "allow"')
    edit(
        clones / "audit" / "clippy.toml",
        "large-error-threshold = 128",
        "large-error-threshold = 200 # reason: <b> is large",
    )
    for name in ("stock", "bills", "audit"):
        commit_all(clones / name)
    return Fleet(manifest, two_releases)


@pytest.fixture
def small(made: Fleet, tmp_path: Path) -> Fleet:
    """A copy of this fleet, which a test may change."""
    shutil.copytree(made.manifest.parent, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Fleet(tmp_path / "fleet.toml", made.template)


def states(output: str) -> dict[str, str]:
    return {one["crate"]: one["state"] for one in json.loads(output)["crates"]}


def test_bootstrap_makes_the_same_crates_as_a_person_with_the_answers_that_apply(made: Fleet) -> None:
    manifest = (made.clones / "orders" / "Cargo.toml").read_text(encoding="utf-8")
    assert 'authors = ["Acme \\"é\\" & Sons"]' in manifest
    assert "mimalloc" in manifest
    assert "mimalloc" not in (made.clones / "stock" / ".copier-answers.yml").read_text(encoding="utf-8")
    assert git(made.clones / "orders", "log", "--format=%s").splitlines() == [f"Start from copier-fast-rust {OLD}"]


def test_bootstrap_clones_remote_repositories_and_pushes_new_ones(
    two_releases: Path, fleet: Type, tmp_path: Path, made: Fleet
) -> None:
    empty, stock = (tmp_path / "hosted" / f"{name}.git" for name in ("empty", "stock"))
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(empty))
    git(tmp_path, "clone", "--quiet", "--bare", str(made.clones / "stock"), str(stock))
    rows = f'empty = {{ url = "{empty}" }}\nstock = {{ url = "{stock}" }}\n'
    write_manifest(tmp_path, two_releases, rows)
    done = fleet("bootstrap", "--push", "--to", OLD, "--json")
    assert states(done.stdout) == {"empty": "created", "stock": "exists"}
    assert git(empty, "log", "--format=%s", "main").splitlines() == [f"Start from copier-fast-rust {OLD}"]
    assert states(fleet("update", "--push", "--json").stdout)["empty"] == "updated"
    assert git(empty, "branch", "--list", BRANCH).strip() == BRANCH


def test_bootstrap_skips_existing_crates_and_reports_those_that_it_cannot_make(small: Fleet, fleet: Type) -> None:
    before = picture(small)
    with small.manifest.open("a", encoding="utf-8") as file:
        file.write('more = { path = "orders", subdirectory = "crates/more", ring = "canary" }\nplain = {}\n')
    (small.clones / "plain").mkdir()
    done = fleet("bootstrap", "--to", OLD, "--json")
    assert done.exit_code == 1
    assert states(done.stdout) == {
        **dict.fromkeys(("orders", "stock", "bills", "audit"), "exists"),
        "more": "skipped",
        "plain": "error",
    }
    shutil.rmtree(small.clones / "plain")
    assert picture(small) == before


def test_bootstrap_never_replaces_a_repository_that_is_not_empty(
    two_releases: Path, fleet: Type, tmp_path: Path
) -> None:
    """Bootstrap makes a crate only in a clone of an empty remote, for any HEAD that git reports."""
    write_manifest(tmp_path, two_releases, "begun = {}\nelsewhere = {}\nstrange = {}\nsold = { freeze = 'sold' }\n")
    clones = tmp_path / "clones"
    for name in ("begun", "elsewhere", "strange"):
        (clones / name).mkdir(parents=True)
        git(clones / name, "init", "--quiet", "--initial-branch=main")
        (clones / name / "notes.txt").write_text("A week of work\n", encoding="utf-8")
    commit_all(clones / "elsewhere")
    git(clones / "elsewhere", "branch", "--move", "develop")
    git(clones / "elsewhere", "symbolic-ref", "HEAD", "refs/heads/main")
    commit_all(clones / "strange")
    corrupt(clones / "strange")
    before = {name: read_tree(clones / name) for name in ("begun", "elsewhere", "strange")}
    done = fleet("bootstrap", "--to", OLD, "--json")
    assert states(done.stdout) == dict.fromkeys(before, "error") | {"sold": "frozen"}
    assert {name: read_tree(clones / name) for name in before} == before
    assert not (clones / "sold").exists()


def old_crate(folder: Path) -> Task[BootstrapOptions]:
    """A crate that the template did not make."""
    crate = folder / "older"
    (crate / "src").mkdir(parents=True)
    (crate / "Cargo.toml").write_text('[package]\nname = "older"\n', encoding="utf-8")
    git(crate, "init", "--quiet", "--initial-branch=main")
    commit_all(crate)
    row = Crate("older", crate, ".", "", "all", "", "", {}, {"kind": "lib", "sample": False}, 1)
    return Task((row,), BootstrapOptions("/template", OLD, push=False, dry_run=False))


def test_bootstrap_adopts_a_crate_of_another_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def adopted(plan: object) -> adoption.Result:
        asked.append(plan)
        return adoption.Result(Staging({}, ()), (), ())

    monkeypatch.setattr(planning, "plan", lambda *given, **_: asked.extend(given))
    monkeypatch.setattr(adoption, "apply", adopted)
    [outcome] = bootstrap(old_crate(tmp_path))
    assert outcome.state is CrateState.ADOPTED
    assert asked == [tmp_path / "older", "/template", OLD, {"kind": "lib", "sample": "false"}, None]


def test_plan_and_drift_report_the_same_as_the_commands_for_a_single_crate(small: Fleet, fleet: Type) -> None:
    before = {crate.name: read_tree(crate) for crate in small.clones.iterdir()}
    planned = json.loads(fleet("plan", "--json").stdout)["crates"]
    drifted = json.loads(fleet("drift", "--json").stdout)["crates"]
    assert {one["crate"]: one["state"] for one in planned} == {
        "orders": "behind",
        "stock": "behind",
        "bills": "conflict",
        "audit": "behind",
    }
    for plan, drift in zip(planned, drifted, strict=True):
        crate = small.clones / plan["crate"]
        assert [one["key"] for one in drift["facts"]["differences"]] == [one.key for one in inspect(crate).differences]
        tried = single.plan(crate, NEW)
        assert isinstance(tried, single.UpdatePlan)
        assert plan["facts"]["touches"] == {path: str(change.result) for path, change in tried.changes.items()}
        clashing = {path for path, result in plan["facts"]["touches"].items() if result == "conflict"}
        assert clashing == set(tried.having(MergeResult.CONFLICT))
    assert {crate.name: read_tree(crate) for crate in small.clones.iterdir()} == before


def test_a_plan_can_use_a_checkout_as_an_unpublished_release(small: Fleet, fleet: Type, tmp_path: Path) -> None:
    checkout = tmp_path / "standards"
    git(small.template, "clone", "--quiet", ".", str(checkout))
    edit(checkout / "template" / "clippy.toml", "large-error-threshold = 128", "large-error-threshold = 64")
    before = git(checkout, "status", "--porcelain")
    done = fleet("plan", "--template", checkout, "--json")
    found = {one["crate"]: one["facts"]["touches"] for one in json.loads(done.stdout)["crates"]}
    assert found["orders"]["clippy.toml"] == "changed"
    assert found["audit"]["clippy.toml"] == "conflict"
    assert git(checkout, "status", "--porcelain") == before


def test_update_makes_a_branch_and_does_not_change_the_checkout(small: Fleet, fleet: Type) -> None:
    orders, bills = small.clones / "orders", small.clones / "bills"
    (orders / "src" / "unfinished.rs").write_text("fn", encoding="utf-8")
    before, trees = picture(small), {crate.name: read_tree(crate) for crate in small.clones.iterdir()}
    done = fleet("update", "--dry-run", "--json")
    assert states(done.stdout)["orders"] == "updated"
    assert picture(small) == before
    done = fleet("update", "--json")
    assert done.exit_code == 1
    assert states(done.stdout) == {"orders": "updated", "stock": "updated", "bills": "conflict", "audit": "updated"}
    assert {crate.name: read_tree(crate) for crate in small.clones.iterdir()} == trees
    assert git(orders, "symbolic-ref", "--short", "HEAD").strip() == "main"
    assert "unfinished" not in git(orders, "ls-tree", "-r", "--name-only", BRANCH)
    assert f"_commit: {NEW}" in git(orders, "show", f"{BRANCH}:.copier-answers.yml")
    assert 'todo = "deny"' in git(orders, "show", f"{BRANCH}:Cargo.toml")
    # A conflict adds only the report to the branch, and no conflict marker.
    assert git(bills, "diff", "--name-only", "main", BRANCH).split() == ["UPDATE-CONFLICTS.md"]
    report = git(bills, "show", f"{BRANCH}:UPDATE-CONFLICTS.md")
    assert 'todo = "allow"' in report
    assert not any(line.startswith(("<<<<<<<", "=======", ">>>>>>>")) for line in report.splitlines())
    # Again: no change, not even a commit.
    after = picture(small)
    again = fleet("update", "--json")
    assert states(again.stdout) == dict.fromkeys(("orders", "stock", "audit"), "exists") | {"bills": "conflict"}
    assert picture(small) == after


def ssh_that_refuses(script: Path) -> Path:
    """Return the log of a program that records its arguments, and fails."""
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\necho "$*" >>{script}.log\nexit 255\n', encoding="utf-8")
    script.chmod(0o755)
    return script.with_name("ssh.log")


def test_ssh_does_not_prompt_and_has_a_timeout_unless_a_repository_configures_its_own(
    small: Fleet, fleet: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(small, "orders")
    usual, own = (ssh_that_refuses(tmp_path / name / "ssh") for name in ("usual", "own"))
    monkeypatch.setenv("PATH", str(usual.parent), prepend=os.pathsep)
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file:ssh")
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    git(small.clones / "orders", "remote", "add", "origin", "ssh://git.example.org/orders.git")
    assert states(fleet("update", "--push", "--json").stdout) == {"orders": "error"}
    started = usual.read_text(encoding="utf-8")
    assert "BatchMode=yes" in started
    assert "ServerAliveInterval=15" in started
    git(small.clones / "orders", "config", "core.sshCommand", str(own.with_suffix("")))
    assert states(fleet("update", "--push", "--json").stdout) == {"orders": "error"}
    assert "git.example.org" in own.read_text(encoding="utf-8")
    assert usual.read_text(encoding="utf-8") == started


def test_a_crate_that_is_newer_than_the_target_is_ahead(
    small: Fleet, fleet: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commands of a fleet report this, and the command for a single crate."""
    orders = small.clones / "orders"
    assert states(fleet("update", "--ring", "canary", "--json").stdout) == {"orders": "updated"}
    git(orders, "merge", "--quiet", "--ff-only", BRANCH)
    messages = (f"the crate uses {NEW}, which is newer than {OLD}", f"--to {OLD}: the crate uses {NEW}, which is newer")
    for command in ("plan", "update"):
        done = fleet(command, "--ring", "canary", "--to", OLD, "--json")
        [outcome] = json.loads(done.stdout)["crates"]
        assert (done.exit_code, outcome["state"]) == (0, "ahead")
        assert messages[0] in outcome["detail"]
    monkeypatch.chdir(orders)
    done = fleet("update", "--one", "--to", OLD)
    assert done.exit_code == 0
    assert messages[1] in done.output


def test_a_branch_is_remade_on_a_newer_base_but_never_over_commits_of_others(small: Fleet, fleet: Type) -> None:
    orders, stock = small.clones / "orders", small.clones / "stock"
    fleet("update")
    commit_file(orders, "NEWS.md")
    git(stock, "switch", "--quiet", BRANCH)
    commit_file(stock, "NEWS.md")
    theirs = git(stock, "rev-parse", "HEAD")
    git(stock, "switch", "--quiet", "main")
    found = states(fleet("update", "--json").stdout)
    assert found["orders"] == "updated"
    assert git(orders, "merge-base", "main", BRANCH) == git(orders, "rev-parse", "main")
    assert found["stock"] == "changed-by-others"
    assert git(stock, "rev-parse", BRANCH) == theirs
    git(orders, "merge", "--quiet", "--ff-only", BRANCH)
    git(stock, "merge", "--quiet", "--squash", BRANCH)
    commit_all(stock)
    found = states(fleet("update", "--json").stdout)
    assert found["orders"] == "up-to-date"
    assert found["stock"] == "up-to-date"


def test_a_push_never_overwrites_commits_of_others(small: Fleet, fleet: Type, tmp_path: Path) -> None:
    """The commit is a new one or an amended one of ours; the push fails with and without a fetch before it."""
    only(small, "orders")
    orders, hosted, theirs = small.clones / "orders", tmp_path / "orders.git", tmp_path / "theirs"
    git(tmp_path, "clone", "--quiet", "--bare", str(orders), str(hosted))
    git(orders, "remote", "add", "origin", str(hosted))
    assert states(fleet("update", "--push", "--json").stdout) == {"orders": "updated"}
    git(tmp_path, "clone", "--quiet", "--branch", BRANCH, str(hosted), str(theirs))
    for amend in ("--amend", "--no-edit"), ("--message", "Make it compile"):
        git(theirs, "reset", "--quiet", "--hard", f"origin/{BRANCH}")
        (theirs / "NEWS.md").write_text(f"{amend}\n", encoding="utf-8")
        git(theirs, "add", "--all")
        git(theirs, "commit", "--quiet", *amend)
        git(theirs, "push", "--quiet", "--force", "origin", BRANCH)
        kept = git(hosted, "rev-parse", BRANCH)
        commit_file(orders, f"{amend[0]}.md")
        assert states(fleet("update", "--push", "--json").stdout) == {"orders": "error"}
        git(orders, "fetch", "--quiet", "origin")
        assert states(fleet("update", "--push", "--json").stdout) == {"orders": "changed-by-others"}
        assert git(hosted, "rev-parse", BRANCH) == kept
        git(orders, "push", "--quiet", "--force", "origin", BRANCH)
        git(theirs, "fetch", "--quiet", "origin")


def only(fleet: Fleet, name: str) -> None:
    """Reduce the manifest to one crate, and so to one ring."""
    write_manifest(fleet.manifest.parent, fleet.template, f"{name} = {{}}\n")


def test_a_dry_run_pushes_nothing(small: Fleet, fleet: Type, tmp_path: Path) -> None:
    only(small, "orders")
    hosted = tmp_path / "orders.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(small.clones / "orders"), str(hosted))
    git(small.clones / "orders", "remote", "add", "origin", str(hosted))
    fleet("update")
    assert states(fleet("update", "--push", "--dry-run", "--json").stdout) == {"orders": "exists"}
    assert not git(hosted, "branch", "--list", BRANCH)


def test_files_of_the_release_are_on_the_branch_though_the_crate_ignores_them(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("news.yml\n", encoding="utf-8")
    commit_all(tmp_path)
    with workplace(tmp_path) as work:
        (work.folder / "news.yml").write_text("new: true\n", encoding="utf-8")
        work.commit(["news.yml"], "Update\n")
        work.publish("updated", "")
    assert "news.yml" in git(tmp_path, "ls-tree", "--name-only", "updated").split()


def commit_file(crate: Path, name: str) -> None:
    (crate / name).write_text("Ours\n", encoding="utf-8")
    commit_all(crate)


def test_a_frozen_crate_is_skipped_with_its_reason(small: Fleet, fleet: Type) -> None:
    edit(small.manifest, "stock = { ", 'stock = { freeze = "sold in May", ')
    done = fleet("update")
    assert "frozen            stock  sold in May" in done.stdout
    assert not git(small.clones / "stock", "branch", "--list", BRANCH)


def test_a_ring_in_which_too_many_checks_fail_stops_the_fleet(small: Fleet, fleet: Type) -> None:
    edit(small.manifest, "[rings.canary]", '[rings.canary]\nchecks = ["false"]\nmax_failures = 0.5')
    before = picture(small)
    done = fleet("update", "--json")
    assert done.exit_code == 3
    assert "no branch was created" in done.stdout
    assert picture(small) == before
    assert states(done.stdout) == {"orders": "checks-failed"} | dict.fromkeys(
        ("stock", "bills", "audit"), "not-reached"
    )
    assert not any(git(crate, "branch", "--list", BRANCH) for crate in small.clones.iterdir())
    edit(small.manifest, "max_failures = 0.5", "max_failures = 1")
    assert fleet("update").exit_code == 1
    assert git(small.clones / "stock", "branch", "--list", BRANCH)


def test_one_broken_crate_never_stops_the_others(small: Fleet, fleet: Type) -> None:
    for name, damage in {"stock": corrupt, "bills": without_answers, "audit": template_gone}.items():
        damage(small.clones / name)
    found = fleet("update", "--json")
    assert found.exit_code == 1
    assert states(found.stdout) == {"orders": "updated"} | dict.fromkeys(("stock", "bills", "audit"), "error")
    assert all(one["detail"] for one in json.loads(found.stdout)["crates"])
    no_permission(small.clones / "orders")
    try:
        assert states(fleet("update", "--json").stdout)["orders"] == "error"
    finally:
        (small.clones / "orders").chmod(0o755)


def test_a_worker_that_dies_loses_only_its_own_crate() -> None:
    crates = [Crate(name, Path(name), ".", "", "all", "", "", {}, {}, 1) for name in "abcde"]
    found = [one for _, outcomes in work_on([Task((crate,), None) for crate in crates], die, 2) for one in outcomes]
    assert {one.crate: one.state for one in found} == dict.fromkeys("acde", CrateState.EXISTS) | {"b": CrateState.ERROR}


def test_running_tasks_finish_and_are_reported_when_a_ring_stops() -> None:
    """Other tasks do not start."""
    crates = [Crate(name, Path(name), ".", "", "all", "", "", {}, {}, 1) for name in "acdefgh"]
    told: list[str] = []

    def may_continue() -> bool:
        return not told

    for _, outcomes in work_on([Task((crate,), None) for crate in crates], die, 1, may_continue):
        told += [one.crate for one in outcomes]
    # A process accepts one task in addition to the one that it works on.
    assert "a" in told
    assert len(told) <= 2


def test_checks_that_hang_or_leave_a_process_running_block_nothing(
    small: Fleet, fleet: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(small, "orders")
    noted = small.manifest.parent / "pid"
    command = ["sh", "-c", f"sleep 600 & echo $! >{noted}"]
    edit(small.manifest, "[crates]", f"[rings.all]\nchecks = {command}\n[crates]")
    assert states(fleet("update", "--dry-run", "--json").stdout) == {"orders": "updated"}
    left = Path("/proc", noted.read_text(encoding="utf-8").strip(), "cmdline")
    # If no process has waited for it, as in a container without an init, the file exists and is empty.
    assert not left.exists() or not left.read_bytes()
    checks = Checks(("sleep", "600"), 1, small.manifest.parent / "logs")
    monkeypatch.setattr("fast_rust.fleet.checks.SECONDS_A_MINUTE", 0.01)
    crate = Crate("orders", small.clones / "orders", ".", "", "all", "", "", {}, {}, 1)
    assert "took more than 1 minutes" in checks.failure(small.clones / "orders", [crate])


def test_a_second_run_on_the_same_manifest_is_an_error(small: Fleet, fleet: Type) -> None:
    first = subprocess.Popen([COMMAND, "fleet", "update"], cwd=small.manifest.parent, stdout=subprocess.DEVNULL)
    try:
        lock = small.manifest.parent / "fleet.toml.state" / "update.jsonl"
        wait_for(lock)
        done = fleet("plan")
    finally:
        first.kill()
        first.wait()
    assert done.exit_code == 2
    assert "is in progress" in done.stderr


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass(frozen=True)
class Undisturbed:
    """The result of a run that was not killed, and its time in seconds."""

    end: object
    took: float


@pytest.fixture(scope="module")
def undisturbed(made: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    twin = Fleet(tmp_path_factory.mktemp("undisturbed") / "fleet.toml", made.template)
    shutil.copytree(made.manifest.parent, twin.manifest.parent, dirs_exist_ok=True, symlinks=True)
    start = time.monotonic()
    done = subprocess.run([COMMAND, "fleet", "update"], cwd=twin.manifest.parent, check=False, capture_output=True)
    assert done.returncode == 1, done.stderr.decode()
    return Undisturbed(picture(twin), time.monotonic() - start)


@pytest.mark.parametrize("moment", [0.0, 0.4, 0.9])
def test_a_killed_update_resumes_to_the_same_result(
    small: Fleet, fleet: Type, undisturbed: Undisturbed, moment: float
) -> None:
    killed = subprocess.Popen(
        [COMMAND, "fleet", "update"],
        cwd=small.manifest.parent,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(small.manifest.parent / "fleet.toml.state" / "update.jsonl")
    time.sleep(moment * undisturbed.took / 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert fleet("update").exit_code == 1
    assert picture(small) == undisturbed.end


def test_files_of_a_killed_run_are_removed_though_its_branch_exists(small: Fleet, fleet: Type) -> None:
    fleet("update")
    left = small.clones / "orders" / ".git" / "copier-fast-rust" / "clone"
    left.mkdir()
    assert fleet("update").exit_code == 1
    assert not left.exists()


def test_only_repositories_and_the_state_next_to_the_manifest_are_written(small: Fleet, fleet: Type) -> None:
    folder = small.manifest.parent
    fleet("plan")
    fleet("update")
    assert sorted(path.name for path in folder.iterdir()) == ["clones", "fleet.toml", "fleet.toml.state"]
    assert sorted(path.name for path in small.clones.iterdir()) == ["audit", "bills", "orders", "stock"]


# --- `--one`, as scripts use it ---


def test_one_updates_the_current_checkout_and_returns_an_exit_code_for_scripts(small: Fleet) -> None:
    orders, bills = small.clones / "orders", small.clones / "bills"

    def one(crate: Path) -> int:
        return subprocess.run([COMMAND, "fleet", "update", "--one"], cwd=crate, check=False).returncode

    assert one(orders) == 0
    assert f"_commit: {NEW}" in (orders / ".copier-answers.yml").read_text(encoding="utf-8")
    commit_all(orders)
    assert one(orders) == 0
    assert git(orders, "status", "--porcelain") == ""
    before = read_tree(bills)
    assert one(bills) == 1
    assert read_tree(bills) == before


@pytest.mark.parametrize(("option", "code"), [(("--dry-run",), 0), (("--push",), 2), (("--ring", "rest"), 2)])
def test_one_changes_only_the_current_folder_or_rejects_the_option(
    small: Fleet, option: tuple[str, ...], code: int
) -> None:
    orders = small.clones / "orders"
    before = read_tree(orders)
    done = subprocess.run([COMMAND, "fleet", "update", "--one", *option], cwd=orders, check=False)
    assert done.returncode == code
    assert read_tree(orders) == before


@pytest.mark.usefixtures("small")
def test_a_shard_of_several_rings_is_rejected(fleet: Type) -> None:
    """A shard could not learn that a ring is stopped in another shard."""
    done = fleet("update", "--shard", "1/2")
    assert done.exit_code == 2
    assert "--ring" in done.stderr


def test_a_missing_crate_is_reported_for_a_person(small: Fleet, fleet: Type) -> None:
    shutil.rmtree(small.clones / "orders")
    done = fleet("drift", "--ring", "canary", "--json")
    assert states(done.stdout) == {"orders": "missing"}
    assert done.exit_code == 1
    planned = fleet("bootstrap", "--to", OLD, "--ring", "canary", "--dry-run", "--json")
    assert states(planned.stdout) == {"orders": "planned"}
    assert planned.exit_code == 0


def test_an_invalid_address_of_a_template_is_an_error_of_its_crate_only(small: Fleet, fleet: Type) -> None:
    file = small.clones / "orders" / ".copier-answers.yml"
    edit(file, f"_src_path: {small.template}", "_src_path: ~nobody-of-that-name/template")
    commit_all(file.parent)
    found = states(fleet("drift", "--json").stdout)
    assert found["orders"] == "error"
    assert found["audit"] == "in-line"
