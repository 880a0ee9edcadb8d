"""Changes to the files of a crate: planned first, then written all or not at all."""

import os
import re
import shutil
import stat
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from fast_rust import git
from fast_rust.errors import reason_of
from fast_rust.files import as_git_has_it, link_to, part_of, remove_file, replace_file
from fast_rust.hot.crate import LIBRARY, HotCrate, HotPathError

FEW = 3
PART = re.compile(r"(^|/)\.[^/]+\.part$")


@dataclass
class Changes:
    """The changes of a command to a crate's files, by path."""

    crate: HotCrate
    written: dict[str, bytes] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    def text(self, name: str) -> str:
        """Return a file as it will be, with LF line endings."""
        planned = self.written.get(name)
        return self.crate.text(name) if planned is None else as_git_has_it(planned).decode()

    def write(self, name: str, text: str) -> None:
        """Plan the content of a file; each line that stays keeps its line ending."""
        path = self.crate.path(name)
        before = path.read_bytes() if path.is_file() else b""
        like = before or self.crate.path(LIBRARY).read_bytes()
        content = with_line_endings_of(like, text) if before else _with_ends(text, _usual_end(like))
        if content == before and path.is_file():
            self.written.pop(name, None)
        else:
            self.written[name] = content

    def delete(self, name: str) -> None:
        """Plan the deletion of a file, if it exists."""
        self.written.pop(name, None)
        if self.crate.path(name).exists():
            self.deleted.add(name)

    def require_restorable(self) -> None:
        """Check that git can restore each file that is changed or deleted.

        Raises HotPathError with the files that it cannot restore.
        """
        folder = self.crate.folder
        touched = {name for name in (*self.written, *self.deleted) if self.crate.path(name).exists()}
        above = {name for name in touched if name.startswith("../")}
        lost = _unrestorable(folder, touched - above)
        for name in above:
            # The manifest of a workspace that the crate is a member of; `require_committed` is about the crate alone.
            path = self.crate.path(name).resolve()
            is_lost = git.status(path.parent, path.name) or _unrestorable(path.parent, {path.name})
            lost += [name] if is_lost else []
        _require_none(sorted(lost))

    def apply(self) -> None:
        """Write and delete the files; where that fails, restore all of them.

        Raises HotPathError with the file and the reason.
        """
        self._require_writable()
        paths = [self.crate.path(name) for name in (*self.written, *self.deleted)]
        before = {path: (path.read_bytes(), path.stat().st_mode) for path in paths if path.exists()}
        try:
            # All new content is on the disk before the first file changes: a full disk stops it here.
            for name, content in self.written.items():
                _write_part(self.crate.path(name), content)
            for name in self.written:
                part_of(self.crate.path(name)).replace(self.crate.path(name))
            for name in sorted(self.deleted):
                remove_file(self.crate.path(name))
        except BaseException as error:
            self._restore(before)
            if isinstance(error, OSError):
                message = (
                    f"cannot write: {reason_of(error)}; no file was changed. Fix the cause, and run the command again"
                )
                raise HotPathError(message) from error
            raise

    def _require_writable(self) -> None:
        for name in sorted({*self.written, *self.deleted}):
            path = self.crate.path(name)
            if link := link_to(path, self.crate.folder):
                message = f"{self.crate.name_of(link)} is a symlink; refusing to write through it. Replace it with a"
                raise HotPathError(f"{message} regular file or folder")
            if path.exists() and not path.is_file():
                raise HotPathError(f"{name} is not a regular file; move it, and run the command again")
            if path.is_file() and not path.stat().st_mode & stat.S_IWUSR:
                raise HotPathError(f"{name} is read-only; run `chmod u+w {name}`, and the command again")

    def _restore(self, before: dict[Path, tuple[bytes, int]]) -> None:
        failed = []
        for name in self.written:
            part_of(self.crate.path(name)).unlink(missing_ok=True)
        for name in self.written:
            if (path := self.crate.path(name)) not in before and path.parent.is_dir():
                remove_file(path)
        for path, (content, mode) in before.items():
            try:
                if not path.is_file() or path.read_bytes() != content:
                    replace_file(path, content)
                    path.chmod(mode)
            except OSError:
                failed.append(self.crate.name_of(path))
        if failed:
            files = " ".join(failed)
            raise HotPathError(
                f"a write failed, and these files could not be restored: {files}; free"
                f" disk space, then run `git checkout -- {files}`"
            )


def _write_part(file: Path, content: bytes) -> None:
    part = part_of(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        if file.exists():
            shutil.copymode(file, part)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def require_committed(folder: Path) -> None:
    """Check that all files of a crate are committed; what an interrupted run of this command left is not counted.

    Raises HotPathError with the files that are not.
    """
    _require_none([path for _, path in git.status(folder) if not PART.search(path)])


def _unrestorable(folder: Path, names: set[str]) -> list[str]:
    prefix = git.prefix_of(folder)
    hidden = {path.removeprefix(prefix) for path in git.unwatched(folder, names)} if names else set()
    return sorted((names & hidden) | (names - git.entries(folder).keys()))


def _require_none(lost: list[str]) -> None:
    if lost:
        some = ", ".join(lost[:FEW]) + (f" and {len(lost) - FEW} more" if len(lost) > FEW else "")
        message = f"the command may delete files, and git cannot restore uncommitted ones: {some}; commit them, restore"
        raise HotPathError(f"{message} them with `git checkout`, or use --force")


# --- Line endings ---


def with_line_endings_of(before: bytes, text: str) -> bytes:
    """Return a text with the line endings of the file that it replaces; a new line has the usual one of the file."""
    usual = _usual_end(before)
    if b"\r\n" not in before:
        return text.encode()
    raw = before.split(b"\n")
    old = [line.removesuffix(b"\r").decode() for line in raw]
    new = text.split("\n")
    ends = [usual] * len(new)
    for match in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        for offset in range(match.size):
            if match.a + offset < len(raw) - 1:
                ends[match.b + offset] = b"\r\n" if raw[match.a + offset].endswith(b"\r") else b"\n"
    lines = [line.encode() for line in new]
    return b"".join(line + end for line, end in zip(lines[:-1], ends, strict=False)) + lines[-1]


def _usual_end(content: bytes) -> bytes:
    windows = content.count(b"\r\n")
    return b"\r\n" if 2 * windows > content.count(b"\n") else b"\n"


def _with_ends(text: str, end: bytes) -> bytes:
    return text.encode().replace(b"\n", end)
