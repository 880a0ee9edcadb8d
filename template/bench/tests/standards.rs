//! The standards that are about a crate's files, not its code. STANDARDS.md says what each one asks.
//!
//! Each test is one rule; its message names the directives and says what to do next. The template
//! owns this file: rules of your own go to another one beside it.

#![expect(clippy::unwrap_used, reason = "what cannot be read is red too")]

use cargo_metadata::{DependencyKind, MetadataCommand, Package, Target};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use toml::{Table, Value};

/// The bench of a service as a whole: a request passes many modules, of which none is hot by itself.
const OF_ALL: (&str, &str) = ("benches", "request_instructions");

// --- Hot paths: modules and functions whose documentation has a section `# Hot path` ---

#[test]
fn every_hot_path_is_measured() {
    let manifest = Document::read(&folder_of(&WORKSPACE.bench).join("Cargo.toml"));
    let mut faults = Vec::new();
    for hot in hot_paths() {
        for (folder, name) in measurements(&hot.name) {
            let mut targets = WORKSPACE.bench.targets.iter();
            let target = targets.find(|target| target.name == name && folder == kind_of(target));
            let file = format!("bench/{folder}/{name}.rs");
            let Some(target) = target else {
                faults.push(format!("{hot}: there is no {file}"));
                continue;
            };
            let source = code(&read(target.src_path.as_std_path()));
            if !identifiers(&source).any(|word| word == hot.name) {
                faults.push(format!("{hot}: {file} never calls it"));
            }
            if folder == "benches" && !has_own_harness(&manifest, &name) {
                faults.push(format!("{hot}: bench/Cargo.toml does not register {name}"));
            }
        }
    }
    demand(
        "OP-4, BENCH-1, BENCH-5, BENCH-7: a hot path has a bench, an instruction bench and an allocation test",
        faults,
        r#"write bench/benches/NAME.rs (criterion), bench/benches/NAME_instructions.rs (gungraun) and
bench/tests/NAME_allocations.rs (dhat), and paste into bench/Cargo.toml:

[[bench]]
name = "NAME"
harness = false

[[bench]]
name = "NAME_instructions"
harness = false"#,
    );
}

#[test]
fn every_measurement_belongs_to_a_hot_path() {
    let targets = WORKSPACE.bench.targets.iter();
    let mut found: BTreeSet<_> = targets
        .map(|target| (kind_of(target), target.name.clone()))
        .collect();
    // Cargo may not know a file, for want of an entry where `autobenches` is off.
    for folder in ["benches", "tests"] {
        let files = files_below(&folder_of(&WORKSPACE.bench).join(folder));
        found.extend(files.iter().map(|file| (folder, module_of(file))));
    }
    found.retain(|(folder, name)| *folder == "benches" || name.ends_with("_allocations"));
    found.retain(|(folder, name)| (*folder, &**name) != OF_ALL);
    for measured in hot_paths().flat_map(|hot| measurements(&hot.name)) {
        found.remove(&measured);
    }
    demand(
        "BENCH-1: what is measured is a hot path",
        found
            .iter()
            .map(|(folder, name)| format!("bench/{folder}/{name}.rs measures none")),
        "delete the file and its [[bench]] entry in bench/Cargo.toml, or document the module or function that it
measures with a section `# Hot path`",
    );
}

#[test]
fn every_hot_path_says_why_and_what_it_may_cost() {
    let names: BTreeSet<_> = hot_paths().map(|hot| &*hot.name).collect();
    let mut faults = Vec::new();
    for section in SECTIONS.iter().filter(|section| section.is_part()) {
        if !names.contains(section.field("Part of")) {
            faults.push(format!("{section}: there is no hot path of that name"));
        }
    }
    for hot in hot_paths() {
        if words(hot.field("Why")) < 3 {
            faults.push(format!("{hot}: no `Why:`"));
        }
        if !hot.field("Budget").contains(char::is_numeric) {
            faults.push(format!("{hot}: no `Budget:` with a number"));
        }
    }
    demand(
        "OP-3, OP-4: a hot path says why it is hot and what it may cost",
        faults,
        "complete the documentation; the file of a submodule that is as hot says so with `Part of:` alone:

//! # Hot path
//! Why: runs once for each record, of which inputs have millions.
//! Budget: 300 instructions and 0 heap blocks a record.

//! # Hot path
//! Part of: NAME",
    );
}

#[test]
fn every_budget_is_a_limit() {
    let mut faults = Vec::new();
    for hot in hot_paths() {
        let file = format!("benches/{}_instructions.rs", hot.name);
        let bench = code(&read(&folder_of(&WORKSPACE.bench).join(&file)));
        let limits: BTreeSet<_> = identifiers(&bench).map(without_separators).collect();
        let budget: Vec<_> = hot.field("Budget").split_whitespace().collect();
        let pairs = budget.windows(2);
        for pair in pairs.filter(|pair| pair[1].starts_with("instruction")) {
            if !limits.contains(&without_separators(pair[0])) {
                faults.push(format!("{hot}: bench/{file} has no limit of {}", pair[0]));
            }
        }
    }
    demand(
        "OP-3, BENCH-5: the budget of a hot path is the limit of its instruction bench",
        faults,
        "write the same number into the line `Budget:` and into the limits of the bench",
    );
}

#[test]
fn every_map_on_a_hot_path_names_its_hasher() {
    let is_map = |word: &str| {
        let kinds = [
            "HashMap",
            "HashSet",
            "HashTable",
            "IndexMap",
            "IndexSet",
            "DashMap",
        ];
        kinds.iter().any(|kind| word.ends_with(kind))
    };
    let silent = SECTIONS
        .iter()
        .filter(|hot| identifiers(&hot.code).any(is_map) && words(hot.field("Hasher")) < 3);
    demand(
        "HASH-3, HASH-5: a map on a hot path names its hasher and why it is safe there",
        silent.map(|hot| format!("{hot}: it holds a map, and has no `Hasher:` with a reason")),
        "add to the section `# Hot path`: `Hasher: Fx, since the keys are our own.`, or `Hasher: SipHash, since
strangers choose the keys.`",
    );
}

// --- Builds: the profiles of the workspace, and what is compiled in ---

#[test]
fn release_profile_is_tuned() {
    let keys = ["lto", "codegen-units", "opt-level"];
    let faults = has_programs().then(|| misset("release", &keys));
    demand(
        "BUILD-1, BUILD-5: programs ship with link-time optimisation and few codegen units",
        faults.into_iter().flatten(),
        r#"paste into Cargo.toml of the workspace, or end the line there with `# reason: ...`:

[profile.release]
lto = "fat"
codegen-units = 1"#,
    );
}

#[test]
fn panic_strategy_is_chosen() {
    let faults = has_programs().then(|| misset("release", &["panic"]));
    demand(
        "BUILD-2: programs say what a panic does",
        faults.into_iter().flatten(),
        r#"paste into Cargo.toml of the workspace, under [profile.release], one of:

panic = "abort" # smaller and slightly faster; a panic ends the process
panic = "unwind" # a panic costs its thread or request, not the process"#,
    );
}

#[test]
fn benches_measure_what_ships() {
    let mut faults = misset("profiling", &["inherits"]);
    for (profile, key) in [
        ("bench", "lto"),
        ("bench", "codegen-units"),
        ("bench", "opt-level"),
        ("profiling", "opt-level"),
        ("quick", "opt-level"),
    ] {
        let own = WORKSPACE.manifest.at(&format!("profile.{profile}.{key}"));
        // What programs take over from their release is the other rule's.
        if own.is_some() || !has_programs() {
            faults.extend(misset(profile, &[key]));
        }
    }
    demand(
        "OP-2: what is measured is built as it ships",
        faults,
        r#"paste into Cargo.toml of the workspace, `lto` and `codegen-units` only where [profile.release] has none:

[profile.bench]
lto = "fat"
codegen-units = 1
debug = "line-tables-only"
strip = false

[profile.profiling]
inherits = "release"
debug = "line-tables-only"
strip = false"#,
    );
}

#[test]
fn symbols_are_there_to_profile() {
    let profiles = ["bench", "profiling"].into_iter();
    demand(
        "BENCH-4: profilers find names in what they measure",
        profiles.flat_map(|profile| misset(profile, &["debug", "strip"])),
        r#"paste into Cargo.toml of the workspace, under [profile.bench] and [profile.profiling]:

debug = "line-tables-only"
strip = false"#,
    );
}

#[test]
fn no_build_is_for_the_build_host() {
    let mut files = workflows();
    files.extend(files_below(&WORKSPACE.root.join(".cargo")));
    for name in ["Cargo.toml", "justfile", "local.just", "Containerfile"] {
        files.push(WORKSPACE.root.join(name));
    }
    demand(
        "BUILD-4: a program is built for a processor that is known, not for the one that built it",
        lines_with(&files, |line| {
            line.replace(' ', "").contains("target-cpu=native")
        }),
        "name a level that all machines have, such as `-Ctarget-cpu=x86-64-v3`, in .cargo/config.toml",
    );
}

#[test]
fn trace_is_compiled_out() {
    let mut faults = Vec::new();
    for package in own_packages().filter(|package| is_program(package)) {
        let needed = package.dependencies.iter();
        let mut needed = needed.filter(|needed| needed.name == "tracing");
        let is_limit = |feature: &String| feature.starts_with("release_max_level_");
        if needed
            .clone()
            .any(|needed| needed.kind == DependencyKind::Normal)
            && !needed.any(|needed| needed.features.iter().any(is_limit))
        {
            faults.push(format!("{}: its `tracing` has no limit", package.name));
        }
    }
    demand(
        "LOG-3: events for debugging are compiled out of what ships",
        faults,
        r#"add to the features of `tracing` in Cargo.toml of the program: "release_max_level_debug", or a lower level"#,
    );
}

// --- Tools ---

#[test]
fn formatting_has_no_overrides() {
    let mut files = files_below(&WORKSPACE.folder);
    // What stands above the crate holds for it, too.
    for folder in WORKSPACE.folder.ancestors().skip(1) {
        if folder.starts_with(&WORKSPACE.root) {
            files.extend(["rustfmt.toml", ".rustfmt.toml"].map(|name| folder.join(name)));
        }
    }
    files.retain(|file| file.ends_with("rustfmt.toml") || file.ends_with(".rustfmt.toml"));
    demand(
        "TOOL-2, TOOL-6: all code has the default format",
        lines_with(&files, |line| !line.is_empty()),
        "delete the file, then type `cargo fmt --all`",
    );
}

#[test]
fn lints_are_inherited() {
    let estranged = own_packages().filter(|package| {
        let manifest = Document::read(package.manifest_path.as_std_path());
        manifest.at("lints.workspace") != Some(&Value::Boolean(true))
    });
    demand(
        "TOOL-1: the lints of the workspace hold for each of its crates",
        estranged.map(|package| format!("{} does not inherit them", package.name)),
        "paste into its Cargo.toml:

[lints]
workspace = true",
    );
}

#[test]
fn every_gate_is_there() {
    if !WORKSPACE.is_own() {
        return;
    }
    let standards = read(&WORKSPACE.root.join("STANDARDS.md"));
    // Each second piece is a span of code. An asterisk behind it: the compiler warns by itself.
    let pieces: Vec<_> = standards.split('`').collect();
    let mut faults = Vec::new();
    for span in pieces.windows(2).skip(1).step_by(2) {
        let by_itself = span[1].starts_with('*');
        let is_on = match span[0].split_once("::") {
            Some(("clippy", lint)) => is_on("clippy", lint, by_itself),
            Some(("rustc", lint)) => is_on("rust", lint, by_itself),
            Some(("ast-grep", rule)) => is_rule(rule),
            Some(("standards", test)) => is_test(test),
            _ => true,
        };
        if !is_on {
            faults.push(format!("{} is off", span[0]));
        }
    }
    for group in ["complexity", "perf", "style", "suspicious"] {
        if !is_on("clippy", group, true) {
            faults.push(format!("clippy::{group} is off"));
        }
    }
    if pieces.len() == 1 {
        faults.push("STANDARDS.md names no gate".to_owned());
    }
    demand(
        "TOOL-1: the gates of STANDARDS.md are on",
        faults,
        r#"take the file that the template gives (STANDARDS.md, lints/ast-grep.yml, bench/tests/standards.rs) back
from git. For a lint, paste into [workspace.lints.clippy] or [workspace.lints.rust] of Cargo.toml, with its name:

LINT = "warn"

or, where the crate cannot keep it:

LINT = "allow" # reason: ..."#,
    );
}

#[test]
fn ci_runs_every_gate() {
    if !WORKSPACE.is_own() {
        return;
    }
    let ci = WORKSPACE.root.join(".github/workflows/ci.yml");
    let perf = WORKSPACE.root.join(".github/workflows/perf.yml");
    let mut faults = lines_with(&[ci.clone(), perf.clone()], |line| {
        ["continue-on-error", "|| true", "if: false"]
            .iter()
            .any(|words| line.contains(words))
    });
    faults.extend(lines_with(&workflows(), is_unpinned_action));
    for (workflow, step) in [
        (&ci, "lint"),
        (&ci, "test"),
        (&ci, "audit"),
        (&ci, "instructions"),
        (&perf, "perf"),
    ] {
        let is_step = |line: &str| line.trim_start_matches("- ") == format!("run: just {step}");
        if !read(workflow).lines().map(without_comment).any(is_step) {
            faults.push(format!(
                "{} has no step `run: just {step}`",
                shown(workflow)
            ));
        }
    }
    for (recipe, command) in [
        ("check", "lint test doc audit instructions"),
        ("lint", "cargo fmt --all --check"),
        (
            "lint",
            "cargo clippy --workspace --all-targets --all-features -- --deny warnings",
        ),
        ("lint", "ast-grep scan"),
        ("lint", "exit $status"),
        ("test", "cargo nextest run --workspace"),
        ("audit", "cargo deny"),
        ("instructions", "cargo bench"),
    ] {
        if !recipe_has(recipe, command) {
            faults.push(format!(
                "recipe `{recipe}` of the justfile has no `{command}`"
            ));
        }
    }
    demand(
        "TOOL-1, TOOL-2, TOOL-4, TOOL-5, OP-1, BENCH-2, BENCH-5: CI runs every gate, and nothing lets it pass",
        faults,
        "take ci.yml and perf.yml of .github/workflows or the justfile back from git; jobs of your own go to a workflow beside it.
Write an action as `uses: OWNER/NAME@COMMIT # VERSION`, with all 40 digits of the commit",
    );
}

#[test]
fn ci_leaves_rustflags_alone() {
    if !WORKSPACE.is_own() {
        return;
    }
    demand(
        "BUILD-4: CI builds for the processor of .cargo/config.toml, which RUSTFLAGS would override",
        lines_with(&workflows(), |line| line.contains("RUSTFLAGS")),
        "delete the line; lints belong to [workspace.lints] of Cargo.toml, flags to .cargo/config.toml",
    );
}

#[test]
fn toolchain_is_pinned() {
    if !WORKSPACE.is_own() {
        return;
    }
    let toolchain = Document::read(&WORKSPACE.root.join("rust-toolchain.toml"));
    let channel = toolchain.at("toolchain.channel");
    let parts = text_of(channel).split('.').map(str::parse::<u16>);
    let is_release = parts.clone().count() == 3 && parts.flatten().count() == 3;
    let fault = format!("rust-toolchain.toml: the channel is {}", or_unset(channel));
    demand(
        "TOOL-1: everybody has the same lints, which change with each release of Rust",
        (!is_release).then_some(fault),
        r#"name a release in rust-toolchain.toml, all three parts of it, such as `channel = "1.95.0"`"#,
    );
}

// --- Doors: an exception says why ---

#[test]
fn no_file_is_left_out_of_the_rules() {
    let mut files = files_below(&WORKSPACE.folder);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let is_bare = |file: &PathBuf| {
        let text = read(file);
        let first = text.lines().next().unwrap_or_default();
        first.contains("ast-grep-ignore") && !first.contains(" -- ")
    };
    files.retain(is_bare);
    demand(
        "DOOR-1: an exception is for one place, not for a whole file",
        files.iter().map(|file| shown(file)),
        "delete the first line, and write `// ast-grep-ignore: rule -- reason` above the lines that need it",
    );
}

#[test]
fn bans_have_reasons() {
    if !WORKSPACE.is_own() {
        return;
    }
    let clippy = Document::read(&WORKSPACE.root.join("clippy.toml"));
    let mut faults = Vec::new();
    let tables = clippy.table.iter();
    for (key, bans) in tables.filter(|(key, _)| key.starts_with("disallowed-")) {
        for ban in list(Some(bans)) {
            if words(text_of(ban.get("reason"))) < 2 {
                faults.push(format!("clippy.toml: {key}: {ban}"));
            }
        }
    }
    demand(
        "DOOR-1, TOOL-1: who meets a ban reads why, and what to use instead",
        faults,
        r#"write the entry in clippy.toml as { path = "...", reason = "DIRECTIVE: ..." }"#,
    );
}

#[test]
fn exceptions_in_tables_have_reasons() {
    if !WORKSPACE.is_own() {
        return;
    }
    let mut faults = Vec::new();
    for tool in ["clippy", "rust", "rustdoc"] {
        let lints = WORKSPACE.manifest.at(&format!("workspace.lints.{tool}"));
        for (lint, _) in lints.and_then(Value::as_table).into_iter().flatten() {
            if !is_on(tool, lint, true) {
                faults.push(format!("Cargo.toml: {tool}::{lint} is allowed"));
            }
        }
    }
    let deny = Document::read(&WORKSPACE.root.join("deny.toml"));
    for entry in list(deny.at("advisories.ignore")) {
        let explained = |line: &str| line.contains(text_of(Some(entry))) && is_reason(line);
        let explained = entry.is_str() && deny.text.lines().any(explained);
        if !explained && words(text_of(entry.get("reason"))) < 2 {
            faults.push(format!("deny.toml: {entry} is ignored"));
        }
    }
    demand(
        "DOOR-1: an exception says why",
        faults,
        r#"end the line with `# reason: ...`, or write the advisory as { id = "...", reason = "..." }"#,
    );
}

// --- The workspace ---

static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::read);

struct Workspace {
    root: PathBuf,
    /// Of the crate that this one measures.
    folder: PathBuf,
    bench: Package,
    members: Vec<Package>,
    manifest: Document,
}

impl Workspace {
    fn read() -> Self {
        let mut command = MetadataCommand::new();
        let command = command.no_deps().other_options(["--offline".to_owned()]);
        let metadata = command.exec().unwrap();
        let root = metadata.workspace_root.into_std_path_buf();
        let members = metadata.packages;
        let mut named = members.iter();
        let bench = named.find(|package| package.name == env!("CARGO_PKG_NAME"));
        let bench = bench.unwrap().clone();
        Self {
            folder: folder_of(&bench).parent().unwrap().to_owned(),
            manifest: Document::read(&root.join("Cargo.toml")),
            root,
            bench,
            members,
        }
    }

    /// Whether the crate is the root of its workspace: then CI, recipes and tables are its own.
    fn is_own(&self) -> bool {
        self.folder == self.root
    }
}

fn folder_of(package: &Package) -> PathBuf {
    package.manifest_path.parent().unwrap().into()
}

/// The crate with its benches, and all other crates of the workspace where it is the root.
fn own_packages() -> impl Iterator<Item = &'static Package> {
    let members = WORKSPACE.members.iter();
    members.filter(|package| folder_of(package).starts_with(&WORKSPACE.folder))
}

fn is_program(package: &Package) -> bool {
    package.targets.iter().any(Target::is_bin)
}

/// Whether something ships; a package `xtask` is a tool for those who work here.
fn has_programs() -> bool {
    let members = WORKSPACE.members.iter();
    members
        .filter(|package| package.name.as_str() != "xtask")
        .any(is_program)
}

fn kind_of(target: &Target) -> &'static str {
    match () {
        () if target.is_bench() => "benches",
        () if target.is_test() => "tests",
        () => "src",
    }
}

/// The files that measure a hot path, by folder and name.
fn measurements(name: &str) -> [(&'static str, String); 3] {
    [
        ("benches", name.to_owned()),
        ("benches", format!("{name}_instructions")),
        ("tests", format!("{name}_allocations")),
    ]
}

fn has_own_harness(manifest: &Document, bench: &str) -> bool {
    list(manifest.at("bench")).iter().any(|entry| {
        text_of(entry.get("name")) == bench && entry.get("harness") == Some(&Value::Boolean(false))
    })
}

// --- Sections `# Hot path` ---

static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| {
    let files = files_below(&WORKSPACE.folder.join("src"));
    files.iter().flat_map(|file| Section::read(file)).collect()
});

struct Section {
    file: PathBuf,
    name: String,
    text: String,
    /// What it is about: the code of a module or function, without comments and tests.
    code: String,
}

impl Section {
    fn read(file: &Path) -> Vec<Self> {
        let source = read(file);
        let lines: Vec<_> = source.lines().collect();
        let mut sections = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            if documentation(line) != Some("# Hot path") {
                continue;
            }
            let rest = &lines[number + 1..];
            let docs = rest.iter().map_while(|line| documentation(line));
            let docs: Vec<_> = docs.take_while(|line| !line.starts_with("# ")).collect();
            let (name, code) = if line.trim_start().starts_with("//!") {
                (module_of(file), code(&source))
            } else {
                item(rest)
            };
            sections.push(Self {
                file: file.to_owned(),
                name,
                text: format!("\n{}", docs.join("\n")),
                code,
            });
        }
        sections
    }

    /// What stands behind `Key:`, up to the next key.
    fn field(&self, key: &str) -> &str {
        let (_, text) = self
            .text
            .split_once(&format!("\n{key}:"))
            .unwrap_or_default();
        let next = |key| text.find(&format!("\n{key}:"));
        let ends = ["Why", "Budget", "Hasher", "Part of"]
            .into_iter()
            .filter_map(next);
        text[..ends.min().unwrap_or(text.len())].trim()
    }

    fn is_part(&self) -> bool {
        !self.field("Part of").is_empty()
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, shown(&self.file))
    }
}

/// What is hot by itself, not as a part of something.
fn hot_paths() -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().filter(|section| !section.is_part())
}

fn documentation(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line
        .strip_prefix("//!")
        .or_else(|| line.strip_prefix("///"))?;
    Some(text.trim())
}

/// Name and code of the function or module below its documentation, which ends where its indent does.
fn item(lines: &[&str]) -> (String, String) {
    let is_code = |line: &str| documentation(line).is_none() && !line.trim_start().starts_with('#');
    let start = lines
        .iter()
        .position(|line| is_code(line))
        .unwrap_or_default();
    let indent = lines[start].len() - lines[start].trim_start().len();
    let end = format!("{}}}", &lines[start][..indent]);
    let body: Vec<_> = lines[start..]
        .iter()
        .copied()
        .take_while(|line| *line != end)
        .collect();
    let mut words = identifiers(body[0]).skip_while(|word| !["fn", "mod"].contains(word));
    let name = words.nth(1).unwrap_or("neither a function nor a module");
    (name.to_owned(), code(&body.join("\n")))
}

/// A source without comments, and without tests, which stand at its end.
fn code(source: &str) -> String {
    let (source, _) = source
        .split_once("\n#[cfg(test)]\nmod ")
        .unwrap_or((source, ""));
    let lines = source.lines().filter_map(|line| line.split("//").next());
    lines.collect::<Vec<_>>().join("\n")
}

fn without_separators(number: &str) -> String {
    number.replace([',', '_'], "")
}

fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

// --- Tables, recipes, workflows ---

struct Document {
    text: String,
    table: Table,
}

impl Document {
    fn read(path: &Path) -> Self {
        let text = read(path);
        let table = text.parse().unwrap();
        Self { text, table }
    }

    fn at(&self, path: &str) -> Option<&Value> {
        let mut keys = path.split('.');
        let first = self.table.get(keys.next()?)?;
        keys.try_fold(first, |value, key| value.get(key))
    }

    /// Whether the line of a key ends with its reason; comments are not in the parsed table.
    fn has_reason(&self, table: &str, key: &str) -> bool {
        let header = format!("[{table}]");
        let lines = self
            .text
            .lines()
            .skip_while(|line| without_comment(line) != header);
        let mut lines = lines.skip(1).take_while(|line| !line.starts_with('['));
        lines.any(|line| is_reason(line) && line.split(['=', ' ']).next() == Some(key))
    }
}

/// The keys of a profile that neither it nor `release`, which ours inherit, sets as they should be.
fn misset(profile: &str, keys: &[&str]) -> Vec<String> {
    let manifest = &WORKSPACE.manifest;
    let mut faults = Vec::new();
    for key in keys {
        let own = manifest.at(&format!("profile.{profile}.{key}"));
        let value = own.or_else(|| manifest.at(&format!("profile.release.{key}")));
        if !is_well_set(key, value) && !manifest.has_reason(&format!("profile.{profile}"), key) {
            faults.push(format!("profile.{profile}.{key} is {}", or_unset(value)));
        }
    }
    faults
}

/// Up to 4 codegen units are few: without the key cargo takes 16. Level 3 is what cargo takes itself.
fn is_well_set(key: &str, value: Option<&Value>) -> bool {
    match (key, value) {
        ("lto", Some(Value::String(kind))) => kind == "fat" || kind == "thin",
        ("lto" | "debug", Some(Value::Boolean(on))) => *on,
        ("codegen-units", Some(Value::Integer(units))) => *units <= 4,
        ("opt-level", Some(Value::Integer(level))) => *level >= 2,
        ("debug", Some(Value::Integer(level))) => *level > 0,
        ("debug", Some(Value::String(level))) => level != "none",
        ("strip", Some(Value::Boolean(on))) => !on,
        ("strip", Some(Value::String(what))) => what == "none",
        ("inherits", Some(Value::String(parent))) => parent == "release",
        ("panic", Some(_)) | ("opt-level" | "strip", None) => true,
        _ => false,
    }
}

/// Whether a lint warns, or says why it does not.
fn is_on(tool: &str, lint: &str, by_itself: bool) -> bool {
    let table = format!("workspace.lints.{tool}");
    let entry = WORKSPACE.manifest.at(&format!("{table}.{lint}"));
    let level = entry.map(|entry| text_of(entry.get("level").or(Some(entry))));
    level.map_or(by_itself, |level| level != "allow") || WORKSPACE.manifest.has_reason(&table, lint)
}

fn is_rule(id: &str) -> bool {
    let rules = read(&WORKSPACE.root.join("lints/ast-grep.yml"));
    rules.split("\n---").any(|rule| {
        let has = |wanted: &str| rule.lines().any(|line| without_comment(line) == wanted);
        has(&format!("id: {id}")) && has("severity: error")
    })
}

fn is_test(name: &str) -> bool {
    let here = folder_of(&WORKSPACE.bench).join("tests/standards.rs");
    read(&here).contains(&format!("\n#[test]\nfn {name}()"))
}

fn recipe_has(name: &str, command: &str) -> bool {
    let justfile = read(&WORKSPACE.root.join("justfile"));
    let mut inside = false;
    justfile.lines().any(|line| {
        if !line.starts_with([' ', '\t', '#']) {
            inside = line.starts_with(&format!("{name}:"));
        }
        let line = without_comment(line).trim_start_matches('@');
        // `just` goes on after a line that begins with a hyphen.
        inside && line.contains(command) && !line.starts_with('-') && !line.contains("|| true")
    })
}

fn is_unpinned_action(line: &str) -> bool {
    let Some(action) = line.trim_start_matches("- ").strip_prefix("uses:") else {
        return false;
    };
    let (_, commit) = action.rsplit_once('@').unwrap_or_default();
    let pinned = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    !pinned && !action.trim().starts_with("./")
}

// --- Files and text ---

/// Ends the test if there are faults: with the standard, all of them, and what to do next.
fn demand(standard: &str, faults: impl IntoIterator<Item = String>, next: &str) {
    let faults: Vec<_> = faults.into_iter().collect();
    let listed = faults.join("\n- ");
    assert!(
        faults.is_empty() || is_staged(),
        "\n{standard}\n- {listed}\nNext: {next}\n"
    );
}

/// Whether `fast-rust adopt` found the rule of this test broken, and noted how often.
fn is_staged() -> bool {
    let test = thread::current();
    let path = format!("workspace.metadata.staged.{}", test.name().unwrap_or("?"));
    words(text_of(WORKSPACE.manifest.at(&path))) > 1
}

/// A file with the line ends of Unix; nothing if it is not there.
fn read(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .replace("\r\n", "\n")
}

/// All files of a folder but those in folders that are hidden or built.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let left_out =
            name == "target" || name == "vendor" || name.to_string_lossy().starts_with('.');
        match entry.file_type() {
            Ok(kind) if !kind.is_dir() => files.push(entry.path()),
            Ok(_) if !left_out => files.extend(files_below(&entry.path())),
            _ => {}
        }
    }
    files.sort();
    files
}

fn workflows() -> Vec<PathBuf> {
    files_below(&WORKSPACE.root.join(".github/workflows"))
}

/// The lines of some files that are meant, and where they are; without comments.
fn lines_with(files: &[PathBuf], is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (line, number) in read(file).lines().map(without_comment).zip(1..) {
            if is_meant(line) {
                found.push(format!("{}:{number}: {line}", shown(file)));
            }
        }
    }
    found
}

/// The module that a file is: its name, or for `mod.rs` that of its folder.
fn module_of(file: &Path) -> String {
    let path = if file.ends_with("mod.rs") {
        file.parent()
    } else {
        Some(file)
    };
    let stem = path.and_then(Path::file_stem).unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn shown(path: &Path) -> String {
    let path = path.strip_prefix(&WORKSPACE.root).unwrap_or(path);
    path.display().to_string().replace('\\', "/")
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn is_reason(line: &str) -> bool {
    line.split_once("# reason:")
        .is_some_and(|(_, reason)| words(reason) > 1)
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn text_of(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn or_unset(value: Option<&Value>) -> String {
    value.map_or_else(|| "not set".to_owned(), Value::to_string)
}
