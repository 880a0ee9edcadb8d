"""The package server/ of a service: additions that a release may make, and how an older service gets the package."""

import gzip
import re
import shlex
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from support.files import read_tree
from support.git import commit, git, start_history
from support.releases import Releases
from support.services import Service
from support.template import copier_in_process
from support.variants import CHECKOUT
from support.workshop import Workshop

# A field or a variant that a release may add, next to an existing one.
ADDITIONS = {
    "limits.rs": {
        "    pub total_time: Duration,\n": "    /// New.\n    pub next: u32,\n",
        "            total_time: Duration::from_secs(60),\n": "            next: 1,\n",
    },
    "server.rs": {
        "    pub linger_time: Duration,\n": "    /// New.\n    pub next: u32,\n",
        "            linger_time: Duration::from_secs(5),\n": "            next: 1,\n",
        "    pub cap: Duration,\n": "    /// New.\n    pub next: u32,\n",
        "            cap: Duration::from_secs(25),\n": "            next: 1,\n",
        "    System(#[from] io::Error),\n": '    /// New.\n    #[error("new")]\n    Next,\n',
    },
    "telemetry.rs": {"    /// One JSON object per line.\n    Json,\n": "    /// New.\n    Next,\n"},
}
LITERALS = """
/// A literal.
pub fn literal() -> server::Drain {
    server::Drain { grace: std::time::Duration::ZERO, cap: std::time::Duration::ZERO }
}
/// A match without a last arm.
pub fn name(format: server::telemetry::LogFormat) -> u8 {
    match format {
        server::telemetry::LogFormat::Pretty => 0,
        server::telemetry::LogFormat::Json => 1,
    }
}
"""
DEFAULTS = """
#[test]
fn the_defaults_of_the_flags_are_those_of_the_package() {
    let config = demo_defaults::config::Config::from_arguments(["service"]).unwrap();
    let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
    assert_eq!(text(&config.request_limits()), text(&server::RequestLimits::default()));
    assert_eq!(text(&config.connection_limits()), text(&server::ConnectionLimits::default()));
    assert_eq!(text(&config.drain()), text(&server::Drain::default()));
}
"""
# A user's additions to an old service: a path of the module, the user's own dependency, and a test.
OWN_CODE = """
/// A rejection.
#[must_use]
pub fn refusal() -> crate::plumbing::Rejection {
    let _ = fastrand::u8(..);
    crate::plumbing::Rejection::NotFound
}

/// Limits with a local of the same name.
#[must_use]
pub fn limits(concurrency: u32) -> Option<crate::plumbing::limits::RequestLimits> {
    let second = std::time::Duration::from_secs(1);
    Some(crate::plumbing::limits::RequestLimits {
        concurrency, // as given
        body_bytes: 1,
        in_flight_bytes: 1,
        idle_time: second,
        total_time: second,
    })
}
"""
OWN_TEST = """//! Ours.

#[test]
fn limits_are_as_given() {
    let limits = old_service::routes::limits(7).expect("there are some");
    assert_eq!((limits.concurrency, limits.body_bytes), (7, 1));
}
"""


def test_a_release_may_add_fields_and_variants(workshop: Workshop) -> None:
    """The starters compile with them; code that would not compile then does not compile now."""
    crate = workshop.crate("next-release", kind="service")
    starters = (crate / "src" / "lib.rs").read_text(encoding="utf-8")
    (crate / "src" / "lib.rs").write_text(starters + LITERALS, encoding="utf-8")
    refused = workshop.try_to(crate, "cargo", "check", "--all-targets")
    assert refused.returncode != 0
    assert "E0639" in refused.stdout
    assert "E0004" in refused.stdout
    (crate / "src" / "lib.rs").write_text(starters, encoding="utf-8")
    for name, lines in ADDITIONS.items():
        file = crate / "server" / "src" / name
        text = file.read_text(encoding="utf-8")
        for line, addition in lines.items():
            assert text.count(line) == 1, line
            text = text.replace(line, line + addition)
        file.write_text(text.replace("LogFormat::Json =>", "LogFormat::Next | LogFormat::Json =>"))
    workshop.run(crate, "cargo", "check", "--all-targets")


def test_flags_and_package_have_the_same_defaults(workshop: Workshop) -> None:
    crate = workshop.crate("demo-defaults", kind="service")
    (crate / "tests" / "defaults.rs").write_text(DEFAULTS, encoding="utf-8")
    workshop.run(crate, "cargo", "test", "--test", "defaults")


def follow(workshop: Workshop, crate: Path, name: str) -> None:
    """Follow a page of the documentation: run its commands, write its files, apply its patches."""
    start_history(crate)
    page = (CHECKOUT / "docs" / name).read_text(encoding="utf-8")
    for path, content in re.findall(r"(?ms)^`(\S+)`:\n\n```rust,ignore\n(.*?)^```$", page):
        (crate / path).write_text(content, encoding="utf-8")
    patch = crate.with_suffix(".patch")
    patch.write_text("".join(re.findall(r"(?ms)^```diff\n(.*?)^```$", page)), encoding="utf-8")
    git(crate, "apply", str(patch))
    [commands] = re.findall(r"(?ms)^```sh\n(.*?)\n```$", page)
    for command in commands.splitlines():
        workshop.run(crate, *shlex.split(command))


def test_the_page_on_additions_works_as_written(workshop: Workshop) -> None:
    """The result is a service whose tests pass, without a warning."""
    crate = workshop.crate("demo", kind="service")
    follow(workshop, crate, "add-to-a-service.md")
    workshop.run(crate, "cargo", "fmt", "--all", "--check")
    workshop.run(crate, "cargo", "clippy", "--all-targets", "--", "--deny", "warnings")
    assert "a_greeting_begins_with_the_salutation ... ok" in workshop.run(crate, "cargo", "test", "--test", "greet")


@pytest.mark.exhaustive
def test_the_page_on_heap_profiles_works_as_written(workshop: Workshop) -> None:
    """The test compiles the C sources of jemalloc, which takes minutes."""
    crate = workshop.crate("profiled", kind="service", sample=False, allocator="jemalloc")
    follow(workshop, crate, "profile-the-heap.md")
    workshop.run(crate, "cargo", "fmt", "--all", "--check")
    workshop.run(crate, "cargo", "clippy", "--all-targets", "--", "--deny", "warnings")
    program = workshop.debug_binary(crate)
    profiled = Service(program, (), _RJEM_MALLOC_CONF="prof:true,lg_prof_sample:12")
    with closing(profiled):
        profile = profiled.ask_admin("/debug/heap")
    assert profile.status == 200
    assert gzip.decompress(profile.body)
    with closing(Service(program, ())) as usual:
        refused = usual.ask_admin("/debug/heap")
    assert (refused.status, refused.error["code"]) == (404, "profiling_off")


@pytest.fixture
def old_service(releases: Releases, tmp_path: Path) -> Path:
    """A service of the last release without the package, with user code, updated to the newest release."""
    crate = tmp_path / "old-service"
    answers: dict[str, str | bool] = {"crate_name": crate.name, "kind": "service", "sample": False}
    shutil.copytree(releases.rendering(releases.tags[-2], answers), crate)
    routes = crate / "src" / "routes.rs"
    routes.write_text(routes.read_text(encoding="utf-8") + OWN_CODE, encoding="utf-8")
    (crate / "tests" / "own.rs").write_text(OWN_TEST, encoding="utf-8")
    start_history(crate)
    assert copier_in_process("update", "--quiet", "--defaults", str(crate)).exit_code == 0
    commit(crate, "Update the template")
    return crate


def test_an_older_service_moves_to_the_package(workshop: Workshop, old_service: Path) -> None:
    """Its tests pass, the user's code is kept, and the move can be undone."""
    before = read_tree(old_service)
    printed = workshop.run(old_service, "fast-rust", "migrate", "server")
    assert "The tests pass." in printed
    after = read_tree(old_service)
    assert [path for path in after if path.startswith("src/plumbing/")] == []
    assert "server/src/lib.rs" in after
    routes = after["src/routes.rs"].decode()
    assert "pub fn refusal() -> ::server::Rejection {\n    let _ = fastrand::u8(..);\n" in routes
    assert "set.concurrency = concurrency;" in routes
    assert "// as given" in routes
    code = "".join(text.decode() for path, text in after.items() if path.endswith(".rs"))
    assert "::plumbing" not in code
    assert "mod plumbing" not in code
    # Used only by the user's code and by tests.
    manifest = after["Cargo.toml"].decode()
    dependencies = manifest.partition("\n[dependencies]\n")[2].partition("\n[")[0]
    assert "fastrand = " in dependencies
    assert "tower = " not in dependencies
    assert "server_crate: true\n" in after[".copier-answers.yml"].decode()
    workshop.run(old_service, "cargo", "clippy", "--workspace", "--all-targets", "--", "--deny", "warnings")
    workshop.run(old_service, "cargo", "shear", "--deny-warnings")
    workshop.run(old_service, "fast-rust", "update", "--abort")
    (old_service / "Cargo.lock").unlink()
    assert read_tree(old_service) == before


@pytest.mark.parametrize(
    ("path", "line", "reason"),
    [
        ("src/plumbing/limits.rs", "// Ours.\n", "you edited src/plumbing/limits.rs"),
        ("tests/own.rs", "#[test]\nfn red() {\n    panic!();\n}\n", "`cargo test"),
    ],
    ids=["edited", "red"],
)
def test_a_service_that_the_move_would_break_is_unchanged(
    workshop: Workshop, old_service: Path, path: str, line: str, reason: str
) -> None:
    file = old_service / path
    file.write_text(file.read_text(encoding="utf-8") + line, encoding="utf-8")
    start_history(old_service)
    before = read_tree(old_service)
    done = workshop.try_to(old_service, "fast-rust", "migrate", "server")
    assert done.returncode == 2, done.stdout
    assert reason in done.stdout
    assert read_tree(old_service) == before
    assert git(old_service, "status", "--porcelain") == ""


def test_only_a_service_of_the_newest_release_is_moved(workshop: Workshop, releases: Releases, tmp_path: Path) -> None:
    """Otherwise the error names the command to run first; a service that has the package needs no move."""
    crate = tmp_path / "old-service"
    answers: dict[str, str | bool] = {"crate_name": crate.name, "kind": "service", "sample": False}
    shutil.copytree(releases.rendering(releases.tags[-2], answers), crate)
    start_history(crate)
    done = workshop.try_to(crate, "fast-rust", "migrate", "server")
    assert done.returncode == 2
    assert "run `fast-rust update`, and commit the update first" in done.stdout
    moved = tmp_path / "moved" / "new-service"
    shutil.copytree(releases.rendering(releases.tags[-1], {**answers, "crate_name": "new-service"}), moved)
    start_history(moved)
    assert "already" in workshop.run(moved, "fast-rust", "migrate", "server")
    library = tmp_path / "library"
    shutil.copytree(releases.rendering(releases.tags[-1], {"crate_name": "log-totals", "kind": "lib"}), library)
    start_history(library)
    done = workshop.try_to(library, "fast-rust", "migrate", "server")
    assert done.returncode == 2
    assert "the crate has no module src/plumbing" in done.stdout
