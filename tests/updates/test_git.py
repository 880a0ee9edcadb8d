"""`fast-rust` with real configurations of git and kinds of repositories: it loses no line and no commit."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fast_rust import git as our_git
from fast_rust.answers import ANSWERS_FILE
from support.command import COMMAND, fast_rust
from support.files import read_tree, replace_only
from support.git import git
from updates import hostile
from updates.answers import set_address
from updates.bench import CHANGED, Bench, conflict


@pytest.fixture
def next_release(bench: Bench) -> Bench:
    """A template with a release that changes a file, and a crate of the release before."""
    bench.edit(f"template/{CHANGED}", "30s", "60s")
    return bench


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make a global configuration from settings in addition to the tests' own."""

    def make(**settings: str) -> Path:
        config = tmp_path / "global.gitconfig"
        shutil.copy(os.environ["GIT_CONFIG_GLOBAL"], config)
        for name, value in settings.items():
            subprocess.run(["git", "config", "--file", str(config), name.replace("__", "."), value], check=True)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
        return config

    return make


# --- Settings that hide files ---

TEMPLATE_FILES = ("justfile", "deny.toml", "Cargo.toml", "clippy.toml", CHANGED, ".github/workflows/ci.yml")


IGNORED = [
    *((pattern, "global") for pattern in (*TEMPLATE_FILES, ".config/", "*")),
    ("*", "repository"),
    ("*", "crate"),
]


@pytest.mark.parametrize(("pattern", "where"), IGNORED)
def test_a_line_in_a_file_that_git_ignores_is_kept(
    next_release: Bench, tmp_path: Path, configure: Callable[..., Path], pattern: str, where: str
) -> None:
    """The files are tracked and ignored: by the user for all repositories or for this one, or by the crate."""
    for path in TEMPLATE_FILES:
        next_release.act(path, "\n# A line of mine.\n")
    git(next_release.crate, "commit", "--quiet", "--all", "--message", "Mine")
    next_release.publish()
    match where:
        case "global":
            ignore = tmp_path / "ignore"
            configure(core__excludesFile=str(ignore))
        case "repository":
            ignore = next_release.crate / ".git" / "info" / "exclude"
        case _:
            ignore = next_release.crate / ".gitignore"
    ignore.parent.mkdir(exist_ok=True)
    ignore.write_text(f"{pattern}\n", encoding="utf-8")
    if where == "crate":
        git(next_release.crate, "commit", "--quiet", "--all", "--message", "Ignore")
    done = fast_rust("update", next_release.crate)
    assert done.returncode == 0, done.stderr
    for path in TEMPLATE_FILES:
        assert "# A line of mine.\n" in (next_release.crate / path).read_text(encoding="utf-8"), path
    assert "60s" in (next_release.crate / CHANGED).read_text(encoding="utf-8")


@pytest.mark.parametrize("value", ["no", "normal", "all"])
def test_a_conflict_is_found_with_any_setting_of_status(
    next_release: Bench, configure: Callable[..., Path], value: str
) -> None:
    conflict(next_release)
    configure(status__showUntrackedFiles=value)
    next_release.publish()
    done = fast_rust("update", next_release.crate)
    assert done.returncode == 1, done.stderr
    assert f"conflict  {CHANGED}" in done.stdout
    assert next_release.unmerged()
    text = (next_release.crate / CHANGED).read_text(encoding="utf-8")
    assert "10s" in text
    assert "60s" in text
    assert not list(next_release.crate.rglob("*.rej"))


@pytest.mark.parametrize("name", ["notes.txt", "src/new.rs"])
def test_an_untracked_file_is_an_error_though_status_hides_it(
    next_release: Bench, configure: Callable[..., Path], name: str
) -> None:
    next_release.publish()
    configure(status__showUntrackedFiles="no")
    (next_release.crate / name).write_text("Mine.\n", encoding="utf-8")
    done = next_release.update()
    assert done.exit_code == 2
    assert f"uncommitted changes ({name})" in done.stderr


@pytest.mark.parametrize(
    "settings",
    [{"core__trustctime": "false", "core__checkStat": "minimal"}, {"core__fsmonitor": "hostile"}],
    ids=["stat", "fsmonitor"],
)
def test_a_change_that_git_does_not_detect_is_not_overwritten(
    next_release: Bench, tmp_path: Path, configure: Callable[..., Path], settings: dict[str, str]
) -> None:
    """A change of the same size within the same second, or a file system monitor that reports no change."""
    next_release.publish()
    if "core__fsmonitor" in settings:
        hostile.write_config(tmp_path / "hostile")
        settings = {"core__fsmonitor": str(tmp_path / "hostile" / "fsmonitor")}
    configure(**settings)
    git(next_release.crate, "status")
    file = next_release.crate / CHANGED
    known = file.stat()
    replace_only(file, "30s", "10s")
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns))
    before = read_tree(next_release.crate)
    done = next_release.update()
    assert done.exit_code == 2, done.output
    assert read_tree(next_release.crate) == before


def test_a_file_outside_a_sparse_checkout_is_not_treated_as_deleted(next_release: Bench) -> None:
    next_release.publish()
    git(next_release.crate, "sparse-checkout", "set", "--no-cone", "/*", f"!/{CHANGED}")
    assert not (next_release.crate / CHANGED).exists()
    before = read_tree(next_release.crate)
    done = next_release.update()
    assert done.exit_code == 2
    assert (
        f"{CHANGED}, which this command may change, is outside the sparse checkout;"
        f" run `git sparse-checkout add {CHANGED}`" in done.stderr
    )
    assert read_tree(next_release.crate) == before


# --- Variables that git sets for a hook ---


def state(repository: Path) -> tuple[str, ...]:
    """Return all refs, HEAD and the index of a repository."""
    commands = ("for-each-ref", "symbolic-ref HEAD", "rev-parse HEAD", "ls-files --stage", "worktree list --porcelain")
    return tuple(git(repository, *command.split()) for command in commands)


@pytest.mark.parametrize("command", ["drift", "update", "update --dry-run", "conflicts", "hot add parse"])
def test_variables_that_refer_to_another_repository_are_ignored(
    next_release: Bench, tmp_path: Path, command: str
) -> None:
    next_release.publish()
    hostile.write_config(tmp_path / "hostile")
    elsewhere = tmp_path / "hostile" / "elsewhere"
    git(elsewhere, "commit", "--quiet", "--allow-empty", "--message", "Elsewhere")
    before = (state(elsewhere), read_tree(elsewhere / ".git"))
    expected = fast_rust(
        *command.split(), folder=Path(shutil.copytree(next_release.crate, tmp_path / "twin" / "log-totals"))
    )
    done = fast_rust(*command.split(), folder=next_release.crate, environment=hostile.variables(tmp_path / "hostile"))
    assert (done.returncode, done.stdout) == (expected.returncode, expected.stdout), done.stderr
    assert "Traceback" not in done.stderr
    assert (state(elsewhere), read_tree(elsewhere / ".git")) == before


HOOK = """#!/bin/sh
exec {command}
"""


@pytest.mark.parametrize("place", ["repository", "worktree"])
@pytest.mark.parametrize("command", ["drift --lenient .", "drift --json .", "conflicts ."])
def test_a_command_in_a_hook_does_not_change_the_commit(bench: Bench, tmp_path: Path, command: str, place: str) -> None:
    """In a repository with tags like the template's releases, and with staged files that the last commit lacks."""
    repository = bench.crate
    git(repository, "tag", "v0.0.1")
    hook = repository / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK.format(command=f"{COMMAND} {command}"), encoding="utf-8")
    hook.chmod(0o755)
    tree = repository
    if place == "worktree":
        tree = tmp_path / "worktree"
        git(repository, "worktree", "add", "--quiet", "-b", "work", str(tree))
    refs = git(repository, "for-each-ref", "refs/tags")
    (tree / "staged.txt").write_text("Mine.\n", encoding="utf-8")
    git(tree, "add", "staged.txt")
    environment = {**os.environ, "FAST_RUST_CACHE_DIR": str(tmp_path / "cache")}
    commit = ["git", "-C", str(tree), "commit", "--quiet", "--message", "Mine"]
    done = subprocess.run(commit, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert git(tree, "symbolic-ref", "--short", "HEAD").strip() == ("work" if place == "worktree" else "main")
    assert git(tree, "show", "--format=%s %an", "--name-status", "HEAD").split("\n\n") == [
        "Mine Tess Tester",
        "A\tstaged.txt\n",
    ]
    assert git(tree, "status", "--porcelain") == ""
    assert git(repository, "for-each-ref", "refs/tags") == refs


# --- Filters and attributes ---


def filter_by(crate: Path, smudge: str, clean: str) -> None:
    """Set up a required filter in this repository only, as git-crypt does."""
    for name, value in (("smudge", smudge), ("clean", clean), ("required", "true")):
        git(crate, "config", f"filter.secret.{name}", value)


@pytest.mark.parametrize("patterns", ["secret.txt", "*", "*.toml", "justfile"])
def test_a_filter_of_this_repository_is_respected(next_release: Bench, patterns: str) -> None:
    """The stored content differs from the working tree before and after the update."""
    crate = next_release.crate
    filter_by(crate, "tr a-z n-za-m", "tr n-za-m a-z")
    (crate / ".gitattributes").write_text(f"{patterns} filter=secret\n", encoding="utf-8")
    (crate / "secret.txt").write_text("the secret\n", encoding="utf-8")
    next_release.act("justfile", "\n# A line of mine.\n")
    next_release.publish()
    assert next_release.status() == ""
    done = fast_rust("update", crate)
    assert done.returncode == 0, done.stderr
    assert (crate / "secret.txt").read_text(encoding="utf-8") == "the secret\n"
    assert (crate / "justfile").read_text(encoding="utf-8").endswith("# A line of mine.\n")
    assert "60s" in (crate / CHANGED).read_text(encoding="utf-8")
    git(crate, "commit", "--quiet", "--all", "--message", "Update")
    assert next_release.status() == ""


@pytest.mark.parametrize(
    "attributes", ["* -diff", "* binary", "* merge=binary", "* -text", "* text eol=crlf", "* diff=missing", "* ident"]
)
def test_attributes_do_not_change_a_merge(next_release: Bench, attributes: str) -> None:
    crate = next_release.crate
    (crate / ".gitattributes").write_text(f"{attributes}\n", encoding="utf-8")
    next_release.act(CHANGED, "\n# A line of mine.\n")
    next_release.publish()
    done = next_release.update()
    assert done.exit_code == 0, done.output
    text = (crate / CHANGED).read_text(encoding="utf-8")
    assert "60s" in text
    assert text.endswith("# A line of mine.\n")


# --- Names and contents that are not UTF-8 ---

NAMES = (b"caf\xe9.txt", b"\xff\xfe", b"new\nline.txt", b'quo"te.txt', b"tab\t.txt", "žluť.txt".encode())


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_any_file_name_is_supported(next_release: Bench, name: bytes) -> None:
    file = Path(os.fsdecode(os.fsencode(next_release.crate / "src") + b"/" + name))
    file.write_bytes(b"Mine.\n")
    next_release.publish()
    assert fast_rust("drift", next_release.crate).returncode == 0
    assert fast_rust("conflicts", next_release.crate).returncode == 0
    done = fast_rust("update", next_release.crate)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == b"Mine.\n"
    git(next_release.crate, "commit", "--quiet", "--all", "--message", "Update")
    file.write_bytes(b"<<<<<<< mine\n")
    done = fast_rust("conflicts", next_release.crate)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    done = fast_rust("update", next_release.crate)
    assert (done.returncode, done.stdout) == (0, "Up to date with template release v0.0.2.\n")


@pytest.mark.parametrize("command", ["drift", "update --dry-run", "update", "conflicts", "hot add parse --crate"])
def test_a_crate_in_any_folder_is_supported(next_release: Bench, tmp_path: Path, command: str) -> None:
    next_release.publish()
    crate = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9 "x"'))
    shutil.move(next_release.crate, crate)
    done = fast_rust(*command.split(), crate)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [b"# caf\xe9\n", b"# \xff\xfe\n", b"# nul \0 byte\n"], ids=repr)
def test_a_line_that_is_not_utf8_is_kept(next_release: Bench, line: bytes) -> None:
    file = next_release.crate / CHANGED
    file.write_bytes(file.read_bytes() + line)
    done = next_release.fast_rust()
    assert "Traceback" not in done.output
    assert line in file.read_bytes()
    assert done.exit_code == (1 if b"\0" in line else 0), done.output


# --- Unusual repositories ---


@pytest.mark.parametrize("extra", [(), ("--ref-format=reftable",)], ids=["files", "reftable"])
def test_a_repository_of_sha256_is_updated(next_release: Bench, extra: tuple[str, ...]) -> None:
    crate = next_release.crate
    shutil.rmtree(crate / ".git")
    git(crate, "init", "--quiet", "--object-format=sha256", *extra)
    conflict(next_release)
    done = next_release.fast_rust()
    assert done.exit_code == 1, done.output
    assert f"conflict  {CHANGED}" in done.stdout
    assert len(git(crate, "ls-files", "--unmerged").splitlines()) == 3
    assert next_release.update("--abort").exit_code == 0
    assert next_release.status() == ""


def test_a_repository_of_another_owner_is_rejected_with_gits_reason(next_release: Bench) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a repository to another user")
    next_release.publish()
    subprocess.run(["chown", "-R", "12345", str(next_release.crate)], check=True)
    for arguments in (("update",), ("update", "--abort"), ("drift",), ("conflicts",)):
        done = fast_rust(*arguments, next_release.crate)
        assert done.returncode == 2, arguments
        assert "dubious ownership" in done.stderr
        assert "safe.directory" in done.stderr
        assert "git init" not in done.stderr


@pytest.mark.parametrize("value", ["*", "{crate}"])
def test_a_repository_that_the_user_trusts_is_updated(
    next_release: Bench, configure: Callable[..., Path], value: str
) -> None:
    """The template belongs to another user, too, as is usual in a container."""
    if os.getuid() != 0:
        pytest.skip("only root can give a repository to another user")
    next_release.publish()
    config = configure(safe__directory=value.format(crate=next_release.crate))
    subprocess.run(
        ["git", "config", "--file", str(config), "--add", "safe.directory", str(next_release.template)], check=True
    )
    subprocess.run(
        ["git", "config", "--file", str(config), "--add", "safe.directory", f"{next_release.template}/.git"], check=True
    )
    for folder in (next_release.crate, next_release.template):
        subprocess.run(["chown", "-R", "12345", str(folder)], check=True)
    done = fast_rust("update", next_release.crate)
    assert done.returncode == 0, done.stderr


def test_a_missing_git_is_an_error_that_says_what_to_install(
    next_release: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = fast_rust("update", next_release.crate)
    assert done.returncode == 2
    assert "git is not installed" in done.stderr


# --- The template ---


@pytest.mark.parametrize(
    "settings",
    [
        {"clone__defaultRemoteName": "upstream"},
        {"safe__bareRepository": "explicit"},
        {"init__defaultObjectFormat": "sha256", "init__defaultRefFormat": "reftable"},
        {"transfer__hideRefs": "refs/tags"},
        {"column__ui": "always", "tag__sort": "-version:refname", "color__ui": "always"},
        {"fetch__prune": "true", "fetch__pruneTags": "true"},
        {"core__bigFileThreshold": "1"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_mirror_of_the_template_is_made_and_fetched(
    next_release: Bench, tmp_path: Path, configure: Callable[..., Path], settings: dict[str, str]
) -> None:
    crate, url = next_release.crate, next_release.template.as_uri()
    set_address(crate, url)
    git(crate, "commit", "--quiet", "--all", "--message", "Remote")
    if "transfer__hideRefs" not in settings:
        configure(**settings)
    environment = {"FAST_RUST_CACHE_DIR": str(tmp_path / "cache")}
    assert fast_rust("drift", crate, environment=environment).returncode == 0
    next_release.publish()
    if "transfer__hideRefs" in settings:
        # This setting hides the tags from any fetch on this machine, so the test covers only the local template.
        assert fast_rust("update", crate, environment=environment).returncode == 0
        return
    done = fast_rust("update", crate, environment=environment)
    assert done.returncode == 0, done.stderr
    assert f"_src_path: {url}\n" in (crate / ANSWERS_FILE).read_text(encoding="utf-8")


def test_our_environment_has_no_variable_of_a_hook_and_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(hostile.write_config(tmp_path / "hostile")))
    for name, value in hostile.variables(tmp_path / "hostile").items():
        monkeypatch.setenv(name, value)
    listed = subprocess.run(
        ["git", "config", "--list", "--name-only"],
        cwd=tmp_path,
        env=our_git.our_env(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert set(listed.stdout.split()) == {name.lower() for name in our_git.OUR_CONFIG}
    # The variables of a repository are those that git itself lists.
    of_a_repository = git(tmp_path, "rev-parse", "--local-env-vars").split()
    given = dict.fromkeys((*of_a_repository, *hostile.VARIABLES), "x")
    kept = our_git.no_git_env(given)
    assert {name for name in kept if name.startswith("GIT_")} <= {"GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"}
