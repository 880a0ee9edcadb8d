"""What an update or a merge has left for a person to resolve."""

import re
from collections.abc import Iterator
from pathlib import Path

from fast_rust import git

# As git and Copier write them; a line of seven `=` alone is also a heading in some texts, so it tells nothing.
MARKER = re.compile(rb"(?m)^(<{7}|>{7}|\|{7}) ")


def conflicts(folder: Path) -> Iterator[str]:
    """Yield a line for each unmerged file, conflict marker and rejected hunk below a folder.

    Raises GitError where the folder is not in a repository.
    """
    unmerged = {entry.partition("\t")[2] for entry in git.names(folder, "ls-files", "-z", "--unmerged")}
    for name in sorted(unmerged):
        yield f"{name}: you and the update changed the same lines; resolve the conflict, then run `git add {name}`"
    listed = git.names(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in sorted(set(listed) - unmerged):
        file = folder / name
        if name.endswith(".rej"):
            yield f"{name}: holds a change that the update could not apply; apply it by hand, then delete this file"
        elif file.is_file() and not file.is_symlink() and (found := MARKER.search(file.read_bytes())):
            line = file.read_bytes().count(b"\n", 0, found.start()) + 1
            yield f"{name}:{line}: conflict marker; keep one of the two sides, and delete the marker"
