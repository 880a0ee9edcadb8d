"""Checks detect a violation in each of its usual forms, and accept usual code."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fast_rust.checks.everything import check_files
from fast_rust.errors import FastRustError
from support.template import Template

HASHER = "//! Hasher: the caller chooses it, since only the caller knows where the keys come from.\n"
Edit = Callable[[str], str]


def replace(before: str, after: str) -> Edit:
    """Replace the first occurrence of a text."""

    def edit(text: str) -> str:
        assert before in text
        return text.replace(before, after, 1)

    return edit


def append(added: str) -> Edit:
    """Append text to the end."""
    return lambda text: text + added


def write(text: str) -> Edit:
    """Make a new file."""
    return lambda _: text


def without_maps(added: str) -> Edit:
    """Remove the hasher and the maps, and append text to the end."""
    return lambda text: text.replace(HASHER, "").replace("HashMap", "Other").replace("HashTable", "Other") + added


def steps(*lines: str) -> Edit:
    """Write a workflow with some steps."""
    return write("".join(f"{line}\n" for line in ("jobs:", "  a:", "    steps:", *(f"      {line}" for line in lines))))


def lint_step(text: str) -> Edit:
    """Replace the step that lints by another step."""
    return replace(
        "      - run: just prepared test\n        env: { NEXTEST_PROFILE: ci }\n",
        "".join(f"      {line}\n" for line in text.splitlines()),
    )


def as_list(text: str) -> str:
    """Write the fields of a hot path as a list."""
    for field in ("Why", "Budget", "Hasher"):
        text = text.replace(f"//! {field}:", f"//! - {field}:")
    return text


def in_default_features(text: str) -> str:
    """Limit `tracing` by the features of the package."""
    text = text.replace('"release_max_level_debug", ', "")
    return f'{text}\n[features]\ndefault = ["tracing/release_max_level_info"]\n'


def in_a_table(text: str) -> str:
    """Write a lint as a separate table."""
    table = '\n[workspace.lints.clippy.rc_mutex]\nlevel = "allow" # reason: a lock of tests\n'
    return text.replace('rc_mutex = "warn"', "# moved") + table


MEASURED = "every_measurement_belongs_to_a_hot_path"
IS_MEASURED = "every_hot_path_is_measured"
MAP = "every_map_on_a_hot_path_names_its_hasher"
SUBMODULE = "every_submodule_of_a_hot_path_is_marked"
SAYS = "every_hot_path_has_a_reason_and_a_budget"
NATIVE = "no_build_uses_the_native_cpu"
CI = "ci_runs_every_gate"
HOT, MANIFEST, SHIP, OUR_CI = "src/aggregate.rs", "Cargo.toml", ".github/workflows/ship.yml", ".github/workflows/ci.yml"
IN_A_MODULE = "\nmod inner {\n    //! # Hot path\n    //! Why: x\n}\n"
LONG_ATTRIBUTE = "\n/// # Hot path\n/// Why: a b c.\n#[cfg_attr(\n    test,\n    inline\n)]\npub fn quick() {}\n"

FOUND: list[tuple[str, str, str, Edit, str]] = [
    (
        "a bench that names the hot path only in a text",
        "lib",
        "bench/benches/aggregate_instructions.rs",
        write('//! x\nfn main() { let _ = ("aggregate", "https://a"); }\n'),
        IS_MEASURED,
    ),
    ("a map behind a text", "lib", HOT, without_maps('\nconst U: &str = "http://x"; type M = HashMap<u8, u8>;\n'), MAP),
    ("a part of a part", "lib", "src/aggregate/decimal/digits.rs", write("//! Digits.\n"), SUBMODULE),
    ("a cold part without a reason", "lib", "src/aggregate/table.rs", write("//! Cold: yes.\n"), SUBMODULE),
    ("a hot path in a module of a file", "lib", "src/error.rs", append(IN_A_MODULE), IS_MEASURED),
    ("an attribute over several lines", "lib", "src/error.rs", append(LONG_ATTRIBUTE), IS_MEASURED),
    (
        "a limit that limits nothing",
        "service",
        MANIFEST,
        replace('"release_max_level_debug"', '"release_max_level_trace"'),
        "trace_is_compiled_out",
    ),
    ("a Dockerfile", "lib", "Dockerfile", write("RUN RUSTFLAGS=-Ctarget-cpu=native cargo build\n"), NATIVE),
    ("a script", "lib", "tools/ship.sh", write("RUSTFLAGS=-Ctarget-cpu=native cargo build\n"), NATIVE),
    (
        "a number sign in a text",
        "lib",
        ".cargo/config.toml",
        write('[build]\nrustflags = ["-Clink-arg=#x", "-Ctarget-cpu=native"]\n'),
        NATIVE,
    ),
    ("an action behind more blanks", "lib", SHIP, steps("-   uses: actions/checkout@v4"), CI),
    ("an action in quotes", "lib", SHIP, steps('- uses: "actions/checkout@v4"'), CI),
    ("a workflow that is not YAML", "lib", SHIP, write("jobs: [\n"), CI),
    ("a step that never runs", "lib", OUR_CI, lint_step("- run: just prepared test\n  if: ${{ false }}"), CI),
    (
        "a step that may fail",
        "lib",
        OUR_CI,
        lint_step("- run: just prepared test\n  continue-on-error: ${{ true }}"),
        CI,
    ),
    ("the older name of the toolchain file", "lib", "rust-toolchain", write("stable\n"), "toolchain_is_pinned"),
    (
        "the hidden clippy.toml",
        "lib",
        ".clippy.toml",
        write('disallowed-types = ["std::rc::Rc"]\n'),
        "bans_have_reasons",
    ),
    (
        "a whole file with a reason",
        "lib",
        "src/whole.rs",
        write("// ast-grep-ignore: err-string-result -- some reason\n\nfn f() {}\n"),
        "no_file_suppresses_a_rule",
    ),
]
PASSES: list[tuple[str, str, str, Edit, str]] = [
    (
        "a lint with hyphens",
        "lib",
        MANIFEST,
        replace('\nunwrap_used = "warn"', '\nunwrap-used = "warn"'),
        "every_lint_is_enabled",
    ),
    ("a helper of benches", "lib", "bench/benches/common/mod.rs", write("pub fn f() {}\n"), MEASURED),
    ("data of benches", "lib", "bench/benches/corpus.txt", write("x\n"), MEASURED),
    ("a map in an import of tests", "lib", HOT, without_maps("\n#[cfg(test)]\nuse std::collections::HashMap;\n"), MAP),
    ("a map in a comment", "lib", HOT, without_maps("\n/* a HashMap would do */\n"), MAP),
    ("a map in a text", "lib", HOT, without_maps('\nconst U: &str = "HashMap";\n'), MAP),
    ("fields as a list", "lib", HOT, as_list, SAYS),
    (
        "a cold part",
        "lib",
        "src/aggregate/table.rs",
        write("//! A table.\n//!\n//! Cold: read once,\n//! at the start.\n"),
        SUBMODULE,
    ),
    ("tests of a hot path", "lib", "src/aggregate/tests.rs", write("//! Tests.\n"), SUBMODULE),
    ("helpers of tests of a hot path", "lib", "src/aggregate/made.rs", write("#![cfg(test)]\n"), SUBMODULE),
    (
        "a part in backticks",
        "lib",
        "src/aggregate/record.rs",
        replace("//! Part of: aggregate\n", "//! Part of: `aggregate`.\n"),
        SAYS,
    ),
    (
        "a reason behind other words",
        "cli",
        MANIFEST,
        replace('[profile.release]\nlto = "fat"', '[profile.release]\nlto = "off" # BUILD-1, reason: out of memory'),
        "release_profile_is_tuned",
    ),
    (
        "a limit for all builds",
        "service",
        MANIFEST,
        replace('"release_max_level_debug"', '"max_level_info"'),
        "trace_is_compiled_out",
    ),
    ("a limit by a default feature", "service", MANIFEST, in_default_features, "trace_is_compiled_out"),
    ("an image pinned by its digest", "lib", SHIP, steps(f"- uses: docker://alpine@sha256:{'a' * 64}"), CI),
    ("an action of the repository", "lib", SHIP, steps("- uses: ./.github/actions/own"), CI),
    ("the words in a step", "lib", SHIP, steps("- run: |", "    echo 'it uses: nothing'"), CI),
    ("a step that may not fail", "lib", OUR_CI, lint_step("- run: just prepared test\n  continue-on-error: false"), CI),
    ("a step in quotes", "lib", OUR_CI, lint_step('- run: "just prepared test"'), CI),
    (
        "a lint as an inline table",
        "lib",
        MANIFEST,
        replace('\nrc_mutex = "warn"', '\nrc_mutex = { level = "allow" } # reason: a lock of tests'),
        "exceptions_in_tables_have_reasons",
    ),
    ("a lint as a table", "lib", MANIFEST, in_a_table, "exceptions_in_tables_have_reasons"),
]


def found_in(template: Template, folder: Path, kind: str, path: str, edit: Edit) -> set[str]:
    """Return the checks that report something in a crate with one edit."""
    crate = shutil.copytree(template.rendering({"crate_name": "totals", "kind": kind}), folder / "crate")
    file = crate / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(edit(file.read_text(encoding="utf-8") if file.exists() else ""), encoding="utf-8")
    return {one.gate.removeprefix("standards::") for one in check_files(crate)}


@pytest.mark.parametrize(("kind", "path", "edit", "check"), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_it_is_found(template: Template, tmp_path: Path, kind: str, path: str, edit: Edit, check: str) -> None:
    assert check in found_in(template, tmp_path, kind, path, edit)


@pytest.mark.parametrize(("kind", "path", "edit", "check"), [row[1:] for row in PASSES], ids=[row[0] for row in PASSES])
def test_it_passes(template: Template, tmp_path: Path, kind: str, path: str, edit: Edit, check: str) -> None:
    assert check not in found_in(template, tmp_path, kind, path, edit)


def test_a_bench_may_be_in_another_folder(template: Template, tmp_path: Path) -> None:
    """Its entry in the manifest has the path."""
    crate = shutil.copytree(template.rendering({"crate_name": "totals"}), tmp_path / "crate")
    (crate / "bench" / "benches" / "other").mkdir()
    (crate / "bench" / "benches" / "aggregate.rs").rename(crate / "bench" / "benches" / "other" / "agg.rs")
    manifest = crate / "bench" / "Cargo.toml"
    text = manifest.read_text(encoding="utf-8")
    entry = 'name = "aggregate"\n'
    manifest.write_text(text.replace(entry, f'{entry}path = "benches/other/agg.rs"\n'), encoding="utf-8")
    assert check_files(crate) == []


@pytest.mark.parametrize(
    ("path", "content", "is_error"),
    [
        ("deny.toml", b'advisories = "x"\n', False),
        ("deny.toml", b"[advisories]\nignore = 3\n", False),
        ("clippy.toml", b"disallowed-types = 3\n", False),
        ("clippy.toml", b'\xef\xbb\xbfmsrv = "1.88"\n', False),
        ("rust-toolchain.toml", b'toolchain = "1.95.0"\n', True),
        (".github/workflows/ship.yml", b"\xff\xfe", False),
    ],
)
def test_unusual_contents_cause_no_traceback(
    template: Template, tmp_path: Path, path: str, content: bytes, *, is_error: bool
) -> None:
    crate = shutil.copytree(template.rendering({"crate_name": "totals"}), tmp_path / "crate")
    (crate / path).write_bytes(content)
    try:
        check_files(crate)
    except FastRustError:
        assert is_error
    else:
        assert not is_error
