"""Run the gates of a workspace, and disable those that the code does not satisfy."""

import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tomlkit

from fast_rust.adopt.disabling import (
    BANS,
    allow_licence,
    disable_ban,
    disable_others,
    has_table,
    ignore_unused,
    reason,
    run_tests_in_turn,
    with_comments,
)
from fast_rust.adopt.merging import rewrite
from fast_rust.adopt.tool_output import banned_crate, first_error, first_places, parse_json, quoted, refused_by_deny
from fast_rust.checks.cargo import metadata
from fast_rust.checks.everything import find_all
from fast_rust.checks.rules import UNUSED
from fast_rust.errors import FastRustError
from fast_rust.programs import find_program, search_path

FORMAT = "disable_all_formatting = true"
NEXTEST = ".config/nextest.toml"


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
        self.left.append(f"{tool} failed to run: {reason}; run `{' '.join(command)}` to see its full output")

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
                if not has_table(tomllib.loads(text), table.split(".")):
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
            self.could_not("rustfmt", command[:3], first_error(done.stderr))
            return
        names = [name for name in ("rustfmt.toml", ".rustfmt.toml") if (self.root / name).is_file()]
        if any(self.before.get(name) for name in names):
            self.left.append(
                f"rustfmt, configured by your {names[0]}, would reformat {first_places(files)}; run `cargo fmt --all`"
            )
            return
        file = self.root / (names[0] if names else "rustfmt.toml")
        file.touch()
        rewrite(file, lambda text: f"{FORMAT} # reason: {reason(len(files), 'file')}\n{text}")
        self.add("rustfmt", sorted(files))

    def dependencies(self) -> None:
        command = ("cargo", "deny", "--workspace", "--all-features", "check", "bans", "licenses", "sources")
        done = self.run("cargo", "deny", "--format", "json", *command[2:])
        own = tomllib.loads((self.before.get("deny.toml") or b"").decode())
        found: Counter[tuple[str, str]] = Counter()
        for line in done.stderr.splitlines():
            message = parse_json(line)
            if message and message["type"] == "diagnostic" and message["fields"]["severity"] == "error":
                for subject in refused_by_deny(message["fields"]):
                    found[message["fields"].get("code", ""), subject] += 1
        for (code, subject), count in found.items():
            name = banned_crate(subject)
            table, _, key = BANS.get(code, "").partition(".")
            if code in BANS and own.get(table, {}).get(key) != "deny":
                self.edit("deny.toml", partial(disable_ban, code=code, count=count), table)
            elif code == "rejected" and "licenses" not in own:
                self.edit("deny.toml", partial(allow_licence, name=subject, count=count), "licenses")
            elif code == "banned" and name not in str(own.get("bans", {}).get("deny", "")):
                rewrite(self.root / "deny.toml", partial(with_comments, found={f'"{name}"': count}))
            else:
                self.left.append(f"cargo-deny rejects {subject}; run `{' '.join(command)}` for details")
                continue
            self.add("cargo-deny", [subject] * count)
        if done.returncode and not found:
            self.could_not("cargo-deny", command, first_error(done.stderr))

    def unused(self) -> None:
        command = ("cargo", "shear", "--deny-warnings")
        folders = self.folders()
        found = self.findings_of_shear()
        names = [name for finding in found for name in re.findall(r"dependency `([^`]+)`", finding["message"])]
        paths = []
        for finding in found:
            folder = folders.get(quoted(finding["message"]), "")
            paths += [f"{folder}{line}" for line in finding["message"].splitlines()[1:] if line.endswith(".rs")]
        if names or paths:
            self.edit(
                "Cargo.toml",
                partial(ignore_unused, names=sorted({*names}), paths=sorted({*paths})),
                "workspace.metadata.cargo-shear",
            )
            self.add("cargo-shear", [*names, *paths])
        done = self.run(*command)
        if done.returncode:
            said = [finding["message"].partition("\n")[0] for finding in self.findings_of_shear()]
            if said:
                self.left.append(f"cargo-shear reports {first_places(said)}; run `{' '.join(command)}` for details")
            else:
                self.could_not("cargo-shear", command, first_error(done.stderr or done.stdout))

    def one_at_a_time(self) -> bool:
        """Let nextest run one test after the other: tests that pass by `cargo test` may share a file or a port."""
        if not (self.root / NEXTEST).is_file():
            return False
        self.edit(NEXTEST, run_tests_in_turn, "profile.default")
        self.add("nextest::test-threads", ["all tests, one after the other"])
        return True

    def findings_of_shear(self) -> list[dict[str, Any]]:
        found = parse_json(self.run("cargo", "shear", "--deny-warnings", "--format", "json").stdout) or {}
        return list(found.get("findings", ()))

    def folders(self) -> dict[str, str]:
        """Return where the packages are, by their names."""
        found = {package["name"]: Path(package["manifest_path"]).parent for package in metadata(self.root)["packages"]}
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
        found = [finding for finding in findings if finding.gate != f"ast-grep::{UNUSED}"]
        for finding in found:
            self.add(finding.gate, [f"{finding.path}:{finding.line}" if finding.line else finding.path])
        if found:
            counts = Counter(finding.gate for finding in found)
            self.edit("Cargo.toml", partial(disable_others, found=counts), "workspace.metadata.staged")
