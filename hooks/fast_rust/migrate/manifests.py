"""Dependencies of a service and its benches after a module of it has become a package."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomlkit

from fast_rust.hot.rust import code_of, uses_crate


def depend_on_package(crate: Path, manifests: Mapping[str, str], name: str) -> None:
    """Write the manifests with a dependency on the package in a folder, without what only the module used.

    A dependency of the package stays where code of the crate uses it, and becomes a dev-dependency where only tests do.
    """
    package = tomllib.loads((crate / name / "Cargo.toml").read_text(encoding="utf-8"))
    for manifest, text in manifests.items():
        folder, document = (crate / manifest).parent, tomlkit.parse(text)
        is_crate = folder == crate
        if is_crate:
            _drop_unused(folder, document, package["dependencies"])
        else:
            _drop_crate(folder, document["dev-dependencies"], package["package"]["name"].removesuffix(f"-{name}"))
        path = name if is_crate else f"../{name}"
        value = f'{name} = {{ package = "{package["package"]["name"]}", path = "{path}" }}'
        document["dependencies" if is_crate else "dev-dependencies"][name] = tomlkit.parse(value)[name]
        (crate / manifest).write_text(tomlkit.dumps(document), encoding="utf-8", newline="")


def _drop_unused(crate: Path, document: tomlkit.TOMLDocument, names: Mapping[str, object]) -> None:
    table = document["dependencies"]
    for name in names:
        if name not in table or _uses(crate, ("src", "build.rs"), name):
            continue
        if _uses(crate, ("tests", "benches", "examples"), name):
            document.setdefault("dev-dependencies", tomlkit.table()).setdefault(name, table[name])
        del table[name]


def _drop_crate(bench: Path, table: dict[str, object], crate_name: str) -> None:
    if crate_name in table and not _uses(bench, (".",), crate_name):
        del table[crate_name]


def _uses(folder: Path, places: tuple[str, ...], name: str) -> bool:
    """Return whether Rust code in these files and folders names a crate in a path."""
    crate = name.replace("-", "_")
    files = [file for place in places for file in (folder / place, *(folder / place).rglob("*.rs")) if file.is_file()]
    return any(uses_crate(code_of(file.read_text(encoding="utf-8", errors="replace")), crate) for file in files)
