"""Adds a hot path: a module with two benches and an allocation test, registered."""

from pathlib import Path
from string import Template

import tomlkit

from fast_rust.hot.changes import Changes
from fast_rust.hot.crate import BENCH_MANIFEST, LIBRARY, HotCrate, HotPathError, open_crate, parse_toml
from fast_rust.hot.membership import has_shared_lints, with_bench_as_member
from fast_rust.hot.names import check_name
from fast_rust.hot.rust import with_module

SKELETONS = Path(__file__).with_name("skeleton")
# What the module of the skeleton takes, with room for what a compiler may change.
BUDGET = 200


def files_of(name: str) -> dict[str, str]:
    """Return the files of a hot path, by the skeleton that they are made from."""
    return {
        "module.rs": f"src/{name}.rs",
        "bench.rs": f"bench/benches/{name}.rs",
        "instructions.rs": f"bench/benches/{name}_instructions.rs",
        "allocations.rs": f"bench/tests/{name}_allocations.rs",
    }


def add(folder: Path, name: str) -> Changes:
    """Plan a new hot path. What an interrupted run has written already stays.

    Raises HotPathError where the name cannot be used, or the crate has no place for it.
    """
    crate = open_crate(folder)
    check_name(name, crate)
    changes = Changes(crate)
    names = {"name": name, "crate": crate.library, "budget": str(BUDGET)}
    for skeleton, path in files_of(name).items():
        text = Template((SKELETONS / skeleton).read_text(encoding="utf-8")).substitute(names)
        # As rustfmt has it where the alias is the name.
        text = text.replace(f"::{name} as {name};", f"::{name};")
        if crate.path(path).exists() and (not crate.path(path).is_file() or crate.text(path) != text):
            raise HotPathError(_taken(path))
        changes.write(path, text)
    if (crate.folder / "src" / name).exists():
        raise HotPathError(_taken(f"src/{name}"))
    changes.write(LIBRARY, with_module(crate.text(LIBRARY), name))
    changes.write(BENCH_MANIFEST, _bench_manifest(crate, name))
    with_bench_as_member(changes)
    if not changes.written:
        raise HotPathError(_taken(f"src/{name}.rs"))
    return changes


def _taken(path: str) -> str:
    return (
        f"{path} exists already; choose another name. To make existing code a hot path, write a section `# Hot path`"
        " into its documentation; `just rules` then lists the benchmarks and the test that it needs"
    )


def needed_in_manifest(package: str, name: str) -> tomlkit.TOMLDocument:
    """Return what a hot path needs in the manifest of the bench package."""
    return tomlkit.parse(_skeleton_of_manifest(package, name))


def _skeleton_of_manifest(package: str, name: str) -> str:
    text = (SKELETONS / "manifest.txt").read_text(encoding="utf-8")
    return Template(text).substitute(package=package, name=name)


def _bench_manifest(crate: HotCrate, name: str) -> str:
    """Return the manifest of the bench package with a hot path; it may be the first one."""
    if crate.has_bench:
        return with_benches(crate.text(BENCH_MANIFEST), crate.package, name)
    text = _skeleton_of_manifest(crate.package, name)
    # Cargo refuses to inherit from a table that is not there.
    return text if has_shared_lints(crate) else text.replace("[lints]\nworkspace = true\n\n", "")


def with_benches(manifest: str, package: str, name: str) -> str:
    """Return a manifest with the benches of a hot path and what they depend on."""
    parse_toml(manifest, BENCH_MANIFEST)
    document = tomlkit.parse(manifest)
    needed = needed_in_manifest(package, name)
    dependencies = document.setdefault("dev-dependencies", tomlkit.table())
    for dependency, version in needed["dev-dependencies"].items():
        dependencies.setdefault(dependency, version)
    if "target" not in document:
        document.add(tomlkit.nl())
        document["target"] = needed["target"]
    for target, tables in needed["target"].items():
        into = document["target"].setdefault(target, tables).setdefault("dev-dependencies", tomlkit.table())
        for dependency, version in tables["dev-dependencies"].items():
            into.setdefault(dependency, version)
    known = {bench.get("name") for bench in document.get("bench", ())}
    missing = [bench for bench in needed["bench"] if bench["name"] not in known]
    if not missing:
        return tomlkit.dumps(document)
    # At the end, where entries of an array may stand; an array that is extended loses its blank lines.
    entries = "\n".join(f'[[bench]]\nname = "{bench["name"]}"\nharness = false\n' for bench in missing)
    return tomlkit.dumps(document).rstrip("\n") + "\n\n" + entries


def bench_names(name: str) -> tuple[str, str]:
    """Return the names of a hot path's bench targets."""
    return (name, f"{name}_instructions")
