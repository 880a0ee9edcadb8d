"""Keys of a shared TOML file: their values, the reasons on their lines, and restoring them."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import tomlkit
from tomlkit.container import Container, OutOfOrderTableProxy
from tomlkit.items import AbstractTable, AoT, Array, InlineTable, Item

from fast_rust.checks.tables import REASON
from fast_rust.drift import directions
from fast_rust.drift.directions import direction_of, further, identity, keeps, lacking, level_of, tightened
from fast_rust.drift.requirements import requirement_of, with_floor
from fast_rust.errors import FastRustError
from fast_rust.owned import Key

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
STAGED_LINE = re.compile(r"(?m)^ *# .*(# reason: staged by adopt, .*)$")
# Where the value is a table, the line that counts may be that of a value in it.
LINES_OF_A_TABLE = ("version", "level", "period")


def name_of(key: Key) -> str:
    """Return a key as TOML has it: a part with dots or spaces is quoted."""
    return ".".join(part if BARE_KEY.fullmatch(part) else _quoted(part) for part in key)


def _quoted(part: str) -> str:
    is_literal = "'" not in part and part.isprintable()
    return f"'{part}'" if is_literal else tomlkit.item(part).as_string()


def value_at(table: object, key: Key) -> Any:  # noqa: ANN401  A value of TOML.
    """Return the value of a key of a table, or None where the table lacks it."""
    for name in key:
        if not isinstance(table, dict) or name not in table:
            return None
        table = table[name]
    return table


def spelled(table: object, key: Key) -> Key:
    """Return a key as a table has it: cargo takes `unwrap-used` for `unwrap_used`."""
    other = (*key[:-1], key[-1].replace("_", "-"))
    is_lint = key[:2] == ("workspace", "lints")
    return other if is_lint and value_at(table, key) is None and value_at(table, other) is not None else key


# --- Reasons ---


def items_at(container: Container, key: Key) -> Iterator[Item]:
    """Yield the items of a key with their comments; several where the key is a table that is written in pieces."""
    for name, item in container.body:
        if name is None or name.key != key[0]:
            continue
        if len(key) == 1:
            yield item
        elif isinstance(item, AbstractTable):
            yield from items_at(item.value, key[1:])


def with_line(document: tomlkit.TOMLDocument, key: Key) -> Key:
    """Return a key, or the inline table around it, which has one line for all its keys."""
    above = (key[:length] for length in range(1, len(key)))
    return next((each for each in above if isinstance(value_at(document, each), InlineTable)), key)


def reason_at(document: tomlkit.TOMLDocument, key: Key) -> str:
    """Return the reason that a comment gives on the line of a key, or of its table's header; empty without one."""
    inner = [item for name in LINES_OF_A_TABLE for item in items_at(document, (*key, name))]
    items = (*items_at(document, with_line(document, key)), *inner)
    found = (REASON.search(comment) for item in items for comment in _comments(item))
    return next((match[1].strip() for match in found if match), "")


def _comments(item: Item) -> Iterator[str]:
    yield item.trivia.comment
    if isinstance(item, AoT):
        yield from (table.trivia.comment for table in item.body)
    # The line on which a list begins.
    if isinstance(item, Array) and (first := re.match(r"\[[ \t]*(#[^\n]*)", item.as_string())):
        yield first[1]
    # An entry that `fast-rust adopt` made a comment.
    if isinstance(item, Array) and (staged := STAGED_LINE.search(item.as_string())):
        yield staged[1]


def staged_reason(text: str, key: Key) -> str:
    """Return the reason of a line with a key that `fast-rust adopt` made a comment; empty without one."""
    lines = (match[0] for match in STAGED_LINE.finditer(text) if match[0].startswith(f"# {key[-1]} = "))
    return next((REASON.search(line.partition(" = ")[2])[1] for line in lines), "")  # type: ignore[index]


# --- Restoring ---


class UnclearKeyError(FastRustError):
    """A key cannot be restored without changing others."""


def restored(text: str, release_text: str, keys: Iterable[Key], *, is_append_only: bool = False) -> str:
    """Return a shared file with the keys as the release has them; order and comments of all others stay.

    What is stricter in a key stays. With `is_append_only`, lists and tables only get entries.
    Raises UnclearKeyError where a key cannot be restored.
    """
    document, release = tomlkit.parse(text), tomlkit.parse(release_text)
    for key in keys:
        source: Any = release
        target: Any = document
        for name in key[:-1]:
            source = source[name]
            if name not in target:
                target[name] = tomlkit.table(is_super_table=True)
            target = target[name]
            if not isinstance(target, AbstractTable | OutOfOrderTableProxy):
                raise UnclearKeyError(f"`{name}` is not a table, so `{name_of(key)}` cannot be set in it")
        _restore(target, spelled(document, key), source[key[-1]], is_append_only=is_append_only)
    return tomlkit.dumps(document)


def _restore(table: Any, key: Key, wanted: Item, *, is_append_only: bool) -> None:  # noqa: ANN401  A table or its proxy.
    name, plain = key[-1], wanted.unwrap() if isinstance(wanted, Item) else wanted
    match direction_of(key), table.get(name):
        case directions.FLOOR, str() as found:
            table[name] = with_floor(str(requirement_of(plain)), found)
        case directions.FLOOR, dict() as found:
            # Features and the rest are the crate's.
            found["version"] = with_floor(str(requirement_of(plain)), str(requirement_of(found)))
        case directions.LINT, dict() as found:
            found["level"] = level_of(plain)
        case directions.LONGER, Array() | AoT() as found:
            _lengthen(found, plain, is_append_only=is_append_only)
        case directions.EXEMPTIONS, dict() as found:
            for exemption in further(plain, found):
                del found[exemption]
        case directions.TIMEOUT, str() | dict() as found:
            stricter = tightened(plain, tomlkit.item(found).unwrap())
            table[name] = wanted if stricter == plain else stricter
        case _:
            table[name] = wanted


def _lengthen(found: Array | AoT, wanted: list[dict[str, Any]], *, is_append_only: bool) -> None:
    for entry in lacking(wanted, found.unwrap()):
        weaker = [place for place, other in enumerate(found.unwrap()) if identity(other) == identity(entry)]
        # As the list has its entries: in braces, or each below a header.
        item = tomlkit.table() if isinstance(found, AoT) else tomlkit.inline_table()
        item.update(entry)
        if not weaker and is_append_only and isinstance(found, Array):
            # On a separate line, which `fast-rust adopt` can turn into a comment.
            found.add_line(item)
            if not found.as_string().endswith("\n]"):
                found.add_line(indent="")
        elif not weaker:
            found.append(item)
        elif not is_append_only:
            found[weaker[0]] = item


def is_restored(before: object, after: object, wanted: dict[Key, Any], keys: Iterable[Key]) -> bool:
    """Return whether only these keys differ between two documents, and each is as strict as wanted."""
    restored_keys = list(keys)
    is_kept = all(keeps(key, wanted[key], value_at(after, spelled(after, key))) for key in restored_keys)
    changed = [spelled(after, key) for key in restored_keys]
    return is_kept and _without(before, changed) == _without(after, changed)


def _without(table: object, keys: Iterable[Key]) -> object:
    """Return a document without some keys, and without tables that are empty then."""
    if not isinstance(table, dict):
        return table
    inside: dict[str, list[Key]] = {}
    for key in keys:
        inside.setdefault(key[0], []).append(key[1:])
    left = {}
    for name, value in table.items():
        if () in inside.get(name, []):
            continue
        rest = _without(value, inside[name]) if name in inside else value
        if rest != {} or name not in inside:
            left[name] = rest
    return left
