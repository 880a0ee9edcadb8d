"""The rules of ast-grep, those of the standards and those in a crate's lints/own/, in one run."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from fast_rust.checks.findings import Finding, Severity
from fast_rust.errors import FastRustError, reason_of
from fast_rust.programs import find_program
from fast_rust.standards.folder import standards_folder

OWN = "lints/own"
UNUSED = "unused-suppression"
# An exception from this rule would be one without a rule or a reason, too.
WITHOUT_EXCEPTION = "door-bare-ignore"
DIRECTIVES = re.compile(r"[A-Z]+-\d+( [A-Z]+-\d+)*")
REFERENCE = "https://ast-grep.github.io/reference/yaml.html"


class RulesError(FastRustError):
    """ast-grep could not run the rules: it is missing, or a rule is invalid."""


def run_rules(root: Path, *, off: Collection[str], advice: bool) -> list[Finding]:
    """Run all rules over a crate, and return their findings, in the order of the places; see `running_rules`."""
    with running_rules(root, off=off, advice=advice) as findings:
        return findings()


@contextmanager
def running_rules(root: Path, *, off: Collection[str], advice: bool) -> Iterator[Callable[[], list[Finding]]]:
    """Start all rules over a crate; what this gives waits for them, and returns their findings.

    `off` has the ids of rules that are switched off. Advice is found only with `advice`. Writes nothing into the crate.
    Raises RulesError where ast-grep is missing, and where it cannot use a rule.
    """
    program = find_ast_grep()
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        # ast-grep takes `files` of a rule relative to the folder of the configuration if the crate is in that folder,
        # and else to where it runs: a crate is never in this new folder.
        config = Path(folder, "sgconfig.yml")
        own = root.absolute() / OWN
        write_configuration(config, [*map(str, rule_files()), *([str(own)] if own.is_dir() else [])], util_files())
        # Only rules that run have suppressions that are used: without `advice`, one of advice is an error.
        command = [program, "scan", f"--config={config}", "--json=stream", f"--error={UNUSED}"]
        command += [] if advice else ["--min-severity=error"]
        command += [f"--off={rule}" for rule in sorted(off)]
        with subprocess.Popen(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            yield lambda: _findings(root, process)


def _findings(root: Path, process: subprocess.Popen[bytes]) -> list[Finding]:
    stdout, stderr = process.communicate()
    records = [json.loads(line) for line in stdout.decode("utf-8", "replace").splitlines() if line]
    # Exit code 1 says that there are errors, or that something else went wrong.
    if process.returncode != int(any(record["severity"] == "error" for record in records)):
        raise _failure(root, stderr.decode("utf-8", "replace"), process.returncode)
    return sorted(_finding(root, record) for record in _without_suppressed(records))


def _without_suppressed(records: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the records that no comment suppresses: ast-grep overlooks one that is below a documentation comment."""
    unused = {_line_of(record): record["text"] for record in records if record["ruleId"] == UNUSED}
    used = set()
    kept = []
    for record in records:
        file, line = _line_of(record)
        text = unused.get((file, line - 1), "")
        named = text.partition("ast-grep-ignore:")[2].partition(" -- ")[0]
        if record["ruleId"] in re.findall(r"[\w-]+", named) and record["ruleId"] != WITHOUT_EXCEPTION:
            used.add((file, line - 1))
        else:
            kept.append(record)
    yield from (record for record in kept if record["ruleId"] != UNUSED or _line_of(record) not in used)


def _line_of(record: Mapping[str, Any]) -> tuple[str, int]:
    return record["file"], record["range"]["start"]["line"]


def find_ast_grep() -> str:
    """Return the path of ast-grep: the one that was installed with this tool, else one that is on PATH."""
    if program := find_program("ast-grep"):
        return program
    message = (
        "`fast-rust check` needs ast-grep, which is not installed; run `pip install ast-grep-cli`, or `just setup`"
    )
    raise RulesError(f"{message} in the crate")


def rule_files() -> list[Path]:
    """Return the files of our rules, one for each section that has some."""
    return sorted(standards_folder().glob("*.yml"))


def util_files() -> list[str]:
    """Return the files of the helpers that our rules share."""
    return [str(path) for path in sorted((standards_folder() / "utils").glob("*.yml"))]


def write_configuration(path: Path, rules: Iterable[str], utils: Iterable[str], head: str = "") -> None:
    """Write a configuration of ast-grep.

    It lists files, since ast-grep would read the utils, which are in a folder of the rules' folder, as rules too.
    """
    # JSON but for its escapes of surrogates is YAML.
    lists = {"ruleDirs": list(rules), "utilDirs": list(utils)}
    text = head + "".join(f"{key}: {json.dumps(files, ensure_ascii=False)}\n" for key, files in lists.items())
    try:
        path.write_text(text, encoding="utf-8")
    except UnicodeEncodeError as error:
        name = text[error.start : error.end].encode("utf-8", "backslashreplace").decode()
        message = f"ast-grep needs UTF-8 paths, and the path of the crate or of fast-rust contains the byte {name}"
        raise RulesError(f"{message}; rename that folder") from error


# --- Findings ---


def _finding(root: Path, record: Mapping[str, Any]) -> Finding:
    rule, start = record["ruleId"], record["range"]["start"]
    ids, _, rest = record["message"].partition(": ")
    directives = tuple(ids.split()) if DIRECTIVES.fullmatch(ids) else ()
    message, _, action = (rest if directives else record["message"]).partition("; ")
    actions = [action, record["note"] or ""]
    if rule == UNUSED:
        directives = ("DOOR-1",)
        message = "this `ast-grep-ignore` comment suppresses nothing"
        actions = ["delete the comment, or correct the rule's name in it; the comment applies only to the next line"]
    elif rule != WITHOUT_EXCEPTION:
        actions.append(f"to keep the code, write `// ast-grep-ignore: {rule} -- REASON` on the line above it")
    return Finding(
        path=_real_path(root, record["file"]),
        line=start["line"] + 1,
        column=start["column"] + 1,
        gate=f"ast-grep::{rule}",
        directives=directives,
        message=message or f"this code violates the rule {rule}",
        next="\n".join(line.strip() for line in actions if line),
        severity=Severity.ERROR if record["severity"] == "error" else Severity.ADVICE,
    )


def _real_path(root: Path, printed: str) -> str:
    """Return the path of a file, of whose name ast-grep prints `U+FFFD` for the bytes that are not UTF-8."""
    path = PurePath()
    for part in PurePath(printed).parts:
        name = part
        if "\N{REPLACEMENT CHARACTER}" in part and not (root / path / part).exists():
            entries = (entry.name for entry in (root / path).iterdir())
            name = next((entry for entry in entries if _printed(entry) == part), part)
        path /= name
    return path.as_posix()


def _printed(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


# --- Failures ---


def _failure(root: Path, stderr: str, code: int) -> RulesError:
    if duplicate := re.search(r"Duplicate rule id `(.*?)` is found", stderr):
        return _duplicate(root, duplicate[1])
    # Each cause of an error is a line; one of YAML is there twice, first as a title of lines of the file.
    causes = [line.rstrip(".") for line in re.findall(r"(?m)^╰▻ (?!error: )(.*)$", stderr)]
    reason = ": ".join(causes)
    if broken := re.search(r"(?m)^Error: Cannot (?:parse|read) rule (.*)$", stderr):
        return RulesError(
            f"ast-grep cannot read the rule file {_shown(root, broken[1])}: {reason}; "
            f"correct the rule as {REFERENCE} says, or delete it"
        )
    said = next((line.removeprefix("Error: ") for line in stderr.splitlines() if line.strip()), "no reason given")
    return RulesError(
        f"ast-grep failed with exit code {code}: {said}{f' ({reason})' if reason else ''}; "
        "fix the cause, and run the command again"
    )


def _duplicate(root: Path, rule: str) -> RulesError:
    theirs = [_shown(root, str(path)) for path in _with_id(_own_rule_files(root), rule)]
    places = " and ".join([*theirs, *(f"standards/{path.name}" for path in _with_id(rule_files(), rule))])
    return RulesError(
        f"two ast-grep rules have the same id `{rule}`, in {places or OWN}; rename the rule in {(theirs or [OWN])[-1]}"
    )


def is_rule(root: Path, name: str) -> bool:
    """Return whether the standards or the crate have a rule of this name."""
    return any(_with_id([*rule_files(), *_own_rule_files(root)], name))


def _own_rule_files(root: Path) -> list[Path]:
    return sorted(path for suffix in ("yml", "yaml") for path in (root.absolute() / OWN).rglob(f"*.{suffix}"))


def _with_id(files: Iterable[Path], rule: str) -> Iterator[Path]:
    """Yield a file once for each of its rules that has an id."""
    for path in files:
        try:
            rules = [*yaml.safe_load_all(path.read_text(encoding="utf-8", errors="replace"))]
        except OSError as error:
            raise RulesError(f"cannot read a rule file: {reason_of(error)}") from error
        except yaml.YAMLError:
            continue  # ast-grep reports what is wrong in it.
        yield from (path for each in rules if isinstance(each, dict) and each.get("id") == rule)


def _shown(root: Path, path: str) -> str:
    """Return a path as relative to the crate, if it is in the crate."""
    whole = PurePath(path)
    return whole.relative_to(root.absolute()).as_posix() if whole.is_relative_to(root.absolute()) else path
