"""Gates that a crate does not meet yet: found, switched off with how often they were met, and switched on again.

Each is switched off where its tool looks: a lint in the tables of Cargo.toml, a rule of ast-grep or a check of files in
[workspace.metadata.staged] there, a ban in clippy.toml, a licence in deny.toml, a dependency for cargo-shear. A gate
that the crate itself has on is never switched off.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import tomlkit

from fast_rust.adopt.marks import FILES, MARK, STAGED, Mark, counted, lines_of
from fast_rust.adopt.merging import rewrite
from fast_rust.checks.cargo import metadata
from fast_rust.checks.everything import find_all
from fast_rust.checks.rules import UNUSED
from fast_rust.errors import FastRustError
from fast_rust.programs import find_program, search_path

# An error may hide what comes after it, so a tool is asked again, but not for ever.
ROUNDS = 8
TOOLS = ("cargo", "just", "cargo-nextest", "cargo-deny", "cargo-shear")
FORMAT = "disable_all_formatting = true"
BANS = {"wildcard": "bans.wildcards", "source-not-allowed": "sources.unknown-git"}
CLIPPY = ("cargo", "clippy", "--workspace", "--all-targets", "--all-features")
DOC = ("cargo", "doc", "--workspace", "--all-features", "--no-deps")
NEXTEST = ".config/nextest.toml"
# Lints whose bans are entries of clippy.toml, and the key there on which other lints depend.
BAN_LINTS = re.compile(r"clippy::(disallowed_(macros|methods|names|types)|await_holding_invalid_type)")
EXPORTED = "avoid-breaking-exported-api"
FIRST_PLACES = 3


class GateError(FastRustError):
    """Why a crate cannot be adopted, or not with the change that was made."""


@dataclass(frozen=True)
class Staging:
    """What was switched off, and what could not be."""

    places: Mapping[str, int]
    """Of each gate that is off, by its name in the pages of the standards, in how many places it is met."""
    left: tuple[str, ...]
    """What stays red: for people."""
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of a gate that is off, the places that are known."""
    unjudged: frozenset[str] = frozenset()
    """The tools that could not run, as `_tool_of` names them."""


@dataclass(frozen=True)
class _Hit:
    """A place that a lint warns of."""

    lint: str
    place: str
    message: str
    is_denied: bool
    """Whether the crate denies the lint, and not clippy or rustc by itself."""


class Gates:
    """The gates of a workspace, run one after the other, each until nothing new is found."""

    def __init__(self, root: Path, target: Path, before: Mapping[str, bytes | None]) -> None:
        self.root = root
        self.before = before
        # No recipe installs the release that the crate has just been adopted by: this program runs its checks.
        own = {"CARGO_TARGET_DIR": str(target), "FAST_RUST": find_program("fast-rust") or sys.argv[0]}
        given = {name: value for name, value in os.environ.items() if value or name != "FAST_RUST"}
        # A relative one would be in the clone, where checks read what was built.
        if not Path(given.get("CARGO_TARGET_DIR", "")).is_absolute():
            given.pop("CARGO_TARGET_DIR", None)
        self.environment = {**own, **given, "PATH": search_path(), "CARGO_TERM_COLOR": "never"}
        self.places: Counter[str] = Counter()
        self.left: list[str] = []
        self.where: dict[str, list[str]] = {}
        self.unjudged: set[str] = set()

    def could_not(self, tool: str, command: Sequence[str], reason: str) -> None:
        """Note a gate that did not run to its end."""
        self.unjudged.add(tool)
        self.left.append(f"{tool} was not judged: {reason}; run `{' '.join(command)}` to see all of it")

    def add(self, gate: str, places: Sequence[str]) -> None:
        """Note a gate that is switched off."""
        self.places[gate] += len(places)
        self.where.setdefault(gate, []).extend(sorted(places))

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a tool in the workspace."""
        return subprocess.run(
            command,
            cwd=cwd or self.root,
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
        command = ("cargo", "fmt", "--all", "--", "--check", "-l")
        done = self.run(*command)
        files = {os.path.relpath(line, self.root) for line in done.stdout.splitlines() if line.endswith(".rs")}
        if not done.returncode:
            return
        if not files:
            self.could_not("rustfmt", command[:3], _reason(done.stderr))
            return
        names = [name for name in ("rustfmt.toml", ".rustfmt.toml") if (self.root / name).is_file()]
        if any(self.before.get(name) for name in names):
            self.left.append(f"rustfmt, by your {names[0]}, would change {_first(files)}; run `cargo fmt --all`")
            return
        file = self.root / (names[0] if names else "rustfmt.toml")
        file.touch()
        rewrite(file, lambda text: f"{FORMAT} # reason: {_staged(len(files), 'file')}\n{text}")
        self.add("rustfmt", sorted(files))

    def clippy(self) -> None:
        """Switch off lints by the crate's own clippy.toml first: what only ours finds is switched off there."""
        file = self.root / "clippy.toml"
        ours, own = file.read_bytes() if file.is_file() else None, self.before.get("clippy.toml")
        if ours is None or ours == own:
            self.lints(*CLIPPY)
            return
        # Cargo sees a change of a file, and not that there is a new one.
        file.write_bytes(own or b"")
        try:
            self.lints(*CLIPPY)
        finally:
            file.write_bytes(ours)
        if "clippy" not in self.unjudged:
            self.configuration()

    def lints(self, *command: str) -> None:
        """Switch off each lint that a cargo command warns of."""
        tool = "rustdoc" if command == DOC else "clippy"
        for _ in range(ROUNDS):
            hits, broken = self.hits(*command)
            found = _by(hits, lambda hit: hit.lint)
            bans = {lint for lint in found if BAN_LINTS.fullmatch(lint)}
            new = {lint: places for lint, places in found.items() if lint not in self.places and lint not in bans}
            for lint, places in new.items():
                self.add(lint, places)
            if new:
                tables = {f"workspace.lints.{_tool(lint)}" for lint in new}
                counts = {lint: len(places) for lint, places in new.items()}
                self.edit("Cargo.toml", partial(_stage_lints, found=counts), *sorted(tables))
                continue
            for lint, places in sorted(found.items()):
                why = "your clippy.toml bans what is there" if lint in bans else "the source or another table has it on"
                self.left.append(
                    f"{lint}: {why}: {_first(places)}; run `{' '.join(command)}`, and fix or allow it there"
                )
            if broken:
                self.could_not(tool, command, broken)
            return
        self.could_not(tool, command, f"after {ROUNDS} rounds there are still new lints")

    def configuration(self) -> None:
        """Switch off what only our part of clippy.toml finds: single bans, and lints of the public interface."""
        for _ in range(ROUNDS):
            hits, broken = self.hits(*CLIPPY)
            bans = _by((hit for hit in hits if BAN_LINTS.fullmatch(hit.lint)), lambda hit: _quoted(hit.message))
            others = [hit for hit in hits if not BAN_LINTS.fullmatch(hit.lint)]
            counts = {f'"{path}"': len(places) for path, places in bans.items()}
            counts |= {EXPORTED: len(others)} if others else {}
            was = (self.root / "clippy.toml").read_bytes()
            rewrite(self.root / "clippy.toml", lambda text: _with_comments(text, counts))  # noqa: B023  Called at once.
            if (self.root / "clippy.toml").read_bytes() == was:
                for path, places in bans.items():
                    self.left.append(f"clippy.toml bans {path}, which is at {_first(places)}; run `{' '.join(CLIPPY)}`")
                if others:
                    names = _first({f"{hit.lint} at {hit.place}" for hit in others})
                    self.left.append(f"clippy warns by our clippy.toml: {names}; run `{' '.join(CLIPPY)}`")
                if broken:
                    self.could_not("clippy", CLIPPY, broken)
                return
            for gate, places in _by((hit for hit in hits if hit not in others), lambda hit: hit.lint).items():
                self.add(gate, places)
            if others:
                self.add(f"clippy.toml::{EXPORTED}", [hit.place for hit in others])

    def hits(self, *command: str) -> tuple[list[_Hit], str]:
        """Return what lints warn of; and an error that is none, if there is one."""
        done = self.run(*command, "--message-format=json")
        found: dict[tuple[str, str, int], _Hit] = {}
        broken, by_default = "", set()
        for line in done.stdout.splitlines():
            match _json(line):
                case {"reason": "compiler-message", "message": {"code": {"code": str(code)}} as message}:
                    if re.fullmatch(r"E\d{4}", code):
                        broken = broken or f"error[{code}]: {message['message']}{_place(message)}"
                        continue
                    lint = code if "::" in code else f"rustc::{code}"
                    if any("on by default" in child["message"] for child in message["children"]):
                        by_default.add(lint)
                    span = next((span for span in message["spans"] if span["is_primary"]), None)
                    column = span["column_start"] if span else 0
                    hit = _Hit(
                        lint, _place(message).removeprefix(" at "), message["message"], message["level"] == "error"
                    )
                    found[lint, hit.place, column] = hit
                case {"reason": "compiler-message", "message": {"code": None, "level": "error", "message": str(text)}}:
                    broken = broken or f"error: {text}" if not text.startswith("aborting") else broken
        if done.returncode and not found:
            broken = broken or _reason(done.stderr)
        hits = [replace(hit, is_denied=hit.is_denied and hit.lint not in by_default) for hit in found.values()]
        return hits, broken

    def dependencies(self) -> None:
        command = ("cargo", "deny", "--workspace", "--all-features", *_DENY)
        done = self.run("cargo", "deny", "--format", "json", *command[2:])
        own = tomllib.loads((self.before.get("deny.toml") or b"").decode())
        found: Counter[tuple[str, str]] = Counter()
        for line in done.stderr.splitlines():
            message = _json(line)
            if message and message["type"] == "diagnostic" and message["fields"]["severity"] == "error":
                for subject in _refused(message["fields"]):
                    found[message["fields"].get("code", ""), subject] += 1
        for (code, subject), count in found.items():
            name = _quoted_crate(subject)
            table, _, key = BANS.get(code, "").partition(".")
            if code in BANS and own.get(table, {}).get(key) != "deny":
                self.edit("deny.toml", partial(_stage_ban, code=code, count=count), table)
            elif code == "rejected" and "licenses" not in own:
                self.edit("deny.toml", partial(_stage_licence, name=subject, count=count), "licenses")
            elif code == "banned" and name not in str(own.get("bans", {}).get("deny", "")):
                rewrite(self.root / "deny.toml", partial(_with_comments, found={f'"{name}"': count}))
            else:
                self.left.append(f"cargo-deny refuses: {subject}; run `{' '.join(command)}`")
                continue
            self.add("cargo-deny", [subject] * count)
        if done.returncode and not found:
            self.could_not("cargo-deny", command, _reason(done.stderr))

    def unused(self) -> None:
        command = ("cargo", "shear", "--deny-warnings")
        folders = self.folders()
        found = self.findings_of_shear()
        names = [name for one in found for name in re.findall(r"dependency `([^`]+)`", one["message"])]
        paths = []
        for one in found:
            folder = folders.get(_quoted(one["message"]), "")
            paths += [f"{folder}{line}" for line in one["message"].splitlines()[1:] if line.endswith(".rs")]
        if names or paths:
            self.edit(
                "Cargo.toml",
                partial(_stage_shear, names=sorted({*names}), paths=sorted({*paths})),
                "workspace.metadata.cargo-shear",
            )
            self.add("cargo-shear", [*names, *paths])
        done = self.run(*command)
        if done.returncode:
            said = [one["message"].partition("\n")[0] for one in self.findings_of_shear()]
            if said:
                self.left.append(f"cargo-shear refuses: {_first(said)}; run `{' '.join(command)}`")
            else:
                self.could_not("cargo-shear", command, _reason(done.stderr or done.stdout))

    def one_at_a_time(self) -> bool:
        """Let nextest run one test after the other: tests that pass by `cargo test` may share a file or a port."""
        if not (self.root / NEXTEST).is_file():
            return False
        self.edit(NEXTEST, _stage_threads, "profile.default")
        self.add("nextest::test-threads", ["all tests, one after the other"])
        return True

    def findings_of_shear(self) -> list[dict[str, Any]]:
        found = _json(self.run("cargo", "shear", "--deny-warnings", "--format", "json").stdout) or {}
        return list(found.get("findings", ()))

    def folders(self) -> dict[str, str]:
        """Return where the packages are, by their names."""
        found = {one["name"]: Path(one["manifest_path"]).parent for one in metadata(self.root)["packages"]}
        shown = {name: os.path.relpath(folder, self.root.resolve()) for name, folder in found.items()}
        return {name: "" if folder == "." else f"{folder}/" for name, folder in shown.items()}

    def rules(self) -> None:
        """Switch off each rule of ast-grep and each check of files that finds something."""
        try:
            findings = find_all(self.root, advice=False)
        except FastRustError as error:
            self.could_not("standards", ("fast-rust", "check"), str(error))
            return
        # An unused suppression is not a gate of the code.
        found = [one for one in findings if one.gate != f"ast-grep::{UNUSED}"]
        for one in found:
            self.add(one.gate, [f"{one.path}:{one.line}" if one.line else one.path])
        if found:
            counts = Counter(one.gate for one in found)
            self.edit("Cargo.toml", partial(_stage_others, found=counts), "workspace.metadata.staged")


_DENY = ("check", "bans", "licenses", "sources")


def before(folder: Path, root: Path, target: Path) -> None:
    """Check that a crate can be judged: its own build and tests pass, and so does what it denies itself.

    Raises GateError.
    """
    gates = Gates(root, target, {})
    _require_own(gates, folder, "before anything is changed, in a clone of the last commit")
    hits, broken = gates.hits(*CLIPPY)
    if broken:
        message = f"clippy cannot judge the crate: {broken}; run `{' '.join(CLIPPY)}`"
        raise GateError(f"{message}: all features have to build together; nothing was changed")
    if denied := {f"{hit.lint} at {hit.place}" for hit in hits if hit.is_denied}:
        message = f"the crate denies what is in it: {_first(denied)}; run `{' '.join(CLIPPY)}`"
        raise GateError(f"{message}, and fix it or allow it there; nothing was changed")


def after(folder: Path, root: Path, target: Path) -> None:
    """Check that the crate's own build and tests still pass.

    Raises GateError.
    """
    _require_own(Gates(root, target, {}), folder, "after the adoption, so nothing was changed")


def _require_own(gates: Gates, folder: Path, when: str) -> None:
    for command in (("cargo", "build"), ("cargo", "test")):
        done = gates.run(*command, cwd=folder)
        if done.returncode:
            advice = "it needs what git does not have, or was broken before" if "before" in when else "please report it"
            name = " ".join(command)
            reason = _reason(done.stderr, done.stdout)
            raise GateError(
                f"`{name}` fails {when}: {reason}; run `{name}` in a fresh clone to see all of it: {advice}"
            )


def stage(root: Path, justfile: str, target: Path, own: Mapping[str, bytes | None]) -> Staging:
    """Run all gates of a workspace, and switch off what they find; then ask the recipes whether all is green.

    It is built into the target folder, if the environment names no other. `own` has the crate's own content of FILES.
    """
    gates = Gates(root, target, own)
    gates.format()
    gates.clippy()
    gates.lints(*DOC)
    gates.dependencies()
    gates.unused()
    gates.rules()
    if (root / justfile).is_file() and not gates.left:
        for recipe in ("lint", "test", "doc", "audit"):
            command = ("just", "--justfile", justfile, "--working-directory", ".", recipe)
            done = gates.run(*command)
            if "no tests to run" in done.stderr:
                gates.left.append(
                    "`just test` fails: there is no test but in documentation; write one, then adopt again"
                )
                continue
            if done.returncode and recipe == "test" and gates.one_at_a_time():
                done = gates.run(*command)
            if done.returncode:
                gates.left.append(f"`just {recipe}` fails:\n{_end(done.stdout + done.stderr)}")
    where = {gate: tuple(places) for gate, places in gates.where.items()}
    return Staging(dict(sorted(gates.places.items())), tuple(gates.left), where, frozenset(gates.unjudged))


def _json(line: str) -> Any:  # noqa: ANN401  What a tool prints.
    try:
        return json.loads(line)
    except ValueError:
        return None


def _reason(*texts: str) -> str:
    """Return the first line that says what is wrong; cargo's error comes before what it was about."""
    lines = [line.strip() for text in texts for line in text.splitlines() if re.search(r"\w{2}", line)]
    failed = [line for line in lines if re.match(r"error|thread '|test .* FAILED", line)]
    real = [line for line in failed if not line.startswith("error: test failed")]
    return next(iter([*real, *failed, *lines]), "no reason given")


def _first(places: Iterable[str]) -> str:
    """Return the first few of some places."""
    known = sorted({*places})
    more = f" and {len(known) - FIRST_PLACES} more" if len(known) > FIRST_PLACES else ""
    return f"{', '.join(known[:FIRST_PLACES])}{more}"


def _by(hits: Iterable[_Hit], key: Callable[[_Hit], str]) -> dict[str, list[str]]:
    """Return the places of hits, by something of each."""
    found: dict[str, list[str]] = {}
    for hit in hits:
        found.setdefault(key(hit), []).append(hit.place)
    return found


def _place(message: Mapping[str, Any]) -> str:
    span = next((span for span in message["spans"] if span["is_primary"]), None)
    return f" at {span['file_name']}:{span['line_start']}" if span else ""


def _quoted(text: str) -> str:
    """Return the first text in backticks."""
    return "".join(re.findall(r"`([^`]+)`", text)[:1])


def _quoted_crate(text: str) -> str:
    """Return the crate that cargo-deny bans: `crate 'bincode = 1.3.3' is explicitly banned`."""
    return "".join(re.findall(r"'([\w-]+)", text)[:1])


def _end(text: str) -> str:
    # The launcher warns of the variable that we set.
    lines = [line for line in text.strip().splitlines() if not line.startswith("warning: FAST_RUST is set")]
    return "\n".join(f"    {line}" for line in lines[-12:])


def _staged(count: int, what: str = "place") -> str:
    return f"{STAGED}, {counted(count, what)}"


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


def _with_comments(text: str, found: Mapping[str, int]) -> str:
    """Return a file with the lines of some bans, and of a key, as comments."""
    lines = []
    for line in text.splitlines():
        count = next(
            (count for name, count in found.items() if re.match(rf"\s*(\{{ *\w+ = )?{re.escape(name)}", line)), 0
        )
        indent = line[: len(line) - len(line.lstrip())]
        lines.append(f"{indent}# {line.strip()} # reason: {_staged(count)}" if count else line)
    return "".join(f"{line}\n" for line in lines)


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


def _stage_threads(document: Any) -> None:  # noqa: ANN401  A document of TOML.
    threads = tomlkit.item(1)
    threads.trivia.comment_ws = " "
    threads.trivia.comment = "# reason: adopted, the tests fail side by side in processes of their own"
    document["profile"]["default"]["test-threads"] = threads


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


TOOL_OF = {"rustc": "clippy", "clippy.toml": "clippy", "ast-grep": "standards"}


def is_judged(gate: str, unjudged: Collection[str]) -> bool:
    """Return whether the tool of a gate ran to its end."""
    tool = gate.partition("::")[0]
    return TOOL_OF.get(tool, tool) not in unjudged


def unstaged(text: str, name: str = "Cargo.toml", left: Mapping[Mark, int] | None = None) -> str:
    """Return a file without what was staged in it, but for what is `left`, with the number of its places now."""
    lines = []
    for line, mark, _ in lines_of(name, text):
        if not mark:
            lines.append(line)
        elif now := (left or {}).get(mark):
            number = partial(_with_number, now)
            lines.append(re.sub(rf"({STAGED}), \d+ (place|file)s?", number, line))
        elif (was := MARK.search(line)) and mark.text.startswith("# "):
            lines.append(re.sub(r"^(\s*)# ", r"\1", MARK.sub("", line)))
        elif was and was[1]:
            lines.append(MARK.sub("", line).replace('"allow"', was[1], 1))
    text = "".join(f"{line}\n" for line in lines)
    text = re.sub(r"(?m)\n?^\[workspace\.metadata\.staged\]\n(#.*\n)*(?=\n|\[|\Z)", "", text)
    # What staging alone had put there.
    text = re.sub(r"(?m)^(ignored|ignored-paths) = \[\n?\]\n", "", text)
    return re.sub(r"(?m)\n?^\[workspace\.(metadata\.cargo-shear|lints\.\w+)\]\n(?=\n|\[|\Z)", "", text)


def _with_number(count: int, match: re.Match[str]) -> str:
    return f"{match[1]}, {counted(count, match[2])}"


def unstage(root: Path, left: Mapping[Mark, int] | None = None) -> None:
    """Switch on, in a workspace, all that was staged, but for what is left."""
    for name in FILES:
        file = root / name
        if file.is_file():
            rewrite(file, partial(unstaged, name=name, left=left))
            if name.endswith("rustfmt.toml") and not file.read_bytes():
                file.unlink()


def ratchet(staged_before: Mapping[Mark, int], now: Mapping[Mark, int], unjudged: Collection[str]) -> dict[Mark, int]:
    """Return what stays staged, with its number: it only falls, and what could not be judged stays as it is."""
    left = {}
    for mark, count in staged_before.items():
        found = now.get(mark, 0) if is_judged(mark.gate, unjudged) else count
        if found:
            left[mark] = min(found, count)
    return left
