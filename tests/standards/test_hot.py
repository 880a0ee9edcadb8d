"""`fast-rust hot` adds a hot path with all its files, and removes one."""

import contextlib
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from fast_rust.answers import ANSWERS_FILE
from fast_rust.checks.everything import find_all
from fast_rust.hot.add import SKELETONS
from fast_rust.hot.membership import with_member, without_member
from standards.made import make
from support.command import fast_rust, invoke
from support.files import edit, read_tree
from support.git import git, release
from support.template import Template
from support.variants import CHECKOUT, domain
from support.workshop import QUICK_BENCHES, Workshop


def fast_rust_hot(crate: Path, *arguments: str) -> Result:
    """Run the command in a crate, with the current Python."""
    with contextlib.chdir(crate):
        return invoke("hot", *arguments)


def typed(crate: Path, *arguments: str) -> None:
    """Run the command as people type it, and commit its changes."""
    done = fast_rust("hot", *arguments, folder=crate)
    assert (done.returncode, done.stderr) == (0, "")
    release(crate, "-".join(arguments))


def succeed(crate: Path, *arguments: str) -> str:
    """Run the command, which must succeed, and commit its changes."""
    done = fast_rust_hot(crate, *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    release(crate, "-".join(arguments))
    return done.stdout


def refused(crate: Path, *arguments: str) -> str:
    """Run the command, which must fail with a reason and change nothing."""
    before = read_tree(crate)
    done = fast_rust_hot(crate, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert read_tree(crate) == before
    return done.stderr


def test_a_new_hot_path_passes_all_gates(workshop: Workshop, template: Template, tmp_path: Path) -> None:
    """It is formatted, lint-free, measured, registered, and within its budget."""
    crate = make(template, tmp_path / "crate", sample=False)
    printed = succeed(crate, "add", "parse_lines")
    assert "new      bench/benches/parse_lines_instructions.rs" in printed
    for recipe in ("lint", "audit", "instructions"):
        workshop.run(crate, "just", recipe, **QUICK_BENCHES)
    assert "parse_lines_allocations" in workshop.run(crate, "cargo", "nextest", "run", "--workspace")
    # A gate requires the measurements: without one of them it fails.
    (crate / "bench" / "tests" / "parse_lines_allocations.rs").unlink()
    [missing] = find_all(crate, advice=False)
    assert missing.gate == "standards::every_hot_path_is_measured"


@pytest.mark.parametrize("kind", domain("kind"))
@pytest.mark.parametrize("place", ["repository", "member", "member by a pattern"])
def test_the_first_hot_path_adds_the_bench_package(
    workshop: Workshop, template: Template, tmp_path: Path, kind: str, place: str
) -> None:
    """Removing the last one removes the package; a service keeps the bench of its requests."""
    if place == "repository":
        root = crate = make(template, tmp_path / "root", kind=kind, sample=False)
    else:
        root = make(template, tmp_path / "root", kind="cli", sample=False)
        crate = join(template, root, kind, "crates/*/bench" if place == "member by a pattern" else "")
    before, findings = tree_of(root), find_all(root, advice=False)
    succeed(crate, "add", "parse")
    known = json.loads(workshop.run(root, "cargo", "metadata", "--no-deps", "--offline", "--format-version=1"))
    name = "log-totals" if place == "repository" else "reader"
    assert {name, f"{name}-bench"} <= {package["name"] for package in known["packages"]}
    assert ("crates/reader/bench" in (root / "Cargo.toml").read_text()) == (place == "member")
    assert find_all(root, advice=False) == findings
    workshop.run(root, "cargo", "check", "--workspace", "--all-targets", "--quiet")
    release(root, "locked")
    succeed(crate, "remove", "parse")
    assert tree_of(root) == before
    workshop.run(root, "cargo", "metadata", "--no-deps", "--offline", "--format-version=1")


def join(template: Template, root: Path, kind: str, pattern: str) -> Path:
    """Make a member without a hot path, and list it in the manifest as people do."""
    crate = make(template, root / "crates" / "reader", crate_name="reader", kind=kind, sample=False, place="member")
    shutil.rmtree(crate / ".git")
    if pattern:
        # Cargo rejects a pattern without a match.
        other = root / "crates" / "writer" / "bench"
        (other / "src").mkdir(parents=True)
        (other / "Cargo.toml").write_text('[package]\nname = "writer-bench"\nedition = "2024"\n')
        (other / "src" / "lib.rs").write_text("//! Measures the writer.\n")
    bench = pattern or ("crates/reader/bench" if kind == "service" else "")
    members = "".join(f'    "{each}", # ours\n' for each in ("crates/reader", bench) if each)
    manifest = root / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("members = []", f"members = [\n{members}]"))
    release(root, "joined")
    return crate


def tree_of(root: Path) -> dict[str, bytes]:
    """Return the files of a workspace except Cargo.lock, which cargo writes."""
    return {name: content for name, content in read_tree(root).items() if name != "Cargo.lock"}


def test_the_users_targets_in_bench_stay_with_the_package(template: Template, tmp_path: Path) -> None:
    """The user's test is a target, so cargo can still read the package."""
    crate = make(template, tmp_path / "crate", sample=False)
    succeed(crate, "add", "parse")
    (crate / "bench" / "tests" / "own.rs").write_text("//! Mine.\n")
    release(crate, "own")
    succeed(crate, "remove", "parse")
    assert set(read_tree(crate / "bench")) == {"Cargo.toml", "tests/own.rs"}
    assert 'members = ["bench"]' in (crate / "Cargo.toml").read_text()


def test_the_users_data_stays_without_the_bench_package(template: Template, tmp_path: Path) -> None:
    """Cargo rejects a package without a target."""
    crate = make(template, tmp_path / "crate", sample=False)
    succeed(crate, "add", "parse")
    (crate / "bench" / "lines.txt").write_text("mine\n")
    release(crate, "own")
    succeed(crate, "remove", "parse")
    assert set(read_tree(crate / "bench")) == {"lines.txt"}
    assert "members = []" in (crate / "Cargo.toml").read_text()


def test_without_lints_in_the_workspace_the_bench_package_inherits_none(template: Template, tmp_path: Path) -> None:
    """`hot` also keeps uncommitted lines of that manifest above the crate, since git could not restore them."""
    root = make(template, tmp_path / "root", sample=False)
    crate = join(template, root, "lib", "")
    (root / "Cargo.toml").write_text('[workspace]\nmembers = ["crates/reader"]\nresolver = "3"\n')
    release(root, "plain")
    succeed(crate, "add", "parse")
    assert "lints" not in tomllib.loads((crate / "bench" / "Cargo.toml").read_text())
    with (root / "Cargo.toml").open("a") as manifest:
        manifest.write("# not committed\n")
    assert "cannot restore uncommitted ones: ../../Cargo.toml" in refused(crate, "remove", "parse")


@pytest.mark.parametrize(
    ("listed", "is_covered"),
    [
        ("bench", True),
        ("./bench/", True),
        ("*", True),
        ("**", True),
        ("b?nch", True),
        ("a/*", False),
        ("benches", False),
    ],
)
def test_a_member_is_listed_once(listed: str, *, is_covered: bool) -> None:
    text = f'# Ours.\n[workspace] # all\nmembers = [\n    "{listed}", # why\n]\n'
    added = text if is_covered else text.replace("# why\n", '# why\n    "bench",\n')
    assert with_member(text, "bench") == added
    assert without_member(added, "bench") == text or is_covered


def test_adding_and_removing_leaves_no_trace(template: Template, tmp_path: Path) -> None:
    """The command runs as people type it."""
    crate = make(template, tmp_path / "crate", sample=False)
    before = read_tree(crate)
    typed(crate, "add", "parse")
    typed(crate, "add", "decode")
    typed(crate, "remove", "parse")
    assert "pub mod decode;\npub mod error;\n" in (crate / "src" / "lib.rs").read_text()
    typed(crate, "remove", "decode")
    assert read_tree(crate) == before


@pytest.mark.parametrize("place", domain("place"))
@pytest.mark.parametrize("kind", domain("kind"))
def test_a_crate_without_its_sample_is_equal_to_one_made_without_it(
    template: Template, tmp_path: Path, kind: str, place: str
) -> None:
    """Byte for byte, except for the order of the answers; the tests of variants prove that such a crate passes."""
    crate = make(template, tmp_path / "with", kind=kind, place=place, description="Adds", sample=True)
    succeed(crate, "remove", "aggregate")
    never = make(template, tmp_path / "never", kind=kind, place=place, description="Adds", sample=False)
    recorded = [yaml.safe_load((made / ANSWERS_FILE).read_text()) for made in (crate, never)]
    assert recorded[0] == recorded[1]
    trees = [{name: text for name, text in read_tree(made).items() if name != ANSWERS_FILE} for made in (crate, never)]
    assert trees[0] == trees[1]


def test_it_says_how_the_lockfile_is_updated(template: Template, tmp_path: Path) -> None:
    """A lockfile that changes after the commit would stop the next update."""
    crate = make(template, tmp_path / "crate", sample=False)
    for command in ("add", "remove"):
        assert succeed(crate, command, "parse").endswith("updates Cargo.lock, and commit all changes.\n")


def test_the_users_additions_stay(template: Template, tmp_path: Path) -> None:
    """They are a dependency, a module, and a paragraph."""
    crate = make(template, tmp_path / "crate", kind="cli")
    (crate / "src" / "colours.rs").write_text("//! Colours.\n")
    readme = (crate / "README.md").read_text()
    (crate / "README.md").write_text(f"{readme}\n## Thanks\n\nTo all.\n")
    edit(crate / "Cargo.toml", "[dependencies]\n", '[dependencies]\nansi = "1"\n')
    release(crate, "edited")
    typed(crate, "remove", "aggregate")
    assert (crate / "src" / "colours.rs").exists()
    assert "## Thanks\n\nTo all.\n" in (crate / "README.md").read_text()
    assert tomllib.loads((crate / "Cargo.toml").read_text())["dependencies"]["ansi"] == "1"
    assert not (crate / "src" / "aggregate.rs").exists()


def test_removing_the_sample_keeps_another_hot_path(workshop: Workshop, template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate")
    succeed(crate, "add", "parse")
    succeed(crate, "remove", "aggregate")
    benches = tomllib.loads((crate / "bench" / "Cargo.toml").read_text())["bench"]
    assert [bench["name"] for bench in benches] == ["parse", "parse_instructions"]
    for recipe in ("lint", "audit"):
        workshop.run(crate, "just", recipe)
    workshop.run(crate, "cargo", "nextest", "run", "--workspace")


def test_it_fails_where_the_users_lines_touch_the_samples(template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate", kind="service")
    routes = (crate / "src" / "routes.rs").read_text()
    assert "aggregate" in routes
    (crate / "src" / "routes.rs").write_text(routes.replace("aggregate", "aggregated"))
    release(crate, "edited")
    assert "src/routes.rs" in refused(crate, "remove", "aggregate")


def test_it_completes_a_removal_of_the_sample_that_the_user_began(template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate", kind="service")
    (crate / "src" / "routes.rs").write_text("//! Nothing.\n")
    (crate / "src" / "aggregate.rs").unlink()
    release(crate, "by-hand")
    succeed(crate, "remove", "aggregate")
    assert (crate / "src" / "routes.rs").read_text() == "//! Nothing.\n"
    assert not (crate / "src" / "aggregate").exists()
    assert "sample: false" in (crate / ANSWERS_FILE).read_text()


def test_it_does_not_remove_a_module_that_is_still_used(template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate", sample=False)
    succeed(crate, "add", "parse")
    library = crate / "src" / "lib.rs"
    library.write_text(library.read_text() + '\nfn lines() -> usize {\n    parse::parse(b"a")\n}\n')
    release(crate, "used")
    assert 'src/lib.rs:13: parse::parse(b"a")' in refused(crate, "remove", "parse")


def test_it_does_not_remove_files_that_git_could_not_restore(template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate", sample=False)
    assert fast_rust_hot(crate, "add", "parse").exit_code == 0
    assert "cannot restore uncommitted ones: Cargo.toml, src/lib.rs, bench/Cargo.toml" in refused(
        crate, "remove", "parse"
    )
    assert fast_rust_hot(crate, "remove", "parse", "--force").exit_code == 0
    assert git(crate, "status", "--porcelain") == ""


def test_without_its_template_it_names_the_missing_release(template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate")
    answers = crate / ANSWERS_FILE
    answers.write_text(answers.read_text().replace("v0.0.1", "v9.9.9"))
    release(crate, "another-release")
    assert re.search("release v9.9.9 of the template .* cannot be rendered", refused(crate, "remove", "aggregate"))


@pytest.mark.parametrize("name", ["Parse", "parse-lines", "1st", "match", "_parse", "a" * 31, "p/q", "lib::x"])
def test_it_rejects_an_invalid_module_name(template: Template, tmp_path: Path, name: str) -> None:
    crate = make(template, tmp_path / "crate", sample=False)
    assert "is not a valid module name" in refused(crate, "add", name)


def test_it_rejects_an_existing_name(template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate")
    assert "src/aggregate.rs exists already" in refused(crate, "add", "aggregate")
    assert "src/parse.rs does not exist" in refused(crate, "remove", "parse")


@pytest.mark.parametrize("name", ["error", "lib", "../error"])
def test_it_rejects_a_module_that_is_not_a_hot_path(template: Template, tmp_path: Path, name: str) -> None:
    crate = make(template, tmp_path / "crate", sample=False)
    assert re.search("is not a hot path|has no hot path", refused(crate, "remove", name))


def test_it_removes_the_attributes_and_exports_of_a_module(template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate", sample=False)
    before = read_tree(crate)
    succeed(crate, "add", "parse")
    library = crate / "src" / "lib.rs"
    declared = "/// Parses.\n#[doc(hidden)]\npub mod parse;\n"
    text = library.read_text().replace("pub mod parse;\n", declared)
    library.write_text(
        text.replace("pub use crate::error", "pub use crate::parse::{\n    parse,\n};\npub use crate::error")
    )
    release(crate, "edited")
    succeed(crate, "remove", "parse")
    assert read_tree(crate) == before


@pytest.mark.parametrize(
    ("use", "line"), [("use crate::{\n    error::Error,\n    parse,\n};\n", 3), ("use super::parse;\n", 1)]
)
def test_it_finds_uses_in_imports(template: Template, tmp_path: Path, use: str, line: int) -> None:
    crate = make(template, tmp_path / "crate", sample=False)
    succeed(crate, "add", "parse")
    (crate / "src" / "mine.rs").write_text(use)
    release(crate, "used")
    assert f"src/mine.rs:{line}: " in refused(crate, "remove", "parse")


def test_it_calls_the_library_by_its_own_name(template: Template, tmp_path: Path) -> None:
    crate = make(template, tmp_path / "crate", sample=False)
    manifest = crate / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("[lib]\n", '[lib]\nname = "totals"\n'))
    release(crate, "named")
    before = read_tree(crate)
    succeed(crate, "add", "parse")
    assert "use ::totals::parse::parse as hot_path;" in (crate / "bench" / "benches" / "parse.rs").read_text()
    succeed(crate, "remove", "parse")
    assert read_tree(crate) == before


def test_outside_a_crate_it_says_where_to_run_it(tmp_path: Path) -> None:
    """It runs as people type it, and the exit code is that of the process."""
    done = fast_rust("hot", "add", "parse", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "in the folder of a crate" in done.stderr
    assert read_tree(tmp_path) == {}


def test_its_versions_are_those_of_the_template() -> None:
    """A crate that has the sample already has these versions."""
    ours = tomllib.loads((SKELETONS / "manifest.txt").read_text(encoding="utf-8").replace("$package", "x"))
    theirs = (CHECKOUT / "template" / "bench" / "Cargo.toml.jinja").read_text(encoding="utf-8")
    versions = (CHECKOUT / "versions.yml").read_text(encoding="utf-8")
    for name in ("criterion", "dhat"):
        [line] = [line for line in theirs.splitlines() if line.startswith(f"{name} = ")]
        assert tomllib.loads(line)[name] == ours["dev-dependencies"][name]
    [gungraun] = [table["dev-dependencies"]["gungraun"] for table in ours["target"].values()]
    assert f"gungraun: {gungraun.removeprefix('=')}\n" in versions
