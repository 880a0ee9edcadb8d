"""Whole texts that the tool prints, so that a sentence that goes missing is seen.

`pytest tests/tool/test_texts.py tests/updates/test_texts.py --snapshot-update` writes them again.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from syrupy.assertion import SnapshotAssertion
from typer.main import get_command

from fast_rust.main import application
from support.command import invoke
from support.files import replace_only
from support.template import Template
from support.texts import printed


def commands(command: Any, *names: str) -> Iterator[tuple[str, ...]]:  # noqa: ANN401  Typer's types are private.
    """Yield the names of a command and of all below it."""
    yield names
    context = click.Context(command)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from commands(command.get_command(context, name), *names, name)


def joined(arguments: str) -> str:
    """Return a name for the file of a text."""
    return arguments.replace(" ", "-")


@pytest.mark.parametrize(
    "names", list(commands(get_command(application))), ids=lambda names: "-".join(names) or "fast-rust"
)
def test_help(names: tuple[str, ...], text: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert printed(invoke(*names, "--help")) == text


@pytest.mark.parametrize(
    "arguments",
    [
        "chekc",
        "explain NO-1",
        "explain OWN-99",
        "check no-such-folder",
        "hot add parse",
        "update",
        "drift no-such-folder",
        "conflicts no-such-folder",
        "fleet plan --manifest no-such.toml",
    ],
    ids=joined,
)
def test_error(arguments: str, text: SnapshotAssertion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    assert printed(invoke(*arguments.split()), tmp_path) == text


def test_a_wrong_name(text: SnapshotAssertion, template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(template.rendering({"crate_name": "totals", "kind": "lib"}))
    assert printed(invoke("hot", "add", "Parse")) == text


def test_explanation(text: SnapshotAssertion) -> None:
    assert printed(invoke("explain", "OWN-6", "BUILD-1", "BENCH-3")) == text


@pytest.mark.parametrize("arguments", ["check --advice", "check --output-format github", "hot add parse"], ids=joined)
def test_a_crate_with_errors(
    arguments: str, text: SnapshotAssertion, template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crate = Path(shutil.copytree(template.rendering({"crate_name": "totals", "kind": "lib"}), tmp_path / "totals"))
    replace_only(crate / "Cargo.toml", "\nunwrap_used = ", "\n# unwrap_used = ")
    replace_only(crate / "clippy.toml", "large-error-threshold = 128", "large-error-threshold = 256")
    (crate / "rust-toolchain.toml").write_text('[toolchain]\nchannel = "stable"\n', encoding="utf-8")
    getter = "impl Name {\n    pub fn text(&self) -> String {\n        self.text.clone()\n    }\n}\n"
    (crate / "src" / "name.rs").write_text(getter, encoding="utf-8")
    monkeypatch.chdir(crate)
    assert printed(invoke(*arguments.split()), tmp_path) == text
