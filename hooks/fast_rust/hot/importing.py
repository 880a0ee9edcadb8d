"""Imports of a Rust file after a part of its code has gone: each that is used stays, and no other of the sample."""

import re
from collections.abc import Iterable
from itertools import takewhile

from fast_rust.hot.rust import BELONGS_BELOW, Import, Leaf, above, code_of, imports, written

# Traits that code uses without naming them, by the name that it has: a method, or a macro of std.
USED_BY = {
    "BodyExt": r"\.(frame|collect|map_frame|map_err|boxed|boxed_unsync|with_trailers)\(",
    "BufRead": r"\.(lines|read_line|read_until|split)\(",
    "BuildHasher": r"\.(hash_one|build_hasher)\(",
    "Error": r"\.source\(",
    "IsTerminal": r"\.is_terminal\(",
    "Parser": r"::(parse|try_parse|parse_from|try_parse_from)\(",
    "Read": r"\.(read|read_exact|read_to_end|read_to_string|take|by_ref|bytes|chain)\(",
    "ServiceExt": r"\.(oneshot|ready|ready_oneshot|map_response|map_request)\(",
    "Write": r"\.(write|write_all|write_fmt|flush|by_ref)\(|\bwriteln?!",
}


def top_leaves(text: str) -> list[Leaf]:
    """Return what the imports at the top level of a file bring into scope."""
    return [leaf for each in imports(text) if not each.indent for leaf in each.leaves]


def with_imports(text: str, before: str, after: str, own_lines: Iterable[str]) -> tuple[str, list[str]]:
    """Return a file with the imports that its code needs, and the lines that are in the way.

    Of those in `before` alone each goes that is not used; of those in `after` alone each comes that is. `own_lines` are
    the user's: a trait has no name where its methods are used.
    """
    old, new = set(top_leaves(before)), set(top_leaves(after))
    code = code_of("".join(_without_imports(text)))
    own_code = code_of("\n".join(own_lines))
    present = top_leaves(text)
    going = {leaf for leaf in present if leaf in old - new and not _is_used(leaf, own_code)}
    paths = {leaf.path for leaf in present if leaf not in going}
    names = {leaf.name for leaf in present if leaf not in going}
    coming = [
        leaf
        for leaf in top_leaves(after)
        if leaf in new - old
        and leaf.path not in paths
        and leaf.name not in names - {"_"}
        and (leaf.name == "_" or re.search(rf"\b{leaf.name}\b", code))
    ]
    # A comment behind a declaration, or an attribute above it, would stay without it.
    edited = [
        text[each.start : each.end] + text[each.end :].partition("\n")[0]
        for each in imports(text)
        if not going.isdisjoint(each.leaves)
        and (text[each.end - 1] != "\n" or BELONGS_BELOW.match(text[: each.start].rstrip("\n").rpartition("\n")[2]))
    ]
    return _rewritten(text, after, going, coming), edited


def _is_used(leaf: Leaf, own_code: str) -> bool:
    """Return whether the user's lines use an import; the template's do without it."""
    if leaf.name not in {"_", "*"} and re.search(rf"\b{re.escape(leaf.name)}\b", own_code):
        return True
    trait = USED_BY.get(leaf.word)
    return trait is not None and re.search(trait, own_code) is not None


def _without_imports(text: str) -> Iterable[str]:
    start = 0
    for each in imports(text):
        if not each.indent:
            yield text[start : each.start]
            start = each.end
    yield text[start:]


def _rewritten(text: str, after: str, going: set[Leaf], coming: list[Leaf]) -> str:
    if not going and not coming:
        return text
    declarations = [each for each in imports(after) if not each.indent]
    ours = [each for each in imports(text) if not each.indent]
    extended: dict[int, list[Leaf]] = {}
    fresh: list[str] = []
    for declaration in declarations:
        wanted = [leaf for leaf in declaration.leaves if leaf in coming]
        if not wanted:
            continue
        # With those of the same declaration that the file has already, where it has some.
        at = next((i for i, each in enumerate(ours) if _is_same(each, declaration)), None)
        if at is None:
            fresh.append(written(declaration, wanted))
        else:
            extended.setdefault(at, []).extend(wanted)
    result, start = [], 0
    for index, each in enumerate(ours):
        leaves = [leaf for leaf in each.leaves if leaf not in going] + extended.get(index, [])
        is_same = leaves == list(each.leaves)
        result += [text[start : each.start], text[each.start : each.end] if is_same else written(each, leaves)]
        start = each.end
    return _sorted("".join([*result, text[start:]]), fresh)


def _is_same(ours: Import, declaration: Import) -> bool:
    return not ours.visibility and above(ours.leaves) == above(declaration.leaves)


def _sorted(text: str, fresh: list[str]) -> str:
    """Return a text with new declarations where rustfmt has them, and each block of imports in its order."""
    for line in fresh:
        present = [each for each in imports(text) if not each.indent and not each.visibility]
        later = [each.start for each in present if _rank(text[each.start : each.end]) > _rank(line)]
        at = later[0] if later else present[-1].end if present else _below_documentation(text)
        text = text[:at] + line + text[at:]
    for block in reversed(list(_blocks(text))):
        lines = [text[each.start : each.end] for each in block]
        text = text[: block[0].start] + "".join(sorted(lines, key=_rank)) + text[block[-1].end :]
    return re.sub(r"\n{3,}", "\n\n", text)


def _blocks(text: str) -> Iterable[list[Import]]:
    """The runs of declarations that a blank line, a comment or an attribute divides."""
    blocks: list[list[Import]] = [[]]
    for each in imports(text):
        # One with a comment behind it stays where it is.
        if each.indent or text[each.end - 1] != "\n":
            continue
        if blocks[-1] and blocks[-1][-1].end != each.start:
            blocks.append([])
        blocks[-1].append(each)
    yield from filter(None, blocks)


def _below_documentation(text: str) -> int:
    return sum(len(line) for line in takewhile(lambda line: line.startswith("//!"), text.splitlines(keepends=True)))


def _rank(declaration: str) -> list[tuple[int, str]]:
    path = re.sub(r"^(pub(\([^)]*\))? )?use |;\s*$", "", declaration)
    segments = path.split("::") if "{" not in path else [*path.partition("::{")[0].split("::"), "{" + path]
    first = {"": -1, "self": 0, "super": 1, "crate": 2}
    return [(4 if name.startswith("{") else first.get(name, 3), name) for name in segments]
