"""Each gate of a crate turns red for the fault that it is for."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from crates.workshop import Workshop

HOT_LOOP = "        let (record, rest) = record::split_usual(text)?;\n"


@dataclass(frozen=True)
class Fault:
    """A change that somebody could make, and what has to be said of it."""

    name: str
    path: str
    before: str
    after: str
    recipe: str
    message: str


FAULTS = [
    Fault(
        "a block for each record, seen by the allocation test",
        "src/aggregate.rs",
        HOT_LOOP,
        HOT_LOOP + "        std::hint::black_box(record.key.to_vec());\n",
        "test",
        "blocks for 60000 and for twice as many records",
    ),
    Fault(
        "a block for each record, seen by the instruction bench",
        "src/aggregate.rs",
        HOT_LOOP,
        HOT_LOOP + "        std::hint::black_box(record.key.to_vec());\n",
        "instructions",
        "exceeds limit of 0 by 9999",
    ),
    Fault(
        "a second pass over each key",
        "src/aggregate.rs",
        HOT_LOOP,
        HOT_LOOP + "        std::hint::black_box(record.key.iter().filter(|byte| **byte == b'x').count());\n",
        "instructions",
        "exceeds limit of 3000000",
    ),
    Fault(
        "a search that begins anew at each empty line",
        "src/aggregate/record.rs",
        "if matches!(text.first()?, b'\\n' | b'\\r') {",
        "if text.is_empty() {",
        "instructions",
        "exceeds limit of 3000000",
    ),
    Fault(
        "the trusted hasher where it matters",
        "src/aggregate.rs",
        "pub type KeyedHasher = std::hash::RandomState;",
        "pub type KeyedHasher = rustc_hash::FxBuildHasher;",
        "test",
        "only_the_keyed_hasher_stands_colliding_keys",
    ),
    Fault(
        "a larger error",
        "src/error.rs",
        "        /// The limit that was set.\n",
        "        /// Padding.\n        padding: [u64; 4],\n        /// The limit that was set.\n",
        "test",
        "padding",
    ),
    Fault("code that is not formatted", "src/lib.rs", "pub mod error;", "pub  mod error;", "lint", "Diff in"),
    Fault(
        "a panic in library code",
        "src/aggregate.rs",
        HOT_LOOP,
        HOT_LOOP.replace("?", ".unwrap()"),
        "lint",
        "clippy::unwrap-used",
    ),
    Fault(
        "unsafe code",
        "src/lib.rs",
        "pub mod error;",
        "pub mod error;\nmod raw {\n    pub(crate) unsafe fn f() {}\n}",
        "lint",
        "unsafe",
    ),
    Fault(
        "a public item without documentation",
        "src/lib.rs",
        "pub use error::Error;",
        "pub use error::Error;\n\npub const NAMELESS: u8 = 1;",
        "lint",
        "missing documentation",
    ),
    Fault(
        "a link to nothing in the documentation",
        "src/lib.rs",
        "pub use error::Error;",
        "/// See [`nowhere`].\npub use error::Error;",
        "doc",
        "unresolved link",
    ),
    Fault(
        "a doctest that fails",
        "src/lib.rs",
        "pub use error::Error;",
        "/// ```\n/// assert_eq!(1, 2);\n/// ```\npub const ONE: u8 = 1;\n\npub use error::Error;",
        "test",
        "src/lib.rs - ONE",
    ),
    Fault(
        "a dependency that nothing uses",
        "Cargo.toml",
        'memchr = "2.8"',
        'memchr = "2.8"\nitoa = "1"',
        "audit",
        "itoa",
    ),
    Fault(
        "a dependency whose licence is not accepted",
        "deny.toml",
        '    "Unicode-3.0",\n',
        "",
        "audit",
        "rejected",
    ),
    Fault(
        "a banned dependency",
        "deny.toml",
        '    { name = "fxhash"',
        '    { name = "memchr", reason = "a test" },\n    { name = "fxhash"',
        "audit",
        "memchr",
    ),
]


@pytest.fixture(scope="module")
def crate(workshop: Workshop) -> Path:
    """A library, to be broken and mended again and again."""
    return workshop.crate("broken", kind="lib")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_turns_its_gate_red(workshop: Workshop, crate: Path, fault: Fault) -> None:
    """And the gate says what is wrong."""
    path = crate / fault.path
    text = path.read_text(encoding="utf-8")
    assert text.count(fault.before) == 1, f"the fault {fault.name!r} has no place in {fault.path}"
    path.write_text(text.replace(fault.before, fault.after), encoding="utf-8")
    try:
        done = workshop.try_to(crate, "just", fault.recipe)
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    assert fault.message in done.stdout


def test_without_a_fault_they_are_green(workshop: Workshop, crate: Path) -> None:
    """So that red means the fault."""
    for recipe in sorted({fault.recipe for fault in FAULTS}):
        workshop.run(crate, "just", recipe)
