"""Takes a change of the template to a file that its user has edited since: each hunk that is intact, or a conflict.

A merge by lines, as `git merge-file` does it, calls each edit next to a change a conflict. Here a hunk is intact as
long as its own lines are, independent of the lines above and below it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from fast_rust.hot.rust import BELONGS_BELOW, USE

# Above this, a line is an edited version of another.
SIMILAR = 0.6


@dataclass(frozen=True)
class Body:
    """The lines of a text that are aligned: not blank, and in Rust no import."""

    raw: list[str]
    at: list[int]
    """The index in `raw` of each line."""

    @property
    def lines(self) -> list[str]:
        return [self.raw[index].rstrip() for index in self.at]


@dataclass(frozen=True)
class Hunk:
    """Old lines that new lines replace, as indices of bodies."""

    start: int
    end: int
    new: tuple[str, ...] = ()
    is_alone: bool = True
    """Whether no other hunk begins or ends where this one does."""


@dataclass
class Woven:
    """The result of a change to a file."""

    text: str = ""
    conflicts: list[tuple[int, str]] = field(default_factory=list)
    """Lines of the user's file, counted from 1, and what is wrong there."""
    removed: list[str] = field(default_factory=list)
    own: dict[int, str] = field(default_factory=dict)
    """Lines that the user has added or edited, by their number."""


def body_of(text: str, *, is_rust: bool) -> Body:
    raw = text.split("\n")
    imported: set[int] = set()
    for found in USE.finditer(text) if is_rust else ():
        if not found[1]:
            first = text.count("\n", 0, found.start())
            imported.update(range(first, first + found[0].rstrip("\n").count("\n") + 1))
    return Body(raw, [index for index, line in enumerate(raw) if line.strip() and index not in imported])


def weave(before: str, after: str, own: str, sample: re.Pattern[str], *, is_rust: bool) -> Woven:
    """Return a user's file with the change from `before` to `after`; imports of Rust stay as they are."""
    old, new, mine = (body_of(text, is_rust=is_rust) for text in (before, after, own))
    mapped = _mapped(old.lines, mine.lines)
    known = set(mapped.values())
    result = Woven(own={mine.at[at] + 1: line for at, line in enumerate(mine.lines) if at not in known})
    dropped: set[int] = set()
    inserted: dict[int, list[str]] = {}
    pending: list[tuple[int, Hunk]] = []
    for hunk in _hunks(old, new, is_rust=is_rust):
        match _place(hunk, old, mine, mapped, sample):
            case int(at):
                count = hunk.end - hunk.start
                if conflict := _orphan(at, hunk, old, mine) if is_rust and count else None:
                    result.conflicts.append(conflict)
                dropped.update(_raw_range(mine, at, count))
                result.removed += old.lines[hunk.start : hunk.end]
                if hunk.new:
                    pending.append((mine.at[at] if at < len(mine.at) else len(mine.raw), hunk))
            case (int(number), str(reason)):
                result.conflicts.append((number, reason))
            case None:
                pass
    for position, hunk in pending:
        others = [line for _, other in pending if other is not hunk for line in other.new]
        kept = [line for index, line in enumerate(mine.raw) if index not in dropped]
        if not is_rust or _is_needed(hunk.new, "\n".join([*kept, *others])):
            inserted.setdefault(position, []).extend(hunk.new)
    result.text = _joined(mine.raw, dropped, inserted)
    return result


def _mapped(old: list[str], mine: list[str]) -> dict[int, int]:
    blocks = SequenceMatcher(None, old, mine, autojunk=False).get_matching_blocks()
    return {block.a + offset: block.b + offset for block in blocks for offset in range(block.size)}


def _hunks(old: Body, new: Body, *, is_rust: bool) -> Iterator[Hunk]:
    merged: list[list[int]] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old.lines, new.lines, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        # A brace that two different items have in common does not divide them.
        if merged and not any(map(_is_telling, old.lines[merged[-1][1] : i1])) and merged[-1][3] > merged[-1][2]:
            merged[-1][1], merged[-1][3] = i2, j2
        else:
            merged.append([i1, i2, j1, j2])
    for i1, i2, j1, j2 in merged:
        added = tuple(_with_blanks(new, j1, j2))
        if is_rust and not added:
            i1, i2 = max(_slides(i1, i2, old.lines), key=lambda at: _begins_item(old, at[0]))  # noqa: PLW2901
        starts = [i for i in range(i1 + 1, i2) if is_rust and _begins_item(old, i)]
        for start, end in zip([i1, *starts], [*starts, i2], strict=True):
            yield Hunk(start, end, added if start == i1 else (), is_alone=not starts)


def _begins_item(body: Body, index: int) -> bool:
    raw = body.at[index]
    return raw > 0 and not body.raw[raw - 1].strip() and not body.raw[raw].startswith((" ", "}"))


def _with_blanks(body: Body, start: int, end: int) -> Iterator[str]:
    for index in range(start, end):
        raw = body.at[index]
        if raw and not body.raw[raw - 1].strip():
            yield ""
        yield body.raw[raw]


def _is_telling(line: str) -> bool:
    return len(re.findall(r"\w", line)) > 1


def _place(
    hunk: Hunk, old: Body, mine: Body, mapped: dict[int, int], sample: re.Pattern[str]
) -> int | tuple[int, str] | None:
    """Return where a hunk applies in the user's body, or a conflict, or nothing where the user has done it."""
    if hunk.start == hunk.end:
        return _place_of_insertion(hunk, mine, mapped)
    can_slide = hunk.is_alone and not hunk.new
    slides = _slides(hunk.start, hunk.end, old.lines) if can_slide else [(hunk.start, hunk.end)]
    for start, end in slides:
        places = [mapped.get(index) for index in range(start, end)]
        if places[0] is not None and places == list(range(places[0], places[0] + len(places))):
            return places[0]
    lines = old.lines[hunk.start : hunk.end]
    same = [at for at in range(len(mine.lines) - len(lines) + 1) if mine.lines[at : at + len(lines)] == lines]
    if len(same) == 1 and any(map(_is_telling, lines)):
        return same[0]
    return _conflict(hunk, old, mine, mapped, sample)


def _place_of_insertion(hunk: Hunk, mine: Body, mapped: dict[int, int]) -> int | tuple[int, str]:
    if (above := mapped.get(hunk.start - 1)) is not None:
        return above + 1
    if (below := mapped.get(hunk.start)) is not None:
        return below
    return (
        mine.at[-1] + 1 if mine.at else 1,
        "you edited the lines around the sample here, so the sample's own lines cannot be identified",
    )


def _slides(first: int, last: int, lines: list[str]) -> Iterator[tuple[int, int]]:
    """The same deletion, with other lines of the same text."""
    yield first, last
    start, end = first, last
    while start and lines[start - 1] == lines[end - 1]:
        start, end = start - 1, end - 1
        yield start, end
    start, end = first, last
    while end < len(lines) and lines[start] == lines[end]:
        start, end = start + 1, end + 1
        yield start, end


def _conflict(
    hunk: Hunk, old: Body, mine: Body, mapped: dict[int, int], sample: re.Pattern[str]
) -> tuple[int, str] | None:
    left = [mapped[index] for index in range(hunk.start, hunk.end) if index in mapped]
    telling = [at for at in left if _is_telling(mine.lines[at])]
    above = max((mapped[i] for i in range(hunk.start) if i in mapped), default=-1)
    below = min((mapped[i] for i in range(hunk.end, len(old.lines)) if i in mapped), default=len(mine.at))
    between = [at for at in range(above + 1, below) if at not in set(mapped.values())]
    if telling:
        inside = [at for at in between if telling[0] <= at <= telling[-1]] or between or telling
        return mine.at[inside[0]] + 1, "you edited lines of the sample here"
    edited = [at for at in between if sample.search(mine.lines[at]) or _is_edit(mine.lines[at], hunk, old)]
    return (mine.at[edited[0]] + 1, "you edited this line of the sample") if edited else None


def _is_edit(line: str, hunk: Hunk, old: Body) -> bool:
    candidates = filter(_is_telling, old.lines[hunk.start : hunk.end])
    return any(SequenceMatcher(None, line, each, autojunk=False).ratio() > SIMILAR for each in candidates)


def _orphan(at: int, hunk: Hunk, old: Body, mine: Body) -> tuple[int, str] | None:
    """Return an attribute or a comment that the user wrote for an item that goes: it would belong to the next one."""
    if at == 0 or not BELONGS_BELOW.match(mine.lines[at - 1]):
        return None
    if hunk.start and old.lines[hunk.start - 1] == mine.lines[at - 1]:
        return None
    return mine.at[at - 1] + 1, "this belongs to an item of the sample"


def _raw_range(body: Body, at: int, count: int) -> Iterator[int]:
    """The indices of lines with the blank lines between them; imports stay."""
    for index in range(at, at + count):
        yield body.at[index]
        following = body.at[index] + 1
        while index + 1 < at + count and following < body.at[index + 1] and not body.raw[following].strip():
            yield following
            following += 1


def _is_needed(lines: tuple[str, ...], others: str) -> bool:
    """Return whether an item that comes is used; lines that declare none are needed."""
    declared = [found[1] for line in lines if (found := re.match(r"(?:pub )?(?:async )?fn (\w+)", line))]
    return not declared or any(re.search(rf"\b{name}\b", others) for name in declared)


def _joined(raw: list[str], dropped: set[int], inserted: dict[int, list[str]]) -> str:
    """Return the lines that stay, with what comes, and without blank lines that a change leaves over."""
    lines: list[str] = []
    seam = False
    for index in range(len(raw) + 1):
        for line in inserted.get(index, ()):
            if line or not (lines and not lines[-1]):
                lines.append(line)
            seam = True
        if index == len(raw):
            break
        if index in dropped:
            seam = True
            continue
        line = raw[index]
        if seam:
            above = lines[-1].rstrip() if lines else ""
            if not line.strip() and (not above or above.endswith("{")):
                continue
            if line.strip() in {"}", "};", "})"} and lines and not above:
                lines.pop()
            # An item that follows another has a blank line above it, also where that went with the sample.
            seam = False
        lines.append(line)
    return "\n".join(lines).rstrip("\n") + "\n"
