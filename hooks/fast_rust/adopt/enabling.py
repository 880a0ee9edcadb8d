"""Enable the gates that a crate satisfies by now."""

import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from fast_rust.adopt.marks import FILES, MARK, STAGED, Mark, counted, lines_of
from fast_rust.adopt.merging import rewrite

TOOL_OF = {"rustc": "clippy", "clippy.toml": "clippy", "ast-grep": "standards"}


def is_judged(gate: str, unjudged: Collection[str]) -> bool:
    """Return whether the tool of a gate ran to its end."""
    tool = gate.partition("::")[0]
    return TOOL_OF.get(tool, tool) not in unjudged


def unstaged(text: str, name: str = "Cargo.toml", left: Mapping[Mark, int] | None = None) -> str:
    """Return a file without its staged entries; those in `left` stay, with the present number of places."""
    lines = []
    for line, mark, _ in lines_of(name, text):
        if not mark:
            lines.append(line)
        elif now := (left or {}).get(mark):
            number = partial(_with_number, now)
            lines.append(re.sub(rf"({STAGED}), \d+ (place|file)s?", number, line))
        elif (was := MARK.search(line)) and mark.text.startswith("# "):
            lines.append(re.sub(r"^(\s*)# ", r"\1", MARK.sub("", line)))
        elif was and was[1]:
            lines.append(MARK.sub("", line).replace('"allow"', was[1], 1))
    text = "".join(f"{line}\n" for line in lines)
    text = re.sub(r"(?m)\n?^\[workspace\.metadata\.staged\]\n(#.*\n)*(?=\n|\[|\Z)", "", text)
    # What staging alone had put there.
    text = re.sub(r"(?m)^(ignored|ignored-paths) = \[\n?\]\n", "", text)
    return re.sub(r"(?m)\n?^\[workspace\.(metadata\.cargo-shear|lints\.\w+)\]\n(?=\n|\[|\Z)", "", text)


def _with_number(count: int, match: re.Match[str]) -> str:
    return f"{match[1]}, {counted(count, match[2])}"


def unstage_files(root: Path, left: Mapping[Mark, int] | None = None) -> None:
    """Switch on, in a workspace, all that was staged, but for what is left."""
    for name in FILES:
        file = root / name
        if file.is_file():
            rewrite(file, partial(unstaged, name=name, left=left))
            if name.endswith("rustfmt.toml") and not file.read_bytes():
                file.unlink()


def ratchet(staged_before: Mapping[Mark, int], now: Mapping[Mark, int], unjudged: Collection[str]) -> dict[Mark, int]:
    """Return the gates that stay staged, with their numbers: none rises, and that of an unjudged gate stays."""
    left = {}
    for mark, count in staged_before.items():
        found = now.get(mark, 0) if is_judged(mark.gate, unjudged) else count
        if found:
            left[mark] = min(found, count)
    return left
