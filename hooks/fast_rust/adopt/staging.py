"""Gates that a crate does not meet yet: found, switched off with how often they were met, and switched on again.

Each is switched off where its tool looks: a lint in the tables of Cargo.toml, a rule of ast-grep or a check of files in
[workspace.metadata.staged] there, a licence in deny.toml, a dependency for cargo-shear.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tomlkit

from fast_rust.adopt.merging import rewrite
from fast_rust.checks.everything import find_all
from fast_rust.checks.rules import UNUSED
from fast_rust.errors import FastRustError
from fast_rust.programs import find_program, search_path

STAGED = "staged by adopt"
MARK = re.compile(r" *# reason: staged by adopt, [^;]*(?:; was (\"\w+\"))?$")
# An error may hide what comes after it, so a tool is asked again, but not for ever.
ROUNDS = 8
TOOLS = ("cargo", "just", "cargo-nextest", "cargo-deny", "cargo-shear")
FILES = ("Cargo.toml", "deny.toml", "rustfmt.toml", ".rustfmt.toml")
FORMAT = "disable_all_formatting = true"
BANS = {"wildcard": "bans.wildcards", "source-not-allowed": "sources.unknown-git"}


@dataclass(frozen=True)
class Staging:
    """What was switched off, and what could not be."""

    places: Mapping[str, int]
    """Of each gate that is off, by its name in the pages of the standards, in how many places it is met."""
    left: tuple[str, ...]
    """What stays red: for people."""


class _Gates:
    """The gates of a workspace, run one after the other, each until nothing new is found."""

    def __init__(self, root: Path, target: Path) -> None:
        self.root = root
        # No recipe installs the release that the crate has just been adopted by: this program runs its checks.
        own = {"CARGO_TARGET_DIR": str(target), "FAST_RUST": find_program("fast-rust") or sys.argv[0]}
        given = {name: value for name, value in os.environ.items() if value or name != "FAST_RUST"}
        self.environment = {**own, **given, "PATH": search_path(), "CARGO_TERM_COLOR": "never"}
        self.places: Counter[str] = Counter()
        self.left: list[str] = []

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a tool in the workspace."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
        )

    def edit(self, path: str, change: Callable[[Any], None], *tables: str) -> None:
        """Change the items of a file of TOML, after the tables that are needed were added at its end."""

        def changed(text: str) -> str:
            for table in tables:
                if not _has_table(tomllib.loads(text), table.split(".")):
                    text = f"{text.rstrip()}\n\n[{table}]\n"
            document = tomlkit.parse(text)
            change(document)
            return tomlkit.dumps(document)

        rewrite(self.root / path, changed)

    # --- The gates ---

    def format(self) -> None:
        done = self.run("cargo", "fmt", "--all", "--", "--check", "-l")
        if not done.returncode:
            return
        files = {line for line in done.stdout.splitlines() if line.endswith(".rs")}
        if not files:
            self.left.append(f"cargo fmt: {_last(done.stderr)}")
            return
        names = [name for name in ("rustfmt.toml", ".rustfmt.toml") if (self.root / name).is_file()]
        file = self.root / (names[0] if names else "rustfmt.toml")
        file.touch()
        rewrite(file, lambda text: f"{FORMAT} # reason: {_staged(len(files), 'file')}\n{text}")
        self.places["rustfmt"] = len(files)

    def lints(self, *command: str) -> None:
        """Switch off each lint that a cargo command warns of."""
        for _ in range(ROUNDS):
            found, broken = self._warnings(*command)
            new = {lint: count for lint, count in found.items() if lint not in self.places}
            self.places.update(new)
            if new:
                tables = {f"workspace.lints.{_tool(lint)}" for lint in new}
                self.edit("Cargo.toml", partial(_stage_lints, found=new), *sorted(tables))
            elif found:
                names = ", ".join(f"{lint} ({count})" for lint, count in sorted(found.items()))
                self.left.append(f"switched on in the source, so no table switches it off: {names}")
            if not new and broken:
                self.left.append(f"{' '.join(command[:2])}: {broken}")
            if not new:
                return

    def _warnings(self, *command: str) -> tuple[Counter[str], str]:
        """In how many places each lint is met; and an error that is none, if there is one."""
        done = self.run(*command, "--message-format=json")
        places: set[tuple[str, str, int, int]] = set()
        broken = ""
        for line in done.stdout.splitlines():
            match _json(line):
                case {"reason": "compiler-message", "message": {"code": {"code": str(code)}} as message}:
                    if re.fullmatch(r"E\d{4}", code):
                        broken = broken or f"{code} {message['message']}"
                        continue
                    span = next((span for span in message["spans"] if span["is_primary"]), None)
                    where = (span["file_name"], span["line_start"], span["column_start"]) if span else ("", 0, 0)
                    places.add((code if "::" in code else f"rustc::{code}", *where))
                case {"reason": "compiler-message", "message": {"code": None, "level": "error", "message": str(text)}}:
                    broken = broken or text if not text.startswith("aborting") else broken
        if done.returncode and not places:
            broken = broken or _last(done.stderr)
        return Counter(code for code, *_ in places), broken

    def dependencies(self) -> None:
        done = self.run("cargo", "deny", "--format", "json", "--workspace", "--all-features", *_DENY)
        found: Counter[tuple[str, str]] = Counter()
        for line in done.stderr.splitlines():
            message = _json(line)
            if message and message["type"] == "diagnostic" and message["fields"]["severity"] == "error":
                for subject in _refused(message["fields"]):
                    found[message["fields"].get("code", ""), subject] += 1
        for (code, subject), count in found.items():
            if code in BANS:
                self.edit("deny.toml", partial(_stage_ban, code=code, count=count), BANS[code].partition(".")[0])
            elif code == "rejected":
                self.edit("deny.toml", partial(_stage_licence, name=subject, count=count), "licenses")
            else:
                self.left.append(f"cargo deny: {subject}")
                continue
            self.places["cargo-deny"] += count
        if done.returncode and not found:
            self.left.append(f"cargo deny: {_last(done.stderr)}")

    def unused(self) -> None:
        done = self.run("cargo", "shear", "--deny-warnings", "--format", "json")
        found = _json(done.stdout) or {}
        names: list[str] = []
        paths: list[str] = []
        for finding in found.get("findings", ()):
            names += re.findall(r"dependency `([^`]+)`", finding["message"])
            paths += [line for line in finding["message"].splitlines()[1:] if line.endswith(".rs")]
        if names or paths:
            self.edit(
                "Cargo.toml",
                partial(_stage_shear, names=sorted({*names}), paths=sorted({*paths})),
                "workspace.metadata.cargo-shear",
            )
            self.places["cargo-shear"] = len(names) + len(paths)
        done = self.run("cargo", "shear", "--deny-warnings") if names or paths else done
        if done.returncode:
            self.left.append(f"cargo shear: {_last(done.stdout + done.stderr)}")

    def rules(self) -> None:
        """Switch off each rule of ast-grep and each check of files that finds something."""
        try:
            findings = find_all(self.root, advice=False)
        except FastRustError as error:
            self.left.append(f"fast-rust check: {error}")
            return
        # An unused suppression is not a gate of the code.
        found = Counter(one.gate for one in findings if one.gate != f"ast-grep::{UNUSED}")
        if found:
            self.places.update(found)
            self.edit("Cargo.toml", partial(_stage_others, found=found), "workspace.metadata.staged")


_DENY = ("check", "bans", "licenses", "sources")


def stage(root: Path, justfile: str, target: Path) -> Staging:
    """Run all gates of a workspace, and switch off what they find; then ask the recipes whether all is green.

    It is built into the target folder, if the environment names no other.
    """
    gates = _Gates(root, target)
    gates.format()
    gates.lints("cargo", "clippy", "--workspace", "--all-targets", "--all-features")
    gates.lints("cargo", "doc", "--workspace", "--all-features", "--no-deps")
    gates.dependencies()
    gates.unused()
    gates.rules()
    if (root / justfile).is_file():
        for recipe in ("lint", "test", "doc", "audit"):
            done = gates.run("just", "--justfile", justfile, "--working-directory", ".", recipe)
            if done.returncode:
                gates.left.append(f"just {recipe}:\n{_end(done.stdout + done.stderr)}")
    return Staging(dict(sorted(gates.places.items())), tuple(gates.left))


def _json(line: str) -> Any:  # noqa: ANN401  What a tool prints.
    try:
        return json.loads(line)
    except ValueError:
        return None


def _last(text: str) -> str:
    """What a tool said was wrong, in one line."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or ["no reason given"]
    return next((line for line in lines if line.startswith("error")), lines[-1])


def _end(text: str) -> str:
    # The launcher warns of the variable that we set.
    lines = [line for line in text.strip().splitlines() if not line.startswith("warning: FAST_RUST is set")]
    return "\n".join(f"    {line}" for line in lines[-12:])


def _staged(count: int, what: str = "place") -> str:
    return f"{STAGED}, {_places(count, what)}"


def _places(count: int, what: str = "place") -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


# --- Switching off ---


def _mark(item: Any, count: int, was: str = "") -> None:  # noqa: ANN401  An item of TOML.
    reason = f"# reason: {_staged(count)}" + (f'; was "{was}"' if was else "")
    item.trivia.comment_ws = item.trivia.comment_ws or " "
    item.trivia.comment = f"{item.trivia.comment} {reason}".strip()


def _has_table(table: Any, names: Sequence[str]) -> bool:  # noqa: ANN401  A value of TOML.
    return not names or (names[0] in table and _has_table(table[names[0]], names[1:]))


def _tool(lint: str) -> str:
    """The table of a lint."""
    return lint.partition("::")[0].replace("rustc", "rust")


def _loosen(table: Any, name: str, count: int) -> None:  # noqa: ANN401  A table of TOML.
    """Set a level to `allow`, and note what it was."""
    old = table.get(name)
    if isinstance(old, dict):
        was = str(old.get("level", "warn"))
        old["level"] = "allow"
        _mark(old, count, was)
        return
    new = tomlkit.item("allow")
    if old is not None:
        new.trivia.comment_ws, new.trivia.comment = old.trivia.comment_ws, _unmarked(old.trivia.comment)
    table[name] = new
    _mark(table[name], count, str(old) if old is not None else "")


def _unmarked(comment: str) -> str:
    return re.sub(r" *# reason: (?!staged by adopt).*$", "", comment)


def _stage_lints(document: Any, found: Mapping[str, int]) -> None:  # noqa: ANN401  A document of TOML.
    for lint, count in sorted(found.items()):
        _loosen(document["workspace"]["lints"][_tool(lint)], lint.partition("::")[2], count)


def _stage_others(document: Any, found: Mapping[str, int]) -> None:  # noqa: ANN401  A document of TOML.
    table = document["workspace"]["metadata"]["staged"]
    if not table:
        table.add(
            tomlkit.comment("What the code does not keep yet; `fast-rust adopt --unstage .` takes out what it does.")
        )
    for gate, count in sorted(found.items()):
        table[gate.partition("::")[2]] = _staged(count)


def _stage_ban(document: Any, code: str, count: int) -> None:  # noqa: ANN401  A document of TOML.
    table, _, name = BANS[code].partition(".")
    _loosen(document[table], name, count)


def _stage_licence(document: Any, name: str, count: int) -> None:  # noqa: ANN401  A document of TOML.
    allow = document["licenses"].setdefault("allow", tomlkit.array())
    allow.add_line(name, comment=f"reason: {_staged(count)}")


def _stage_shear(document: Any, names: list[str], paths: list[str]) -> None:  # noqa: ANN401  A document of TOML.
    table = document["workspace"]["metadata"]["cargo-shear"]
    for key, found in (("ignored", names), ("ignored-paths", paths)):
        array = table.setdefault(key, tomlkit.array())
        for name in found:
            array.add_line(name, comment=f"reason: {_staged(1)}")
        if not array:
            table.remove(key)


def _refused(fields: Mapping[str, Any]) -> Iterator[str]:
    """What a message of cargo-deny is about: the licences that it rejects, or what it says."""
    labels = [label for label in fields.get("labels", ()) if "rejected" in label["message"]]
    if fields.get("code") == "rejected" and labels:
        yield from (str(label["span"]) for label in labels)
    else:
        yield str(fields["message"])


# --- Switching on ---


def staged(root: Path) -> dict[str, int]:
    """Return what is staged in a workspace: by the names of gates in the standards, the places when it was staged."""
    found: Counter[str] = Counter()
    for name in FILES:
        header = ""
        file = root / name
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            header = line.strip("[] ") if line.startswith("[") else header
            if places := re.search(rf"{STAGED}, (\d+) ", line):
                found[_gate(name, header, line.partition(" ")[0])] += int(places[1])
    return dict(sorted(found.items()))


def _gate(file: str, header: str, key: str) -> str:
    match file, header.split("."):
        case "deny.toml", _:
            return "cargo-deny"
        case "Cargo.toml", ["workspace", "lints", tool]:
            return f"{'rustc' if tool == 'rust' else tool}::{key}"
        case "Cargo.toml", ["workspace", "metadata", "staged"]:
            return f"{'ast-grep' if '-' in key else 'standards'}::{key}"
        case "Cargo.toml", _:
            return "cargo-shear"
        case _:
            return "rustfmt"


def unstaged(text: str) -> str:
    """A file without all that was staged in it."""
    lines = []
    for line in text.splitlines():
        if not (mark := MARK.search(line)):
            lines.append(line)
        elif mark[1]:
            before = MARK.sub("", line)
            lines.append(before.replace('"allow"', mark[1], 1))
    text = "".join(f"{line}\n" for line in lines)
    text = re.sub(r"(?m)\n?^\[workspace\.metadata\.staged\]\n(.+\n)*", "", text)
    # What staging alone had put there.
    text = re.sub(r"(?m)^(ignored|ignored-paths) = \[\n?\]\n", "", text)
    return re.sub(r"(?m)\n?^\[workspace\.(metadata\.cargo-shear|lints\.\w+)\]\n(?=\n|\[|\Z)", "", text)


def unstage(root: Path) -> None:
    """Switch on, in a workspace, all that was staged."""
    for name in FILES:
        file = root / name
        if file.is_file():
            rewrite(file, unstaged)
            if name.endswith("rustfmt.toml") and not file.read_bytes():
                file.unlink()
