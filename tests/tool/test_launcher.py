"""A crate's recipe `fast-rust` installs the tool of the crate's release, from each kind of source, and runs it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.files import replace_only
from support.git import git, release, start_history
from support.template import Template
from support.variants import CHECKOUT

PROGRAMS = Path(sys.executable).parent
# The programs that the recipe itself calls, and those that install the tool.
SYSTEM = ("sh", "basename", "sed", "touch", "uname", "git", "cc", "cargo", "rustc")
VERSION = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
SSH = """\
#!/bin/sh
# Stands for ssh: runs the command here.
for command; do :; done
eval "exec $command"
"""


@dataclass(frozen=True)
class Crate:
    """A crate whose tool is not installed, on a machine that has only the programs of the test."""

    folder: Path
    environment: dict[str, str]

    def pin(self, source: str, release: str) -> None:
        (self.folder / ".copier-answers.yml").write_text(
            f"# Answers.\n_commit: {release}\n_src_path: {source}\nkind: lib\n"
        )

    def just(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["just", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def installed(self) -> list[Path]:
        """Return the programs of all complete environments."""
        return list(Path(self.environment["XDG_CACHE_HOME"]).glob("fast-rust/*/bin/fast-rust"))


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Share caches of wheels between tests; the test of the first installation proves that an empty cache works."""
    folder = tmp_path_factory.mktemp("caches")
    return {"UV_CACHE_DIR": str(folder / "uv"), "PIP_CACHE_DIR": str(folder / "pip")}


@pytest.fixture
def make_crate(template: Template, tmp_path: Path, caches: dict[str, str]) -> Callable[..., Crate]:
    """Make a crate; the named programs are on PATH next to just and the usual system programs."""

    def make(*installers: str) -> Crate:
        programs, folder = tmp_path / "programs", tmp_path / "crate"
        programs.mkdir()
        for name in (*SYSTEM, "just", *installers):
            found = shutil.which(name, path=os.pathsep.join([str(PROGRAMS), os.environ["PATH"]]))
            assert found, name
            (programs / name).symlink_to(found)
        (programs / "python3").symlink_to(Path(sys.executable).resolve())
        shutil.copytree(template.rendering({"crate_name": "totals", "sample": False}), folder)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("GIT_", "PIP_", "SSL_", "LANG")) or name.lower().endswith("_proxy")
        }
        for name in ("CARGO_HOME", "RUSTUP_HOME"):
            kept[name] = os.environ.get(name, str(Path.home() / f".{name.partition('_')[0].lower()}"))
        own = {"PATH": str(programs), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return Crate(folder, {**kept, **caches, **own})

    return make


@pytest.fixture
def crate(make_crate: Callable[..., Crate]) -> Crate:
    """A crate on a machine with uv."""
    return make_crate("uv")


def mirrored(template: Template, address: str) -> dict[str, str]:
    """Return settings of git that map an address to the template on this machine."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{template.repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": address,
    }


def test_uv_installs_it_once_and_then_it_needs_no_network(template: Template, crate: Crate) -> None:
    crate.pin(str(template.repository), "v0.0.1")
    first = crate.just("fast-rust", "--version")
    assert (first.returncode, first.stdout) == (0, f"{VERSION}\n"), first.stderr
    assert first.stderr == f"Installing fast-rust from file://{template.repository}@v0.0.1, once.\n"
    (Path(crate.environment["PATH"]) / "uv").unlink()
    second = crate.just("fast-rust", "--version", GIT_ALLOW_PROTOCOL="none")
    assert (second.returncode, second.stdout, second.stderr) == (0, f"{VERSION}\n", "")


def test_pipx_installs_it_if_uv_is_missing(template: Template, make_crate: Callable[..., Crate]) -> None:
    crate = make_crate("pipx")
    commit = git(template.repository, "rev-parse", "--short", "HEAD").strip()
    crate.pin(str(template.repository), f"v0.0.1-0-g{commit}")
    done = crate.just("fast-rust", "--version")
    assert (done.returncode, done.stdout) == (0, f"{VERSION}\n"), done.stderr


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("gh:org/template", "https://github.com/org/template"),
        ("gh:org/template.git", "https://github.com/org/template.git"),
        ("gl:group/template", "https://gitlab.com/group/template"),
        ("https://example.org/template.git", "https://example.org/template.git"),
        ("git+https://example.org/template.git", "https://example.org/template.git"),
    ],
)
def test_it_is_installed_from_a_hosted_template(template: Template, crate: Crate, source: str, address: str) -> None:
    crate.pin(source, "v0.0.1")
    done = crate.just("fast-rust", "--version", **mirrored(template, address))
    assert (done.returncode, done.stdout) == (0, f"{VERSION}\n"), done.stderr
    assert done.stderr == f"Installing fast-rust from {address}@v0.0.1, once.\n"


@pytest.mark.parametrize("source", ["git@host.example:{}", "ssh://git@host.example{}"])
def test_a_private_template_is_fetched_by_ssh(template: Template, crate: Crate, tmp_path: Path, source: str) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    crate.pin(source.format(template.repository), "v0.0.1")
    done = crate.just("fast-rust", "--version", GIT_SSH_COMMAND=str(ssh), GIT_ALLOW_PROTOCOL="ssh:file")
    assert (done.returncode, done.stdout) == (0, f"{VERSION}\n"), done.stderr


@pytest.mark.parametrize("source", ["file://{}", "git+file://{}", "~/template"])
def test_it_is_installed_from_a_template_on_this_machine(
    template: Template, crate: Crate, tmp_path: Path, source: str
) -> None:
    (tmp_path / "template").symlink_to(template.repository)
    crate.pin(source.format(template.repository), git(template.repository, "rev-parse", "HEAD").strip())
    done = crate.just("fast-rust", "--version")
    assert (done.returncode, done.stdout) == (0, f"{VERSION}\n"), done.stderr


def test_it_is_installed_from_a_folder_of_wheels(crate: Crate, tmp_path: Path) -> None:
    """Cargo.toml names the folder; no index is contacted then."""
    wheels = tmp_path / "wheels"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--wheel-dir", str(wheels), str(CHECKOUT)], check=True)
    crate.pin("gh:org/template", VERSION)
    manifest = crate.folder / "Cargo.toml"
    text = manifest.read_text()
    manifest.write_text(f'{text}\n[workspace.metadata.fast-rust]\n# Ours.\nsource = "{wheels}"\n')
    done = crate.just("fast-rust", "--version", UV_CACHE_DIR=str(tmp_path / "uv"))
    assert (done.returncode, done.stdout) == (0, f"{VERSION}\n"), done.stderr
    assert done.stderr == f"Installing fast-rust from {wheels}, once.\n"


def test_an_index_is_contacted_only_if_it_is_configured(crate: Crate) -> None:
    """The public index has no package of ours, so a package with this name there must not be installed."""
    crate.pin("gh:org/template", VERSION)
    manifest = crate.folder / "Cargo.toml"
    text = manifest.read_text()
    (Path(crate.environment["PATH"]) / "uv").unlink()
    uv = Path(crate.environment["PATH"]) / "uv"
    uv.write_text('#!/bin/sh\necho "$UV_DEFAULT_INDEX $*"; exit 1\n')
    uv.chmod(0o755)
    tool = f"fast-rust @ git+https://github.com/org/template@{VERSION}"
    called = crate.just("fast-rust", "--version").stdout.splitlines()
    assert called == [f" tool install -q {option} {tool}" for option in ("--compile-bytecode", "--force")]
    table = "[workspace.metadata.fast-rust] # ours\r\nwithout = ['renovate']\r\nsource = 'https://wheels.example/simple'\r\n"
    manifest.write_text(f"{table}{text}")
    done = crate.just("fast-rust", "--version")
    first = f"https://wheels.example/simple tool install -q --compile-bytecode fast-rust=={VERSION}"
    assert done.stdout.splitlines()[0] == first


def test_the_error_for_a_missing_installer_names_one(template: Template, make_crate: Callable[..., Crate]) -> None:
    crate = make_crate()
    crate.pin(str(template.repository), "v0.0.1")
    done = crate.just("setup")
    assert done.returncode == 2
    assert "pipx: not found" in done.stderr
    assert "it needs uv (to install it, run: curl -LsSf https://astral.sh/uv/install.sh | sh) or pipx, " in done.stderr


@pytest.mark.parametrize(
    ("source", "release", "message"),
    [
        ("{}", "v9.9.9", "error: cannot install fast-rust from file://{}@v9.9.9, see the errors above; it needs uv"),
        ("/no/such/template", "v0.0.1", "error: cannot install fast-rust from file:///no/such/template@v0.0.1"),
        ("../template", "v0.0.1", "error: cannot install fast-rust from ../template@v0.0.1"),
        ("$(touch planted)", "v0.0.1", "error: cannot install fast-rust from $(touch%20planted)@v0.0.1"),
        ("'; touch planted; '", "v0.0.1", "error: cannot install fast-rust from ;%20touch%20planted;"),
        ("{}", "$(touch planted)", "error: cannot install fast-rust from file://{}@$(touch%20planted)"),
        ("{}", "`touch planted`-1-gabc", "error: cannot install fast-rust from file://{}@abc"),
    ],
)
def test_an_invalid_pin_is_an_error(template: Template, crate: Crate, source: str, release: str, message: str) -> None:
    """The command runs no part of it, and a later call with a valid pin works."""
    crate.pin(source.format(template.repository), release)
    done = crate.just("fast-rust", "--version")
    assert done.returncode == 2, done.stderr
    assert message.format(template.repository) in done.stderr
    assert crate.installed() == []
    assert not (crate.folder / "planted").exists()


@pytest.mark.parametrize("seconds", [0.6, 1.2, 1.8, 2.4])
def test_an_installation_that_was_killed_is_repaired(template: Template, crate: Crate, seconds: float) -> None:
    """It works for a kill at each point."""
    crate.pin(str(template.repository), "v0.0.1")
    command = ["just", "fast-rust", "--version"]
    with subprocess.Popen(command, cwd=crate.folder, env=crate.environment, start_new_session=True) as installing:
        time.sleep(seconds)
        os.killpg(installing.pid, signal.SIGKILL)
    assert crate.just("fast-rust", "--version").stdout == f"{VERSION}\n"


@pytest.mark.parametrize("installer", ["uv", "pipx"])
def test_processes_that_start_at_once_have_one_environment(
    template: Template, make_crate: Callable[..., Crate], installer: str
) -> None:
    """The environment always has its programs, since the first process may run them already."""
    crate = make_crate(installer)
    crate.pin(f"'{template.repository}'", '"v0.0.1"')
    with ThreadPoolExecutor(4) as processes:
        done = list(processes.map(lambda _: crate.just("fast-rust", "check"), range(4)))
    assert {(one.returncode, one.stdout) for one in done} == {(0, "")}, [one.stderr for one in done]
    assert len(crate.installed()) == 1


def test_a_justfile_in_another_folder_runs_the_release_that_is_pinned_next_to_it(
    template: Template, crate: Crate, tmp_path: Path
) -> None:
    """CI runs the base's justfile for a change: the tool is the base's, and the files that it reads the change's."""
    crate.pin(str(template.repository), "v0.0.1")
    base = tmp_path / "base"
    base.mkdir()
    for name in ("justfile", ".copier-answers.yml", "Cargo.toml"):
        (crate.folder / name).rename(base / name)
    (crate.folder / ".copier-answers.yml").write_text("_commit: v9.9.9\n_src_path: /no/such/template\n")
    done = crate.just("--justfile", str(base / "justfile"), "--working-directory", ".", "fast-rust", "check")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert f"error: cargo cannot read the workspace in {crate.folder}" in done.stderr


@pytest.mark.parametrize("damaged", ["program", "link", "environment", "python"])
def test_a_damaged_installation_is_repaired(template: Template, crate: Crate, damaged: str) -> None:
    """The cause may be a cache cleaner, or the removal of the Python that the installation uses."""
    crate.pin(str(template.repository), "v0.0.1")
    assert crate.just("fast-rust", "--version").returncode == 0
    tool = Path(crate.just("--evaluate", "tool").stdout)
    programs = tool / "fast-rust" / "bin"
    match damaged:
        case "program":
            (programs / "fast-rust").unlink()
        case "link":
            (tool / "bin" / "fast-rust").unlink()
        case "environment":
            shutil.rmtree(tool / "fast-rust")
        case _:
            (programs / "python").unlink()
            (programs / "python").symlink_to("/no/such/python")
    assert crate.just("fast-rust", "--version").stdout == f"{VERSION}\n"


def test_uv_may_be_in_a_folder_with_a_space(
    template: Template, make_crate: Callable[..., Crate], tmp_path: Path
) -> None:
    crate = make_crate("uv")
    crate.pin(str(template.repository), "v0.0.1")
    spaced = tmp_path / "pro grams"
    Path(crate.environment["PATH"]).rename(spaced)
    assert crate.just("fast-rust", "--version", PATH=str(spaced)).stdout == f"{VERSION}\n"


@pytest.mark.parametrize("answers", [None, "kind: lib\n", "_commit: v0.0.1\n", "_src_path: gh:org/template\n", ""])
def test_without_a_pin_the_other_recipes_work(crate: Crate, answers: str | None) -> None:
    path = crate.folder / ".copier-answers.yml"
    path.unlink()
    if answers is not None:
        path.write_text(answers)
    done = crate.just("setup")
    assert done.returncode == 2
    assert "error: cannot install fast-rust from " in done.stderr
    assert "_src_path and _commit of .copier-answers.yml" in done.stderr
    assert crate.just("--evaluate", "tool").returncode == 0
    assert crate.just("--dry-run", "dist").returncode == 0


def test_the_users_own_program_replaces_it_with_a_warning(crate: Crate, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text('#!/bin/sh\necho "$# $2"\nexit 7\n')
    own.chmod(0o755)
    done = crate.just("fast-rust", "explain", "a b", FAST_RUST=str(own))
    assert (done.returncode, done.stdout) == (7, "2 a b\n")
    assert done.stderr == f"warning: FAST_RUST is set, so {own} runs instead of the pinned release\n"


def test_setup_puts_the_programs_of_the_recipes_first_on_path(template: Template, crate: Crate) -> None:
    """So users need not install ast-grep or nextest, and other versions are not used; the folder has no Python."""
    crate.pin(str(template.repository), "v0.0.1")
    assert crate.just("setup").returncode == 0
    folder = Path(crate.just("--evaluate", "tool").stdout) / "programs"
    assert {path.name for path in folder.iterdir()} == {
        "just",
        "ast-grep",
        "cargo-nextest",
        "cargo-deny",
        "cargo-shear",
    }
    (crate.folder / "local.just").write_text("which:\n    @command -v ast-grep\n    @ast-grep --version\n")
    assert crate.just("which").stdout.splitlines()[0] == str(folder / "ast-grep")
    assert crate.just("setup").returncode == 0


def test_the_installed_tool_has_its_rules(template: Template, crate: Crate) -> None:
    """It also has the lists that the rules are read from."""
    crate.pin(str(template.repository), "v0.0.1")
    done = crate.just("fast-rust", "check")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    replace_only(crate.folder / "Cargo.toml", "\nunwrap_used = ", "\n# unwrap_used = ")
    (crate.folder / "src" / "bad.rs").write_text("pub fn f() -> Result<(), String> {\n    Ok(())\n}\n")
    done = crate.just("fast-rust", "check", "--output-format", "concise")
    assert done.returncode == 1
    assert "clippy::unwrap_used is disabled" in done.stdout
    assert "error[ast-grep::err-string-result]" in done.stdout


# --- Updates ---


@pytest.fixture
def committed(template: Template, crate: Crate, tmp_path: Path) -> Crate:
    """A crate of v0.0.1 in git; the tool of v0.0.2 prints its version, and that of v0.0.3 cannot be installed."""
    newer = shutil.copytree(template.repository, tmp_path / "newer", symlinks=True)
    with (newer / "hooks" / "fast_rust" / "commands" / "update.py").open("a") as module:
        module.write('\n\nprint("By the tool of v0.0.2.")\n')
    with (newer / "template" / "deny.toml").open("a") as managed:
        managed.write("# Of v0.0.2.\n")
    release(newer, "v0.0.2")
    project = newer / "pyproject.toml"
    replace_only(project, '"copier==', '"copier==99')
    release(newer, "v0.0.3")
    project.unlink()
    release(newer, "v0.0.4")
    answers = crate.folder / ".copier-answers.yml"
    answers.write_text(re.sub("(?m)^_src_path: .*", f"_commit: v0.0.1\n_src_path: {newer}", answers.read_text()))
    start_history(crate.folder)
    return crate


def test_the_tool_of_the_target_makes_the_update(committed: Crate) -> None:
    """It starts only once, though the crate still has the older release at that point."""
    done = committed.just("fast-rust", "update", "--to", "v0.0.2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "By the tool of v0.0.2.\nUpdating the crate from template release v0.0.1 to v0.0.2.\n"
    )
    assert done.stdout.count("By the tool of") == 1
    assert "# Of v0.0.2." in (committed.folder / "deny.toml").read_text()
    newer = committed.folder.parent / "newer"
    installed = [line for line in done.stderr.splitlines() if "Installing" in line]
    assert installed == [f"Installing fast-rust from file://{newer}@v0.0.{number}, once." for number in (1, 2)]
    assert committed.just("fast-rust", "--version", GIT_ALLOW_PROTOCOL="none").stderr == ""


def test_an_update_whose_tool_cannot_be_installed_changes_nothing(committed: Crate) -> None:
    done = committed.just("fast-rust", "update", "--to", "v0.0.3")
    assert done.returncode == 2
    assert "error: cannot install fast-rust from file://" in done.stderr
    assert "error: cannot install fast-rust v0.0.3, which makes the update" in done.stderr
    assert git(committed.folder, "status", "--porcelain") == ""


def test_the_pinned_tool_updates_to_a_release_without_a_tool(committed: Crate) -> None:
    """With the user's own program, that program makes every update."""
    done = committed.just("fast-rust", "update", "--dry-run")
    assert (done.returncode, "By the tool" in done.stdout) == (0, False), done.stderr
    assert "Template release v0.0.4 has no fast-rust to install; fast-rust v0.0.1 makes the update.\n" in done.stderr
    own = str(Path(committed.just("--evaluate", "tool").stdout) / "fast-rust" / "bin" / "fast-rust")
    done = committed.just("fast-rust", "update", "--dry-run", "--to", "v0.0.3", FAST_RUST=own)
    assert (done.returncode, "By the tool" in done.stdout) == (0, False), done.stderr
