"""Writing files so that a run that is killed, or a full disk, leaves each as before or as after; and whose they are."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


def part_of(file: Path) -> Path:
    """Where the new content of a file is written before it takes its place."""
    return file.with_name(f".{file.name}.part")


def as_git_has_it(content: bytes) -> bytes:
    """A text with the ends of lines that git stores; those in a working tree may be the machine's."""
    return content.replace(b"\r\n", b"\n")


def with_ends_of_lines(content: bytes, like: bytes) -> bytes:
    """A text whose lines end as those of another do: as on Windows, or as they are."""
    return content.replace(b"\n", b"\r\n") if b"\r\n" in like else content


def replace_file(file: Path, content: bytes, *, is_executable: bool | None = None) -> None:
    """Give a file new content as a whole; its mode stays, but for the bit that is named.

    Raises OSError, and then the file is as it was.
    """
    part = part_of(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        if file.exists():
            shutil.copymode(file, part)
        if is_executable is not None:
            mode = part.stat().st_mode
            readable = (mode & 0o444) >> 2
            part.chmod(mode | readable if is_executable else mode & ~0o111)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from error


def link_to(file: Path, top: Path) -> Path | None:
    """The file, or the first folder around it below the top, that is a link: what is written there may be elsewhere."""
    inside = [one for one in (file, *file.parents) if top in one.parents]
    return next((one for one in inside if one.is_symlink()), None)


def unwatched(folder: Path, names: Iterable[str]) -> list[str]:
    """The files that git was told to look away from: it calls a change in them none, and could not bring it back."""
    command = ["git", "-C", str(folder), "--literal-pathspecs", "ls-files", "-v", "-z", "--", *names]
    listed = subprocess.run(command, check=False, capture_output=True).stdout.decode(errors="surrogateescape")
    entries = [(entry[0], entry[2:]) for entry in listed.split("\0") if entry]
    return [name for tag, name in entries if (tag.islower() or tag == "S") and (folder / name).exists()]
