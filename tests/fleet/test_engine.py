"""`fleet plan` predicts what `fleet update` does, file by file, for all kinds of changes that users make."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from fleet.small import NEW, OLD, Type, make_crate, make_template, snapshot, write_manifest
from support.files import edit, write
from support.git import commit_all, git

Act: TypeAlias = Callable[[Path], None]
BRANCH = f"copier-fast-rust/{NEW}"


def committed(act: Act) -> Act:
    def both(crate: Path) -> None:
        act(crate)
        commit_all(crate)

    return both


def edited(path: str, old: str, new: str) -> Act:
    return lambda crate: edit(crate / path, old, new)


def rename(crate: Path) -> None:
    git(crate, "mv", "justfile", "Recipes")


def symlink(path: str, target: str) -> Act:
    def act(crate: Path) -> None:
        (crate / path).unlink()
        (crate / path).symlink_to(target)

    return act


def windows(crate: Path) -> None:
    for path in (one for one in crate.rglob("*") if one.is_file() and ".git" not in one.parts):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def mixed(crate: Path) -> None:
    file = crate / "justfile"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n", 3))


def binary(crate: Path) -> None:
    (crate / "justfile").write_bytes(b"\0\1\2")


def detached(crate: Path) -> None:
    git(crate, "switch", "--quiet", "--detach")


def unchanged(_crate: Path) -> None:
    pass


def folder_in_place(crate: Path) -> None:
    write(crate, {"news.yml/notes.txt": "mine\n"})


def linked_folder(crate: Path) -> None:
    write(crate, {"real/notes.txt": "mine\n"})
    (crate / "ci").symlink_to("real")


def ignored(crate: Path) -> None:
    write(crate, {".gitignore": "news.yml\n"})
    commit_all(crate)
    write(crate, {"news.yml": "mine: true\n"})


def skipped(crate: Path) -> None:
    git(crate, "update-index", "--skip-worktree", "justfile")
    (crate / "justfile").unlink()


def staged(crate: Path) -> None:
    edit(crate / "justfile", "cargo check", "cargo clippy")
    git(crate, "add", "justfile")


def attributes(crate: Path) -> None:
    write(crate, {".gitattributes": "* text eol=crlf\nlevel.txt working-tree-encoding=UTF-16LE\n"})
    (crate / "level.txt").write_bytes("high\n".encode("utf-16-le"))
    mixed(crate)


def unnormalized(crate: Path) -> None:
    """Commit line endings that a later `.gitattributes` forbids: an update must not normalize them."""
    write(crate, {"notes.txt": "a\r\nb\r\n"})
    (crate / "notes.txt").write_bytes(b"a\r\nb\r\n")
    commit_all(crate)
    write(crate, {".gitattributes": "*.txt text\n"})
    git(crate, "add", ".gitattributes")
    git(crate, "commit", "--quiet", "--message", "Attributes")


def on_its_own_branch(crate: Path) -> None:
    git(crate, "switch", "--quiet", "--create", BRANCH)


def unparsable(crate: Path) -> None:
    """Add a key that the release also adds, far from where the release adds it."""
    edit(crate / "clippy.toml", "last = 9", "last = 9\nnewer = 3")


def old_answers(crate: Path) -> None:
    edit(crate / ".copier-answers.yml", OLD, NEW)


def without_answers(crate: Path) -> None:
    (crate / ".copier-answers.yml").unlink()


def unknown_release(crate: Path) -> None:
    edit(crate / ".copier-answers.yml", OLD, "v9.9.9")


def odd_name(crate: Path) -> None:
    edit(crate / ".copier-answers.yml", f"crate_name: {crate.name}", "crate_name: 12")


SAME_CHANGE = edited("justfile", "cargo check", "cargo check --all-targets")
ACTS: dict[str, Act] = {
    "unchanged": unchanged,
    "edited": committed(edited("justfile", "cargo test", "cargo nextest run")),
    "conflicting": committed(edited("justfile", "cargo check", "cargo clippy")),
    "same-change": committed(SAME_CHANGE),
    "deleted": committed(lambda crate: (crate / "justfile").unlink()),
    "renamed": committed(rename),
    "symlinked": committed(symlink("justfile", "src/lib.rs")),
    "dangling": committed(symlink("clippy.toml", "nowhere")),
    "windows": committed(windows),
    "mixed": committed(mixed),
    "dropped-edited": committed(edited("tools/check.sh", "echo check", "echo checked")),
    "unparsable": committed(unparsable),
    "broken-before": committed(lambda crate: write(crate, {"clippy.toml": "= no\nlast = 9\n"})),
    "binary": committed(binary),
    "folder-in-place": committed(folder_in_place),
    "file-above": committed(lambda crate: write(crate, {"ci": "a file\n"})),
    "linked-folder": committed(linked_folder),
    "ignored": ignored,
    "added-before": committed(lambda crate: write(crate, {"news.yml": "mine: true\n"})),
    "dirty": edited("justfile", "cargo check", "cargo clippy"),
    "dirty-elsewhere": lambda crate: write(crate, {"notes.txt": "mine\n"}),
    "dirty-answers": old_answers,
    "dirty-deleted": lambda crate: (crate / "clippy.toml").unlink(),
    "staged": staged,
    "skipped": skipped,
    "attributes": committed(attributes),
    "handed-over": committed(edited("handed.txt", "template", "crate")),
    "identity": committed(edited("Cargo.toml", "Does identity", 'Says \\"hi\\" \\\\ é')),
    "odd-name": committed(odd_name),
    "no-answers": committed(without_answers),
    "unknown-release": committed(unknown_release),
    "detached": detached,
    "unnormalized": unnormalized,
    "own-branch": on_its_own_branch,
    "executable": committed(lambda crate: (crate / "justfile").chmod(0o755)),
}
EXPECTED = {
    "edited": ("behind", {"justfile": "changed"}),
    "conflicting": ("conflict", {"justfile": "conflict"}),
    "symlinked": ("behind", {"justfile": "kept"}),
    "dropped-edited": ("behind", {"tools/check.sh": "kept"}),
    "unchanged": ("behind", {"tools/check.sh": "deleted", "news.yml": "added"}),
    "unparsable": ("conflict", {"clippy.toml": "conflict"}),
    "dirty": ("behind", {"justfile": "changed"}),
    "windows": ("behind", {"justfile": "changed"}),
    "ignored": ("behind", {"news.yml": "added"}),
    "folder-in-place": ("error", {}),
    "linked-folder": ("error", {}),
    "detached": ("error", {}),
    "no-answers": ("error", {}),
    "unknown-release": ("error", {}),
}
SAME_STATE = {"behind": "updated"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("small") / "template")


def test_the_plan_is_equal_to_the_update(template: Path, fleet: Type, tmp_path: Path) -> None:
    """For each kind of edit, state, files, notes and error are equal; the commit has exactly those files."""
    levels = {"refused-answer": "low"}
    for name in (*ACTS, *levels):
        make_crate(template, tmp_path / "clones" / name, level=levels.get(name, "high"))
        ACTS.get(name, unchanged)(tmp_path / "clones" / name)
    write_manifest(tmp_path, template, "".join(f"{name} = {{}}\n" for name in (*ACTS, *levels)))
    before = {name: snapshot(tmp_path / "clones" / name) for name in ACTS}
    planned, tried = by_crate(fleet("plan", "--json").stdout), by_crate(fleet("update", "--dry-run", "--json").stdout)
    assert {name: snapshot(tmp_path / "clones" / name) for name in ACTS} == before
    done = by_crate(fleet("update", "--json").stdout)
    for name, earlier in before.items():
        later = snapshot(tmp_path / "clones" / name)
        assert later == {**earlier, "refs": later["refs"]}, name
        assert (later["refs"] == earlier["refs"]) is (done[name]["state"] == "error"), name
    for name, plan in planned.items():
        assert (tried[name]["state"], tried[name]["detail"]) == (done[name]["state"], done[name]["detail"]), name
        assert SAME_STATE.get(plan["state"], plan["state"]) == done[name]["state"], name
        assert plan["facts"].get("touches", {}) == done[name]["facts"].get("touches", {}), name
        if plan["state"] in {"error", "conflict"}:
            assert done[name]["detail"] in plan["detail"], name
        if plan["state"] == "behind":
            assert fates_of(tmp_path / "clones" / name) == without_kept(plan["facts"]["touches"]), name
            assert set(done[name]["facts"]["notes"]) <= set(plan["facts"]["notes"]), name
        state, touches = EXPECTED.get(name, (plan["state"], {}))
        assert plan["state"] == state, (name, plan["detail"])
        assert touches.items() <= plan["facts"].get("touches", {}).items(), name
    assert "the release rejects the crate's answer to the question level" in planned["refused-answer"]["detail"]
    for name in ("dirty", "staged", "skipped", "ignored", "dirty-deleted"):
        assert "the uncommitted changes are ignored" in planned[name]["detail"], name


def by_crate(output: str) -> dict[str, dict[str, Any]]:
    return {one["crate"]: one for one in json.loads(output)["crates"]}


def fates_of(crate: Path) -> dict[str, str]:
    """Return the change of each file in the commit of an update, in the words of a plan."""
    words = git(crate, "diff", "--no-renames", "--name-status", "-z", f"main..{BRANCH}").split("\0")[:-1]
    names = {"A": "added", "M": "changed", "D": "deleted"}
    return {path: names[letter] for letter, path in zip(words[::2], words[1::2], strict=True)}


def without_kept(touches: dict[str, str]) -> dict[str, str]:
    return {path: result for path, result in touches.items() if result != "kept"}


def test_a_crate_after_the_newest_release_is_ahead(template: Path, fleet: Type, tmp_path: Path) -> None:
    """No command asks a person to act on such a crate; the page and the report show it."""
    ours = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", str(template), str(ours))
    write(ours, {"template/level.txt.jinja": "{{ level }} after\n"})
    commit_all(ours)
    describe = git(ours, "describe", "--tags").strip()
    crate = make_crate(ours, tmp_path / "clones" / "orders", "HEAD", level="high")
    assert f"_commit: {describe}" in (crate / ".copier-answers.yml").read_text(encoding="utf-8")
    write_manifest(tmp_path, ours, "orders = {}\n")
    before = snapshot(crate)
    for command in ("plan", "update"):
        done = fleet(command, "--json")
        [one] = json.loads(done.stdout)["crates"]
        assert (done.exit_code, one["state"]) == (0, "ahead"), one
        assert describe in one["detail"]
        assert f"the crate uses {describe}, which is newer than {NEW}" in one["detail"]
    drifted = fleet("drift", "--json")
    assert drifted.exit_code == 0, drifted.stdout
    assert fleet("report").exit_code == 0
    [one] = json.loads((tmp_path / "fleet.json").read_text(encoding="utf-8"))["crates"]
    assert (one["state"], one["facts"]["behind"]) == ("ahead", [])
    assert "| ahead | 1 |" in (tmp_path / "fleet.md").read_text(encoding="utf-8")
    assert '<b class="open">1</b>ahead' in (tmp_path / "fleet.html").read_text(encoding="utf-8")
    assert snapshot(crate) == before


def test_update_one_of_a_crate_that_is_ahead_succeeds(
    template: Path, fleet: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", str(template), str(ours))
    commit_all(ours)
    crate = make_crate(ours, tmp_path / "orders", "HEAD", level="high")
    monkeypatch.chdir(crate)
    done = fleet("update", "--one", "--json")
    assert (done.exit_code, json.loads(done.stdout)["state"]) == (0, "ahead")
