"""`fast-rust update`: what it says, what it refuses, and that it can be taken back."""

import json
import shutil
from pathlib import Path

import pytest
from updates.conftest import OURS, Bench
from updates.test_drift import ANOTHER, UNCLEAR, Act

from fast_rust.answers import ANSWERS_FILE
from template import git, read_tree

NEWS = "# Changelog\n\n## 0.0.2\n\n### What changes in your crate\n\nA change.\n\n## 0.0.1\n\nThe first.\n"
CHANGED = ".config/nextest.toml"


@pytest.fixture
def next_release(bench: Bench) -> Bench:
    """A template with a release that changes a file and adds one, and a crate of the one before."""
    bench.edit(f"template/{CHANGED}", "30s", "60s")
    bench.edit("ownership.yml", "managed:\n", "managed:\n  - lints/new.yml\n")
    (bench.template / "template" / "lints" / "new.yml").write_text("# New.\n", encoding="utf-8")
    (bench.template / "CHANGELOG.md").write_text(NEWS, encoding="utf-8")
    return bench


def conflict(bench: Bench) -> None:
    file = bench.crate / CHANGED
    file.write_text(file.read_text(encoding="utf-8").replace("30s", "10s"), encoding="utf-8")


def test_a_crate_of_the_newest_release_is_up_to_date(bench: Bench) -> None:
    done = bench.update()
    assert (done.exit_code, done.output) == (0, "Up to date.\n")


def test_it_shows_what_the_releases_say_and_what_becomes_of_each_file(next_release: Bench) -> None:
    done = next_release.fast_rust()
    assert done.exit_code == 0
    said = done.stdout
    assert said.startswith(
        "From v0.0.1 to v0.0.2.\n\n## 0.0.2\n\n### What changes in your crate\n\nA change.\n\nFiles:\n"
    )
    assert "The first." not in said
    files = [line.split() for line in said.splitlines() if line.startswith("  ")]
    assert files == [["changed", CHANGED], ["changed", ANSWERS_FILE], ["added", "lints/new.yml"]]
    assert next_release.status() == f" M {CHANGED}\n M {ANSWERS_FILE}\n?? lints/new.yml\n"


def test_a_dry_run_says_the_same_and_changes_nothing(next_release: Bench) -> None:
    before, inside = read_tree(next_release.crate), None
    next_release.publish()
    inside = sorted(path.name for path in (next_release.crate / ".git").iterdir())
    said = next_release.update("--dry-run")
    assert said.exit_code == 0
    assert read_tree(next_release.crate) == before
    assert next_release.status() == ""
    assert sorted(path.name for path in (next_release.crate / ".git").iterdir()) == inside
    assert next_release.update().stdout.startswith(said.stdout)


def test_a_conflict_is_in_the_index_in_the_report_and_in_the_exit_code(next_release: Bench) -> None:
    conflict(next_release)
    done = next_release.fast_rust()
    assert done.exit_code == 1
    assert f"conflict  {CHANGED}" in done.stdout
    assert f"Look for <<<<<<< in these, then `git add` them:\n  {CHANGED}\n" in done.stdout
    assert f"UU {CHANGED}\n" in next_release.status()
    text = (next_release.crate / CHANGED).read_text(encoding="utf-8")
    assert all(part in text for part in ("<<<<<<<", "10s", "60s"))


@pytest.mark.parametrize("path", ["src/lib.rs", "new.txt"])
def test_what_is_not_committed_stops_it(next_release: Bench, path: str) -> None:
    next_release.publish()
    (next_release.crate / path).write_text(OURS, encoding="utf-8")
    before = read_tree(next_release.crate)
    done = next_release.update()
    assert done.exit_code == 2
    assert "error: not everything is committed" in done.stderr
    assert read_tree(next_release.crate) == before


def test_a_crate_that_is_not_in_git_stops_it(next_release: Bench) -> None:
    next_release.publish()
    shutil.rmtree(next_release.crate / ".git")
    for arguments in ((), ("--abort",)):
        done = next_release.update(*arguments)
        assert done.exit_code == 2
        assert "is in no git repository with a commit" in done.stderr


def test_a_file_that_git_ignores_is_not_overwritten(next_release: Bench) -> None:
    (next_release.crate / ".gitignore").write_text("/lints/new.yml\n", encoding="utf-8")
    (next_release.crate / "lints" / "new.yml").write_text(OURS, encoding="utf-8")
    done = next_release.fast_rust()
    assert done.exit_code == 2
    assert "git ignores lints/new.yml, so it could not bring it back" in done.stderr
    assert (next_release.crate / "lints" / "new.yml").read_text(encoding="utf-8") == OURS
    assert next_release.status() == ""


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_to_look_away_from_is_not_overwritten(next_release: Bench, flag: str) -> None:
    next_release.publish()
    git(next_release.crate, "update-index", flag, CHANGED)
    next_release.act(CHANGED)
    before = read_tree(next_release.crate)
    done = next_release.update()
    assert done.exit_code == 2
    assert f"look away from {CHANGED}" in done.stderr
    assert read_tree(next_release.crate) == before


def test_a_file_where_a_folder_is_to_be_stops_it(next_release: Bench) -> None:
    (next_release.template / "template" / "guide").mkdir()
    (next_release.template / "template" / "guide" / "new.txt").write_text("New.\n", encoding="utf-8")
    (next_release.crate / ".gitignore").write_text("/guide\n", encoding="utf-8")
    (next_release.crate / "guide").write_text(OURS, encoding="utf-8")
    done = next_release.fast_rust()
    assert done.exit_code == 2
    assert "guide is no folder" in done.stderr
    assert (next_release.crate / "guide").read_text(encoding="utf-8") == OURS
    assert next_release.status() == ""


# What Copier had open when it failed.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*ScandirIterator")
@pytest.mark.parametrize(("path", "exit_code"), [("lints", 2), (CHANGED, 0)])
def test_a_link_leads_it_nowhere(next_release: Bench, tmp_path: Path, path: str, exit_code: int) -> None:
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


def test_there_is_no_way_back_to_an_older_release(next_release: Bench) -> None:
    assert next_release.fast_rust().exit_code == 0
    git(next_release.crate, "add", "--all")
    git(next_release.crate, "commit", "--quiet", "--message", "Update")
    done = next_release.update("--to", "v0.0.1")
    assert done.exit_code == 2
    assert "v0.0.1 is older than v0.0.2" in done.stderr


def test_an_answer_can_be_changed_with_it(next_release: Bench) -> None:
    done = next_release.fast_rust("--data", "copyright_holder=Grace")
    assert done.exit_code == 0, done.output
    assert next_release.answers()["copyright_holder"] == "Grace"
    assert next_release.update("--data", "team").stderr.startswith("error: --data team: type KEY=VALUE")


def test_answers_under_another_name_are_found_and_taken_back(next_release: Bench) -> None:
    """Where another template has the usual name."""
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
def test_damaged_or_hostile_answers_are_refused_and_nothing_is_touched(bench: Bench, act: Act) -> None:
    act(bench.crate)
    git(bench.crate, "commit", "--quiet", "--all", "--message", "Damage")
    before = read_tree(bench.crate)
    done = bench.update()
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert read_tree(bench.crate) == before


@pytest.mark.parametrize("name", ["../../outside", "a b", "x'; touch hacked; '", "{{ 7 * 7 }}"])
def test_a_name_that_leads_out_of_the_crate_is_never_taken(next_release: Bench, tmp_path: Path, name: str) -> None:
    answers = next_release.crate / ANSWERS_FILE
    text = answers.read_text(encoding="utf-8").replace("crate_name: log-totals", f"crate_name: {json.dumps(name)}")
    answers.write_text(text, encoding="utf-8")
    done = next_release.fast_rust()
    assert done.exit_code in {1, 2}
    assert "Traceback" not in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log-totals", "template"]


# --- Taking it back ---


def test_it_is_taken_back_exactly_and_what_was_written_since_stays(next_release: Bench) -> None:
    conflict(next_release)
    next_release.publish()
    before = read_tree(next_release.crate)
    assert next_release.update().exit_code == 1
    (next_release.crate / "notes.txt").write_text(OURS, encoding="utf-8")
    git(next_release.crate, "add", "lints/new.yml")
    done = next_release.update("--abort")
    assert (done.exit_code, done.stdout) == (0, "The crate is as it was before the update.\n")
    assert read_tree(next_release.crate) == {**before, "notes.txt": OURS.encode()}
    assert next_release.status() == "?? notes.txt\n"
    assert next_release.update("--abort").exit_code == 2


def test_a_second_update_waits_for_the_first_to_be_committed(next_release: Bench) -> None:
    assert next_release.fast_rust().exit_code == 0
    release_after(next_release)
    done = next_release.update()
    assert done.exit_code == 2
    assert "an update is under way: commit it, or `fast-rust update --abort`" in done.stderr
    git(next_release.crate, "add", "--all")
    git(next_release.crate, "commit", "--quiet", "--message", "Update")
    done = next_release.update("--abort")
    assert done.exit_code == 2
    assert "no update is under way; if it is committed, `git revert`" in done.stderr
    assert next_release.update().exit_code == 0


def release_after(bench: Bench) -> None:
    bench.edit(f"template/{CHANGED}", "60s", "90s")
    git(bench.template, "commit", "--quiet", "--all", "--message", "v0.0.3")
    git(bench.template, "tag", "v0.0.3")


def test_an_update_that_a_user_took_back_leaves_later_work_alone(next_release: Bench) -> None:
    """By git, without our command: its note is still there, and must not take the user's next lines for its own."""
    assert next_release.fast_rust().exit_code == 0
    git(next_release.crate, "checkout", "--", ".")
    git(next_release.crate, "clean", "--quiet", "--force", "-d")
    conflict(next_release)
    assert next_release.update("--abort").exit_code == 2
    assert "10s" in (next_release.crate / CHANGED).read_text(encoding="utf-8")


def test_work_on_the_answers_after_an_update_was_put_aside_is_the_users(next_release: Bench) -> None:
    assert next_release.fast_rust().exit_code == 0
    git(next_release.crate, "stash", "--quiet", "--include-untracked")
    next_release.act(ANSWERS_FILE)
    conflict(next_release)
    before = read_tree(next_release.crate)
    assert next_release.update("--abort").exit_code == 2
    assert read_tree(next_release.crate) == before


def test_a_lock_that_the_update_left_alone_is_not_brought_back(next_release: Bench) -> None:
    (next_release.crate / ".gitignore").write_text("/target\n", encoding="utf-8")
    (next_release.crate / "Cargo.lock").write_text("version = 4\n", encoding="utf-8")
    assert next_release.fast_rust().exit_code == 0
    next_release.act("Cargo.lock")
    assert next_release.update("--abort").exit_code == 0
    assert (next_release.crate / "Cargo.lock").read_text(encoding="utf-8").endswith(OURS)


def test_two_crates_of_a_repository_are_updated_and_taken_back_apart(next_release: Bench) -> None:
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


def test_a_worktree_has_an_update_of_its_own(next_release: Bench, tmp_path: Path) -> None:
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
