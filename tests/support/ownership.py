"""The owner of each file, from ownership.yml."""

from functools import cache
from pathlib import PurePosixPath

import yaml

from support.variants import CHECKOUT

ANSWERS_TEMPLATE = "{{ _copier_conf.answers_file }}"
SERVER_SOURCES = "{{ server_sources }}"
SERVER_ROOT = "{{ 'lib' if server_crate else 'mod' }}"


@cache
def shared_keys() -> list[tuple[str, str]]:
    """Return the shared files, each with the keys that the template owns."""
    shared = yaml.safe_load((CHECKOUT / "ownership.yml").read_text(encoding="utf-8"))["shared"]
    return [(path, key) for path, keys in shared.items() for key in keys]


@cache
def ownership() -> dict[str, list[str]]:
    """Return the paths of each class: files, and folders with all their files."""
    classes = yaml.safe_load((CHECKOUT / "ownership.yml").read_text(encoding="utf-8"))
    return {name: list(paths) for name, paths in classes.items()}


def owners(path: str) -> list[str]:
    """Return the classes that contain a path; there should be exactly one."""
    return [name for name, entries in ownership().items() if any(holds(entry, path) for entry in entries)]


def holds(entry: str, path: str) -> bool:
    """Return whether an entry names a file, or a folder that contains it."""
    return PurePosixPath(path).is_relative_to(entry)


def template_paths() -> list[str]:
    """Return the files of template/, by each path that they have in a crate."""
    template = CHECKOUT / "template"
    paths = (path.relative_to(template).as_posix() for path in template.rglob("*") if path.is_file())
    return sorted({form.removesuffix(".jinja") for path in paths for form in forms(path)})


def forms(path: str) -> list[str]:
    """Return the paths of a file in a service with the package server/, and in an older service."""
    if not path.startswith(SERVER_SOURCES):
        return [path]
    name = path.removeprefix(SERVER_SOURCES)
    return ["server/src" + name.replace(SERVER_ROOT, "lib"), "src/plumbing" + name.replace(SERVER_ROOT, "mod")]
