"""Atomic writes: a killed run or a full disk leaves each file as before or as after."""

import shutil
from pathlib import Path


def part_of(file: Path) -> Path:
    """Return where the new content of a file is written before it replaces the file."""
    return file.with_name(f".{file.name}.part")


def as_git_has_it(content: bytes) -> bytes:
    """Return a text with the line endings that git stores; those of a working tree may be the machine's."""
    return content.replace(b"\r\n", b"\n")


def with_ends_of_lines(content: bytes, like: bytes) -> bytes:
    """Return a text with the line endings of another: those of Windows where all its lines have them."""
    return as_git_has_it(content).replace(b"\n", b"\r\n") if is_windows(like) else content


def is_windows(content: bytes) -> bool:
    """Return whether all lines of a text end as on Windows; a single line that differs does not count."""
    return content.count(b"\r\n") == content.count(b"\n") > 0


def replace_file(file: Path, content: bytes, *, is_executable: bool | None = None) -> None:
    """Replace the content of a file atomically; its mode stays, unless it becomes executable or not.

    Raises OSError; the file is then unchanged.
    """
    part = part_of(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        if file.exists():
            shutil.copymode(file, part)
        if is_executable is not None:
            mode = part.stat().st_mode
            part.chmod(mode | (mode & 0o444) >> 2 if is_executable else mode & ~0o111)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from error


def remove_file(file: Path) -> None:
    """Delete a file, and each folder that it leaves empty, as git does."""
    file.unlink(missing_ok=True)
    folder = file.parent
    while folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def link_to(file: Path, top: Path) -> Path | None:
    """Return the first symlink on the way from `top` to a file: what is written there may be outside `top`."""
    inside = [path for path in reversed((file, *file.parents)) if top in path.parents]
    return next((path for path in inside if path.is_symlink()), None)
