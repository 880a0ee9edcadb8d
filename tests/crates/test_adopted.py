"""An adopted crate of other authors: gates that it does not pass are staged, and all others are enforced."""

from collections import Counter
from pathlib import Path

import pytest

from fast_rust.adopt import staging
from fast_rust.adopt.marks import marks
from support.adoption import CLI, CODE, OTHERS, PLAIN, Files, make
from support.command import COMMAND, drift, invoke
from support.git import commit, git
from support.template import Template
from support.workshop import Workshop

SLOPPY: Files = {
    **CLI,
    ".gitignore": "/target\n/Cargo.lock\n",
    "Cargo.toml": CLI["Cargo.toml"].replace("mimalloc", "fastrand").replace('"0.1"', '"2"'),
    "src/lib.rs": CODE + "\n/// See [nowhere].\npub fn first(text: String) -> Result<char, String> {\n"
    '  return text.chars().next().ok_or("empty".to_string());\n}\n'
    "\n/// How long it is.\npub fn length(words: Vec<String>) -> usize {\n    words.len()\n}\n",
    "src/main.rs": "fn main() {\n    let words = std::env::args().nth(1).unwrap();\n"
    '    println!("{}", word_counts::count(&words));\n}\n',
    "tests/counts.rs": '#[test]\nfn counts() {\n    assert_eq!(word_counts::count("a b"), 2);\n}\n',
}


def staged_in(crate: Path) -> dict[str, int]:
    """Return the number of staged places of each gate."""
    found: Counter[str] = Counter()
    for mark, count in marks(crate).items():
        found[mark.gate] += count
    return found


def test_gates_that_fail_are_staged_and_enabled_once_they_pass(
    tmp_path: Path, template: Template, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in workshop.environment.items():
        monkeypatch.setenv(name, value)
    crate = make(tmp_path / "word-counts", {**SLOPPY, "rust-toolchain.toml": OTHERS["rust-toolchain.toml"]})
    done = invoke("adopt", crate, "--template", template.repository)
    assert done.exit_code == 1, done.output
    staged = {
        "ast-grep::err-string-result": 1,
        "ast-grep::own-parameter-only-read": 1,
        "cargo-shear": 1,
        "clippy::missing_errors_doc": 1,
        "clippy::needless_pass_by_value": 2,
        "clippy::needless_return": 1,
        "clippy::unwrap_used": 1,
        "rustdoc::broken_intra_doc_links": 1,
        "rustfmt": 1,
    }
    found = staged_in(crate)
    assert staged.items() <= found.items()
    assert "| ERR-7 AVOID | staged | `clippy::unwrap_used` (1) |" in done.stdout
    assert "| OP-2 MUST | enforced |" in done.stdout
    assert "still failing" not in done.stdout

    # The report names this command.
    for path in ("justfile", ".github/workflows/ci.yml", ".github/workflows/perf.yml"):
        git(crate, "mv", "-f", f"{path}.proposed", path)
    commit(crate)
    for recipe in ("lint", "test", "doc", "audit"):
        workshop.run(crate, "just", recipe)
    done = drift(crate)
    assert done.exit_code == 0, done.output
    assert "err-string-result is off" in done.stdout

    (crate / "src/lib.rs").write_text(CODE)
    main = crate / "src/main.rs"
    main.write_text(main.read_text().replace("unwrap()", "unwrap_or_default()"))
    commit(crate)
    done = invoke("adopt", "--unstage", crate)
    assert done.exit_code == 0, done.output
    assert "enabled  clippy::unwrap_used: 1 when `adopt` disabled it, 0 now" in done.stdout
    # The crate's former CI file is deleted; the dependency is still unused; the build settings are still the crate's.
    left = {"cargo-shear": 1, "standards::release_profile_is_tuned": 1, "standards::toolchain_is_pinned": 1}
    assert staged_in(crate) == left
    assert not (crate / "rustfmt.toml").exists()
    workshop.run(crate, "just", "lint")
    (crate / "src/lib.rs").write_text(SLOPPY["src/lib.rs"])
    printed = workshop.try_to(crate, "just", "lint").stdout
    assert all(name in printed for name in ("clippy::needless-return", "own-parameter-only-read", "Diff in"))


def test_recipes_run_this_program_and_its_warning_is_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher would install the pinned release; a variable that the user sets must stay."""
    recipe = '    @echo "warning: FAST_RUST is set, so it runs" >&2; echo "$FAST_RUST"; exit {}\n'
    recipes = {name: recipe.format(int(name == "lint")) for name in ("lint", "test", "doc", "audit")}
    crate = make(
        tmp_path / "crate", {**PLAIN, "deny.toml": "", "justfile": "".join(f"{a}:\n{b}" for a, b in recipes.items())}
    )
    for given, expected in (("", COMMAND), ("/of/the/user", "/of/the/user")):
        monkeypatch.setenv("FAST_RUST", given)
        left = staging.stage(crate, "justfile", tmp_path / "target", {}).left
        [report] = left
        assert report.splitlines()[:2] == ["`just lint` fails:", f"    {expected}"]
        assert "warning" not in report
