"""Checks of hot paths: each has a budget, and a measurement."""

import re
from collections.abc import Iterator
from pathlib import Path

from fast_rust.checks.findings import Severity
from fast_rust.checks.registry import Violation, check
from fast_rust.checks.sections import Section, code_of, is_of_tests, reason_why_cold
from fast_rust.checks.tables import read_text, words
from fast_rust.checks.workspace import Package, Workspace, files_below, identifiers

# The bench of an entire service: a request passes many modules, and no single one is hot.
OF_ALL = ("benches", "request_instructions")
MAPS = ("HashMap", "HashSet", "HashTable", "IndexMap", "IndexSet", "DashMap")


def _measurements(name: str) -> list[tuple[str, str]]:
    return [("benches", name), ("benches", f"{name}_instructions"), ("tests", f"{name}_allocations")]


def _hot_paths(workspace: Workspace) -> Iterator[tuple[Section, Path, Package | None]]:
    return (each for each in workspace.sections if not each[0].is_part)


@check(
    "OP-4",
    "BENCH-1",
    "BENCH-5",
    "BENCH-7",
    then="""
    write bench/benches/NAME.rs (criterion), bench/benches/NAME_instructions.rs (gungraun) and
    bench/tests/NAME_allocations.rs (dhat), and paste into bench/Cargo.toml:

    [[bench]]
    name = "NAME"
    harness = false

    [[bench]]
    name = "NAME_instructions"
    harness = false
    """,
)
def every_hot_path_is_measured(workspace: Workspace) -> Iterator[Violation]:
    """A hot path, that is, an item documented with `# Hot path`, must have two benchmarks and an allocation test."""
    for section, folder, bench in _hot_paths(workspace):
        for kind, name in _measurements(section.name):
            for what in _missing(section, bench, kind, name):
                path = folder / "bench" / kind / f"{name}.rs"
                yield Violation(f"{section}: {what.format(file=workspace.shown(path))}", section.path, section.line)


def _missing(section: Section, bench: Package | None, kind: str, name: str) -> Iterator[str]:
    targets = bench.targets if bench else ()
    target = next((each for each in targets if (each.kind, each.name) == (kind, name)), None)
    if target is None or bench is None:
        yield "{file} does not exist"
        return
    if section.name not in identifiers(code_of(read_text(target.source))):
        yield "{file} never calls the hot path"
    entries = bench.manifest.at("bench") or ()
    own_harness = {each.get("name") for each in entries if each.get("harness") is False}
    if kind == "benches" and name not in own_harness:
        yield f"{bench.manifest.path} does not register {name} with `harness = false`"


@check(
    "BENCH-1",
    then="""
    delete the file and its [[bench]] entry in bench/Cargo.toml, or document the module or function that it measures
    with a section `# Hot path`
    """,
)
def every_measurement_belongs_to_a_hot_path(workspace: Workspace) -> Iterator[Violation]:
    """Each benchmark must measure a hot path, that is, an item documented with `# Hot path`."""
    for folder, bench in workspace.benches:
        if bench is None:
            continue
        named = {(each.kind, each.name): each.source for each in bench.targets}
        # Cargo may not know a file, for want of an entry where `autobenches` is off.
        files = [file for kind in ("benches", "tests") for file in (bench.folder / kind).glob("*.rs")]
        named |= {(file.parent.name, file.stem): file for file in files if file not in named.values()}
        hot = {
            each
            for section, crate, _ in _hot_paths(workspace)
            if crate == folder
            for each in _measurements(section.name)
        }
        for (kind, name), source in named.items():
            is_measurement = kind == "benches" or (kind == "tests" and name.endswith("_allocations"))
            if is_measurement and (kind, name) not in {*hot, OF_ALL}:
                yield Violation(
                    f"no hot path has the name that {workspace.shown(source)} measures", workspace.shown(source)
                )


@check(
    "OP-3",
    "OP-4",
    then="""
    complete the documentation; a submodule of a hot path needs only `Part of:`, with the name of the hot path:

    //! # Hot path
    //! Why: runs once for each record, of which inputs have millions.
    //! Budget: 300 instructions and 0 heap blocks a record.

    //! # Hot path
    //! Part of: NAME
    """,
)
def every_hot_path_has_a_reason_and_a_budget(workspace: Workspace) -> Iterator[Violation]:
    """A section `# Hot path` must say why the code has to be fast, and give a budget."""
    names = {section.name for section, _, _ in _hot_paths(workspace)}
    for section, _, _ in workspace.sections:
        if section.is_part:
            if section.whole not in names:
                yield Violation(f"{section}: `Part of:` names no hot path of this crate", section.path, section.line)
            continue
        if words(section.field("Why")) < 3:  # noqa: PLR2004  Two words say nothing.
            yield Violation(f"{section}: no `Why:`", section.path, section.line)
        if not re.search(r"\d", section.field("Budget")):
            yield Violation(f"{section}: no `Budget:` with a number", section.path, section.line)


@check(
    "OP-4",
    then="""
    add the section to the documentation of the file, so that the rules for hot paths apply, or say why it runs rarely:

    //! # Hot path
    //! Part of: NAME

    //! Cold: runs once, when the program starts.
    """,
    # New in 0.9.0: an error from the release after it on, as docs/releasing.md requires of new gates.
    severity=Severity.WARNING,
)
def every_submodule_of_a_hot_path_is_marked(workspace: Workspace) -> Iterator[Violation]:
    """A submodule of a hot path must declare `Part of:` the hot path, or `Cold:` with a reason."""
    declared = {section.path for section, _, _ in workspace.sections}
    for section, _, _ in workspace.sections:
        module = workspace.root / section.path
        folder = module.parent if module.name == "mod.rs" else module.with_suffix("")
        # A section in a function, and one of the whole crate, says nothing of files below.
        if not section.is_of_file or module.stem in {"lib", "main"}:
            continue
        for file in files_below(folder):
            path = workspace.shown(file)
            if file.suffix != ".rs" or file == module or path in declared:
                continue
            text = read_text(file)
            if not is_of_tests(path, text) and words(reason_why_cold(text)) < 3:  # noqa: PLR2004  As above.
                yield Violation(f"{path} lacks `Part of: {section.whole or section.name}`", path)


@check(
    "OP-3",
    "BENCH-5",
    then="write the same number into the line `Budget:` and into the limits of the benchmark",
)
def every_budget_is_a_limit(workspace: Workspace) -> Iterator[Violation]:
    """The number of instructions in `Budget:` must be a limit in the benchmark that counts instructions."""
    for section, folder, _ in _hot_paths(workspace):
        path = folder / "bench" / "benches" / f"{section.name}_instructions.rs"
        limits = {each.replace("_", "") for each in identifiers(code_of(read_text(path)))}
        for number in re.findall(r"(\S+)\s+instruction", section.field("Budget")):
            if re.sub("[,_]", "", number) not in limits:
                what = f"{section}: {workspace.shown(path)} does not have the limit {number}"
                yield Violation(what, section.path, section.line)


@check(
    "HASH-3",
    "HASH-5",
    then="""
    add to the section `# Hot path`: `Hasher: Fx, since only our code chooses the keys.`, or `Hasher: SipHash, since
    clients choose the keys.`
    """,
)
def every_map_on_a_hot_path_names_its_hasher(workspace: Workspace) -> Iterator[Violation]:
    """A hot path that uses a hash map must name the hasher, and say why that hasher is safe there."""
    for section, _, _ in workspace.sections:
        has_map = any(word.endswith(MAPS) for word in identifiers(section.code))
        if has_map and words(section.field("Hasher")) < 3:  # noqa: PLR2004  The name and a reason.
            what = f"{section}: the code uses a map, and the section has no `Hasher:` with a reason"
            yield Violation(what, section.path, section.line)
