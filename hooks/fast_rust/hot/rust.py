"""Reads Rust code: imports, declarations of modules, and uses of names."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

USE = re.compile(r"(?m)^([ \t]*)((?:pub(?:\([^)]*\))? )?)use ([^;]+);[ \t]*\n?")
MODULE = re.compile(r"(pub(\([^)]*\))? )?mod \w+;")
# An attribute or a documentation comment belongs to the line below it.
BELONGS_BELOW = re.compile(r"\s*(#\[|///)")


@dataclass(frozen=True)
class Leaf:
    """A name that a `use` declaration brings into scope."""

    path: str
    name: str
    """The name in scope; `_` and `*` as they stand."""

    @property
    def word(self) -> str:
        """The name by which code has to use it, or the trait's where it has none."""
        return self.path.rpartition("::")[2] if self.name == "_" else self.name

    def __str__(self) -> str:
        last = self.path.rpartition("::")[2]
        return self.path if self.name in {last, "*"} else f"{self.path} as {self.name}"


@dataclass(frozen=True)
class Import:
    """A `use` declaration and its place in a text."""

    start: int
    end: int
    indent: str
    visibility: str
    leaves: tuple[Leaf, ...]


def imports(text: str) -> Iterator[Import]:
    """The `use` declarations of a text, in its order."""
    for found in USE.finditer(text):
        tree = re.sub(r"//[^\n]*", "", found[3])
        yield Import(found.start(), found.end(), found[1], found[2], tuple(_leaves(tree, "")))


def _leaves(tree: str, above: str) -> Iterator[Leaf]:
    tree = tree.strip()
    if tree.endswith("}"):
        prefix, _, inner = tree.partition("{")
        for part in _split(inner[:-1]):
            yield from _leaves(part, above + prefix.strip())
    elif tree:
        path, _, alias = (above + tree).partition(" as ")
        path = re.sub(r"\s+", "", path).removesuffix("::self")
        yield Leaf(path, alias.strip() or path.rpartition("::")[2])


def _split(list_of_trees: str) -> Iterator[str]:
    depth, start = 0, 0
    for at, letter in enumerate(list_of_trees):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            yield list_of_trees[start:at]
            start = at + 1
    yield list_of_trees[start:]


def written(of: Import, leaves: list[Leaf]) -> str:
    """Return a declaration as rustfmt writes it, with other leaves of the same path; nothing for none."""
    if not leaves:
        return ""
    start = f"{of.indent}{of.visibility}use "
    if len(leaves) == 1:
        return f"{start}{leaves[0]};\n"
    path = above(leaves)
    names = sorted((_below(leaf, path) for leaf in leaves), key=_order)
    line = f"{start}{path}::{{{', '.join(names)}}};\n"
    if len(line) <= 101:  # noqa: PLR2004  rustfmt's width and the line ending.
        return line
    rows, row = [], ""
    for name in names:
        if row and len(of.indent) + 4 + len(row) + len(name) + 2 > 100:  # noqa: PLR2004
            rows.append(row)
            row = ""
        row += f"{' ' if row else ''}{name},"
    inner = "".join(f"{of.indent}    {each}\n" for each in [*rows, row])
    return f"{start}{path}::{{\n{inner}{of.indent}}};\n"


def above(leaves: Sequence[Leaf]) -> str:
    """Return the path that the leaves of a declaration have in common."""
    if len(leaves) == 1:
        return leaves[0].path.rpartition("::")[0]
    shared: list[str] = []
    for segments in zip(*(leaf.path.split("::") for leaf in leaves), strict=False):
        if len(set(segments)) > 1:
            break
        shared.append(segments[0])
    return "::".join(shared)


def _below(leaf: Leaf, above: str) -> str:
    rest = str(leaf).removeprefix(above).removeprefix("::")
    return rest if rest and not rest.startswith(" as ") else f"self{rest}"


def _order(name: str) -> tuple[bool, str]:
    return (not name.startswith("self"), name)


# --- Code without comments ---

COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*', re.DOTALL)


def code_of(text: str) -> str:
    """Return a text without its line comments; the lines stay where they are."""
    return COMMENT.sub(lambda found: found[1] or "", text)


def uses_crate(code: str, name: str) -> bool:
    """Return whether code uses a dependency, by the name that it has in code."""
    named = rf"(?<![\w:]){name}::|(?<!\w)::{name}::|\b(use|crate) (::)?{name}\b"
    return name in code and re.search(named, code) is not None


# --- Modules of a library ---


def with_module(library: str, name: str) -> str:
    """Return a library that declares a module, where rustfmt would have it; it may declare it already."""
    lines = library.splitlines(keepends=True)
    line = f"pub mod {name};\n"
    if line in lines:
        return library
    modules = [index for index, each in enumerate(lines) if MODULE.match(each)]
    if not modules:
        # Below the documentation and the attributes of the crate.
        start = max((i + 1 for i, each in enumerate(lines) if re.match(r"//!|#!\[", each)), default=0)
        return "".join([*lines[:start], "\n", line, *lines[start:]])
    later = [index for index in modules if _module_of(lines[index]) > name]
    at = _above(lines, later[0]) if later else modules[-1] + 1
    lines.insert(at, line)
    return "".join(lines)


def _module_of(line: str) -> str:
    return line.partition("mod ")[2].partition(";")[0]


def without_module(library: str, name: str) -> str:
    """Return a library without a module's declaration, its attributes and documentation, and its exports."""
    lines = library.splitlines(keepends=True)
    for index in reversed(range(len(lines))):
        if re.match(rf"(pub(\([^)]*\))? )?mod {name};", lines[index]):
            del lines[_above(lines, index) : index + 1]
    text = "".join(lines)
    exports = [each for each in imports(text) if each.indent == "" and each.leaves]
    for each in reversed(exports):
        if all(re.match(rf"((crate|self)::)?{name}(::|$)", leaf.path) for leaf in each.leaves):
            text = text[: each.start] + text[each.end :]
    # No blank lines where rustfmt would have none.
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def _above(lines: list[str], index: int) -> int:
    """Return where the attributes and documentation of a line begin."""
    while index and BELONGS_BELOW.match(lines[index - 1]):
        index -= 1
    return index


def uses_of(text: str, roots: set[str], name: str) -> Iterator[int]:
    """The lines that name a module, counted from 1: by a path, or in a `use` declaration with braces."""
    named = re.compile(rf"\b({'|'.join(sorted(roots))})::{name}\b|(?<![\w:.]){name}::(?![<{{])")
    lines = text.splitlines()
    found = {number for number, line in enumerate(lines, 1) if not _is_plain_comment(line) and named.search(line)}
    whole = re.compile(rf"(::)?({'|'.join(sorted(roots))})::{name}(::|$)")
    for each in imports(text):
        if any(whole.match(leaf.path) for leaf in each.leaves):
            first = text.count("\n", 0, each.start) + 1
            last = text.count("\n", 0, each.end - 1) + 1
            exact = [n for n in range(first, last + 1) if re.search(rf"\b{name}\b", lines[n - 1])]
            found.add(exact[0] if exact else first)
    yield from sorted(found)


def _is_plain_comment(line: str) -> bool:
    return re.match(r"\s*//(?![/!])", line) is not None
