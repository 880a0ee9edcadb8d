"""Manifests written from a folder of clones, or from a list."""

import csv
import os
import re
from collections.abc import Container, Iterator, Mapping
from io import StringIO
from itertools import chain, count
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

from fast_rust import git
from fast_rust.answers import answers_file
from fast_rust.drift.report import crates_below
from fast_rust.files import part_of
from fast_rust.fleet.manifest import Manifest, ManifestError, read_manifest

COLUMNS = ("path", "url", "subdirectory", "ring", "owner", "freeze")
NO_NAME = "the name is missing; write a column `name`, with a name in each line"
ROWS_START = "\n# A row for each crate. Its folder has its name, unless `path` names another.\n"


def of_folder(folder: Path) -> dict[str, dict[str, Any]]:
    """Return a row for each crate in the clones of a folder, created from a template or not."""
    rows: dict[str, dict[str, Any]] = {}
    for repository in sorted(path for path in folder.iterdir() if (path / ".git").exists()):
        crates = [crate for crate in crates_below(repository) if _is_crate(crate)]
        for crate in crates:
            below = crate.relative_to(repository)
            name = _unlike(rows, _name("-".join([repository.name, *below.parts])))
            row: dict[str, Any] = {} if name == repository.name else {"path": repository.name}
            if url := git.run(repository, "remote", "get-url", "origin").stdout.strip():
                row["url"] = os.fsdecode(url)
            if below.parts:
                row["subdirectory"] = below.as_posix()
            rows[name] = row
    return rows


def _unlike(rows: Container[str], name: str) -> str:
    """Return a name that no other row has."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in rows)


def _is_crate(folder: Path) -> bool:
    return answers_file(folder).is_file() or (folder / "Cargo.toml").is_file()


def _name(text: str) -> str:
    return re.sub(r"[^\w.-]", "-", text)


def of_csv(path: Path) -> dict[str, dict[str, Any]]:
    """Return a row for each line of a list with the column `name`; columns that a manifest does not have are answers.

    Raises ManifestError where a name is missing, or is in two lines.
    """
    rows: dict[str, dict[str, Any]] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8; save it as UTF-8") from error
    with StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        for line in _rows(path, reader):
            name = (line.pop("name", None) or "").strip()
            if not name or name in rows:
                what = f"{name} is listed twice; give each crate its own name" if name else NO_NAME
                raise ManifestError(f"{path}:{reader.line_num}: {what}")
            cells = {
                str(key): str(value).strip() for key, value in line.items() if key and value and str(value).strip()
            }
            row: dict[str, Any] = {key: cells[key] for key in COLUMNS if key in cells}
            if answers := {key: _typed(value) for key, value in cells.items() if key not in COLUMNS}:
                row["answers"] = answers
            rows[name] = row
    return rows


def _rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[dict[str, Any]]:
    try:
        yield from reader
    except csv.Error as error:
        raise ManifestError(f"{path}:{reader.line_num}: {error}") from error


def _typed(cell: str) -> str | bool:
    return {"true": True, "false": False}.get(cell.lower(), cell)


def write_manifest(path: Path, text: str) -> Manifest:
    """Write a manifest that can be read, and return it.

    Raises ManifestError where it cannot be read; nothing is written then.
    """
    part = part_of(path)
    try:
        part.write_text(text, encoding="utf-8")
        manifest = read_manifest(part)
        part.rename(path)
    except UnicodeEncodeError as error:
        name = error.object[error.start : error.end]
        raise ManifestError(f"the folder name {name!r} is not UTF-8; rename that folder") from error
    except ManifestError as error:
        raise ManifestError(str(error).replace(str(part), str(path))) from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def manifest_text(template: str, folder: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a manifest with these rows, each on one line, and with each ring that they name."""
    head: dict[str, Any] = {"template": template, "folder": folder}
    if rings := [str(row["ring"]) for row in rows.values() if "ring" in row]:
        head["rings"] = {ring: {} for ring in rings}
    crates = {name: _inline(row) for name, row in rows.items()}
    return tomlkit.dumps(head) + ROWS_START + tomlkit.dumps({"crates": crates})


def _inline(row: Mapping[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    for key, value in row.items():
        table.add(key, _inline(value) if isinstance(value, dict) else value)
    return table
