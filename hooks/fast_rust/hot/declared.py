"""What removed lines of Rust declare, and where the user's lines use it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from fast_rust.hot.rust import code_of

ITEM = re.compile(
    r"^\s*(?:pub(?:\([^)]*\))? )?(?:async |const |unsafe )*(?:fn|struct|enum|trait|type|const|static|mod) (\w+)"
)
LOCAL = re.compile(r"^\s+let (?:mut )?(\w+)\b")
FIELD = re.compile(r"^\s+(?:pub(?:\([^)]*\))? )(\w+): ")
VARIANT = re.compile(r"^    ([A-Z]\w*)(?:,| \{|\()")


@dataclass
class Declared:
    """Names that a file declared in lines that are removed."""

    items: set[str] = field(default_factory=set)
    locals: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    variants: set[str] = field(default_factory=set)


def declared_in(lines: list[str]) -> Declared:
    """Return what lines of Rust declare."""
    found = Declared()
    for pattern, names in (
        (ITEM, found.items),
        (LOCAL, found.locals),
        (FIELD, found.fields),
        (VARIANT, found.variants),
    ):
        names.update(match[1] for line in lines if (match := pattern.match(line)))
    return found


def uses_of_removed(name: str, own: Mapping[int, str], removed: Mapping[str, list[str]]) -> Iterator[tuple[int, str]]:
    """The user's lines in a file that use a removed item, with its name."""
    mine = declared_in(list(own.values()))
    for path, lines in removed.items():
        gone = declared_in(lines)
        stem = PurePosixPath(path).stem
        for number, text in own.items():
            line = code_of(text)
            if path == name:
                used = [
                    *(each for each in gone.items - mine.items if re.search(rf"(?<![\w.]){each}\b(?!\s*:(?!:))", line)),
                    *(each for each in gone.locals - mine.locals if _uses_local(each, line)),
                    *(each for each in gone.fields - mine.fields if re.search(rf"\.{each}\b(?!\()", line)),
                    *(each for each in gone.variants - mine.variants if re.search(rf"::{each}\b", line)),
                ]
            else:
                used = [
                    *(each for each in gone.items if re.search(rf"\b{stem}::(\w+::)?{each}\b", line)),
                    *(each for each in gone.fields if re.search(rf"\b{stem}\.{each}\b", line)),
                    *(each for each in gone.variants if re.search(rf"\bError::{each}\b", line)),
                ]
            flags = [each for each in gone.fields if "_" in each and f"--{each.replace('_', '-')}" in line]
            if used or flags:
                yield number, f"this uses `{(used or flags)[0]}` of the sample"
            elif '"/aggregate' in line:
                yield number, "this uses the route `/aggregate` of the sample"


def _uses_local(name: str, line: str) -> bool:
    return re.search(rf"(?<![\w.:\"]){name}\b(?!\s*:)", line) is not None and f"|{name}|" not in line
