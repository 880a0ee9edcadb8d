"""`fast-rust drift`."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fast_rust import drift
from fast_rust.drift import Difference, State
from fast_rust.files import replace_file, unwatched, with_ends_of_lines
from fast_rust.owned import IDENTITY, Owned, owned_by
from fast_rust.releases import TemplateError, open_repository
from fast_rust.rendering import (
    ANSWERS_FILES,
    AnswersError,
    RenderingError,
    is_of_another_template,
    require_answers,
)

COULD_NOT_TELL = 2


@dataclass(frozen=True)
class Report:
    """What was found in one crate."""

    crate: Path
    release: str
    newer: tuple[str, ...]
    """Releases after the crate's own, as far as they are known here."""
    owned: Owned
    differences: tuple[Difference, ...]

    @property
    def drifted(self) -> tuple[Difference, ...]:
        """The differences about which something should be done."""
        return tuple(one for one in self.differences if one.is_drift)


def inspect(crate: Path, template: str | None = None) -> Report:
    """Compare a crate with the release that it was made from, or last updated to.

    Raises AnswersError, TemplateError or RenderingError where that cannot be told.
    """
    answers = require_answers(crate)
    repository = open_repository(template or answers.source, needed=answers.release)
    answers = replace(answers, source=str(repository.folder))
    owned = owned_by(repository, answers)
    releases = repository.releases()
    newer = releases[releases.index(answers.release) + 1 :] if answers.release in releases else []
    return Report(crate, answers.release, tuple(newer), owned, tuple(drift.differences(crate, owned)))


def crates_below(folder: Path) -> list[Path]:
    """The crates of a workspace that were made from this template: every folder with answers, as git lists them."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run([*command, "--", f":(glob)**/{ANSWERS_FILES}"], check=False, capture_output=True, text=True)
    files = [folder / name for name in done.stdout.split("\0") if name]
    found = sorted({file.parent for file in files if not is_of_another_template(file)})
    return found or [folder]


def put_right(report: Report, *, force: bool) -> tuple[list[str], dict[str, str]]:
    """Write what the template owns as the release has it: the files written, and those left, each with the reason."""
    written, left = [], {}
    for path in dict.fromkeys(one.path for one in report.drifted):
        file = report.crate / path
        if not force and file.exists() and _is_uncommitted(file):
            left[path] = "it has uncommitted work; commit it, or --force"
            continue
        if any(one.found.startswith(drift.NO_TOML) for one in report.drifted if one.path == path):
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
            content = drift.restored(text, report.owned.shared[path].decode(), keys).encode()
        replace_file(file, with_ends_of_lines(content, before))
        written.append(path)
    return written, left


def _is_uncommitted(file: Path) -> bool:
    # What git ignores it could not bring back either.
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(file.parent),
        "status",
        "--porcelain",
        "--ignored",
        "--untracked-files=all",
        "--",
        file.name,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode != 0 or bool(done.stdout) or bool(unwatched(file.parent, [file.name]))


def _lines(report: Report) -> list[str]:
    behind = f", {len(report.newer)} behind {report.newer[-1]}" if report.newer else ""
    lines = [f"{report.crate}: {report.release}{behind}"]
    for one in report.differences:
        what = f"{one.path}: {one.key}" if one.key else one.path
        match one:
            case Difference(state=State.LOOSENED):
                lines.append(f"  loosened  {what} is {one.found}, not {one.wanted} (reason: {one.reason})")
            case Difference(state=State.CHANGED, key=key) if key:
                lines.append(f"  changed   {what} is {one.found}, not {one.wanted}")
            case Difference(found=found) if found:
                lines.append(f"  {one.state:9} {what} ({found})")
            case _:
                lines.append(f"  {one.state:9} {what}")
    if not report.drifted:
        lines.append("  in line with its release")
    return lines


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "crate": str(report.crate),
        "release": report.release,
        "newer": list(report.newer),
        "differences": [asdict(one) for one in report.differences],
    }


def command(  # noqa: PLR0913  Typer makes an option of each.
    path: Annotated[
        Path, typer.Argument(help="A crate, or a workspace of them.", file_okay=False, exists=True)
    ] = Path(),
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Put back what the template owns, and nothing else.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --fix: also over work that is not committed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Only the keys of files that are shared.")] = False,
    lenient: Annotated[bool, typer.Option("--lenient", help="Where it could not tell, warn and exit with 0.")] = False,
    template: Annotated[str | None, typer.Option(help="The template's address, in place of the recorded one.")] = None,
) -> None:
    """Compare a crate with its release, in what the template owns.

    Exit codes: 0 in line; 1 drift; 2 could not tell.
    """
    reports, unclear = [], []
    for crate in crates_below(path):
        try:
            report = inspect(crate, template)
            shared = tuple(one for one in report.differences if one.path in report.owned.shared)
            reports.append(replace(report, differences=shared) if keys else report)
        except (AnswersError, TemplateError, RenderingError) as error:
            unclear.append(f"{crate}: {error}")
    if as_json:
        typer.echo(json.dumps({"crates": [_as_json(one) for one in reports], "unclear": unclear}, indent=2))
    else:
        typer.echo("\n".join(line for report in reports for line in _lines(report)))
    for message in unclear:
        typer.echo(f"{'warning' if lenient else 'error'}: could not tell: {message}", err=True)
    try:
        is_drift = _fix(reports, force=force) if fix else any(report.drifted for report in reports)
    except OSError as error:
        typer.echo(f"error: {error.strerror}: {error.filename}; mend that, and type the same again", err=True)
        raise typer.Exit(COULD_NOT_TELL) from error
    if is_drift and not fix:
        message = "Put it back with `fast-rust drift --fix`, or give the reason on the line of a key: `# reason: ...`."
        typer.echo(message, err=True)
    if unclear and not lenient:
        raise typer.Exit(COULD_NOT_TELL)
    raise typer.Exit(int(is_drift))


def _fix(reports: Sequence[Report], *, force: bool) -> bool:
    """Put all right, say what was done, and whether something is left."""
    is_left = False
    for report in reports:
        written, left = put_right(report, force=force)
        for path in written:
            typer.echo(f"put back  {report.crate / path}", err=True)
        for path, reason in left.items():
            typer.echo(f"left      {report.crate / path}: {reason}", err=True)
        is_left = is_left or bool(left)
    return is_left
