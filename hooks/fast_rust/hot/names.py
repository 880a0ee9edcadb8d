"""Names that a hot path can have."""

import re

from fast_rust.hot.crate import LIBRARY, HotCrate, HotPathError
from fast_rust.hot.rust import USE, code_of, imports

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 30
KEYWORDS = frozenset(
    """
    abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if impl
    in let loop macro match mod move mut override priv pub ref return self static struct super trait true try type
    typeof unsafe unsized use virtual where while yield
    """.split()  # noqa: SIM905  Forty words read better as words.
)
DEVICES = frozenset(
    ["aux", "con", "nul", "prn", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))]
)
# The path of a lint is not the path of a module.
LINT = re.compile(r"\s*#!?\[(allow|deny|expect|forbid|warn)\b")
RESERVED = {
    "main": "cargo would build src/main.rs as a program",
    "tests": "the unit tests of the new module are in a module of that name",
}


def check_name(name: str, crate: HotCrate) -> None:
    """Check that a module, a function and bench targets can have a name.

    Raises HotPathError with the reason.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        usable = f"up to {LONGEST_NAME} lower-case letters, digits and `_` (not `__`)"
        raise HotPathError(f"`{name}` is not a valid module name: use {usable}, beginning with a letter")
    if name in KEYWORDS:
        raise HotPathError(f"`{name}` is not a valid module name: it is a keyword of Rust; choose another name")
    if name in DEVICES:
        raise HotPathError(
            f"`{name}` is not a valid module name: Windows reserves `{name}.rs` for a device; choose another name"
        )
    if name in RESERVED:
        raise HotPathError(f"`{name}` cannot be the name of a hot path: {RESERVED[name]}; choose another name")
    _check_library(name, crate)


def _check_library(name: str, crate: HotCrate) -> None:
    """Check that no other path of the library means something else once it has a module of that name."""
    text = crate.text(LIBRARY)
    for each in imports(text):
        line = text.count("\n", 0, each.start) + 1
        for leaf in each.leaves:
            first = leaf.path.removeprefix("::").partition("::")[0]
            if not leaf.path.startswith("::") and first == name:
                message = (
                    f"{LIBRARY}:{line} imports from the crate `{name}`, which a module `{name}` would make ambiguous"
                )
                raise HotPathError(f"{message}; write `use ::{name}` there, or choose another name")
            if leaf.name == name:
                raise HotPathError(f"{LIBRARY}:{line} imports `{leaf.path}` as `{name}`; choose another name")
    for number, line_of_code in enumerate(code_of(text).splitlines(), 1):
        if LINT.match(line_of_code) or USE.match(line_of_code):
            continue
        if re.search(rf"(?<![\w:.]){name}::(?!<)", line_of_code):
            message = f"{LIBRARY}:{number} uses the path `{name}::`, which would mean the new module"
            raise HotPathError(f"{message}; write `::{name}::` there, or choose another name")
        if re.match(rf"\s*(pub(\([^)]*\))? )?(mod|extern crate) {name}\s*\{{", line_of_code):
            raise HotPathError(f"{LIBRARY}:{number} has a module `{name}`; choose another name")
