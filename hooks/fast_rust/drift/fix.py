"""Restoring what the template owns in a crate."""

from pathlib import Path

from fast_rust import git
from fast_rust.drift.differences import NO_TOML
from fast_rust.drift.keys import restored
from fast_rust.drift.report import Report
from fast_rust.files import replace_file, with_ends_of_lines
from fast_rust.owned import IDENTITY


def fix(report: Report, *, force: bool) -> tuple[list[str], dict[str, str]]:
    """Write what the template owns as the release has it: the files written, and those left, each with the reason."""
    written, left = [], {}
    for path in dict.fromkeys(one.path for one in report.drifted):
        file = report.crate / path
        if not force and file.exists() and _is_uncommitted(file):
            left[path] = "it has uncommitted work; commit it, or --force"
            continue
        if any(one.found.startswith(NO_TOML) for one in report.drifted if one.path == path):
            left[path] = "it is no TOML, so its keys cannot be told; mend that by hand"
            continue
        wanted = report.owned.files.get(path, report.owned.shared.get(path, b""))
        if not file.exists() and any(answer.encode() in wanted for answer in IDENTITY.values()):
            left[path] = "it is gone, and has more in it than the template's: take it from git, `git checkout`"
            continue
        before = file.read_bytes() if file.exists() else b""
        if path in report.owned.files or not file.exists():
            content = wanted
        else:
            keys = [tuple(one.key.split(".")) for one in report.drifted if one.path == path and one.key]
            text = before.decode().replace("\r\n", "\n")
            content = restored(text, report.owned.shared[path].decode(), keys).encode()
        replace_file(file, with_ends_of_lines(content, before))
        written.append(path)
    return written, left


def _is_uncommitted(file: Path) -> bool:
    # What git ignores it could not restore either.
    folder = file.parent
    flags = ("--porcelain=v1", "-z", "--untracked-files=all", "--ignored")
    shown = git.run(folder, "-c", "core.fsmonitor=false", "status", *flags, "--", file.name)
    return shown.returncode != 0 or bool(shown.stdout) or bool(git.unwatched(folder, [file.name]))
