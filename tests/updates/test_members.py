"""A member of a workspace inherits the root's answers, is listed in the root, and is reported if it is behind."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fast_rust.answers import ANSWERS_FILE
from fast_rust.checks import builds, registry
from fast_rust.members import PROFILE, PROFILE_TEXT, with_profile
from support.command import fast_rust
from support.files import read_tree, replace_only
from support.git import commit, start_history
from support.template import Template, copier
from support.variants import CHECKOUT
from updates.bench import Bench

SHARED = {"copyright_holder": "Ada", "license": "MIT", "repository_url": "https://example.org/a/b"}
PROFILE_CHECKS = (builds.release_profile_is_tuned, builds.panic_strategy_is_chosen)
LISTED = ["bench", "crates/log-reader", "crates/log-reader/bench"]


@pytest.fixture
def root(template: Template, tmp_path: Path) -> Path:
    """A library in a repository, with its own answers."""
    crate = tmp_path / "log-totals"
    data = [f"--data={name}={value}" for name, value in SHARED.items()]
    outcome = copier("copy", "--quiet", "--defaults", *data, str(template.repository), str(crate))
    assert outcome.exit_code == 0, outcome.stderr
    start_history(crate)
    return crate


def read(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "Cargo.toml").read_text())


def test_a_member_inherits_the_answers_of_its_root(root: Path) -> None:
    done = fast_rust("member", "add", "crates/log-reader", "--data", "kind=cli", folder=root)
    assert done.returncode == 0, done.stderr
    recorded, own = (yaml.safe_load((one / ANSWERS_FILE).read_text()) for one in (root / "crates/log-reader", root))
    assert {name: recorded[name] for name in SHARED} == SHARED
    assert [recorded[name] for name in ("_commit", "_src_path")] == [own[name] for name in ("_commit", "_src_path")]
    assert (recorded["place"], recorded["kind"], recorded["crate_name"]) == ("member", "cli", "log-reader")
    # The root may have the sample; a second copy would be maintained and measured twice.
    assert (own["sample"], recorded["sample"]) == (True, False)
    assert "crates/log-reader" in done.stdout


def test_a_member_is_listed_with_its_benches_and_a_program_has_its_profile(root: Path) -> None:
    before = (root / "Cargo.toml").read_text()
    fast_rust("member", "add", "crates/log-reader", "--data", "kind=cli", "--data", "sample=true", folder=root)
    assert read(root)["workspace"]["members"] == LISTED
    assert read(root)["profile"]["release"] == PROFILE
    # All other lines and every comment are unchanged.
    kept = [line for line in before.splitlines() if not line.startswith("members = ")]
    assert [line for line in kept if line not in (root / "Cargo.toml").read_text().splitlines()] == []
    done = fast_rust("check", folder=root)
    assert "BUILD-" not in done.stdout + done.stderr


def test_a_profile_of_the_workspace_keeps_its_keys(root: Path) -> None:
    manifest = root / "Cargo.toml"
    manifest.write_text(manifest.read_text() + '\n[profile.release]\nlto = "thin"\npanic = "abort"\n')
    fast_rust("member", "add", "crates/log-reader", "--data", "kind=service", folder=root)
    assert read(root)["profile"]["release"] == {**PROFILE, "lto": "thin", "panic": "abort"}
    assert "\ncodegen-units = 1 # BUILD-1: optimises the crate as one unit" in manifest.read_text()


def test_the_profile_has_the_comments_of_a_new_program(root: Path) -> None:
    """It is inserted before the other profiles."""
    fast_rust("member", "add", "crates/log-reader", "--data", "kind=cli", folder=root)
    assert f"\n\n{PROFILE_TEXT}\n[profile.bench]\n" in (root / "Cargo.toml").read_text()
    template = (CHECKOUT / "template" / "Cargo.toml.jinja").read_text()
    lines = re.sub(r"{{ .* }}", "thread or request", template).splitlines()
    assert [line for line in PROFILE_TEXT.splitlines() if line not in lines] == []


@pytest.mark.parametrize("extra", ["profile = { dev = { opt-level = 1 } }\n", 'x = """\n[profile.x]\n"""\n'])
def test_a_profile_is_added_to_a_manifest_in_any_notation(extra: str) -> None:
    text = f"{extra}[workspace]\nmembers = []\n"
    added = tomllib.loads(with_profile(text))
    assert added.pop("profile") == {**tomllib.loads(text).get("profile", {}), "release": PROFILE}
    assert added == {key: value for key, value in tomllib.loads(text).items() if key != "profile"}


def test_a_library_needs_no_profile_and_inherits_the_msrv(root: Path) -> None:
    replace_only((root / ANSWERS_FILE), "1.88", "1.86")
    fast_rust("member", "add", "crates/log-reader", "--data", "sample=false", folder=root)
    assert read(root)["workspace"]["members"] == LISTED[:2]
    assert "release" not in read(root)["profile"]
    assert read(root / "crates/log-reader")["package"]["rust-version"] == "1.86"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["crates/x1", "--data", "knd=cli"], "--data knd: the template does not ask for this in a member"),
        (["src"], "src exists already; pass a new folder"),
        (["../x1"], "../x1 is outside the workspace"),
        (["."], "is outside the workspace"),
        (["crates/x1", "--data", "kind=game"], "cannot be rendered"),
        (["crates/x1", "--data", "kind"], "--data kind has no value"),
    ],
)
def test_a_member_that_cannot_be_added_changes_nothing(root: Path, arguments: list[str], message: str) -> None:
    before = read_tree(root)
    done = fast_rust("member", "add", *arguments, folder=root)
    assert done.returncode == 2
    assert message in done.stderr
    assert read_tree(root) == before


def test_an_update_of_the_root_reports_the_members_that_are_behind(bench: Bench) -> None:
    fast_rust("member", "add", "crates/log-reader", folder=bench.crate)
    bench.edit("template/rust-toolchain.toml.jinja", "[toolchain]", "# Ours.\n[toolchain]")
    done = bench.fast_rust()
    assert done.exit_code == 0, done.output
    line = f"{bench.crate}/crates/log-reader still uses the older release v0.0.1; commit, then run `fast-rust update "
    assert line in done.output
    commit(bench.crate, "Update")
    assert line in bench.update().output
    assert fast_rust("update", str(bench.crate / "crates" / "log-reader")).returncode == 0
    assert "still uses the older release" not in bench.update().output


def profile_in(text: str) -> dict[str, Any]:
    """Return the first release profile in a text, parsed as TOML."""
    found = re.search(r"(?m)^ *\[profile\.release]\n((?: *[\w-]+ = .*\n)+)", text)
    assert found, text
    return tomllib.loads(found[1].replace("    ", ""))


def test_the_profile_for_a_program_is_the_same_in_all_places(root: Path) -> None:
    """In the message, the page, the command and the checks."""
    address = str(yaml.safe_load((root / ANSWERS_FILE).read_text())["_src_path"])
    command = ("copy", "--defaults", "--data=place=member", "--data=kind=cli", address, "crates/log-reader")
    message = copier(*command, folder=root).stderr
    assert profile_in(message) == PROFILE
    assert profile_in((CHECKOUT / "docs" / "create.md").read_text()) == PROFILE
    asked = "".join(registry.CHECKS[function.__name__].next for function in PROFILE_CHECKS)
    for key in ("lto", "codegen-units", "panic"):
        assert f"{key} = {PROFILE[key]!r}".replace("'", '"') in asked


def test_the_message_about_a_member_has_its_folder(root: Path) -> None:
    address = str(yaml.safe_load((root / ANSWERS_FILE).read_text())["_src_path"])
    command = ("copy", "--defaults", "--data=place=member", "--data=sample=true", address, "crates/log-reader")
    message = copier(*command, folder=root).stderr
    assert 'members = [..., "crates/log-reader", "crates/log-reader/bench"]' in message
