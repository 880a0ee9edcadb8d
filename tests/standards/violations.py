"""All tested violations, for each of which a gate fails, and all exceptions that a gate accepts.

A page of standards/ names a violation by its `name`, where no Rust example can show what the gate checks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from support.files import replace_only


@dataclass(frozen=True)
class Replace:
    """Replace a text, which occurs once, with another one."""

    before: str
    after: str

    def apply(self, path: Path) -> None:
        replace_only(path, self.before, self.after)


@dataclass(frozen=True)
class Delete:
    """Delete a file."""

    def apply(self, path: Path) -> None:
        path.unlink()


@dataclass(frozen=True)
class Add:
    """Add a file."""

    text: str

    def apply(self, path: Path) -> None:
        assert not path.exists(), f"{path.name} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, encoding="utf-8")


@dataclass(frozen=True)
class Rewrite:
    """Replace the entire text of a file."""

    text: str

    def apply(self, path: Path) -> None:
        assert path.exists(), f"{path.name} is not there"
        path.write_text(self.text, encoding="utf-8")


Edit: TypeAlias = Replace | Delete | Add | Rewrite


@dataclass(frozen=True)
class PlantedViolation:
    """A change that a developer could make, the gate that detects it, and the words of its instructions."""

    name: str
    directives: tuple[str, ...]
    path: str
    edit: Edit
    gate: str
    message: str
    crate: str = "lib"


@dataclass(frozen=True)
class AllowedChange:
    """A change that the gates accept, because it has a reason, or because it violates no directive."""

    name: str
    path: str
    edit: Edit
    gate: str
    crate: str = "lib"


HOT_LOOP = "        let (record, rest) = record::split_usual(text)?;\n"
HOT_SECTION = "//! # Hot path\n//! Why: runs once for each record, of which inputs have millions.\n"
BUDGET = "//! Budget: 300 instructions and 0 heap blocks a record whose key is known.\n"
HASHER = "//! Hasher: the caller chooses it, since only the caller knows where the keys come from.\n"
MEASURE = ("OP-4", "BENCH-1", "BENCH-5", "BENCH-7")
EVERY_GATE_OF_CI = ("TOOL-1", "TOOL-2", "TOOL-4", "TOOL-5", "BENCH-5")
CHECKOUT_PIN = "      - uses: actions/checkout@"
PASTE = "paste into Cargo.toml of the workspace"

# --- Code of the hot path ---

CODE = [
    PlantedViolation(
        "a block for each record, seen by the allocation test",
        ("BENCH-7",),
        "src/aggregate.rs",
        Replace(HOT_LOOP, HOT_LOOP + "        std::hint::black_box(record.key.to_vec());\n"),
        "allocations",
        "blocks for 60000 and for twice as many records",
    ),
    PlantedViolation(
        "a block for each record, seen by the instruction bench",
        ("BENCH-3", "BENCH-5", "BENCH-7"),
        "src/aggregate.rs",
        Replace(HOT_LOOP, HOT_LOOP + "        std::hint::black_box(record.key.to_vec());\n"),
        "instructions",
        "exceeds limit of 0 by 9999",
    ),
    PlantedViolation(
        "a list for each record",
        ("PRE-5", "ITER-4", "COLL-5", "COLL-6", "BENCH-7"),
        "src/aggregate.rs",
        Replace(
            HOT_LOOP,
            HOT_LOOP + "        let key: Vec<u8> = record.key.iter().copied().collect();\n"
            "        std::hint::black_box(key);\n",
        ),
        "allocations",
        "blocks for 60000 and for twice as many records",
    ),
    PlantedViolation(
        "a second pass over each key",
        ("BENCH-5",),
        "src/aggregate.rs",
        Replace(
            HOT_LOOP,
            HOT_LOOP + "        std::hint::black_box(record.key.iter().filter(|byte| **byte == b'x').count());\n",
        ),
        "instructions",
        "exceeds limit of 3000000",
    ),
    PlantedViolation(
        "a search that restarts at each empty line",
        ("BENCH-5",),
        "src/aggregate/record.rs",
        Replace("if matches!(text.first()?, b'\\n' | b'\\r') {", "if text.is_empty() {"),
        "instructions",
        "exceeds limit of 2400000",
    ),
    PlantedViolation(
        "the trusted hasher where it matters",
        ("HASH-1",),
        "src/aggregate.rs",
        Replace("pub struct Aggregator<S = RandomState> {", "pub struct Aggregator<S = TrustedKeys> {"),
        "tests",
        "only_the_keyed_hasher_stands_colliding_keys",
    ),
    PlantedViolation(
        "a larger error",
        ("ERR-1",),
        "src/error.rs",
        Replace(
            "        /// The limit.\n",
            "        /// Padding.\n        padding: [u64; 4],\n        /// The limit.\n",
        ),
        "tests",
        "padding",
    ),
    PlantedViolation(
        "code that is not formatted",
        ("TOOL-2",),
        "src/lib.rs",
        Replace("pub mod error;", "pub  mod error;"),
        "rustfmt",
        "Diff in",
    ),
    PlantedViolation(
        "a panic in library code",
        ("ERR-7",),
        "src/aggregate.rs",
        Replace(HOT_LOOP, HOT_LOOP.replace("?", ".unwrap()")),
        "clippy::unwrap_used",
        "clippy::unwrap-used",
    ),
    PlantedViolation(
        "unsafe code",
        (),
        "src/lib.rs",
        Replace("pub mod error;", "pub mod error;\nmod raw {\n    pub(crate) unsafe fn f() {}\n}"),
        "rustc::unsafe_code",
        "unsafe",
    ),
    PlantedViolation(
        "a public item without documentation",
        (),
        "src/lib.rs",
        Replace("pub use crate::error::Error;", "pub use crate::error::Error;\n\npub const NAMELESS: u8 = 1;"),
        "rustc::missing_docs",
        "missing documentation",
    ),
    PlantedViolation(
        "a link to nothing in the documentation",
        (),
        "src/lib.rs",
        Replace("pub use crate::error::Error;", "/// See [`nowhere`].\npub use crate::error::Error;"),
        "rustdoc",
        "unresolved link",
    ),
    PlantedViolation(
        "a doctest that fails",
        ("TOOL-5",),
        "src/lib.rs",
        Replace(
            "pub use crate::error::Error;",
            "/// ```\n/// assert_eq!(1, 2);\n/// ```\npub const ONE: u8 = 1;\n\npub use crate::error::Error;",
        ),
        "doctests",
        "src/lib.rs - ONE",
    ),
    PlantedViolation(
        "a dependency that nothing uses",
        ("TOOL-3",),
        "Cargo.toml",
        Replace('memchr = "2.8"', 'memchr = "2.8"\nitoa = "1"'),
        "cargo-shear",
        "itoa",
    ),
    PlantedViolation(
        "a dependency whose licence is not accepted",
        ("TOOL-4",),
        "deny.toml",
        Replace('    "Unicode-3.0",\n', ""),
        "cargo-deny",
        "rejected",
    ),
    *(
        PlantedViolation(
            f"a dependency on {name}",
            (directive,),
            "Cargo.toml",
            Replace('memchr = "2.8"', f'memchr = "2.8"\n{name} = "{version}"'),
            "cargo-deny",
            message,
        )
        for name, version, directive, message in [
            ("async-std", "1", "CONC-3", "CONC-3: discontinued"),
            ("bincode", "1", "TOOL-4", "TOOL-4: unmaintained"),
            ("fxhash", "0.2", "HASH-6", "HASH-6: unmaintained"),
        ]
    ),
    PlantedViolation(
        "an input that is read in small pieces",
        ("IO-5",),
        "src/aggregate/read.rs",
        Replace("const BLOCK_BYTES: usize = 256 * 1024;", "const BLOCK_BYTES: usize = 4 * 1024;"),
        "tests",
        "an_input_is_read_in_few_calls",
    ),
    PlantedViolation(
        "output without a buffer",
        ("IO-5",),
        "src/main.rs",
        Replace("let mut output = BufWriter::new(output);", "let mut output = output;"),
        "tests",
        "output_is_written_in_few_calls",
        crate="cli",
    ),
    PlantedViolation(
        "output that is not flushed",
        ("IO-6",),
        "src/main.rs",
        Replace("    output.flush()\n}\n\n#[cfg(test)]", "    Ok(())\n}\n\n#[cfg(test)]"),
        "tests",
        "a_full_disk_is_an_error",
        crate="cli",
    ),
    PlantedViolation(
        "a computation on the executor",
        ("ASYNC-3",),
        "src/routes.rs",
        Replace("const INLINE_BYTES: usize = 64 * 1024;", "const INLINE_BYTES: usize = usize::MAX;"),
        "tests",
        "ASYNC-3: others had",
        crate="service",
    ),
    PlantedViolation(
        "a banned dependency",
        ("TOOL-4",),
        "deny.toml",
        Replace('    { name = "fxhash"', '    { name = "memchr", reason = "a test" },\n    { name = "fxhash"'),
        "cargo-deny",
        "memchr",
    ),
]

# --- The declaration of hot paths, and their measurements ---

HOT_PATHS = [
    PlantedViolation(
        "a hot path without its allocation test",
        MEASURE,
        "bench/tests/aggregate_allocations.rs",
        Delete(),
        "standards::every_hot_path_is_measured",
        "write bench/benches/NAME.rs",
    ),
    PlantedViolation(
        "a hot path that nothing measures",
        MEASURE,
        "src/error.rs",
        Replace(
            "//! The errors of this crate: few, small and typed.\n",
            "//! The errors of this crate: few, small and typed.\n//!\n"
            "//! # Hot path\n//! Why: an error for each record.\n//! Budget: 0 heap blocks.\n",
        ),
        "standards::every_hot_path_is_measured",
        "error (src/error.rs): bench/benches/error_instructions.rs does not exist",
    ),
    PlantedViolation(
        "a hot function that nothing measures",
        MEASURE,
        "src/aggregate/record.rs",
        Replace(
            "#[inline]\npub(super) fn split_usual(",
            "///\n/// # Hot path\n/// Why: runs once for each record.\n/// Budget: 0 heap blocks.\n"
            "#[inline]\npub(super) fn split_usual(",
        ),
        "standards::every_hot_path_is_measured",
        "split_usual (src/aggregate/record.rs): bench/tests/split_usual_allocations.rs does not exist",
    ),
    PlantedViolation(
        "a bench that runs by the harness of tests",
        MEASURE,
        "bench/Cargo.toml",
        Replace('name = "aggregate"\nharness = false', 'name = "aggregate"'),
        "standards::every_hot_path_is_measured",
        "paste into bench/Cargo.toml",
    ),
    PlantedViolation(
        "an instruction bench that counts something else",
        MEASURE,
        "bench/benches/aggregate_instructions.rs",
        Rewrite("//! Counts the instructions of nothing, not of aggregate.\n\nfn main() {}\n"),
        "standards::every_hot_path_is_measured",
        "never calls the hot path",
    ),
    PlantedViolation(
        "a bench of nothing in particular",
        ("BENCH-1",),
        "bench/benches/misc.rs",
        Add("//! Measures this and that.\n\nfn main() {}\n"),
        "standards::every_measurement_belongs_to_a_hot_path",
        "delete the file and its [[bench]] entry",
    ),
    PlantedViolation(
        "an allocation test without a hot path",
        ("BENCH-1",),
        "bench/tests/misc_allocations.rs",
        Add("//! Counts this and that.\n"),
        "standards::every_measurement_belongs_to_a_hot_path",
        "delete the file",
    ),
    PlantedViolation(
        "a module that is no longer declared hot",
        ("BENCH-1",),
        "src/aggregate.rs",
        Replace(HOT_SECTION + BUDGET + HASHER, "//! Runs often.\n"),
        "standards::every_measurement_belongs_to_a_hot_path",
        "a section `# Hot path`",
    ),
    PlantedViolation(
        "a hot path without a budget",
        ("OP-3", "OP-4"),
        "src/aggregate.rs",
        Replace(BUDGET, ""),
        "standards::every_hot_path_has_a_reason_and_a_budget",
        "complete the documentation",
    ),
    PlantedViolation(
        "a budget without a number",
        ("OP-3", "OP-4"),
        "src/aggregate.rs",
        Replace(BUDGET, "//! Budget: as little as can be.\n"),
        "standards::every_hot_path_has_a_reason_and_a_budget",
        "no `Budget:` with a number",
    ),
    PlantedViolation(
        "a budget that the bench does not hold",
        ("OP-3", "BENCH-5"),
        "src/aggregate.rs",
        Replace(BUDGET, BUDGET.replace("300", "250")),
        "standards::every_budget_is_a_limit",
        "does not have the limit 250",
    ),
    PlantedViolation(
        "a hot path that does not say why",
        ("OP-3", "OP-4"),
        "src/aggregate.rs",
        Replace("//! Why: runs once for each record, of which inputs have millions.\n", ""),
        "standards::every_hot_path_has_a_reason_and_a_budget",
        "no `Why:`",
    ),
    PlantedViolation(
        "a part of a hot path that is not there",
        ("OP-3", "OP-4"),
        "src/aggregate/record.rs",
        Replace("//! Part of: aggregate\n", "//! Part of: parsing\n"),
        "standards::every_hot_path_has_a_reason_and_a_budget",
        "`Part of:` names no hot path of this crate",
    ),
    PlantedViolation(
        "a part of a hot path that does not say so",
        ("OP-4",),
        "src/aggregate/record.rs",
        Replace("//! # Hot path\n//! Part of: aggregate\n", ""),
        "standards::every_submodule_of_a_hot_path_is_marked",
        "//! Part of: NAME",
    ),
    PlantedViolation(
        "a map on a hot path without a hasher",
        ("HASH-3", "HASH-5"),
        "src/aggregate.rs",
        Replace(HASHER, ""),
        "standards::every_map_on_a_hot_path_names_its_hasher",
        "add to the section `# Hot path`: `Hasher:",
    ),
    PlantedViolation(
        "a hasher without a reason",
        ("HASH-3", "HASH-5"),
        "src/aggregate.rs",
        Replace(HASHER, "//! Hasher: Fx.\n"),
        "standards::every_map_on_a_hot_path_names_its_hasher",
        "no `Hasher:` with a reason",
    ),
]

# --- Profiles, flags ---

BUILDS = [
    PlantedViolation(
        "thin code from the default release profile",
        ("BUILD-1", "BUILD-5"),
        "Cargo.toml",
        Replace('[profile.release]\nlto = "fat"', '[profile.release]\nlto = "off"'),
        "standards::release_profile_is_tuned",
        PASTE,
        "cli",
    ),
    PlantedViolation(
        "many codegen units",
        ("BUILD-1", "BUILD-5"),
        "Cargo.toml",
        Replace("codegen-units = 1 # BUILD-1", "codegen-units = 16 # BUILD-1"),
        "standards::release_profile_is_tuned",
        "profile.release.codegen-units is 16",
        "service",
    ),
    PlantedViolation(
        "a program without optimisation",
        ("BUILD-1", "BUILD-5"),
        "Cargo.toml",
        Replace("[profile.release]\n", "[profile.release]\nopt-level = 1\n"),
        "standards::release_profile_is_tuned",
        "profile.release.opt-level is 1",
        "cli",
    ),
    PlantedViolation(
        "an unchosen panic strategy",
        ("BUILD-2",),
        "Cargo.toml",
        Replace('panic = "abort"', '# panic = "abort"'),
        "standards::panic_strategy_is_chosen",
        "under [profile.release], one of:",
        "cli",
    ),
    PlantedViolation(
        "benches of a library without link-time optimisation",
        ("OP-2",),
        "Cargo.toml",
        Replace('[profile.bench]\nlto = "fat"', '[profile.bench]\nlto = "off"'),
        "standards::benches_measure_what_ships",
        PASTE,
    ),
    PlantedViolation(
        "benches of a program that are built in another way",
        ("OP-2",),
        "Cargo.toml",
        Replace("[profile.bench]\n", "[profile.bench]\ncodegen-units = 16\n"),
        "standards::benches_measure_what_ships",
        "profile.bench.codegen-units is 16",
        "service",
    ),
    PlantedViolation(
        "profiling of something else than the release",
        ("OP-2",),
        "Cargo.toml",
        Replace(
            '[profile.profiling] # for perf, samply and flamegraphs: `release` with symbols\ninherits = "release"',
            '[profile.profiling]\ninherits = "dev"',
        ),
        "standards::benches_measure_what_ships",
        'profile.profiling.inherits is "dev"',
        "cli",
    ),
    PlantedViolation(
        "benches without symbols",
        ("BENCH-4",),
        "Cargo.toml",
        Replace(
            'debug = "line-tables-only" # callgrind and perf name functions by it\nstrip = false',
            'debug = "line-tables-only"',
        ),
        "standards::profiling_keeps_symbols",
        "profile.bench.strip is true",
        "cli",
    ),
    PlantedViolation(
        "benches without debug information",
        ("BENCH-4",),
        "Cargo.toml",
        Replace('debug = "line-tables-only" # callgrind and perf name functions by it\n', ""),
        "standards::profiling_keeps_symbols",
        "under [profile.bench] and [profile.profiling]",
    ),
    PlantedViolation(
        "a build for the build host",
        ("BUILD-4",),
        ".cargo/config.toml",
        Add('[build]\nrustflags = ["-C", "target-cpu=native"]\n'),
        "standards::no_build_uses_the_native_cpu",
        "set a CPU level that all target machines support",
    ),
    PlantedViolation(
        "a workflow that builds for its own machine",
        ("BUILD-4",),
        ".github/workflows/ship.yml",
        Add("on: push\njobs:\n  ship:\n    steps:\n      - run: cargo rustc --release -- -Ctarget-cpu=native\n"),
        "standards::no_build_uses_the_native_cpu",
        ".github/workflows/ship.yml:5",
        "service",
    ),
    PlantedViolation(
        "flags of CI that override the processor level",
        ("BUILD-4",),
        ".github/workflows/ci.yml",
        Replace("\njobs:\n", "\nenv:\n  RUSTFLAGS: --deny warnings\n\njobs:\n"),
        "standards::ci_leaves_rustflags_alone",
        "delete the line",
    ),
    PlantedViolation(
        "trace events in what ships",
        ("LOG-3",),
        "Cargo.toml",
        Replace('"release_max_level_debug"', '"max_level_trace"'),
        "standards::trace_is_compiled_out",
        'add to the features of `tracing` in Cargo.toml of the program: "release_max_level_debug"',
        "service",
    ),
    PlantedViolation(
        "a program in a workspace of somebody else, whose profile is not tuned",
        ("BUILD-1", "BUILD-5"),
        "Cargo.toml",
        Replace('[profile.release]\nlto = "thin"\n', "[profile.release]\n"),
        "standards::release_profile_is_tuned",
        PASTE,
        "foreign",
    ),
    PlantedViolation(
        "a formatting file above a member",
        ("TOOL-2", "TOOL-6"),
        "rustfmt.toml",
        Add("max_width = 120\n"),
        "standards::formatting_has_no_overrides",
        "delete the file",
        "foreign",
    ),
]

# --- Tools and tables ---

TOOLS = [
    PlantedViolation(
        "a threshold that is raised",
        ("DOOR-1",),
        "clippy.toml",
        Replace("large-error-threshold = 128", "large-error-threshold = 256"),
        "standards::relaxed_settings_have_reasons",
        "clippy.toml: large-error-threshold is 256, looser than the template's 128",
    ),
    PlantedViolation(
        "a source that is allowed",
        ("DOOR-1",),
        "deny.toml",
        Replace('unknown-git = "deny"', 'unknown-git = "allow" # reason: fork'),
        "standards::relaxed_settings_have_reasons",
        "sources.unknown-git is 'allow', looser than the template's 'deny'",
    ),
    PlantedViolation(
        "a limit of just perf that is raised",
        ("DOOR-1",),
        "Cargo.toml",
        Replace("\ninstructions = 2.0", "\ninstructions = 90.0"),
        "standards::relaxed_settings_have_reasons",
        "Cargo.toml: workspace.metadata.perf.instructions is 90.0, looser than the template's 2.0",
    ),
    PlantedViolation(
        "a file of an older release",
        ("TOOL-1",),
        "sgconfig.yml",
        Add("# Where ast-grep and editors find the rules. Rules of your own go to lints/own/.\nruleDirs: [lints]\n"),
        "standards::no_file_is_of_an_older_release",
        "run `git rm sgconfig.yml`",
    ),
    PlantedViolation(
        "a formatting file",
        ("TOOL-2", "TOOL-6"),
        "src/.rustfmt.toml",
        Add("max_width = 120\n"),
        "standards::formatting_has_no_overrides",
        "delete the file, then run `cargo fmt --all`",
    ),
    PlantedViolation(
        "a crate that does not inherit the lints",
        ("TOOL-1",),
        "bench/Cargo.toml",
        Replace("[lints]\nworkspace = true\n", ""),
        "standards::lints_are_inherited",
        "paste into its Cargo.toml",
    ),
    PlantedViolation(
        "a lint that is left out",
        ("TOOL-1",),
        "Cargo.toml",
        Replace("\nunwrap_used = ", "\n# unwrap_used = "),
        "standards::every_lint_is_enabled",
        "clippy::unwrap_used is disabled",
    ),
    PlantedViolation(
        "a group of lints that is lowered",
        ("TOOL-1",),
        "Cargo.toml",
        Replace('\nperf = { level = "warn"', '\nperf = { level = "allow"'),
        "standards::every_lint_is_enabled",
        "clippy::perf is disabled",
    ),
    PlantedViolation(
        "a lint that is allowed without a reason",
        ("DOOR-1",),
        "Cargo.toml",
        Replace('\nrc_mutex = "warn"', '\nrc_mutex = "allow"'),
        "standards::exceptions_in_tables_have_reasons",
        "end the line with `# reason: ...`",
    ),
    PlantedViolation(
        "an advisory that is ignored without a reason",
        ("DOOR-1",),
        "deny.toml",
        Replace('yanked = "deny"', 'yanked = "deny"\nignore = ["RUSTSEC-2025-0057"]'),
        "standards::exceptions_in_tables_have_reasons",
        'write an advisory as { id = "...", reason = "..." }',
    ),
    PlantedViolation(
        "a file that no rule looks at",
        ("DOOR-1",),
        "src/unseen.rs",
        Add("// ast-grep-ignore\n\n/// Says no.\npub fn f() -> Result<(), String> {\n    Ok(())\n}\n"),
        "standards::no_file_suppresses_a_rule",
        "src/unseen.rs",
    ),
    PlantedViolation(
        "an exception from a rule of ast-grep that nothing needs any more",
        ("DOOR-1",),
        "src/lib.rs",
        Replace("pub mod error;\n", "// ast-grep-ignore: own-clone-in-loop -- it was needed once\npub mod error;\n"),
        "ast-grep::unused-suppression",
        "unused-suppression",
    ),
    PlantedViolation(
        "a ban without a reason",
        ("DOOR-1", "TOOL-1"),
        "clippy.toml",
        Replace("disallowed-types = [\n", 'disallowed-types = [\n    "std::rc::Rc",\n'),
        "standards::bans_have_reasons",
        "write the entry in clippy.toml as",
    ),
    PlantedViolation(
        "any toolchain",
        ("TOOL-1",),
        "rust-toolchain.toml",
        Replace('channel = "1.95.0"', 'channel = "stable"'),
        "standards::toolchain_is_pinned",
        "set a full version in rust-toolchain.toml",
    ),
    PlantedViolation(
        "CI without the lints",
        EVERY_GATE_OF_CI,
        ".github/workflows/ci.yml",
        Replace("recipes: format clippy doc ", "recipes: format doc "),
        "standards::ci_runs_every_gate",
        "ci.yml does not run `just clippy`",
    ),
    PlantedViolation(
        "CI without the rules",
        EVERY_GATE_OF_CI,
        ".github/workflows/ci.yml",
        Replace("just prepared $RECIPES", "just prepared"),
        "standards::ci_runs_every_gate",
        "ci.yml does not run `just rules`",
    ),
    PlantedViolation(
        "CI that continues after a failed gate",
        EVERY_GATE_OF_CI,
        ".github/workflows/ci.yml",
        Replace(
            "      - run: just prepared test\n", "      - run: just prepared test\n        continue-on-error: true\n"
        ),
        "standards::ci_runs_every_gate",
        "restore the file with `fast-rust drift --fix` or from git",
    ),
    PlantedViolation(
        "no CI",
        EVERY_GATE_OF_CI,
        ".github/workflows/ci.yml",
        Delete(),
        "standards::ci_runs_every_gate",
        "ci.yml does not run `just test`",
    ),
    PlantedViolation(
        "an action that its owner can change",
        EVERY_GATE_OF_CI,
        ".github/workflows/ship.yml",
        Add("on: push\njobs:\n  ship:\n    steps:\n      - uses: actions/checkout@v7\n"),
        "standards::ci_runs_every_gate",
        "uses: OWNER/NAME@COMMIT",
    ),
    PlantedViolation(
        "a recipe that lets warnings pass",
        EVERY_GATE_OF_CI,
        "justfile",
        Replace(" --all-features -- --deny warnings\n", " --all-features\n"),
        "standards::ci_runs_every_gate",
        "the recipe `clippy` of the justfile does not run `cargo clippy",
    ),
    PlantedViolation(
        "a recipe that continues after a failure",
        EVERY_GATE_OF_CI,
        "justfile",
        Replace("    cargo fmt --all {{ arguments }}\n", "    cargo fmt --all {{ arguments }} || true\n"),
        "standards::ci_runs_every_gate",
        "the recipe `fmt` of the justfile does not run `cargo fmt --all`",
    ),
    PlantedViolation(
        "a recipe that checks less than CI",
        EVERY_GATE_OF_CI,
        "justfile",
        Replace("\ncheck: lint test doc audit instructions", "\ncheck: lint test"),
        "standards::ci_runs_every_gate",
        "the recipe `check` of the justfile does not run",
    ),
    PlantedViolation(
        "a recipe without the rules",
        EVERY_GATE_OF_CI,
        "justfile",
        Replace("\nlint: format clippy rules", "\nlint: format clippy"),
        "standards::ci_runs_every_gate",
        "the recipe `lint` of the justfile does not run",
    ),
]

# --- The cost of a change, compared with its base ---

COMPARED = [
    PlantedViolation(
        "a hasher that takes longer",
        ("OP-1", "BENCH-2"),
        "src/aggregate.rs",
        Replace("pub struct FastHasher(rustc_hash::FxHasher);", "pub struct FastHasher(std::hash::DefaultHasher);"),
        "just perf",
        "OP-1, BENCH-2: aggregate_instructions::records::fed known_keys: instructions",
    ),
    PlantedViolation(
        "a second pass that gains nothing",
        ("OP-1", "BENCH-2", "BENCH-9"),
        "src/aggregate.rs",
        Replace(
            HOT_LOOP,
            HOT_LOOP + "        std::hint::black_box(record.key.iter().filter(|byte| **byte == b'x').count());\n",
        ),
        "just perf",
        "the limit is +2 %",
    ),
    PlantedViolation(
        "CI that compares no speed",
        ("OP-1", "BENCH-2"),
        ".github/workflows/perf.yml",
        Replace("      - run: just perf\n", "      - run: just bench\n"),
        "standards::ci_runs_every_gate",
        "perf.yml does not run `just perf`",
    ),
    PlantedViolation(
        "a comparison that may fail",
        ("OP-1", "BENCH-2"),
        ".github/workflows/perf.yml",
        Replace("      - run: just perf\n", "      - run: just perf\n        continue-on-error: true\n"),
        "standards::ci_runs_every_gate",
        "perf.yml:",
    ),
]


@contextmanager
def changed(crate: Path, changes: Sequence[PlantedViolation | AllowedChange]) -> Iterator[None]:
    """Apply some changes to a crate, and revert them at the end."""
    before: dict[Path, bytes | None] = {}
    try:
        for change in changes:
            path = crate / change.path
            before.setdefault(path, path.read_bytes() if path.exists() else None)
            change.edit.apply(path)
        yield
    finally:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)


VIOLATIONS = [*CODE, *HOT_PATHS, *BUILDS, *TOOLS, *COMPARED]

# --- Accepted changes ---

ALLOWED = [
    AllowedChange(
        "a lint that is allowed with a reason",
        "Cargo.toml",
        Replace('\nunwrap_used = "warn" #', '\nunwrap_used = "allow" # reason: a proof of concept until summer #'),
        "standards",
    ),
    AllowedChange(
        "a stricter lint",
        "Cargo.toml",
        Replace('\nunwrap_used = "warn"', '\nunwrap_used = "deny"'),
        "standards",
    ),
    AllowedChange(
        "an advisory that is ignored with a reason",
        "deny.toml",
        Replace(
            'yanked = "deny"',
            'yanked = "deny"\nignore = [{ id = "RUSTSEC-2025-0057", reason = "only in a tool of tests" }]',
        ),
        "standards",
    ),
    AllowedChange(
        "a profile that is loosened with a reason",
        "Cargo.toml",
        Replace("codegen-units = 1 # BUILD-1", "codegen-units = 16 # reason: the linker runs out of memory. #"),
        "standards",
        "cli",
    ),
    AllowedChange(
        "a workflow of the crate's own",
        ".github/workflows/ship.yml",
        Add(
            "on: push\njobs:\n  ship:\n    steps:\n"
            "      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1\n"
        ),
        "standards",
    ),
    AllowedChange(
        "code of others that breaks a rule",
        "vendor/old/src/lib.rs",
        Add("pub  fn f() -> Result<(), String> {\n    Ok(())\n}\n"),
        "ast-grep",
    ),
    AllowedChange("a formatting file of others", "vendor/old/rustfmt.toml", Add("max_width = 80\n"), "standards"),
    AllowedChange("an empty formatting file", "rustfmt.toml", Add("# The default.\n"), "standards"),
    AllowedChange(
        "a map in the tests of a hot path",
        "src/aggregate/decimal.rs",
        Replace("mod tests {\n", "mod tests {\n    type _Totals = std::collections::HashMap<u8, u8>;\n"),
        "standards",
    ),
]
