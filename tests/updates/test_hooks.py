"""The hooks that this repository publishes, run by pre-commit in a crate with this repository as the remote."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from support.files import replace_only
from support.git import commit, git, start_history
from support.template import Template, copy
from support.variants import CHECKOUT

HOOKS = [hook["id"] for hook in yaml.safe_load((CHECKOUT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def hooked(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crate with all hooks, installed by pre-commit."""
    crate = tmp_path_factory.mktemp("hooks") / "log-totals"
    assert copy(template.repository, crate, {"kind": "lib"}).exit_code == 0
    hooks = [{"id": name} for name in HOOKS]
    config = {"repos": [{"repo": str(template.repository), "rev": "v0.0.1", "hooks": hooks}]}
    # The crate's own configuration belongs to the template, so these hooks have a separate one.
    (crate / "hooks.yaml").write_text(yaml.safe_dump(config))
    start_history(crate)
    return crate


@pytest.fixture(autouse=True)
def _clean(hooked: Path) -> None:
    git(hooked, "reset", "--quiet", "--hard")
    git(hooked, "clean", "--quiet", "-d", "--force")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of pre-commit, with its own cache; pip may print that it is old."""
    home = tmp_path_factory.mktemp("pre-commit")
    return {**os.environ, "PRE_COMMIT_HOME": str(home), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(crate: Path, environment: dict[str, str], hook: str) -> subprocess.CompletedProcess[str]:
    command = ["pre-commit", "run", "--config", "hooks.yaml", "--all-files", "--verbose", hook]
    return subprocess.run(command, cwd=crate, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_new_crate_passes(hooked: Path, environment: dict[str, str], hook: str) -> None:
    done = run(hooked, environment, hook)
    assert done.returncode == 0, done.stdout + done.stderr


def test_drift_is_rejected(hooked: Path, environment: dict[str, str]) -> None:
    (hooked / "justfile").write_text("mine:\n    true\n")
    done = run(hooked, environment, "fast-rust-drift")
    assert done.returncode == 1
    assert "changed   justfile" in done.stdout


def test_a_missing_template_blocks_no_commit(hooked: Path, environment: dict[str, str]) -> None:
    answers = hooked / ".copier-answers.yml"
    lines = ["_src_path: /nowhere" if line.startswith("_src") else line for line in answers.read_text().splitlines()]
    answers.write_text("\n".join(lines))
    done = run(hooked, environment, "fast-rust-drift")
    assert done.returncode == 0
    assert "cannot compare" in done.stdout


def test_a_loosened_key_without_a_reason_is_rejected(hooked: Path, environment: dict[str, str]) -> None:
    manifest = hooked / "Cargo.toml"
    replace_only(manifest, 'unwrap_used = "warn"', 'unwrap_used = "allow"')
    (hooked / "justfile").write_text("")
    done = run(hooked, environment, "fast-rust-manifest")
    assert done.returncode == 1
    assert "unwrap_used" in done.stdout
    assert "justfile" not in done.stdout


def test_leftovers_of_an_update_are_rejected(hooked: Path, environment: dict[str, str]) -> None:
    library = hooked / "src" / "lib.rs"
    library.write_text(library.read_text() + "<<<<<<< before updating\na\n=======\nb\n>>>>>>> after updating\n")
    (hooked / "justfile.rej").write_text("@@\n")
    git(hooked, "add", "--all")
    done = run(hooked, environment, "fast-rust-conflicts")
    assert done.returncode == 1
    assert "justfile.rej: holds a change that the update could not apply" in done.stdout
    assert (
        f"src/lib.rs:{library.read_text().splitlines().index('<<<<<<< before updating') + 1}: conflict marker"
        in done.stdout
    )


def test_an_unmerged_file_is_rejected(hooked: Path, environment: dict[str, str]) -> None:
    for branch, text in (("ours", "a\n"), ("theirs", "b\n")):
        git(hooked, "switch", "--quiet", "--force-create", branch, "main")
        (hooked / "note").write_text(text)
        commit(hooked, branch)
    merge = ["git", "-C", str(hooked), "merge", "ours"]
    assert subprocess.run(merge, check=False, capture_output=True).returncode == 1
    # pre-commit itself does not run during a merge, so the test runs the command as CI would.
    command = ["fast-rust", "conflicts", str(hooked)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    git(hooked, "merge", "--abort")
    git(hooked, "switch", "--quiet", "main")
    assert done.returncode == 1
    assert (
        done.stdout
        == "note: you and the update changed the same lines; resolve the conflict, then run `git add note`\n"
    )
