"""Crates of other authors, for adoption tests."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import Result

from fast_rust.adopt import staging
from fast_rust.adopt.staging import Staging
from support.files import write
from support.git import start_history

Files: TypeAlias = Mapping[str, str]
Adopt: TypeAlias = Callable[..., Result]

PACKAGE = """# Ours since 2019.
[package]
name = "word-counts"
version = "0.3.0"
edition = "2021"
license = "MIT/Apache-2.0"
description = "Counts   words"
authors = ["Ada <ada@example.org>", "Bob"]
repository = "https://example.org/ada/word-counts.git"
"""
LINTS = """
[lints.clippy]
# We like these.
pedantic = "warn"
module_name_repetitions = "allow" # too noisy
unwrap_used = "warn"
"""
CODE = "//! Counts words.\n\n/// How many words there are.\n#[must_use]\npub fn count(text: &str) -> usize {\n"
CODE += "    text.split_whitespace().count()\n}\n"
MAIN = 'fn main() {\n    println!("{}", word_counts::count("a b"));\n}\n'
OTHERS = {
    "justfile": "# How we do it.\ntest:\n    cargo test\n",
    "clippy.toml": "# Ours.\nlarge-error-threshold = 256\ndisallowed-methods = [\n"
    '    { path = "std::env::set_var", reason = "it is racy" }, # since 2021\n]\n',
    ".github/workflows/ci.yml": "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n"
    "      - uses: actions/checkout@v4\n      - run: cargo test\n",
    "rust-toolchain.toml": '[toolchain]\nchannel = "stable"\n',
}
LIB: Files = {"Cargo.toml": f'{PACKAGE}rust-version = "1.70"\n{LINTS}', "src/lib.rs": CODE, **OTHERS}
CLI: Files = {
    "Cargo.toml": f'{PACKAGE}\n[dependencies]\nmimalloc = "0.1"\n\n[profile.release]\npanic = "abort" # small\n'
    f'lto = "thin"   # quick enough\n{LINTS}',
    "src/lib.rs": CODE,
    "src/main.rs": MAIN,
    **OTHERS,
}
SERVICE: Files = {
    "Cargo.toml": f'{PACKAGE}\n[dependencies.axum]\nversion = "0.7"\n{LINTS}',
    "src/lib.rs": CODE,
    "src/main.rs": MAIN,
    **OTHERS,
}
KINDS = {"lib": LIB, "cli": CLI, "service": SERVICE}
PLAIN: Files = {"Cargo.toml": PACKAGE, "src/lib.rs": CODE, ".gitignore": "/target\n/Cargo.lock\n"}
MEMBER = '[package]\nname = "{}"\nversion = "0.1.0"\nedition = "2021"\n'
WORKSPACE: Files = {
    "Cargo.toml": '[workspace]\nmembers = ["crates/*"] # all of them\nresolver = "2"\n',
    "crates/reader/Cargo.toml": MEMBER.format("reader"),
    "crates/reader/src/lib.rs": CODE,
    "crates/counter/Cargo.toml": MEMBER.format("counter") + '\n[lints.rust]\nunused = "warn"\n',
    "crates/counter/src/main.rs": "fn main() {}\n",
}


def make(folder: Path, files: Files) -> Path:
    """Make a crate of other authors, and commit it."""
    write(folder, files)
    start_history(folder)
    return folder


def meet_all(patch: pytest.MonkeyPatch) -> None:
    """Make all gates pass without running them, both our gates and the crate's own."""
    patch.setattr(staging, "before", lambda *_: None)
    patch.setattr(staging, "stage", lambda *_: Staging({}, ()))
    patch.setattr(staging, "after", lambda *_: None)
