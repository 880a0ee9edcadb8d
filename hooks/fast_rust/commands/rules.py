"""`fast-rust rules`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from fast_rust.checks.rules import OWN, RulesError, rule_files, util_files, write_configuration

CONFIG = "sgconfig.yml"
# A folder whose configuration begins with this line was written by this command, which may write it again.
HEAD = "# Written by `fast-rust rules --export`, for editors; run it again after each update of fast-rust.\n"


def command(
    *,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="FOLDER", help="Write the rules to FOLDER; print the path of its sgconfig.yml."
        ),
    ] = None,
    crate: Annotated[
        Path,
        typer.Option(
            "--crate", help="Crate whose own rules in lints/own/ the export includes.", file_okay=False, exists=True
        ),
    ] = Path(),
) -> None:
    """List the ast-grep rules that `fast-rust check` runs, or export them for editors that read sgconfig.yml."""
    if export is not None:
        typer.echo(export_rules(export, crate))
        return
    for rule in read_rules():
        typer.echo(f"{rule['id']:30} {rule['severity']:8} {rule['message']}")


def read_rules() -> Iterator[dict[str, Any]]:
    """Read our rules, in the order of the sections."""
    for path in rule_files():
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def export_rules(folder: Path, crate: Path) -> Path:
    """Write our rules and a configuration that uses them and the crate's own rules; return its path.

    Raises RulesError for a folder that has files which this function did not write.
    """
    config = folder / CONFIG
    if folder.exists() and not folder.is_dir():
        raise RulesError(f"{folder} is a file; pass a new folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(config):
        raise RulesError(
            f"{folder} has files that `fast-rust rules --export` did not write; pass a new or an empty folder"
        )
    listed: dict[str, list[str]] = {"rules": [], "utils": []}
    for kind, files in (("rules", rule_files()), ("utils", map(Path, util_files()))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / kind / file.name).write_bytes(file.read_bytes())
            listed[kind].append(f"{kind}/{file.name}")
    own = crate / OWN
    # ast-grep refuses to run with a folder that is missing.
    if own.is_dir():
        listed["rules"].append(_relative(own.resolve(), folder.resolve()))
    write_configuration(config, listed["rules"], listed["utils"], HEAD)
    return config


def _is_ours(config: Path) -> bool:
    return config.is_file() and config.read_bytes().startswith(HEAD.encode())


def _relative(path: Path, folder: Path) -> str:
    """Return a path relative to a folder, so that both can move together; Windows has none between two drives."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()
