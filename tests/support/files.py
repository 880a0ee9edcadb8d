"""Reads and edits files of crates."""

from collections.abc import Mapping
from pathlib import Path


def read_tree(crate: Path) -> dict[str, bytes]:
    """Return all files of a crate, by their path in it."""
    return {
        path.relative_to(crate).as_posix(): path.read_bytes()
        for path in sorted(crate.rglob("*"))
        if path.is_file() and path.relative_to(crate).parts[0] != ".git"
    }


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder, by their path in it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def edit(file: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text, which must exist."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def replace_only(file: Path, old: str, new: str) -> None:
    """Replace a text that occurs exactly once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")
