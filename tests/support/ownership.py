"""Who owns a file, as ownership.yml has it."""

from functools import cache
from pathlib import PurePosixPath

import yaml

from support.variants import CHECKOUT

ANSWERS_TEMPLATE = "{{ _copier_conf.answers_file }}"
SERVER_SOURCES = "{{ server_sources }}"
SERVER_ROOT = "{{ 'lib' if server_crate else 'mod' }}"


@cache
def shared_keys() -> list[tuple[str, str]]:
    """The files that are shared, with each key in them that is the template's."""
    shared = yaml.safe_load((CHECKOUT / "ownership.yml").read_text(encoding="utf-8"))["shared"]
    return [(path, key) for path, keys in shared.items() for key in keys]


@cache
def ownership() -> dict[str, list[str]]:
    """The paths of each class: files, and folders with all that is in them."""
    classes = yaml.safe_load((CHECKOUT / "ownership.yml").read_text(encoding="utf-8"))
    return {name: list(paths) for name, paths in classes.items()}


def owners(path: str) -> list[str]:
    """The classes that a path is in, which should be one."""
    return [name for name, entries in ownership().items() if any(holds(entry, path) for entry in entries)]


def holds(entry: str, path: str) -> bool:
    """Whether an entry names a file, or a folder that it is in."""
    return PurePosixPath(path).is_relative_to(entry)


def template_paths() -> list[str]:
    """The files of template/, by each path that they have in some crate."""
    template = CHECKOUT / "template"
    paths = (path.relative_to(template).as_posix() for path in template.rglob("*") if path.is_file())
    return sorted({form.removesuffix(".jinja") for path in paths for form in forms(path)})


def forms(path: str) -> list[str]:
    """The paths of a file in a service with the package server/, and in an older one."""
    if not path.startswith(SERVER_SOURCES):
        return [path]
    name = path.removeprefix(SERVER_SOURCES)
    return ["server/src" + name.replace(SERVER_ROOT, "lib"), "src/plumbing" + name.replace(SERVER_ROOT, "mod")]
