"""A manifest is either valid, or the error names its line and key."""

from collections import Counter
from pathlib import Path

import pytest

from fast_rust.fleet.manifest import ManifestError, read_manifest, read_shard
from fleet.small import OLD, Type, write_manifest
from support.git import git

INVALID = {
    "unknown key": ('a = { colour = "red" }', "fleet.toml:5: crates.a.colour: unknown key"),
    "unknown ring": ('a = { ring = "x" }', "fleet.toml:5: crates.a.ring: unknown ring x"),
    "frozen without a reason": (
        'a = { freeze = "" }',
        "fleet.toml:5: crates.a.freeze: the value is empty; write a string",
    ),
    "answer of a strange type": (
        "a = { answers = { kind = 3 } }",
        "fleet.toml:5: crates.a.answers.kind: invalid value; write a string",
    ),
    "outside the repository": (
        'a = { subdirectory = "../b" }',
        "fleet.toml:5: crates.a.subdirectory: outside the repository",
    ),
    "an address that runs a command": (
        'a = { url = "ext::sh -c x" }',
        "fleet.toml:5: crates.a.url: not the address of a repository",
    ),
    "two in one place": ('a = {}\nb = { path = "a" }', "fleet.toml:6: crates.b: the crate a has the same folder"),
    "a key in a table of its own": (
        '\n[crates.a]\nring = "all"\nowner = 3',
        "fleet.toml:8: crates.a.owner: invalid value; write a string",
    ),
    "a list of tables": ("[[crates.a]]", "fleet.toml:5: crates.a: input should be a valid dictionary"),
    "no TOML": ("a = [[1}\n", "line 5"),
}


@pytest.mark.parametrize("name", INVALID)
def test_each_error_is_reported_with_its_line_and_key(tmp_path: Path, name: str) -> None:
    rows, message = INVALID[name]
    with pytest.raises(ManifestError) as raised:
        read_manifest(write_manifest(tmp_path, "/somewhere", rows))
    assert message in str(raised.value)


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as raised:
        read_manifest(write_manifest(tmp_path, "/somewhere", "a = { x = 1 }\nb = { y = 2 }\n"))
    assert len(str(raised.value).splitlines()) == 2


def test_the_error_for_a_missing_manifest_says_how_to_make_one(fleet: Type) -> None:
    done = fleet("plan")
    assert done.exit_code == 2
    assert "fast-rust fleet init" in done.stderr


def test_shards_partition_the_fleet_and_are_stable_when_crates_are_added(tmp_path: Path) -> None:
    rows = [f"crate-{number} = {{}}\n" for number in range(200)]
    whole = read_manifest(write_manifest(tmp_path, "/somewhere", "".join(rows)))
    shards = [{crate.name for crate in whole.part(shard=(number, 7)).crates} for number in range(1, 8)]
    assert Counter(name for shard in shards for name in shard) == Counter(crate.name for crate in whole.crates)
    assert all(10 < len(shard) < 60 for shard in shards)
    fewer = read_manifest(write_manifest(tmp_path, "/somewhere", "".join(rows[::2])))
    assert {crate.name for crate in fewer.part(shard=(3, 7)).crates} <= shards[2]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_an_invalid_shard_is_rejected(text: str) -> None:
    with pytest.raises(ManifestError, match="1/10"):
        read_shard(text)


def test_an_answer_that_does_not_apply_is_rejected_before_any_crate_is_made(
    tmp_path: Path, fleet: Type, two_releases: Path
) -> None:
    rows = 'a1 = { answers = { kind = "cli" } }\nb1 = { answers = { kind = "lib", allocator = "mimalloc" } }\n'
    write_manifest(tmp_path, two_releases, rows)
    done = fleet("bootstrap", "--to", OLD)
    assert done.exit_code == 2
    assert (
        "fleet.toml:6: crates.b1.answers: the template does not ask for allocator in a crate with kind lib"
        in done.stderr
    )
    assert not (tmp_path / "clones").exists()


def test_an_invalid_answer_is_reported_with_the_message_of_the_template(
    tmp_path: Path, fleet: Type, two_releases: Path
) -> None:
    write_manifest(tmp_path, two_releases, 'a1 = { answers = { kind = "lib", msrv = "1.20" } }\n')
    done = fleet("bootstrap", "--to", OLD)
    assert done.exit_code == 2
    assert "fleet.toml:5: crates.a1.answers" in done.stderr
    assert "type a version from 1.85" in done.stderr


def test_init_writes_a_manifest_of_a_folder_of_clones(tmp_path: Path, fleet: Type) -> None:
    answers = "_commit: v1\n_src_path: x\ncrate_name: x\n"
    for name, crates in {"stock": [".", "crates/reader", "tools/reader"], "notes": []}.items():
        repository = tmp_path / "clones" / name
        repository.mkdir(parents=True)
        git(repository, "init", "--quiet")
        git(repository, "remote", "add", "origin", f"https://git.example.org/acme/{name}.git")
        for crate in crates:
            (repository / crate).mkdir(parents=True, exist_ok=True)
            (repository / crate / ".copier-answers.yml").write_text(answers, encoding="utf-8")
    assert fleet("init", "clones", "--template", "/somewhere").exit_code == 0
    read = read_manifest(tmp_path / "fleet.toml")
    assert [(crate.name, crate.folder) for crate in read.crates] == [
        ("stock", tmp_path / "clones" / "stock"),
        ("stock-crates-reader", tmp_path / "clones" / "stock" / "crates" / "reader"),
        ("stock-tools-reader", tmp_path / "clones" / "stock" / "tools" / "reader"),
    ]
    assert read.crates[1].url == "https://git.example.org/acme/stock.git"
    again = fleet("init", "clones", "--template", "/somewhere")
    assert again.exit_code == 2
    assert "exists; delete it" in again.stderr


def test_a_list_in_another_encoding_is_rejected(tmp_path: Path, fleet: Type) -> None:
    (tmp_path / "crates.csv").write_bytes("name,owner\na,Müller\n".encode("latin-1"))
    done = fleet("init", "crates.csv", "--template", "/somewhere")
    assert done.exit_code == 2
    assert "is not UTF-8" in done.stderr


@pytest.mark.parametrize("text", ["kind\nlib\n", "name\na\na\n", "name,kind\n,lib\n"])
def test_a_list_without_a_name_for_each_crate_is_rejected(tmp_path: Path, fleet: Type, text: str) -> None:
    (tmp_path / "crates.csv").write_text(text, encoding="utf-8")
    done = fleet("init", "crates.csv", "--template", "/somewhere")
    assert done.exit_code == 2
    assert "crates.csv:" in done.stderr
    assert not (tmp_path / "fleet.toml").exists()
