"""`fast-rust update`: its output, its errors, and that it can be undone."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fast_rust.answers import ANSWERS_FILE
from fast_rust.releases import web_address
from fast_rust.update import lockfile
from fast_rust.update.plan import with_web_links
from support.files import read_tree
from support.git import commit, git, release
from updates.answers import ANOTHER, UNCLEAR, Act
from updates.bench import CHANGED, OURS, Bench, conflict, snapshot


def test_a_crate_of_the_newest_release_is_up_to_date(bench: Bench) -> None:
    done = bench.update()
    assert (done.exit_code, done.output) == (0, "Up to date with template release v0.0.1.\n")


def test_it_prints_the_changelog_and_the_result_for_each_file(next_release: Bench) -> None:
    done = next_release.fast_rust()
    assert done.exit_code == 0
    printed = done.stdout
    assert printed.startswith("Updating the crate from template release v0.0.1 to v0.0.2.\n\nFiles:\n")
    assert (
        f"  {ANSWERS_FILE}\n  added     .github/new.yml\n\n## 0.0.2\n\n### What changes in your crate\n\nA change.\n"
        in printed
    )
    assert "The first." not in printed
    files = [line.split() for line in printed.splitlines() if line.startswith("  ")]
    assert files == [["changed", CHANGED], ["changed", ANSWERS_FILE], ["added", ".github/new.yml"]]
    assert next_release.status() == f" M {CHANGED}\n M {ANSWERS_FILE}\n?? .github/new.yml\n"


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("gh:org/template", "https://github.com/org/template/blob/v1.0.0/"),
        (
            "git+https://me:s@cret@github.example.org/org/template.git",
            "https://github.example.org/org/template/blob/v1.0.0/",
        ),
        ("git@gitlab.example.org:org/template.git", "https://gitlab.example.org/org/template/-/blob/v1.0.0/"),
        ("ssh://git@gitlab.example.org:22/org/template.git", "https://gitlab.example.org/org/template/-/blob/v1.0.0/"),
        ("https://git.example.org/org/template.git", ""),
        ("/srv/template", ""),
    ],
)
def test_relative_links_of_the_changelog_are_resolved_in_the_template(address: str, page: str) -> None:
    news = "([how](docs/perf.md)), [there](https://example.org), [here](#here)"
    linked = with_web_links(news, web_address(address, "v1.0.0"))
    assert linked == news.replace("docs/", f"{page}docs/")


def test_a_dry_run_prints_the_same_and_changes_nothing(next_release: Bench) -> None:
    before, inside = read_tree(next_release.crate), None
    next_release.publish()
    inside = sorted(path.name for path in (next_release.crate / ".git").iterdir())
    dry_run = next_release.update("--dry-run")
    assert dry_run.exit_code == 0
    assert read_tree(next_release.crate) == before
    assert next_release.status() == ""
    assert sorted(path.name for path in (next_release.crate / ".git").iterdir()) == inside
    planned = dry_run.stdout.removeprefix("Plan to update").partition("\nNothing was changed.")[0]
    assert next_release.update().stdout.removeprefix("Updating").startswith(planned)


def test_a_conflict_is_in_the_index_in_the_report_and_in_the_exit_code(next_release: Bench) -> None:
    conflict(next_release)
    done = next_release.fast_rust()
    assert done.exit_code == 1
    assert f"conflict  {CHANGED}" in done.stdout
    assert (
        f"Resolve the conflicts in these files (search for <<<<<<<), then `git add` them:\n  {CHANGED}\n" in done.stdout
    )
    assert f"UU {CHANGED}\n" in next_release.status()
    text = (next_release.crate / CHANGED).read_text(encoding="utf-8")
    assert all(part in text for part in ("<<<<<<<", "10s", "60s"))


@pytest.mark.parametrize("path", ["src/lib.rs", "new.txt"])
def test_an_uncommitted_change_is_an_error(next_release: Bench, path: str) -> None:
    next_release.publish()
    (next_release.crate / path).write_text(OURS, encoding="utf-8")
    before = read_tree(next_release.crate)
    done = next_release.update()
    assert done.exit_code == 2
    assert "error: the working tree has uncommitted changes" in done.stderr
    assert read_tree(next_release.crate) == before


def test_a_crate_that_is_not_in_git_is_an_error(next_release: Bench) -> None:
    next_release.publish()
    shutil.rmtree(next_release.crate / ".git")
    for arguments in ((), ("--abort",)):
        done = next_release.update(*arguments)
        assert done.exit_code == 2
        assert "is not in a git repository; run `git init`" in done.stderr


def test_a_file_that_git_ignores_is_not_overwritten(next_release: Bench) -> None:
    (next_release.crate / ".gitignore").write_text("/.github/new.yml\n", encoding="utf-8")
    (next_release.crate / ".github" / "new.yml").write_text(OURS, encoding="utf-8")
    done = next_release.fast_rust()
    assert done.exit_code == 2
    assert ".github/new.yml, which git ignores and could not restore" in done.stderr
    assert (next_release.crate / ".github" / "new.yml").read_text(encoding="utf-8") == OURS
    assert next_release.status() == ""


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_marked_assume_unchanged_or_skip_worktree_is_not_overwritten(next_release: Bench, flag: str) -> None:
    next_release.publish()
    git(next_release.crate, "update-index", flag, CHANGED)
    next_release.act(CHANGED)
    before = read_tree(next_release.crate)
    done = next_release.update()
    assert done.exit_code == 2
    assert f"{CHANGED} is marked assume-unchanged or skip-worktree" in done.stderr
    assert read_tree(next_release.crate) == before


def test_a_file_with_the_name_of_a_new_folder_is_an_error(next_release: Bench) -> None:
    (next_release.template / "template" / "guide").mkdir()
    (next_release.template / "template" / "guide" / "new.txt").write_text("New.\n", encoding="utf-8")
    (next_release.crate / ".gitignore").write_text("/guide\n", encoding="utf-8")
    (next_release.crate / "guide").write_text(OURS, encoding="utf-8")
    done = next_release.fast_rust()
    assert done.exit_code == 2
    assert "guide is a file" in done.stderr
    assert (next_release.crate / "guide").read_text(encoding="utf-8") == OURS
    assert next_release.status() == ""


# A directory that Copier had open when it failed.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*ScandirIterator")
@pytest.mark.parametrize(("path", "exit_code"), [(".github", 2), (CHANGED, 1)])
def test_it_does_not_write_through_a_symlink(next_release: Bench, tmp_path: Path, path: str, exit_code: int) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(next_release.crate / path, elsewhere)
    (next_release.crate / path).symlink_to(elsewhere)
    before = read_tree(tmp_path)
    done = next_release.fast_rust()
    assert done.exit_code == exit_code, done.output
    assert "Traceback" not in done.output
    assert {name: text for name, text in read_tree(tmp_path).items() if name.startswith("elsewhere")} == {
        name: text for name, text in before.items() if name.startswith("elsewhere")
    }
    assert (next_release.crate / path).is_symlink()


def test_it_rejects_an_older_release(next_release: Bench) -> None:
    assert next_release.fast_rust().exit_code == 0
    commit(next_release.crate, "Update")
    done = next_release.update("--to", "v0.0.1")
    assert done.exit_code == 2
    assert "--to v0.0.1: the crate uses v0.0.2, which is newer" in done.stderr


def test_an_update_can_change_an_answer(next_release: Bench) -> None:
    done = next_release.fast_rust("--data", "repository_url=https://example.org/acme/moved")
    # The README also has the address, but it belongs to the user.
    assert done.exit_code == 1, done.output
    assert "README.md is your file" in done.output
    assert next_release.answers()["repository_url"] == "https://example.org/acme/moved"
    commit(next_release.crate, "Update")
    done = next_release.update("--data", "description=Adds up")
    assert done.stdout.startswith("Updating the crate to changed answers; it stays on template release v0.0.2.\n")
    assert next_release.update("--data", "team").stderr.startswith("error: --data team has no value")


def test_an_answer_to_an_unknown_question_is_rejected(next_release: Bench) -> None:
    done = next_release.fast_rust("--data", "licence=MIT")
    assert done.exit_code == 2
    assert "--data licence: unknown question; expected one of: crate_name, " in done.stderr
    assert next_release.status() == ""


LICENCE_STARTERS = {
    "MIT": {"LICENSE-APACHE": "delete it", "README.md": "edit it"},
    "Apache-2.0": {"LICENSE-MIT": "delete it", "README.md": "edit it"},
    "proprietary": {"LICENSE-APACHE": "delete it", "LICENSE-MIT": "delete it", "README.md": "edit it"},
}


@pytest.mark.parametrize("licence", LICENCE_STARTERS)
def test_starters_that_a_changed_answer_would_change_are_reported(next_release: Bench, licence: str) -> None:
    """An update changes none of them, so a person must edit them."""
    before = read_tree(next_release.crate)
    done = next_release.fast_rust("--data", f"license={licence}")
    assert done.exit_code == 1
    named = re.findall(r"(?m)^(\S+) is your file, so the update does not change it: .*; (.*)\.$", done.stdout)
    assert dict(named) == LICENCE_STARTERS[licence]
    after = read_tree(next_release.crate)
    assert all(after[path] == before[path] for path in LICENCE_STARTERS[licence])


def test_a_starter_that_a_changed_answer_would_add_is_reported(next_release: Bench) -> None:
    done = next_release.fast_rust("--data", "sample=true")
    assert done.exit_code == 1
    assert (
        "src/aggregate.rs is your file, so the update does not change it: a crate with the new"
        " answers has this file; create it." in done.stdout
    )


def test_an_unchanged_answer_reports_no_starter(next_release: Bench) -> None:
    done = next_release.fast_rust("--data", "license=MIT OR Apache-2.0")
    assert done.exit_code == 0, done.output
    assert "is yours" not in done.stdout


def test_answers_under_another_name_are_updated_and_restored(next_release: Bench) -> None:
    """Another template has the usual name."""
    crate, ours = next_release.crate, ".copier-answers.rust.yml"
    git(crate, "mv", ANSWERS_FILE, ours)
    (crate / ANSWERS_FILE).write_text(ANOTHER, encoding="utf-8")
    next_release.publish()
    before = read_tree(crate)
    assert next_release.update().exit_code == 0
    assert "_commit: v0.0.2\n" in (crate / ours).read_text(encoding="utf-8")
    assert (crate / ANSWERS_FILE).read_text(encoding="utf-8") == ANOTHER
    assert next_release.update("--abort").exit_code == 0
    assert (read_tree(crate), next_release.status()) == (before, "")


@pytest.mark.parametrize("act", UNCLEAR, ids=lambda act: act.__name__)
def test_damaged_or_hostile_answers_are_rejected_and_nothing_is_changed(bench: Bench, act: Act) -> None:
    act(bench.crate)
    git(bench.crate, "commit", "--quiet", "--all", "--message", "Damage")
    before = read_tree(bench.crate)
    done = bench.update()
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert read_tree(bench.crate) == before


@pytest.mark.parametrize("name", ["../../outside", "a b", "x'; touch hacked; '", "{{ 7 * 7 }}"])
def test_a_name_that_is_a_path_out_of_the_crate_is_never_used(next_release: Bench, tmp_path: Path, name: str) -> None:
    answers = next_release.crate / ANSWERS_FILE
    text = answers.read_text(encoding="utf-8").replace("crate_name: log-totals", f"crate_name: {json.dumps(name)}")
    answers.write_text(text, encoding="utf-8")
    done = next_release.fast_rust()
    assert done.exit_code in {1, 2}
    assert "Traceback" not in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log-totals", "template"]


# --- A crate that is ahead ---


def test_a_crate_of_a_commit_after_the_newest_release_is_ahead(next_release: Bench) -> None:
    """Copier records such a commit for `copier copy --vcs-ref HEAD` from a template with later commits."""
    crate, template = next_release.crate, next_release.template
    git(template, "commit", "--quiet", "--all", "--message", "After the release")
    commit = git(template, "describe", "--tags").strip()
    assert commit.startswith("v0.0.1-1-g")
    set_release(crate, commit)
    before = read_tree(crate)
    done = next_release.update()
    assert (done.exit_code, done.stdout) == (
        0,
        "The crate uses a commit after the newest release; nothing to update.\n",
    )
    assert read_tree(crate) == before
    done = next_release.update("--to", "v0.0.1")
    assert done.exit_code == 2
    assert f"--to v0.0.1: the crate uses {commit}, which is newer" in done.stderr
    # A release after that commit is newer.
    git(template, "tag", "v0.0.2")
    assert next_release.update().stdout == f"Up to date with template release {commit}.\n"
    (template / "template" / ".github" / "newer.yml").write_text("# Newer.\n", encoding="utf-8")
    release(template, "v0.0.3")
    assert next_release.update().exit_code == 0
    assert next_release.answers()["_commit"] == "v0.0.3"


def set_release(crate: Path, commit: str) -> None:
    answers = crate / ANSWERS_FILE
    text = re.sub(r"(?m)^_commit: .*$", f"_commit: {commit}", answers.read_text(encoding="utf-8"))
    answers.write_text(text, encoding="utf-8")
    git(crate, "commit", "--quiet", "--all", "--message", "Ahead")


def test_a_crate_of_another_branch_of_the_template_is_not_ahead(next_release: Bench) -> None:
    template = next_release.template
    git(template, "switch", "--quiet", "--create", "other")
    git(template, "commit", "--quiet", "--allow-empty", "--message", "Elsewhere")
    set_release(next_release.crate, git(template, "rev-parse", "HEAD").strip())
    git(template, "switch", "--quiet", "-")
    done = next_release.fast_rust()
    assert done.exit_code == 0, done.output
    assert next_release.answers()["_commit"] == "v0.0.2"


# --- Cargo.lock ---


def test_a_lockfile_is_refreshed_only_where_a_requirement_has_changed(next_release: Bench) -> None:
    crate = next_release.crate
    (crate / ".gitignore").write_text("/target\n", encoding="utf-8")
    subprocess.run(["cargo", "generate-lockfile", "--quiet"], cwd=crate, check=True)
    lock = (crate / "Cargo.lock").read_bytes()
    done = next_release.fast_rust()
    assert done.exit_code == 0, done.output
    assert "Cargo.lock" not in done.stdout
    assert (crate / "Cargo.lock").read_bytes() == lock
    commit(crate, "Update")
    next_release.edit("template/Cargo.toml.jinja", 'thiserror = "2.0"', 'thiserror = "2"')
    release(next_release.template, "v0.0.3")
    done = next_release.update()
    assert done.exit_code == 0, done.output
    # The locked version also satisfies the new requirement.
    assert "Cargo.lock" not in done.stdout
    assert (crate / "Cargo.lock").read_bytes() == lock


def test_changed_requirements_are_found_by_their_tables() -> None:
    """A comment, another order and an equal key elsewhere are not changes."""
    before = requirements_of('[dependencies]\na = "1"\nb = { version = "2" }\n[package]\nversion = "1"\n')
    same = requirements_of('[package]\nversion = "2"\n[dependencies]\n# Why.\nb = { version = "2" }\na = "1" # c\n')
    assert lockfile.moved(before, same) == ""
    after = requirements_of('[dependencies]\na = "1.1"\n[target."cfg(unix)".dev-dependencies]\nb = { version = "2" }\n')
    assert lockfile.moved(before, after) == "changed the requirement of a"
    assert lockfile.moved(before, requirements_of("[dependencies")) == "removed a, b"
    other = requirements_of('[dependencies]\nb = "2"\nc = "1"\n')
    assert lockfile.moved(before, other) == "added c and removed a and changed the requirement of b"


def requirements_of(manifest: str) -> dict[tuple[str, str], str]:
    with TemporaryDirectory() as folder:
        (Path(folder) / "Cargo.toml").write_text(manifest, encoding="utf-8")
        return lockfile.requirements(Path(folder))


# --- Errors: the message says that nothing was changed ---


def unborn(bench: Bench) -> None:
    shutil.rmtree(bench.crate / ".git")
    git(bench.crate, "init", "--quiet")


def merging(bench: Bench) -> None:
    git(bench.crate, "switch", "--quiet", "--create", "other", "HEAD")
    bench.act("README.md", "\nTheirs.\n")
    git(bench.crate, "commit", "--quiet", "--all", "--message", "Theirs")
    git(bench.crate, "switch", "--quiet", "main")
    bench.act("README.md", "\nOurs.\n")
    git(bench.crate, "commit", "--quiet", "--all", "--message", "Ours")
    subprocess.run(["git", "-C", str(bench.crate), "merge", "--quiet", "other"], check=False, capture_output=True)


def staged(bench: Bench) -> None:
    bench.act(CHANGED)
    git(bench.crate, "add", CHANGED)
    git(bench.crate, "restore", "--source=HEAD", "--worktree", CHANGED)


def folder_in_place(bench: Bench) -> None:
    exclude = bench.crate / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text("/.github/new.yml\n", encoding="utf-8")
    (bench.crate / ".github" / "new.yml").mkdir()
    (bench.crate / ".github" / "new.yml" / "mine.txt").write_text(OURS, encoding="utf-8")


def template_gone(bench: Bench) -> None:
    shutil.move(bench.template, bench.template.with_name("moved"))


def no_release(bench: Bench) -> None:
    for tag in ("v0.0.1", "v0.0.2"):
        git(bench.template, "tag", "--delete", tag)


def broken_template(bench: Bench) -> None:
    bench.edit("copier.yml", "_subdirectory", "[_subdirectory")
    release(bench.template, "v0.0.3")


REFUSALS: dict[Callable[[Bench], None], str] = {
    unborn: "has no commit",
    merging: "uncommitted changes (README.md)",
    staged: f"uncommitted changes ({CHANGED})",
    folder_in_place: ".github/new.yml is a folder, and the update would write a file of that name",
    template_gone: "cannot be fetched",
    no_release: "has no release",
    broken_template: "cannot be rendered",
}


@pytest.mark.filterwarnings("ignore:Exception ignored in.*ScandirIterator")
@pytest.mark.parametrize("act", REFUSALS, ids=lambda act: act.__name__)
def test_an_error_changes_nothing(next_release: Bench, act: Callable[[Bench], None]) -> None:
    next_release.publish()
    act(next_release)
    before = snapshot(next_release.crate)
    for arguments in ((), ("--dry-run",)):
        done = next_release.update(*arguments)
        if arguments and act is folder_in_place:
            continue
        assert done.exit_code == 2, done.output
        assert REFUSALS[act] in done.stderr
        assert "Traceback" not in done.output
        assert snapshot(next_release.crate) == before


# --- Undoing an update ---


def test_it_is_undone_exactly_and_later_files_are_kept(next_release: Bench) -> None:
    conflict(next_release)
    next_release.publish()
    before = read_tree(next_release.crate)
    assert next_release.update().exit_code == 1
    (next_release.crate / "notes.txt").write_text(OURS, encoding="utf-8")
    git(next_release.crate, "add", ".github/new.yml")
    done = next_release.update("--abort")
    assert (done.exit_code, done.stdout) == (0, "The update is undone.\n")
    assert read_tree(next_release.crate) == {**before, "notes.txt": OURS.encode()}
    assert next_release.status() == "?? notes.txt\n"
    assert next_release.update("--abort").exit_code == 2


def test_a_second_update_waits_for_the_first_to_be_committed(next_release: Bench) -> None:
    assert next_release.fast_rust().exit_code == 0
    release_after(next_release)
    done = next_release.update()
    assert done.exit_code == 2
    assert "an update of this crate is not committed yet; commit it, or run `fast-rust update --abort`" in done.stderr
    commit(next_release.crate, "Update")
    done = next_release.update("--abort")
    assert done.exit_code == 2
    assert "no uncommitted update to undo" in done.stderr
    assert next_release.update().exit_code == 0


def release_after(bench: Bench) -> None:
    bench.edit(f"template/{CHANGED}", "60s", "90s")
    release(bench.template, "v0.0.3")


def test_after_an_update_that_a_user_reverted_later_work_is_kept(next_release: Bench) -> None:
    """The user reverted with git, without our command: its record still exists, but later lines are the user's."""
    assert next_release.fast_rust().exit_code == 0
    git(next_release.crate, "checkout", "--", ".")
    git(next_release.crate, "clean", "--quiet", "--force", "-d")
    conflict(next_release)
    assert next_release.update("--abort").exit_code == 2
    assert "10s" in (next_release.crate / CHANGED).read_text(encoding="utf-8")


def test_edited_answers_after_an_update_was_stashed_are_kept(next_release: Bench) -> None:
    assert next_release.fast_rust().exit_code == 0
    git(next_release.crate, "stash", "--quiet", "--include-untracked")
    next_release.act(ANSWERS_FILE)
    conflict(next_release)
    before = read_tree(next_release.crate)
    assert next_release.update("--abort").exit_code == 2
    assert read_tree(next_release.crate) == before


def test_a_lockfile_that_the_update_did_not_change_is_not_restored(next_release: Bench) -> None:
    (next_release.crate / ".gitignore").write_text("/target\n", encoding="utf-8")
    (next_release.crate / "Cargo.lock").write_text("version = 4\n", encoding="utf-8")
    assert next_release.fast_rust().exit_code == 0
    next_release.act("Cargo.lock")
    assert next_release.update("--abort").exit_code == 0
    assert (next_release.crate / "Cargo.lock").read_text(encoding="utf-8").endswith(OURS)


def test_two_crates_of_a_repository_are_updated_and_undone_separately(next_release: Bench) -> None:
    root = next_release.crate
    names = [path for path in root.iterdir() if path.name != ".git"]
    crates = [root / "crates" / name for name in ("one", "two")]
    for crate in crates:
        crate.mkdir(parents=True)
        for path in names:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, crate / path.name)
    for path in names:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    next_release.publish()
    before = read_tree(root)
    one, two = (Bench(next_release.template, crate) for crate in crates)
    assert one.update().exit_code == 0
    assert two.update().exit_code == 0
    assert one.update("--abort").exit_code == 0
    after = read_tree(root)
    assert {path: text for path, text in after.items() if "/one/" in path} == {
        path: text for path, text in before.items() if "/one/" in path
    }
    assert after[f"crates/two/{CHANGED}"] != before[f"crates/two/{CHANGED}"]
    assert two.update("--abort").exit_code == 0
    assert read_tree(root) == before


def test_a_worktree_has_a_separate_update(next_release: Bench, tmp_path: Path) -> None:
    next_release.publish()
    other = tmp_path / "worktree"
    git(next_release.crate, "worktree", "add", "--quiet", str(other))
    before = read_tree(next_release.crate)
    worktree = Bench(next_release.template, other)
    assert worktree.update().exit_code == 0
    assert read_tree(next_release.crate) == before
    assert next_release.update("--abort").exit_code == 2
    assert worktree.update("--abort").exit_code == 0
    assert worktree.status() == ""
