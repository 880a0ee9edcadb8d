"""The commands of the pages work as they are written."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fast_rust.fleet.manifest import read_manifest
from fleet.small import NEW, OLD
from support.files import replace_only
from support.git import commit_all, git
from support.variants import CHECKOUT

ADDRESS = "https://git.example.org"


def blocks(page: str, language: str, heading: str = "") -> list[str]:
    """Return the code blocks in a language under a heading, or on the whole page."""
    text = (CHECKOUT / "docs" / page).read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else text
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", section)


@pytest.fixture
def world(two_releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and a git configuration that maps the addresses of the pages to local repositories."""
    hosted = tmp_path / "hosted"
    for owner in ("upstream", "acme"):
        (hosted / owner).mkdir(parents=True)
    git(hosted, "clone", "--quiet", "--mirror", str(two_releases), "upstream/copier-fast-rust.git")
    git(hosted, "init", "--quiet", "--bare", "--initial-branch=main", "acme/copier-fast-rust.git")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{hosted}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"{ADDRESS}/")
    monkeypatch.setenv("COPIER_CACHE_DIR", str(tmp_path / "copier"))
    monkeypatch.setenv("FAST_RUST_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def mirror(world: Path) -> None:
    hosted = world.parent / "hosted"
    git(
        hosted / "upstream" / "copier-fast-rust.git",
        "push",
        "--quiet",
        "--mirror",
        str(hosted / "acme/copier-fast-rust.git"),
    )


def type_in(folder: Path, script: str) -> str:
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


def test_the_commands_for_ten_services_work(world: Path) -> None:
    mirror(world)
    [script] = blocks("fleet.md", "sh", "Start ten services")
    printed = type_in(world, script)
    assert "10 crates: 10 created" in printed
    assert "10 crates: 10 up-to-date" in printed
    services = [path.parent for path in (world / "services").glob("*/Cargo.toml")]
    assert len(services) == 10
    for service in services:
        manifest = tomllib.loads((service / "Cargo.toml").read_text(encoding="utf-8"))
        assert "axum" in manifest["dependencies"]
        assert git(service, "status", "--porcelain") == ""
    assert "mimalloc" in (world / "services" / "orders" / "Cargo.toml").read_text(encoding="utf-8")


def test_the_manifest_of_the_page_is_valid(tmp_path: Path) -> None:
    [text] = blocks("fleet.md", "toml")
    (tmp_path / "fleet.toml").write_text(text, encoding="utf-8")
    fleet = read_manifest(tmp_path / "fleet.toml")
    assert [crate.ring for crate in fleet.crates] == ["canary", "rest", "rest", "rest"]


def test_the_workflow_of_the_page_satisfies_the_schema(tmp_path: Path) -> None:
    [text] = blocks("fleet.md", "yaml")
    (tmp_path / "fleet.yml").write_text(text, encoding="utf-8")
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [checker, "--builtin-schema", "vendor.github-workflows", str(tmp_path / "fleet.yml")]
    assert subprocess.run(command, check=False).returncode == 0


def test_the_script_for_multi_gitter_works_as_described(world: Path, two_releases: Path) -> None:
    [script] = blocks("fleet.md", "sh", "Pull requests by multi-gitter")
    type_in(world, script.replace("v0.2.0", NEW))
    data = ["--data", "kind=lib", "--data", "crate_name=log-totals"]
    for name in ("clean", "clashing"):
        type_in(world, f"copier copy --quiet --defaults --vcs-ref={OLD} {' '.join(data)} {two_releases} {name}")
        git(world / name, "init", "--quiet")
        commit_all(world / name)
    replace_only(world / "clashing" / "Cargo.toml", 'todo = "warn"', 'todo = "allow"')
    commit_all(world / "clashing")

    def run(name: str) -> tuple[int, bool]:
        done = subprocess.run([str(world / "update.sh")], cwd=world / name, check=False, capture_output=True)
        return done.returncode, bool(git(world / name, "status", "--porcelain"))

    assert run("clean") == (0, True)
    commit_all(world / "clean")
    assert run("clean") == (0, False)
    assert run("clashing") == (1, False)


def test_the_commands_to_fork_the_template_work(world: Path) -> None:
    printed = type_in(world, "".join(blocks("for-your-organisation.md", "sh")))
    orders = world / "orders"
    answers = (orders / ".copier-answers.yml").read_text(encoding="utf-8")
    assert "copyright_holder: Acme Ltd" in answers
    assert "allocator: mimalloc" in answers
    assert "acme-lint" in printed
    assert "no drift" in printed
    assert re.search(r"behind +orders .*fork, 2 files", printed)
    assert re.search(r"updated +orders", printed)
    assert "clippy.toml" in printed.rpartition("updated")[2]
