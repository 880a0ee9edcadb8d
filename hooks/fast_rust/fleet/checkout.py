"""The commit that is checked out in a repository, and whether the working tree has the same files."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from fast_rust import git
from fast_rust.answers import ANSWERS_FILES
from fast_rust.files import as_git_has_it
from fast_rust.fleet.manifest import Crate
from fast_rust.fleet.repositories import checked_out_branch


class Checkout:
    """The files of a crate in the commit that is checked out.

    A file of the working tree is read in place of the committed one where both have the same content, which is quick;
    otherwise a clone of ours has the committed files, as the clone of an update has them.
    """

    def __init__(self, crate: Crate) -> None:
        """Read the list of files.

        Raises GitError where the commit has no such crate, or no branch is checked out.
        """
        self._crate = crate
        self.branch = checked_out_branch(crate.repository)
        below = "" if crate.subdirectory == "." else crate.subdirectory
        listing = git.run(crate.repository, "ls-tree", "-r", "-z", "--full-tree", f"HEAD:{below}")
        if listing.returncode:
            is_readable = below and git.succeeds(crate.repository, "ls-tree", "HEAD:")
            raise git.GitError(missing_in(crate) if is_readable else git.reason_of(listing))
        self._entries = git.entries_of(listing.stdout)

    def has_committed_answers(self) -> bool:
        """Return whether the working tree has the files of answers as they are committed."""
        names = [path.name for path in self._crate.folder.glob(ANSWERS_FILES)]
        return self.has_committed({*names, *(path for path in self._entries if fnmatch(path, ANSWERS_FILES))})

    def has_committed(self, paths: Iterable[str]) -> bool:
        """Return whether the working tree has files as they are committed, but for line endings."""
        return all(self._is_committed(path) for path in paths)

    def _is_committed(self, path: str) -> bool:
        file, entry = self._crate.folder / path, self._entries.get(path)
        if entry is None:
            return not os.path.lexists(file)
        if entry.mode == git.SYMLINK_MODE:
            return file.is_symlink() and git.blob_of(os.fsencode(file.readlink()), entry.blob) == entry.blob
        if file.is_symlink() or not file.is_file():
            return False
        content = file.read_bytes()
        return entry.blob in {git.blob_of(version, entry.blob) for version in (content, as_git_has_it(content))}

    def has_room_for(self, paths: Iterable[str]) -> bool:
        """Return whether each path is a file or free: not a folder, nor below a file or a symlink."""
        folders = {str(above) for path in self._entries for above in PurePosixPath(path).parents}
        return not any(
            path in folders or any(str(above) in self._entries for above in PurePosixPath(path).parents)
            for path in paths
        )

    @contextmanager
    def clone(self) -> Iterator[Path]:
        """Give the crate in a clone of ours, with the committed files."""
        with (
            TemporaryDirectory(prefix="fast-rust-") as parent,
            git.scratch_clone(self._crate.repository, Path(parent).resolve() / "clone") as clone,
        ):
            yield clone / self._crate.subdirectory


def missing_in(crate: Crate) -> str:
    """Return the message for a crate that its repository does not have."""
    return f"the folder {crate.subdirectory} does not exist in the commit that is checked out in {crate.repository}"
