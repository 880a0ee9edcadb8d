"""What is staged in a crate: the lines that switch something off, with the number of places."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fast_rust.checks.names import current_name

STAGED = "staged by adopt"
MARK = re.compile(r" *# reason: staged by adopt, [^;]*(?:; was (\"\w+\"))?$")
FILES = ("Cargo.toml", "clippy.toml", "deny.toml", "rustfmt.toml", ".rustfmt.toml")


@dataclass(frozen=True)
class Mark:
    """A line that switches something off."""

    file: str
    header: str
    text: str
    """The line up to its number of places."""
    gate: str
    """As the pages of the standards name it."""


def marks(root: Path) -> dict[Mark, int]:
    """Return what is staged in a workspace, with the places when it was."""
    found = {}
    for name in FILES:
        file = root / name
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        found.update({mark: count for _, mark, count in lines_of(name, text) if mark})
    return found


def lines_of(name: str, text: str) -> Iterator[tuple[str, Mark | None, int]]:
    header = ""
    for line in text.splitlines():
        header = line.strip("[] ") if line.startswith("[") else header
        head, _, tail = line.partition(f"{STAGED}, ")
        count = re.match(r"\d+", tail)
        is_comment = head.lstrip().startswith("# ") and name not in {"clippy.toml", "deny.toml"}
        if not count or is_comment:
            yield line, None, 0
            continue
        key, space, rest = head.removesuffix("# reason: ").strip().partition(" ")
        key = current_name(key)
        yield line, Mark(name, header, f"{key}{space}{rest}", _gate(name, header, key)), int(count[0])


def _gate(file: str, header: str, key: str) -> str:
    match file, header.split("."):
        case "deny.toml", _:
            return "cargo-deny"
        case "clippy.toml", _:
            return "clippy.toml"
        case "Cargo.toml", ["workspace", "lints", tool]:
            return f"{'rustc' if tool == 'rust' else tool}::{key}"
        case "Cargo.toml", ["workspace", "metadata", "staged"]:
            return f"{'ast-grep' if '-' in key else 'standards'}::{key}"
        case "Cargo.toml", _:
            return "cargo-shear"
        case _:
            return "rustfmt"


def counted(count: int, what: str = "place") -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
