"""Repositories under the git configuration of users: our clones ignore it, and the commits for users follow it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from fast_rust.fleet.repositories import workplace
from fast_rust.git import GitError
from fleet.small import NEW, OLD, Type, make_crate, make_template, snapshot, write_manifest
from support.command import COMMAND
from support.files import edit, write
from support.git import commit_all, git

BRANCH = f"copier-fast-rust/{NEW}"
Prepare: TypeAlias = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("small") / "template")


@pytest.fixture
def orders(template: Path, tmp_path: Path) -> Path:
    crate = make_crate(template, tmp_path / "clones" / "orders", level="high")
    write_manifest(tmp_path, template, "orders = {}\n")
    return crate


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's git configuration, which a test may write."""
    config = tmp_path / "gitconfig"
    shutil.copy(os.environ["GIT_CONFIG_GLOBAL"], config)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    return config


def outcome(output: str) -> dict[str, str]:
    [one] = json.loads(output)["crates"]
    return {"state": one["state"], "detail": one["detail"]}


def script(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


# --- Our clones under the user's configuration ---


def settings(*pairs: tuple[str, str]) -> Prepare:
    def prepare(home: Path, crate: Path) -> None:
        for name, value in pairs:
            git(home.parent, "config", "--file", str(home), name, value.replace("HOME", str(home.parent)))
        assert crate.is_dir()

    return prepare


def required_filter(home: Path, crate: Path) -> None:
    """Configure a required filter in this repository only, which fails."""
    assert home.is_file()
    write(crate, {".gitattributes": "* filter=x\n"})
    commit_all(crate)
    for name, value in (("clean", "false"), ("smudge", "false"), ("required", "true")):
        git(crate, "config", f"filter.x.{name}", value)


def hooks_that_fail(home: Path, crate: Path) -> None:
    for name in ("pre-commit", "commit-msg", "post-checkout", "post-commit", "prepare-commit-msg"):
        script(home.parent / "hooks" / name, "exit 1")
        script(crate / ".git" / "hooks" / name, "exit 1")
    settings(("core.hooksPath", "HOME/hooks"))(home, crate)


def excluded(home: Path, crate: Path) -> None:
    write(home.parent, {"ignore": "justfile\nnews.yml\n*.toml\n.copier-answers.yml\n"})
    settings(("core.excludesFile", "HOME/ignore"))(home, crate)


def global_attributes(home: Path, crate: Path) -> None:
    write(home.parent, {"attributes": "* filter=y text eol=crlf\n"})
    settings(
        ("core.attributesFile", "HOME/attributes"),
        ("filter.y.clean", "false"),
        ("filter.y.smudge", "false"),
        ("filter.y.required", "true"),
    )(home, crate)


def git_template(home: Path, crate: Path) -> None:
    script(home.parent / "git-template" / "hooks" / "post-checkout", "exit 1")
    write(home.parent, {"git-template/info/attributes": "* filter=z\n", "git-template/info/exclude": "*\n"})
    settings(("init.templateDir", "HOME/git-template"))(home, crate)


HOSTILE: Mapping[str, Prepare] = {
    "filter": required_filter,
    "hooks": hooks_that_fail,
    "excludes": excluded,
    "attributes": global_attributes,
    "template": git_template,
    "untracked": settings(("status.showUntrackedFiles", "no"), ("status.branch", "true"), ("status.short", "true")),
    "line-endings": settings(("core.autocrlf", "true"), ("core.safecrlf", "true")),
    "input": settings(("core.autocrlf", "input"), ("core.eol", "crlf")),
    "hash": settings(("init.defaultObjectFormat", "sha256"), ("init.defaultRefFormat", "files")),
    "remote-name": settings(("clone.defaultRemoteName", "upstream"), ("clone.rejectShallow", "true")),
    "bare": settings(("safe.bareRepository", "explicit")),
    "protocols": settings(("protocol.file.allow", "never"), ("protocol.allow", "never")),
    "addresses": settings(("url.https://git.invalid/.insteadOf", "/"), ("url.ssh://no/.pushInsteadOf", "/")),
    "fetch": settings(("fetch.fsckObjects", "true"), ("transfer.hideRefs", "refs"), ("fetch.prune", "true")),
    "log": settings(
        ("log.showSignature", "true"),
        ("log.mailmap", "true"),
        ("i18n.logOutputEncoding", "UTF-16"),
        ("color.ui", "always"),
        ("format.pretty", "oneline"),
        ("core.quotePath", "true"),
        ("core.abbrev", "5"),
    ),
    "commit": settings(
        ("i18n.commitEncoding", "ISO-8859-1"),
        ("commit.verbose", "true"),
        ("commit.cleanup", "verbatim"),
        ("commit.template", "HOME/nowhere"),
        ("core.commentChar", "F"),
        ("trailer.ifexists", "replace"),
    ),
}


@pytest.fixture(scope="module")
def expected(template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of an update without such settings."""
    folder = tmp_path_factory.mktemp("expected")
    crate = make_crate(template, folder / "clones" / "orders", level="high")
    write_manifest(folder, template, "orders = {}\n")
    subprocess.run([COMMAND, "fleet", "update"], cwd=folder, check=True, capture_output=True)
    return files_of(crate)


def files_of(crate: Path) -> list[str]:
    listing = git(crate, "ls-tree", "-r", BRANCH).splitlines()
    return [line for line in listing if not line.endswith("\t.gitattributes")]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_setting_of_the_user_changes_an_update(
    orders: Path, home: Path, fleet: Type, expected: list[str], name: str
) -> None:
    """The branch has the same files and the user's identity, and the next run recognizes it as ours."""
    HOSTILE[name](home, orders)
    before = snapshot(orders)
    assert outcome(fleet("plan", "--json").stdout)["state"] == "behind"
    done = outcome(fleet("update", "--json").stdout)
    assert done["state"] == "updated", done
    after = snapshot(orders)
    assert (after["files"], after["states"], after["locks"]) == (before["files"], before["states"], [])
    again = outcome(fleet("update", "--json").stdout)
    assert again["state"] == "exists", again
    home.write_text("", encoding="utf-8")
    assert files_of(orders) == expected
    assert git(orders, "log", "-1", "--format=%an %cn", BRANCH).strip() == "Tess Tester Tess Tester"
    assert "Fast-Rust-Update: orders updated" in git(orders, "log", "-1", "--format=%B", BRANCH)


@pytest.mark.parametrize("kind", ["sha256", "worktree", "shallow", "submodule"])
def test_each_kind_of_repository_is_updated(
    orders: Path, fleet: Type, template: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "sha256":
        shutil.rmtree(orders / ".git")
        git(orders, "init", "--quiet", "--initial-branch=main", "--object-format=sha256")
        commit_all(orders)
    elif kind == "worktree":
        git(orders, "branch", "work")
        shutil.move(orders, tmp_path / "first")
        git(tmp_path / "first", "worktree", "add", "--quiet", str(orders), "work")
    elif kind == "shallow":
        shutil.move(orders, tmp_path / "first")
        commit_all(tmp_path / "first")
        git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{tmp_path / 'first'}", str(orders))
    else:
        git(orders, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(template), "vendored")
        commit_all(orders)
    tip = git(orders, "rev-parse", "HEAD")
    assert outcome(fleet("plan", "--json").stdout)["state"] == "behind"
    done = outcome(fleet("update", "--json").stdout)
    assert done["state"] == "updated", done
    assert git(orders, "rev-parse", "HEAD") == tip
    assert git(orders, "diff", "--diff-filter=D", "--name-only", "HEAD", BRANCH).split() == [
        "tools/check.sh",
    ]
    assert outcome(fleet("update", "--json").stdout)["state"] == "exists"


def test_identity_and_signature_are_those_of_the_repository(
    orders: Path, home: Path, fleet: Type, tmp_path: Path
) -> None:
    """Set by `includeIf`, which depends on the repository, with the user's program for signatures."""
    write(tmp_path, {"work.config": "[user]\nname = Ada Work\nemail = ada@work.example.org\n"})
    git(tmp_path, "config", "--file", str(home), f"includeIf.gitdir:{orders}/.path", str(tmp_path / "work.config"))
    sign = script(tmp_path / "sign", 'cat >/dev/null; echo "[GNUPG:] SIG_CREATED " >&2; echo signed-by-ada')
    for name, value in (("commit.gpgSign", "true"), ("gpg.program", str(sign)), ("log.showSignature", "true")):
        git(tmp_path, "config", "--file", str(home), name, value)
    done = outcome(fleet("update", "--json").stdout)
    assert done["state"] == "updated", done
    commit = git(orders, "cat-file", "commit", BRANCH)
    assert "author Ada Work <ada@work.example.org>" in commit
    assert "committer Ada Work <ada@work.example.org>" in commit
    assert "gpgsig signed-by-ada" in commit
    assert outcome(fleet("update", "--json").stdout)["state"] == "exists"


# --- Errors before the work, which change nothing ---


def no_identity(home: Path, crate: Path, hosted: Path) -> None:
    home.write_text("[user]\nuseConfigOnly = true\n", encoding="utf-8")
    assert crate.is_dir()
    assert hosted.is_dir()


def missing_key(home: Path, crate: Path, hosted: Path) -> None:
    git(crate, "config", "commit.gpgSign", "true")
    git(crate, "config", "gpg.program", str(script(home.parent / "gpg", 'echo "no secret key" >&2; exit 1')))
    assert hosted.is_dir()


def hook_that_refuses(home: Path, crate: Path, hosted: Path) -> None:
    script(crate / ".git" / "hooks" / "reference-transaction", "echo policy: ask the release team >&2; exit 1")
    assert home.is_file()
    assert hosted.is_dir()


def branch_in_the_way(home: Path, crate: Path, hosted: Path) -> None:
    git(crate, "branch", "copier-fast-rust")
    assert home.is_file()
    assert hosted.is_dir()


def checked_out_elsewhere(home: Path, crate: Path, hosted: Path) -> None:
    git(crate, "worktree", "add", "--quiet", "-b", BRANCH, str(home.parent / "other"))
    assert hosted.is_dir()


def remote_that_refuses(home: Path, crate: Path, hosted: Path) -> None:
    shutil.rmtree(hosted)
    assert home.is_file()
    assert crate.is_dir()


REFUSALS: Mapping[str, tuple[Callable[[Path, Path, Path], None], str]] = {
    "identity": (no_identity, "no email was given"),
    "signature": (missing_key, "no secret key"),
    "hook": (hook_that_refuses, "policy: ask the release team"),
    "branch": (branch_in_the_way, "'refs/heads/copier-fast-rust' exists"),
    "worktree": (checked_out_elsewhere, "is checked out in"),
    "remote": (remote_that_refuses, "does not appear to be a git repository"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_obstacle_to_the_result_is_reported_before_the_checks(
    orders: Path, home: Path, fleet: Type, tmp_path: Path, name: str
) -> None:
    prepare, message = REFUSALS[name]
    hosted = tmp_path / "orders.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(orders), str(hosted))
    git(orders, "remote", "add", "origin", str(hosted))
    noted = tmp_path / "checked"
    edit(tmp_path / "fleet.toml", "[crates]", f"[rings.all]\nchecks = ['touch', '{noted}']\n[crates]")
    prepare(home, orders, hosted)
    before = snapshot(orders)
    done = outcome(fleet("update", "--push", "--json").stdout)
    assert done["state"] == "error"
    assert message in done["detail"]
    assert "nothing was changed" in done["detail"]
    assert not noted.exists()
    assert snapshot(orders) == before


def test_the_error_of_a_failed_push_says_that_the_branch_exists(orders: Path, fleet: Type, tmp_path: Path) -> None:
    """A hook of the remote runs only at the push itself, so the run cannot foresee the failure."""
    hosted = tmp_path / "orders.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(orders), str(hosted))
    script(hosted / "hooks" / "pre-receive", "exit 1")
    git(orders, "remote", "add", "origin", str(hosted))
    done = outcome(fleet("update", "--push", "--json").stdout)
    assert done["state"] == "error"
    assert f"the branch {BRANCH} was created, but not pushed" in done["detail"]
    assert git(orders, "rev-parse", "--verify", BRANCH)
    assert not git(hosted, "branch", "--list", BRANCH)
    (hosted / "hooks" / "pre-receive").unlink()
    assert outcome(fleet("update", "--push", "--json").stdout)["state"] == "exists"
    assert git(hosted, "rev-parse", BRANCH) == git(orders, "rev-parse", BRANCH)


def test_a_branch_that_moved_during_the_run_is_unchanged(orders: Path) -> None:
    with workplace(orders) as work:
        write(work.folder, {"news.txt": "ours\n"})
        work.commit(["news.txt"], "Update\n")
        git(orders, "branch", "updated")
        theirs = git(orders, "rev-parse", "updated")
        with pytest.raises(GitError, match="cannot be created or moved"):
            work.publish("updated", "")
    assert git(orders, "rev-parse", "updated") == theirs


# --- New repositories ---


@pytest.mark.parametrize("name", ["hooks", "excludes", "template", "line-endings", "hash", "commit", "untracked"])
def test_a_new_repository_has_the_users_settings_and_is_clean(
    template: Path, home: Path, fleet: Type, tmp_path: Path, name: str
) -> None:
    """The user's hooks and object format are installed; no hook runs, and each file is committed."""
    (tmp_path / "nothing" / ".git").mkdir(parents=True)
    HOSTILE[name](home, tmp_path / "nothing")
    write_manifest(tmp_path, template, "bills = { answers = { level = 'high' } }\n")
    done = outcome(fleet("bootstrap", "--to", OLD, "--json").stdout)
    assert done["state"] == "created", done
    bills = tmp_path / "clones" / "bills"
    assert git(bills, "-c", "status.showUntrackedFiles=all", "-c", "color.ui=never", "status", "--porcelain") == ""
    listed = git(bills, "ls-tree", "-r", "--name-only", "HEAD").split()
    assert {"justfile", "clippy.toml", ".copier-answers.yml"} <= set(listed)
    assert "Tess Tester" in git(bills, "cat-file", "commit", "HEAD")
    assert (
        b"\r"
        not in subprocess.run(
            ["git", "-C", str(bills), "cat-file", "blob", "HEAD:justfile"], check=True, capture_output=True
        ).stdout
    )
    if name == "hash":
        assert git(bills, "rev-parse", "--show-object-format").strip() == "sha256"
    if name == "template":
        assert (bills / ".git" / "hooks" / "post-checkout").exists()
    assert [path.name for path in (tmp_path / "clones").iterdir()] == ["bills"]


@pytest.mark.parametrize("name", ["identity", "signature"])
def test_a_new_repository_that_cannot_be_committed_is_removed(
    template: Path, home: Path, fleet: Type, tmp_path: Path, name: str
) -> None:
    if name == "identity":
        home.write_text("[user]\nuseConfigOnly = true\n", encoding="utf-8")
    else:
        program = script(tmp_path / "gpg", 'echo "no secret key" >&2; exit 1')
        for key, value in (("commit.gpgSign", "true"), ("gpg.program", str(program))):
            git(tmp_path, "config", "--file", str(home), key, value)
    write_manifest(tmp_path, template, "bills = {}\n")
    assert outcome(fleet("bootstrap", "--to", OLD, "--json").stdout)["state"] == "error"
    assert not list((tmp_path / "clones").iterdir())


def test_a_new_repository_records_the_address_of_the_template(template: Path, fleet: Type, tmp_path: Path) -> None:
    write_manifest(tmp_path, f"file://{template}", "bills = {}\n")
    assert outcome(fleet("bootstrap", "--to", OLD, "--json").stdout)["state"] == "created"
    answers = (tmp_path / "clones" / "bills" / ".copier-answers.yml").read_text(encoding="utf-8")
    assert f"_src_path: file://{template}" in answers
    assert f"_commit: {OLD}" in answers
