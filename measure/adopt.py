"""Adopts real crates from the package registry, and writes docs/adopt-figures.md: `make measure-adopt`.

The registry has each package as one normalized crate, so workspaces are assembled from several packages, and marked
"assembled" on the page. Each crate is built and tested by its own commands before and after the adoption, and its own
gates run before and after.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workbench import CHECKOUT, SCRATCH, fetch, table, write_page

FOLDER = SCRATCH / "adopt"
FAST_RUST = Path(sys.executable).with_name("fast-rust")
IDENTITY = {f"GIT_{who}_{what}": "measure@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
ENVIRONMENT = {**os.environ, **IDENTITY, "CARGO_TARGET_DIR": str(FOLDER / "target"), "CARGO_TERM_COLOR": "never"}
# The crate's own gates, each with the file that a crate has if it uses the gate.
GATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "build": ("", ("cargo", "build")),
    "tests": ("", ("cargo", "test")),
    "format": ("", ("cargo", "fmt", "--all", "--check")),
    "clippy": ("", ("cargo", "clippy", "--workspace", "--", "--deny", "warnings")),
    "deny": ("deny.toml", ("cargo", "deny", "check", "bans", "licenses", "sources")),
}
FUZZ = {
    "fuzz/Cargo.toml": '[package]\nname = "fuzz"\nversion = "0.0.0"\nedition = "2021"\npublish = false\n',
    "fuzz/src/lib.rs": "",
}
SERVICE = {
    "Cargo.toml": '[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2021"\nlicense = "MIT"\n\n[dependencies]\n'
    'axum = "0.8"\ntokio = { version = "1", features = ["full"] }\n',
    "src/main.rs": "use axum::{Router, routing::get};\n\n#[tokio::main]\nasync fn main() {\n"
    '    let app = Router::new().route("/", get(|| async { "hello" }));\n'
    '    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await.unwrap();\n'
    "    axum::serve(listener, app).await.unwrap();\n}\n",
}


@dataclass(frozen=True)
class Subject:
    """A crate, or a workspace of several, to adopt."""

    shape: str
    packages: Mapping[str, str]
    """The versions of the packages, by their names; the first is the root where there is no `manifest`."""
    manifest: str = ""
    """Cargo.toml of an assembled workspace; its packages are in folders of their names."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that are added to an assembled repository."""

    @property
    def name(self) -> str:
        """The crate's name on the page."""
        return " + ".join(self.packages) or "hello"

    @property
    def is_assembled(self) -> bool:
        """Whether the workspace was assembled for this measurement and exists in no repository."""
        return bool(self.manifest or self.files)


SUBJECTS = (
    Subject("single library", {"semver": "1.0.28"}),
    Subject("command-line program", {"hexyl": "0.16.0"}),
    Subject("service", {}, files=SERVICE),
    Subject(
        "workspace with a macro",
        {"async-stream": "0.3.6", "async-stream-impl": "0.3.6"},
        '[workspace]\nmembers = ["async-stream", "async-stream-impl"]\nresolver = "2"\n',
    ),
    Subject(
        "virtual workspace",
        {"anstyle": "1.0.14", "colorchoice": "1.0.5"},
        '[workspace]\nmembers = ["anstyle", "colorchoice"]\nresolver = "2"\n',
    ),
    Subject("crate with a fuzz crate below", {"httparse": "1.10.1"}, files=FUZZ),
    Subject("build script with C", {"alloca": "0.4.0"}),
    Subject("edition 2018", {"hex": "0.4.3"}),
    Subject("edition 2015", {"fnv": "1.0.7"}),
    Subject("own rustfmt.toml", {"byteorder": "1.5.0"}),
    Subject("own deny.toml and clippy.toml", {"cfg-expr": "0.20.10"}),
    Subject("own deny.toml", {"humantime": "2.4.0"}),
    Subject("own justfile", {"bytesize": "2.7.0"}),
    Subject("features that exclude each other", {"minimal-lexical": "0.2.1"}),
    Subject("MSRV above ours", {"tree-sitter-language": "0.1.9"}),
    Subject("MSRV far below ours", {"itoa": "1.0.18"}),
)


@dataclass(frozen=True)
class Outcome:
    """The result of adopting a crate."""

    subject: Subject
    gates: Mapping[str, tuple[bool, bool]]
    """For each own gate, whether it passes before and after."""
    seconds: float
    end: str
    enforced: str


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a crate."""
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=False, capture_output=True, text=True)


def require(folder: Path, *command: str | Path) -> str:
    """Run a command that must succeed, and return its output."""
    done = run(folder, *command)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed in {folder}:\n{done.stdout}{done.stderr}")
    return done.stdout


def repository(subject: Subject) -> Path:
    """Make a repository of a crate, or of several, with the manifest that its authors wrote."""
    folder = FOLDER / "crates" / (subject.name.replace(" + ", "-and-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, source in (fetch(FOLDER / "fetch", subject.packages) if subject.packages else {}).items():
        place = folder / name if subject.manifest else folder
        shutil.copytree(source, place, dirs_exist_ok=True)
        normalized = (place / "Cargo.toml").read_bytes()
        (place / "Cargo.toml.orig").replace(place / "Cargo.toml")
        for left in (".cargo-ok", ".cargo_vcs_info.json", "Cargo.lock"):
            (place / left).unlink(missing_ok=True)
        if not subject.manifest and run(folder, "cargo", "metadata", "--no-deps").returncode:
            # The crate was a member of a workspace, which the registry does not have.
            (place / "Cargo.toml").write_bytes(normalized)
        if subject.manifest:
            (place / "Cargo.toml").write_bytes(normalized)
    for path, text in {**({"Cargo.toml": subject.manifest} if subject.manifest else {}), **subject.files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    ignored = folder / ".gitignore"
    ignored.write_text("/target\n/Cargo.lock\n", encoding="utf-8")
    require(folder, "git", "init", "--quiet")
    require(folder, "git", "add", "--all", "--force")
    require(folder, "git", "commit", "--quiet", "--message", "Start")
    return folder


def gates_of(folder: Path, files: Sequence[str]) -> dict[str, bool]:
    """Return which of the crate's own gates pass."""
    used = {name: command for name, (file, command) in GATES.items() if not file or file in files}
    return {name: run(folder, *command).returncode == 0 for name, command in used.items()}


def adopt(subject: Subject, template: str) -> Outcome:
    """Adopt one crate, and return the result."""
    folder = repository(subject)
    files = [file.name for file in folder.iterdir()]
    before = gates_of(folder, files)
    begun = time.perf_counter()
    done = run(folder, FAST_RUST, "adopt", ".", "--template", template)
    seconds = time.perf_counter() - begun
    (folder.parent / f"{folder.name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    after = gates_of(folder, files)
    enforced = next(iter(re.findall(r"Of \d+ rules: (\d+ enforced, \d+ staged)", done.stdout)), "")
    end = "green"
    if done.returncode == 1:
        end = f"green, with {done.stdout.count(': yours is unchanged')} proposed files"
    elif done.returncode:
        message = " ".join(done.stderr.split())
        end = f"refused: {message.removeprefix('error: ')[:300]}"
    return Outcome(subject, {name: (before[name], after[name]) for name in before}, seconds, end, enforced)


def row(outcome: Outcome) -> list[str]:
    """Return the crate's row of the page."""
    names = {(True, True): "yes", (False, False): "no", (True, False): "**lost**", (False, True): "now"}
    gates = [names[outcome.gates[name]] if name in outcome.gates else "" for name in GATES]
    name = f"{outcome.subject.name}{' (assembled)' if outcome.subject.is_assembled else ''}"
    end = outcome.end.replace("|", "\\|")
    return [outcome.subject.shape, name, end, outcome.enforced, *gates, f"{outcome.seconds:.0f}"]


def main() -> None:
    """Write the page. Arguments name the crates to try; with arguments, no page is written."""
    wanted = [one for one in SUBJECTS if not sys.argv[1:] or one.name in sys.argv[1:]]
    release = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    template = FOLDER / "template"
    shutil.rmtree(template, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    require(FOLDER, "git", "clone", "--quiet", "--no-tags", CHECKOUT, template)
    require(template, "git", "tag", f"v{release}")
    outcomes = []
    for one in wanted:
        outcomes.append(adopt(one, str(template)))
        print(" | ".join(row(outcomes[-1])), flush=True)
    own = [one for one in outcomes if one.gates["build"][0] and one.gates["tests"][0]]
    lost = [one for one in outcomes if (True, False) in one.gates.values()]
    green = [one for one in own if one.end.startswith("green")]
    heads = ["shape", "crate", "end", "rules", *GATES, "seconds"]
    if sys.argv[1:]:
        return
    write_page(
        "adopt-figures.md",
        "measure-adopt",
        "# What adoption does to real crates\n\n"
        "`fast-rust adopt` adds the template's files and checks to an existing crate. This page shows the result for\n"
        f"{len(outcomes)} crates of the package registry, each in a separate repository, as cargo published it, often\n"
        "without its tests. A crate that is put together from several, or has an added file, is marked as assembled.\n"
        f"Of the {len(own)} whose own tests pass before, {len(green)} end green: adopted, and all checks pass.\n"
        f"{len(lost)} have a check less than before.\n\n"
        "The columns *build* to *deny* are the crate's own checks, before and after the adoption: *yes*, it passes\n"
        "both times; *now*, it passes only afterwards; *no*, it never passes; **lost**, it passes only before; empty,\n"
        "the crate does not have it. *Staged*: the code fails the check of a rule, so the check is disabled for now.\n"
        "*Proposed*: the crate has its own file, and the template's is next to it, with the suffix `.proposed`.\n\n"
        f"{table(heads, [row(one) for one in outcomes], texts=len(heads) - 1)}\n",
    )


if __name__ == "__main__":
    main()
