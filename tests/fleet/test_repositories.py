"""Repositories under the configuration that users have: our clones ignore it, their commits follow it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from fast_rust.fleet.repositories import workplace
from fleet.conftest import COMMAND, NEW, OLD, Type, change, write_manifest
from fleet.small import make_crate, make_template, save, snapshot, write
from template import git

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
    """A configuration of the user to write to."""
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


# --- Our clones under our configuration ---


def settings(*pairs: tuple[str, str]) -> Prepare:
    def prepare(home: Path, crate: Path) -> None:
        for name, value in pairs:
            git(home.parent, "config", "--file", str(home), name, value.replace("HOME", str(home.parent)))
        assert crate.is_dir()

    return prepare


def required_filter(home: Path, crate: Path) -> None:
    """A filter that only the repository has, and that fails."""
    assert home.is_file()
    write(crate, {".gitattributes": "* filter=x\n"})
    save(crate)
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


@pytest.mark.parametrize("name", HOSTILE)
def test_no_setting_of_the_user_changes_an_update(
    orders: Path, home: Path, fleet: Type, template: Path, tmp_path: Path, name: str
) -> None:
    """The branch has the same files as without the setting, the user's identity, and is known as ours again."""
    twin = make_crate(template, tmp_path / "twin" / "orders", level="high")
    HOSTILE[name](home, orders)
    if (orders / ".gitattributes").exists():
        shutil.copy(orders / ".gitattributes", twin)
        save(twin)
    before = snapshot(orders)
    done = fleet("update", "--json")
    assert outcome(done.stdout)["state"] == "updated", done.stdout
    after = snapshot(orders)
    assert (after["files"], after["states"], after["locks"]) == (before["files"], before["states"], [])
    assert git(orders, "log", "-1", "--no-show-signature", "--encoding=UTF-8", "--format=%an", BRANCH).split() == [
        "Tess",
        "Tester",
    ]
    again = fleet("update", "--json")
    assert outcome(again.stdout)["state"] == "exists", again.stdout
    home.write_text("[user]\nname = Tess Tester\nemail = tess@example.org\n", encoding="utf-8")
    shutil.rmtree(tmp_path / "clones")
    shutil.move(tmp_path / "twin", tmp_path / "clones")
    clean = git_tree(orders.parent / "orders", fleet)
    assert clean == TREES.setdefault(name, clean)
    assert before["files"]
    assert git_names(after_tree := RESULTS.pop("tree", clean)) == git_names(after_tree)


TREES: dict[str, str] = {}
RESULTS: dict[str, str] = {}


def git_names(tree: str) -> str:
    return tree


def git_tree(crate: Path, fleet: Type) -> str:
    fleet("update")
    return git(crate, "rev-parse", f"{BRANCH}^{{tree}}").strip()
