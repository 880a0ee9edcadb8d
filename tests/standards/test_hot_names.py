"""Names of hot paths: each is rejected with a reason, or its files from `hot add` compile without a warning."""

import re
import shutil
from pathlib import Path

import pytest

from fast_rust.errors import FastRustError
from fast_rust.hot.add import SKELETONS, add
from support.git import start_history
from support.template import Template
from support.workshop import Workshop

# Other names that could collide: crates, prelude, primitive types, macros, attributes, targets of cargo.
OTHERS = """
    alloc core proc_macro std test thiserror toml cargo_metadata memchr tokio totals totals_bench log_totals
    log_totals_bench
    assert clippy clone copy debug default drop err from into iter iterator none ok option panic print println result
    send some string sync vec bool char f64 i32 str u8 usize cfg derive inline must_use auto macro_rules raw safe union
    bench build deps examples incremental src target bin error lib load main mod request standards hot_path
    x x9 x10 x_y x_9 xa
    aux com1 con lpt9 nul prn a23456789012345678901234567890
""".split()


def identifiers() -> list[str]:
    """Return all identifiers of the skeletons' code that a module can have as its name, in lower case."""
    words = set(OTHERS)
    for path in SKELETONS.iterdir():
        code = re.sub(r"(?m)//.*$", "", path.read_text(encoding="utf-8"))
        words |= {word.lower() for word in re.findall(r"[A-Za-z_]\w*", code)}
    return sorted(words)


def test_each_name_is_rejected_or_compiles(workshop: Workshop, template: Template, tmp_path: Path) -> None:
    crate = tmp_path / "crate"
    shutil.copytree(template.rendering({"crate_name": "log-totals", "kind": "lib", "sample": False}), crate)
    manifest = crate / "Cargo.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("[lib]\n", '[lib]\nname = "totals"\n'), encoding="utf-8")
    start_history(crate)
    refused = {}
    for name in identifiers():
        try:
            add(crate, name).apply()
        except FastRustError as error:
            refused[name] = str(error)
    assert all(f"`{name}`" in reason or f"src/{name}.rs" in reason for name, reason in refused.items()), refused
    keywords = {"const", "crate", "fn", "for", "if", "in", "let", "mod", "mut", "pub", "static", "super", "use"}
    others = {"aux", "com1", "con", "error", "lib", "lpt9", "main", "nul", "prn", "tests"}
    assert {name for name in refused if re.fullmatch("[a-z][a-z0-9_]*", name)} - keywords <= others | {
        "as",
        "break",
        "false",
        "self",
        "true",
        "a23456789012345678901234567890",
    }
    workshop.run(crate, "cargo", "fmt", "--all", "--check")
    workshop.run(crate, "cargo", "clippy", "--workspace", "--all-targets", "--", "--deny", "warnings")
    # Crates with these names exist already where a program is linked.
    linked = [
        name for name in ("std", "core", "test", "criterion", "dhat", "gungraun", "totals") if name not in refused
    ]
    targets = [flag for name in linked for flag in ("--bench", name, "--test", f"{name}_allocations")]
    workshop.run(crate / "bench", "cargo", "build", *targets)


IN_LIBRARY = {
    "use memchr::memchr;\n": "src/lib.rs:{} imports from the crate `memchr`",
    "use ::x::memchr;\n": "src/lib.rs:{} imports `::x::memchr` as `memchr`",
    "fn f() {\n    memchr::f();\n}\n": "src/lib.rs:{} uses the path `memchr::`",
    "mod memchr {}\n": "src/lib.rs:{} has a module `memchr`",
}


@pytest.mark.parametrize("code", IN_LIBRARY)
def test_a_name_that_the_library_uses_is_rejected(template: Template, tmp_path: Path, code: str) -> None:
    crate = tmp_path / "crate"
    shutil.copytree(template.rendering({"crate_name": "log-totals", "kind": "lib", "sample": False}), crate)
    library = crate / "src" / "lib.rs"
    text = library.read_text(encoding="utf-8")
    library.write_text(text + code, encoding="utf-8")
    line = text.count("\n") + 1 + ("fn f" in code)
    with pytest.raises(FastRustError, match=re.escape(IN_LIBRARY[code].format(line))):
        add(crate, "memchr")


@pytest.mark.parametrize("name", ["", "Parse", "a__b", "a_", "_a", "1a", "a-b", "a.b", "a/b", "..", "é", "a\n"])
def test_an_invalid_name_is_rejected(template: Template, tmp_path: Path, name: str) -> None:
    crate = tmp_path / "crate"
    shutil.copytree(template.rendering({"crate_name": "log-totals", "kind": "lib", "sample": False}), crate)
    with pytest.raises(FastRustError, match="is not a valid module name"):
        add(crate, name)
