"""Counts what each candidate for a lint finds in crates that are well regarded, and writes its table in docs/lints.md.

A lint blocks a merge only where 19 of 20 hits are right; to judge that, read `hits.json` and the surrounding source,
and write the result to `lints_read.toml`. The counts are in `lints_counted.json`.
The crates are built as one workspace, so that shared dependencies are built once; their own `#[allow]` is ignored.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from workbench import fetch

CHECKOUT = Path(__file__).parents[2]
SCRATCH = Path(os.environ.get("MEASURE_LINTS", CHECKOUT / "build" / "measure-lints"))
HERE = Path(__file__).parent
COUNTED, READ = HERE / "lints_counted.json", HERE / "lints_read.toml"
PAGE = CHECKOUT / "docs" / "lints.md"
MARKS = ("<!-- lints: made by `make measure-lints` -->\n", "<!-- end of lints -->\n")
HEADS = "| lint | directives | hits | read | right | used as | what was wrong |"
SEED = 4

# Libraries, programs, and async clients and servers.
CRATES = {
    "axum": "0.8.9",
    "bore-cli": "0.6.0",
    "csv": "1.4.0",
    "fd-find": "10.5.0",
    "grep-searcher": "0.1.17",
    "hyper-util": "0.1.21",
    "ignore": "0.4.34",
    "indexmap": "2.14.2",
    "jiff": "0.2.46",
    "just": "1.59.0",
    "metrics-exporter-prometheus": "0.18.3",
    "mini-redis": "0.4.1",
    "nextest-runner": "0.129.0",
    "reqwest": "0.13.5",
    "ripgrep": "15.2.0",
    "rustls": "0.23.46",
    "static-web-server": "3.0.0-beta.2",
    "tantivy": "0.27.0",
    "tokio-util": "0.7.20",
    "tower-http": "0.7.1",
    "zizmor": "1.12.0",
}

# These features need a nightly compiler, a flag of rustc, a program that a machine may lack, or another version of a
# crate.
SKIPPED_FEATURES = {
    "metrics-exporter-prometheus": {"_push-gateway-common", "protobuf", "push-gateway", "push-gateway-no-tls-provider"},
    "reqwest": {"http3"},
    "rustls": {"fips", "read_buf"},
    "static-web-server": {"all", "all-fips", "default-fips", "experimental", "tls-fips"},
    "tantivy": {"unstable"},
}

CLIPPY = """
complexity perf style suspicious
assigning_clones implicit_clone large_types_passed_by_value needless_pass_by_value needless_pass_by_ref_mut
option_as_ref_cloned rc_buffer redundant_clone ref_option unnecessary_box_returns unnecessary_literal_bound
clone_on_ref_ptr trivially_copy_pass_by_ref
cloned_instead_of_copied filter_map_next flat_map_option linkedlist needless_collect set_contains_or_insert
zero_sized_map_values iter_over_hash_type search_is_some naive_bytecount explicit_iter_loop stable_sort_primitive
collection_is_never_read clear_with_drain iter_with_drain redundant_iter_cloned same_length_and_capacity
missing_asserts_for_indexing
format_collect format_push_string inefficient_to_string manual_string_new single_char_pattern string_add
string_add_assign string_lit_chars_any str_to_string unnecessary_join
error_impl_error exit expect_used get_unwrap let_underscore_must_use manual_let_else map_err_ignore or_fun_call panic
panic_in_result_fn todo unimplemented unnecessary_wraps unused_result_ok unwrap_used
dbg_macro print_stderr print_stdout unnecessary_debug_formatting
future_not_send infinite_loop large_futures mutex_atomic mutex_integer rc_mutex significant_drop_in_scrutinee
significant_drop_tightening unused_async
create_dir large_include_file lines_filter_map_ok pathbuf_init_then_push read_zero_byte_vec verbose_file_reads
inline_always large_stack_arrays large_stack_frames mem_forget
allow_attributes allow_attributes_without_reason ignore_without_reason incompatible_msrv undocumented_unsafe_blocks
unused_self
""".split()
RUSTC = "let_underscore_drop unreachable_pub unused_must_use unused_qualifications".split()

BANNED = {
    "disallowed-macros": [f"log::{level}" for level in ("trace", "debug", "info", "warn", "error")],
    "disallowed-methods": [
        "crossbeam_channel::unbounded",
        "serde_json::to_string",
        "serde_json::to_vec",
        "std::fs::File::create",
        "std::fs::File::open",
        "std::fs::OpenOptions::open",
        "std::sync::mpsc::channel",
        "std::thread::sleep",
        "std::thread::spawn",
        "tokio::sync::mpsc::unbounded_channel",
    ],
    "disallowed-types": [
        "anyhow::Error",
        "std::collections::HashMap",
        "std::collections::HashSet",
        "std::collections::LinkedList",
        "std::sync::RwLock",
    ],
}


# Suffix of the name of a row for items that clippy.toml bans.
BAN = " banned"


class Hit(NamedTuple):
    """A place that a lint reports."""

    crate: str
    file: str
    line: int
    column: int
    rendered: str


def main() -> int:
    """Fetch the crates, run the lints, and count the hits."""
    started = time.monotonic()
    sources = fetch(SCRATCH / "fetch", CRATES)
    members = workspace(sources)
    hits, broken = check(members)
    lines = {name: sum(map(count_lines, (members / name).rglob("*.rs"))) for name in CRATES}
    (SCRATCH / "hits.json").write_text(
        json.dumps(
            {
                "crates": [[name, version, lines[name]] for name, version in CRATES.items()],
                "counts": {lint: len(hits[lint]) for lint in sorted(hits)},
                "hits": {lint: [hit._asdict() for hit in mixed(hits[lint])] for lint in sorted(hits)},
            },
            indent=1,
        )
    )
    if not broken:
        write_page({lint: len(places) for lint, places in hits.items()}, sum(lines.values()))
    for lint in sorted(hits, key=lambda lint: (-len(hits[lint]), lint)):
        print(f"{len(hits[lint]):6} {lint}")
    print(f"{sum(lines.values())} lines, {time.monotonic() - started:.0f} s: {SCRATCH / 'hits.json'}")
    if broken:
        print(f"Did not build, and so was not counted: {', '.join(sorted(broken))}", file=sys.stderr)
    return 1 if broken else 0


def write_page(counts: Mapping[str, int], lines: int) -> None:
    """Write the counts of the lints that were judged, and the table."""
    rust = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    measured = f"{time.strftime('%B %Y')}, Rust {rust.rpartition('.')[0]}"
    judged = tomllib.loads(READ.read_text(encoding="utf-8"))
    counted = {"measured": measured, "lines": lines, "hits": {name: count_of(name, counts) for name in judged}}
    COUNTED.write_text(json.dumps(counted, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def count_of(name: str, counts: Mapping[str, int]) -> int:
    """Return the number of hits of a row: of a lint, or of the banned paths, as in `log::{trace,debug} banned`."""
    if not name.endswith(BAN):
        return counts.get(name.removeprefix("rustc::"), 0)
    start, _, names = name.removesuffix(BAN).partition("{")
    paths = {start + last for last in names.removesuffix("}").split(",")}
    return sum(count for lint, count in counts.items() if lint.partition(" ")[2] in paths)


def with_table(page: str) -> str:
    """Return the page with a table of the counts and the judgements."""
    counted = json.loads(COUNTED.read_text(encoding="utf-8"))
    crates = ", ".join(f"{name} {version}" for name, version in CRATES.items())
    lines, measured = counted["lines"], counted["measured"]
    about = f"Over {len(CRATES)} crates, {lines:,} lines, by `make measure-lints` ({measured}): {crates}."
    rows: list[Sequence[object]] = []
    for name, judged in tomllib.loads(READ.read_text(encoding="utf-8")).items():
        lint = f"`{name.removesuffix(BAN)}`{BAN if name.endswith(BAN) else ''}"
        cells = [lint, judged["directives"], counted["hits"][name], judged["read"], judged["right"]]
        rows.append([*cells, judged["used"], judged["wrong"]])
    filled = textwrap.fill(about, 118, break_on_hyphens=False, break_long_words=False)
    return with_rows(page, MARKS, filled, rows)


def with_rows(page: str, marks: tuple[str, str], about: str, rows: Iterable[Sequence[object]]) -> str:
    """Return the page with a text and a table of lints between two markers."""
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    table = [HEADS, f"|{' --- |' * 7}", *(f"| {' | '.join(map(str, row))} |" for row in rows)]
    return "".join([before, begin, f"\n{about}\n\n", *(f"{line}\n" for line in table), "\n", end, after])


def cargo(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run cargo; its progress and errors stay visible."""
    environment = {
        "CARGO_TARGET_DIR": str(SCRATCH / "target"),
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_DEV_DEBUG": "0",
        **os.environ,
        **variables,
    }
    return subprocess.run(["cargo", *arguments], check=False, env=environment, stdout=subprocess.PIPE, text=True)


def workspace(sources: dict[str, Path]) -> Path:
    """Copy the sources into one workspace, because cargo shows warnings only of its members."""
    root = SCRATCH / "workspace"
    shutil.rmtree(root, ignore_errors=True)
    for name, source in sources.items():
        shutil.copytree(source, root / name, ignore=shutil.ignore_patterns(".cargo", "Cargo.lock", "clippy.toml"))
        all_features(name, root / name / "Cargo.toml")
    (root / "Cargo.toml").write_text(f'[workspace]\nresolver = "3"\nmembers = {json.dumps(list(sources))}\n')
    settings = tomllib.loads((CHECKOUT / "template" / "clippy.toml").read_text())
    settings = {key: value for key, value in settings.items() if not isinstance(value, list)} | BANNED
    (root / "clippy.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    return root


def check(root: Path) -> tuple[dict[str, list[Hit]], set[str]]:
    """Run clippy; return the hits of each lint, and the crates that do not compile."""
    bans = [name.replace("-", "_") for name in BANNED]
    lints = [*RUSTC, *(f"clippy::{lint}" for lint in [*CLIPPY, *bans])]
    done = cargo(
        "clippy",
        f"--manifest-path={root / 'Cargo.toml'}",
        "--workspace",
        "--lib",
        "--bins",
        "--keep-going",
        "--message-format=json",
        "--",
        "--cap-lints=warn",
        *(f"--force-warn={lint}" for lint in lints),
        CLIPPY_CONF_DIR=str(root),
    )
    hits: dict[str, dict[tuple[str, int, int], Hit]] = defaultdict(dict)
    built = set()
    for line in done.stdout.splitlines():
        message = json.loads(line)
        crate = Path(message.get("manifest_path", "")).parent.name
        if crate not in CRATES or not message["manifest_path"].startswith(str(root)):
            continue
        if message.get("message", {}).get("level") == "error":
            print(message["message"]["rendered"], file=sys.stderr)
        elif message["reason"] == "compiler-artifact" and "custom-build" not in message["target"]["kind"]:
            built.add(crate)
        elif message["reason"] == "compiler-message" and (found := hit(root, crate, message["message"])):
            lint, place = found
            hits[lint].setdefault(place[1:4], place)  # a location in a macro is counted once, not at each call
    return {lint: list(places.values()) for lint, places in hits.items()}, CRATES.keys() - built


def all_features(name: str, manifest: Path) -> None:
    """Make all features that can be built here default features: `--all-features` has no exceptions."""
    text = manifest.read_text()
    features = tomllib.loads(text).get("features", {}).keys() - {"default"} - SKIPPED_FEATURES.get(name, set())
    default = f"default = {json.dumps(sorted(features))}\n"
    without = re.sub(r"^default = \[[^\]]*\]\n", "", text, count=1, flags=re.MULTILINE)
    manifest.write_text(without.replace("[features]\n", f"[features]\n{default}", 1))


def hit(root: Path, crate: str, message: dict[str, Any]) -> tuple[str, Hit] | None:
    """Return the lint's name and the location, if the message is from a lint."""
    spans = [span for span in message["spans"] if span["is_primary"]]
    if message["code"] is None or not spans:
        return None
    lint = message["code"]["code"]
    if lint.startswith("clippy::disallowed_") and (path := re.search(r"`([\w:]+)`", message["message"])):
        lint = f"{lint} {path[1]}"
    span = spans[0]
    file = root / span["file_name"]
    attribute = span["expansion"] is not None and span["expansion"]["macro_decl_name"].startswith("#[")
    if attribute or not file.is_relative_to(root):  # written by a derive or a build script, not by a person
        return None
    return lint, Hit(crate, str(file.relative_to(root)), span["line_start"], span["column_start"], message["rendered"])


def mixed(hits: list[Hit]) -> list[Hit]:
    """Return the hits in random order, with the crates in turns, so that the first twenty are a fair sample of all."""
    order = sorted(hits)
    random.Random(SEED).shuffle(order)
    turns: dict[str, int] = defaultdict(int)
    ranked = []
    for place in order:
        ranked.append((turns[place.crate], place))
        turns[place.crate] += 1
    return [place for _, place in sorted(ranked, key=lambda pair: pair[0])]


def count_lines(file: Path) -> int:
    """Return the number of lines of a source file."""
    return len(file.read_bytes().splitlines())


if __name__ == "__main__":
    sys.exit(main())
