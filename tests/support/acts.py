"""Changes that users make to a crate between two releases.

Each act makes its changes, yields the folder that the crate is then in, and asserts what must be true after the update.
"""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fast_rust.hot.add import add
from fast_rust.hot.remove import remove
from support.files import edit, read_tree
from support.git import git

Act: TypeAlias = Callable[["Given"], Iterator[Path]]


@dataclass(frozen=True)
class Given:
    """A crate to change, and the data that an act needs."""

    crate: Path
    new_names: tuple[str, ...]
    """Files that the newest release has and the crate's release does not."""

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text."""
        edit(self.crate / path, old, new)

    def write(self, path: str, text: str) -> None:
        (self.crate / path).parent.mkdir(parents=True, exist_ok=True)
        (self.crate / path).write_text(text, encoding="utf-8")

    def toml(self, path: str) -> dict[str, Any]:
        return tomllib.loads((self.crate / path).read_text(encoding="utf-8"))


def dependency_and_feature_added(given: Given) -> Iterator[Path]:
    """A crate's dependencies and features are its own."""
    manifest = (given.crate / "Cargo.toml").read_text(encoding="utf-8")
    header = "[features]\n" if "[features]\n" in manifest else "[dependencies]\n"
    feature = 'quick = ["dep:itoa"]\n'
    given.edit("Cargo.toml", header, header + feature if "feat" in header else f"[features]\n{feature}\n{header}")
    given.edit("Cargo.toml", "[dependencies]\n", '[dependencies]\nitoa = { version = "1.0", optional = true }\n')
    yield given.crate
    after = given.toml("Cargo.toml")
    assert after["dependencies"]["itoa"] == {"version": "1.0", "optional": True}
    assert after["features"]["quick"] == ["dep:itoa"]


def lint_loosened(given: Given) -> Iterator[Path]:
    """A loosened lint stays loosened, with its reason."""
    manifest = (given.crate / "Cargo.toml").read_text(encoding="utf-8")
    [line] = [line for line in manifest.splitlines() if line.startswith("unwrap_used = ")]
    given.edit("Cargo.toml", line, 'unwrap_used = "allow" # reason: prototypes unwrap')
    yield given.crate
    assert given.toml("Cargo.toml")["workspace"]["lints"]["clippy"]["unwrap_used"] == "allow"
    assert "# reason: prototypes unwrap" in (given.crate / "Cargo.toml").read_text(encoding="utf-8")


def profile_tuned(given: Given) -> Iterator[Path]:
    """A changed value of a profile, and the crate's own profile, stay."""
    manifest = (given.crate / "Cargo.toml").read_text(encoding="utf-8")
    tail = manifest[manifest.index("[profile.bench]") :]
    [line, *_] = [line for line in tail.splitlines() if line.startswith("debug = ")]
    tuned = tail.replace(line, 'debug = "full" # reason: we step through benches', 1)
    given.edit("Cargo.toml", tail, f'{tuned}\n[profile.small]\ninherits = "release"\nopt-level = "z"\n')
    yield given.crate
    profiles = given.toml("Cargo.toml")["profile"]
    assert profiles["bench"]["debug"] == "full"
    assert profiles["small"] == {"inherits": "release", "opt-level": "z"}


def own_job(given: Given) -> Iterator[Path]:
    """A workflow next to ours is never changed."""
    given.write(".github/workflows/nightly.yml", "name: Nightly\non: workflow_dispatch\njobs: {}\n")
    yield given.crate


def own_recipe(given: Given) -> Iterator[Path]:
    """A recipe in local.just belongs to the crate."""
    given.write("local.just", "# Ours.\ndeploy:\n    true\n")
    yield given.crate
    listed = subprocess.run(["just", "--list"], cwd=given.crate, check=True, capture_output=True, text=True).stdout
    assert "deploy" in listed


def own_rules_tests_and_profile(given: Given) -> Iterator[Path]:
    """Rules in lints/own, tests in bench/tests and a profile of nextest belong to the crate."""
    given.write("lints/own/ours.yml", "id: ours\nlanguage: rust\nrule: { pattern: ours() }\n")
    given.write("bench/tests/ours.rs", "#[test]\nfn ours() {}\n")
    text = (given.crate / ".config" / "nextest.toml").read_text(encoding="utf-8")
    given.write(".config/nextest.toml", f"{text}\n[profile.nightly]\nretries = 2\n")
    yield given.crate
    assert given.toml(".config/nextest.toml")["profile"]["nightly"] == {"retries": 2}


def sample_replaced(given: Given) -> Iterator[Path]:
    """An update does not restore the removed sample or its entries."""
    remove(given.crate, "aggregate").apply()
    add(given.crate, "parse").apply()
    yield given.crate
    assert [path for path in read_tree(given.crate) if "aggregate" in path] == []
    benches = [bench["name"] for bench in given.toml("bench/Cargo.toml")["bench"]]
    # A service has a bench of its requests, too.
    assert [name for name in benches if name != "request_instructions"] == ["parse", "parse_instructions"]


def starter_rewritten(given: Given) -> Iterator[Path]:
    """A starter belongs to the crate from the beginning."""
    given.write("src/lib.rs", "//! Written anew.\n")
    given.write("README.md", "# Ours\n")
    yield given.crate


def starter_renamed(given: Given) -> Iterator[Path]:
    """An update does not restore a renamed starter under its old name."""
    (given.crate / "src" / "error.rs").rename(given.crate / "src" / "errors.rs")
    yield given.crate
    assert not (given.crate / "src" / "error.rs").exists()


def starter_deleted(given: Given) -> Iterator[Path]:
    """A deleted starter stays deleted."""
    for path in ("README.md", "CHANGELOG.md", "src/error.rs"):
        (given.crate / path).unlink()
    yield given.crate
    assert not (given.crate / "README.md").exists()


def managed_file_edited(given: Given) -> Iterator[Path]:
    """Lines that a user added at the end of the template's files stay."""
    for path in ("justfile", ".github/workflows/ci.yml", "rust-toolchain.toml"):
        text = (given.crate / path).read_text(encoding="utf-8")
        given.write(path, f"{text}\n# A line of ours in {path}.\n")
    yield given.crate


def managed_file_edited_all_over(given: Given) -> Iterator[Path]:
    """Where both sides changed the same lines, the conflict shows both."""
    for path in ("justfile", ".github/workflows/ci.yml", "clippy.toml"):
        lines = (given.crate / path).read_text(encoding="utf-8").splitlines(keepends=True)
        lines[::7] = [f"# ours {number}: {line}" for number, line in enumerate(lines[::7])]
        given.write(path, "".join(lines))
    yield given.crate


def tests_of_standards_edited(given: Given) -> Iterator[Path]:
    """The conflict shows lines that a user added to tests that a comment replaces."""
    path = given.crate / "bench/tests/standards.rs"
    given.write("bench/tests/standards.rs", f"{path.read_text(encoding='utf-8')}\n#[test]\nfn ours() {{}}\n")
    yield given.crate


def dropped_files_edited(given: Given) -> Iterator[Path]:
    """Lines that a user added to a file that leaves the template stay."""
    for path in ("STANDARDS.md", "lints/ast-grep.yml", "sgconfig.yml", "tools/pgo.py"):
        if (given.crate / path).exists():
            given.edit(path, "\n", "\n# A line of ours.\n")
    yield given.crate


def managed_file_deleted(given: Given) -> Iterator[Path]:
    """A deleted file of the template stays deleted: drift reports it, but an update does not restore it."""
    (given.crate / ".github" / "renovate.json").unlink()
    yield given.crate
    assert not (given.crate / ".github" / "renovate.json").exists()


def licence_accepted(given: Given) -> Iterator[Path]:
    """A license that a team accepts stays accepted."""
    given.edit("deny.toml", '    "MIT",\n', '    "MIT",\n    "MPL-2.0", # not changed by us, so no duty\n')
    yield given.crate
    assert "MPL-2.0" in given.toml("deny.toml")["licenses"]["allow"]


def private_registry(given: Given) -> Iterator[Path]:
    """A registry in cargo's configuration stays, also if the template does not have that file."""
    file = given.crate / ".cargo" / "config.toml"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    given.write(".cargo/config.toml", f'{text}\n[registries.acme]\nindex = "sparse+https://cargo.example.org/"\n')
    yield given.crate
    assert given.toml(".cargo/config.toml")["registries"]["acme"]


def moved(crate: Path) -> Path:
    """Move all files of a crate into a folder of its repository."""
    below = crate / "crates" / "log-totals"
    below.mkdir(parents=True)
    for path in [path for path in crate.iterdir() if path.name not in {".git", "crates"}]:
        shutil.move(path, below / path.name)
    return below


def moved_into_a_subdirectory(given: Given) -> Iterator[Path]:
    """The update finds the moved crate, and changes no file next to it."""
    below = moved(given.crate)
    given.write("README.md", "# All our programs\n")
    yield below
    names = {path.name for path in given.crate.iterdir()}
    assert names == {".git", "README.md", "crates"}


def moved_into_a_workspace(given: Given) -> Iterator[Path]:
    """The update does not restore tables that were moved to the workspace."""
    below = moved(given.crate)
    manifest = (below / "Cargo.toml").read_text(encoding="utf-8")
    own, tables = manifest[: manifest.index("[workspace]")], manifest[manifest.index("[workspace]") :]
    (below / "Cargo.toml").write_text(own.rstrip() + "\n", encoding="utf-8")
    tables = tables.replace('members = ["bench"]', 'members = ["crates/log-totals", "crates/log-totals/bench"]')
    given.write("Cargo.toml", tables.replace('default-members = ["."]\n', ""))
    shutil.move(below / ".github", given.crate / ".github")
    yield below
    assert given.toml("Cargo.toml")["workspace"]["members"] == ["crates/log-totals", "crates/log-totals/bench"]
    assert not (below / ".github").exists()


def windows_line_endings(given: Given) -> Iterator[Path]:
    """A repository with Windows line endings keeps them."""
    for path, content in read_tree(given.crate).items():
        (given.crate / path).write_bytes(content.replace(b"\n", b"\r\n"))
    yield given.crate


def checked_out_on_windows(given: Given) -> Iterator[Path]:
    """Windows line endings that git writes only in the working tree make no difference."""
    git(given.crate, "config", "core.autocrlf", "true")
    for path in git(given.crate, "ls-files", "-z").split("\0"):
        if path:
            (given.crate / path).unlink()
    git(given.crate, "checkout", "--", ".")
    assert b"\r\n" in (given.crate / "justfile").read_bytes()
    yield given.crate


def modes_changed(given: Given) -> Iterator[Path]:
    """A file that was made executable stays executable, both ours and theirs."""
    given.write("tools/run.sh", "#!/bin/sh\n")
    for path in ("tools/run.sh", "justfile", "src/lib.rs"):
        (given.crate / path).chmod(0o755)
    yield given.crate
    executable = [path for path in read_tree(given.crate) if (given.crate / path).stat().st_mode & 0o111]
    assert executable == ["justfile", "src/lib.rs", "tools/run.sh"]


def names_that_a_later_release_adds(given: Given) -> Iterator[Path]:
    """The crate's own file is not replaced by one of the same name."""
    for path in given.new_names:
        given.write(path, "Ours, long before.\n")
    yield given.crate


def answers_changed(given: Given) -> Iterator[Path]:
    """An answer can be changed with the update."""
    given.edit("Cargo.toml", "[package]\n", "[package]\n# Ours.\n")
    yield given.crate
    assert given.toml("Cargo.toml")["package"]["repository"] == CHANGED_ANSWERS["repository_url"]
    assert json.dumps(CHANGED_ANSWERS["repository_url"]).strip('"') in (given.crate / ".copier-answers.yml").read_text()


CHANGED_ANSWERS = {"repository_url": "https://git.example.org/acme/moved"}

ACTS: tuple[Act, ...] = (
    dependency_and_feature_added,
    lint_loosened,
    profile_tuned,
    own_job,
    own_recipe,
    own_rules_tests_and_profile,
    sample_replaced,
    starter_rewritten,
    starter_renamed,
    starter_deleted,
    managed_file_edited,
    managed_file_edited_all_over,
    tests_of_standards_edited,
    dropped_files_edited,
    managed_file_deleted,
    licence_accepted,
    private_registry,
    moved_into_a_subdirectory,
    moved_into_a_workspace,
    windows_line_endings,
    checked_out_on_windows,
    modes_changed,
    names_that_a_later_release_adds,
    answers_changed,
)
