"""Every bad example of the standards is rejected by the gate that it names, and every good one passes all gates."""

import json
import re
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomlkit

from fast_rust.checks.rules import run_rules
from standards.examples import CASES, ONLY, Case
from support.variants import CHECKOUT, domain
from support.workshop import Workshop

# Dependencies of the examples in addition to the crate's own.
DEPENDENCIES: dict[str, str | dict[str, object]] = {
    "anyhow": "1",
    "arrayvec": "0.7",
    "crossbeam-channel": "0.5",
    "futures-util": "0.3",
    "log": "0.4",
    "rayon": "1",
    "rustc-hash": "2",
    "serde": {"version": "1", "features": ["derive"]},
    "serde_json": "1",
    "smallvec": "1",
    "thiserror": "2",
    "tokio": {"version": "1", "features": ["full"]},
    "tracing": "0.1",
}

# Lints that report an example only because it is an example: its items are undocumented and unused.
IRRELEVANT = {"missing_docs", "dead_code", "unused_variables", "unused_mut", "unused_assignments"}


@dataclass(frozen=True)
class Verdicts:
    """The findings of a crate's gates for each example, by its name."""

    lints: Mapping[str, Mapping[str, str]]
    """Findings of clippy and rustc: the lint, with the text of its message."""
    rules: Mapping[str, Mapping[str, str]]
    """Findings of ast-grep, in the same form."""
    unformatted: frozenset[str]


def judge(workshop: Workshop, kind: str) -> Verdicts:
    """Put all examples into a crate, and run its gates with the commands of `just lint`."""
    crate = workshop.crate(f"judged-{kind}", kind=kind)
    those = [case for case in CASES if kind in case.example.kinds]
    manifest = tomlkit.parse((crate / "Cargo.toml").read_text(encoding="utf-8"))
    _add_dependencies(manifest)
    # An example is a separate library, so it begins as the crate's library does.
    library = re.findall(r"(?m)^#!\[warn\(.*\n", (crate / "src" / "lib.rs").read_text(encoding="utf-8"))
    for case in those:
        # Each is a library, so that lints treat its public items as public; below src/, where ast-grep looks.
        path = crate / "src" / "examples" / f"{case.name}.rs"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(library) + case.code, encoding="utf-8")
        target = tomlkit.table()
        target.update({"name": case.name, "path": path.relative_to(crate).as_posix(), "crate-type": ["lib"]})
        manifest.setdefault("example", tomlkit.aot()).append(target)
    (crate / "Cargo.toml").write_text(tomlkit.dumps(manifest), encoding="utf-8")
    lints = _clippy(workshop, crate)
    rules = _rules(crate)
    unformatted = workshop.try_to(
        crate,
        "rustfmt",
        "--check",
        "--edition",
        "2024",
        "--files-with-diff",
        *(f"src/examples/{c.name}.rs" for c in those),
    )
    return Verdicts(lints, rules, frozenset(Path(line).stem for line in unformatted.stdout.splitlines()))


def _add_dependencies(manifest: tomlkit.TOMLDocument) -> None:
    development = manifest.setdefault("dev-dependencies", tomlkit.table())
    # This replaces dependencies that the crate already has with fewer features.
    development.update(DEPENDENCIES)


def _clippy(workshop: Workshop, crate: Path) -> Mapping[str, Mapping[str, str]]:
    command = "cargo clippy --quiet --keep-going --workspace --all-targets --all-features --message-format=json"
    done = _run(workshop, crate, *command.split(), "--", "--deny", "warnings")
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for line in done.splitlines():
        match json.loads(line):
            case {
                "reason": "compiler-message",
                "target": {"name": name},
                "message": {"code": {"code": code}} as message,
            }:
                found[name][code] = found[name].get(code, "") + message["rendered"]
            case {"reason": "compiler-message", "target": {"name": name}, "message": {"level": level} as message}:
                if not re.match("aborting|[0-9]+ (errors|warnings)", message["message"]):
                    found[name][level] = message["rendered"]
    return found


def _rules(crate: Path) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for one in run_rules(crate, off=(), advice=False):
        found[Path(one.path).stem][one.gate.partition("::")[2]] = f"{', '.join(one.directives)}: {one.message}"
    return found


def _run(workshop: Workshop, crate: Path, *command: str) -> str:
    """Run a command that is expected to fail, and return its standard output."""
    return subprocess.run(
        command, cwd=crate, env=workshop.environment, capture_output=True, text=True, check=False
    ).stdout


@pytest.fixture(scope="module", params=domain("kind"))
def kind(request: pytest.FixtureRequest) -> str:
    """Each crate kind."""
    return str(request.param)


@pytest.fixture(scope="module")
def verdicts(workshop: Workshop, kind: str) -> Verdicts:
    """The findings of one run of the gates over all examples."""
    return judge(workshop, kind)


def verdict(verdicts: Verdicts, case: Case) -> dict[str, str]:
    """Return the messages about one example, by the names of gates."""
    lints = verdicts.lints.get(case.name, {})
    messages = {(code if "::" in code else f"rustc::{code}"): text for code, text in lints.items()}
    messages |= {f"ast-grep::{rule}": text for rule, text in verdicts.rules.get(case.name, {}).items()}
    return {gate: text for gate, text in messages.items() if gate.removeprefix("rustc::") not in IRRELEVANT}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each example."""
    if "bad" in metafunc.fixturenames:
        metafunc.parametrize("bad", [pytest.param(c, id=c.title) for c in CASES if c.example.gate])
    if "good" in metafunc.fixturenames:
        metafunc.parametrize("good", [pytest.param(c, id=c.title) for c in CASES if not c.example.gate])


def test_a_bad_example_is_rejected(kind: str, verdicts: Verdicts, bad: Case) -> None:
    """The gate that the example names rejects it; if the gate is ours, the message also names the directive."""
    if kind not in bad.example.kinds:
        pytest.skip(f"{bad.example.gate} is for {' and '.join(sorted(bad.example.kinds))}")
    messages = verdict(verdicts, bad)
    assert not [text for gate, text in messages.items() if re.fullmatch(r"rustc::(E\d+|error)", gate)], messages
    assert bad.example.gate in messages, f"not refused by {bad.example.gate}, but by {sorted(messages) or 'nothing'}"
    if re.match("ast-grep::|clippy::disallowed_", bad.example.gate):
        assert re.search(rf"\b{bad.directive}\b", messages[bad.example.gate])


def test_a_good_example_is_accepted(verdicts: Verdicts, good: Case) -> None:
    """All gates accept it."""
    messages = verdict(verdicts, good)
    assert not messages, "\n".join(messages.values())


def test_examples_are_formatted(verdicts: Verdicts) -> None:
    assert verdicts.unformatted == frozenset()


def test_the_crate_itself_is_accepted(verdicts: Verdicts) -> None:
    names = {case.name for case in CASES}
    assert {name: messages for name, messages in verdicts.lints.items() if name not in names} == {}
    assert {name: messages for name, messages in verdicts.rules.items() if name not in names} == {}


def test_every_ban_is_detected(verdicts: Verdicts) -> None:
    """This finds a typing error in a path, about which clippy only warns, or prints nothing."""
    if ONLY:
        pytest.skip("needs all examples; FAST_RUST_EXAMPLES names some")
    bans = tomllib.loads((CHECKOUT / "template" / "clippy.toml").read_text(encoding="utf-8"))
    paths = [entry["path"] for name, entries in bans.items() if name.startswith("disallowed-") for entry in entries]
    messages = "\n".join(
        text for lints in verdicts.lints.values() for lint, text in lints.items() if "disallowed" in lint
    )
    assert [path for path in paths if f"`{path}`" not in messages] == []
