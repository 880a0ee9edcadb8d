"""Disable gates in the files of a crate, each with its reason and the number of places."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from fast_rust.adopt.marks import STAGED, counted

BANS = {"wildcard": "bans.wildcards", "source-not-allowed": "sources.unknown-git"}


def reason(count: int, what: str = "place") -> str:
    return f"{STAGED}, {counted(count, what)}"


def _mark(item: Any, count: int, was: str = "") -> None:  # noqa: ANN401  An item of TOML.
    comment = f"# reason: {reason(count)}" + (f'; was "{was}"' if was else "")
    item.trivia.comment_ws = item.trivia.comment_ws or " "
    item.trivia.comment = f"{item.trivia.comment} {comment}".strip()


def has_table(table: Any, names: Sequence[str]) -> bool:  # noqa: ANN401  A value of TOML.
    return not names or (names[0] in table and has_table(table[names[0]], names[1:]))


def lint_table(lint: str) -> str:
    """The table of a lint."""
    return lint.partition("::")[0].replace("rustc", "rust")


def _loosen(table: Any, name: str, count: int) -> None:  # noqa: ANN401  A table of TOML.
    """Set a level to `allow`, and note what it was."""
    old = table.get(name)
    if isinstance(old, dict):
        was = str(old.get("level", "warn"))
        old["level"] = "allow"
        _mark(old, count, was)
        return
    new = tomlkit.item("allow")
    if old is not None:
        new.trivia.comment_ws, new.trivia.comment = old.trivia.comment_ws, _unmarked(old.trivia.comment)
    table[name] = new
    _mark(table[name], count, str(old) if old is not None else "")


def _unmarked(comment: str) -> str:
    return re.sub(r" *# reason: (?!staged by adopt).*$", "", comment)


def with_comments(text: str, found: Mapping[str, int]) -> str:
    """Return a file with the lines of some bans, and of a key, as comments."""
    lines = []
    for line in text.splitlines():
        count = next(
            (count for name, count in found.items() if re.match(rf"\s*(\{{ *\w+ = )?{re.escape(name)}", line)), 0
        )
        indent = line[: len(line) - len(line.lstrip())]
        lines.append(f"{indent}# {line.strip()} # reason: {reason(count)}" if count else line)
    return "".join(f"{line}\n" for line in lines)


def disable_lints(document: Any, found: Mapping[str, int]) -> None:  # noqa: ANN401  A document of TOML.
    for lint, count in sorted(found.items()):
        _loosen(document["workspace"]["lints"][lint_table(lint)], lint.partition("::")[2], count)


def disable_others(document: Any, found: Mapping[str, int]) -> None:  # noqa: ANN401  A document of TOML.
    table = document["workspace"]["metadata"]["staged"]
    if not table:
        table.add(
            tomlkit.comment("Checks that the code fails; `fast-rust adopt --unstage .` removes those that it passes.")
        )
    for gate, count in sorted(found.items()):
        table[gate.partition("::")[2]] = reason(count)


def run_tests_in_turn(document: Any) -> None:  # noqa: ANN401  A document of TOML.
    threads = tomlkit.item(1)
    threads.trivia.comment_ws = " "
    threads.trivia.comment = "# reason: adopted, the tests fail when nextest runs them in parallel"
    document["profile"]["default"]["test-threads"] = threads


def disable_ban(document: Any, code: str, count: int) -> None:  # noqa: ANN401  A document of TOML.
    table, _, name = BANS[code].partition(".")
    _loosen(document[table], name, count)


def allow_licence(document: Any, name: str, count: int) -> None:  # noqa: ANN401  A document of TOML.
    allow = document["licenses"].setdefault("allow", tomlkit.array())
    allow.add_line(name, comment=f"reason: {reason(count)}")


def ignore_unused(document: Any, names: list[str], paths: list[str]) -> None:  # noqa: ANN401  A document of TOML.
    table = document["workspace"]["metadata"]["cargo-shear"]
    for key, found in (("ignored", names), ("ignored-paths", paths)):
        array = table.setdefault(key, tomlkit.array())
        for name in found:
            array.add_line(name, comment=f"reason: {reason(1)}")
        if not array:
            table.remove(key)
