"""Checks of how a crate is built: profiles, flags, and what is compiled in."""

import re
from collections.abc import Iterator, Sequence

from fast_rust.checks.registry import Violation, check
from fast_rust.checks.workspace import Workspace, files_below

# Up to 4 codegen units are few: without the key cargo takes 16.
MOST_CODEGEN_UNITS = 4
LEAST_OPT_LEVEL = 2
BUILD_FILES = {"Cargo.toml", "Containerfile", "Dockerfile", "Makefile", "justfile", "local.just"}
LIMIT = re.compile(r"(?:tracing\??/)?(?:release_)?max_level_(?:off|error|warn|info|debug)")


def _misset(workspace: Workspace, profile: str, keys: Sequence[str]) -> Iterator[Violation]:
    """Yield the keys of a profile that neither it nor `release`, which ours inherit, sets as they should be."""
    manifest = workspace.manifest
    for key in keys:
        own = manifest.at("profile", profile, key)
        value = own if own is not None else manifest.at("profile", "release", key)
        if not _is_well_set(key, value) and not manifest.has_reason("profile", profile, key):
            shown = "not set" if value is None else _as_toml(value)
            yield Violation(
                f"profile.{profile}.{key} is {shown}", manifest.path, manifest.line("profile", profile, key)
            )


def _as_toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _is_well_set(key: str, value: object) -> bool:
    # True is 1 in Python, and a level or a number in none of these keys.
    number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    well_set = {
        "lto": value is True or value in {"fat", "thin"},
        "codegen-units": 0 < number <= MOST_CODEGEN_UNITS,
        # Level 3 is what cargo takes by itself.
        "opt-level": value is None or number >= LEAST_OPT_LEVEL,
        "debug": value is True or number > 0 or (isinstance(value, str) and value != "none"),
        # Where there is debug information, cargo strips nothing by itself.
        "strip": value is None or value is False or value == "none",
        "inherits": value == "release",
        "panic": value is not None,
    }
    return well_set[key]


@check(
    "BUILD-1",
    "BUILD-5",
    then="""
    paste into Cargo.toml of the workspace, or end the line there with `# reason: ...`:

    [profile.release]
    lto = "fat"
    codegen-units = 1
    """,
)
def release_profile_is_tuned(workspace: Workspace) -> Iterator[Violation]:
    """The release profile of a program must enable link-time optimisation (LTO) and few codegen units."""
    if workspace.has_programs:
        yield from _misset(workspace, "release", ("lto", "codegen-units", "opt-level"))


@check(
    "BUILD-2",
    then="""
    paste into Cargo.toml of the workspace, under [profile.release], one of:

    panic = "abort" # smaller and slightly faster; a panic ends the process
    panic = "unwind" # a panic costs its thread or request, not the process
    """,
)
def panic_strategy_is_chosen(workspace: Workspace) -> Iterator[Violation]:
    """The release profile of a program must set `panic`."""
    if workspace.has_programs:
        yield from _misset(workspace, "release", ("panic",))


@check(
    "OP-2",
    then="""
    paste into Cargo.toml of the workspace, `lto` and `codegen-units` only where [profile.release] has none:

    [profile.bench]
    lto = "fat"
    codegen-units = 1
    debug = "line-tables-only"
    strip = false

    [profile.profiling]
    inherits = "release"
    debug = "line-tables-only"
    strip = false
    """,
)
def benches_measure_what_ships(workspace: Workspace) -> Iterator[Violation]:
    """The profiles for benchmarks and profilers must be as optimised as the release profile."""
    yield from _misset(workspace, "profiling", ("inherits",))
    keys = [("bench", key) for key in ("lto", "codegen-units", "opt-level")]
    for profile, key in (*keys, ("profiling", "opt-level"), ("quick", "opt-level")):
        # What programs take over from their release is the other check's.
        if workspace.manifest.at("profile", profile, key) is not None or not workspace.has_programs:
            yield from _misset(workspace, profile, (key,))


@check(
    "BENCH-4",
    then="""
    paste into Cargo.toml of the workspace, under [profile.bench] and [profile.profiling]:

    debug = "line-tables-only"
    strip = false
    """,
)
def profiling_keeps_symbols(workspace: Workspace) -> Iterator[Violation]:
    """The profiles for benchmarks and profilers must keep symbols, so that a profiler can show function names."""
    for profile in ("bench", "profiling"):
        yield from _misset(workspace, profile, ("debug", "strip"))


@check(
    "BUILD-4",
    then="set a CPU level that all target machines support, such as `-Ctarget-cpu=x86-64-v3`, in .cargo/config.toml",
)
def no_build_uses_the_native_cpu(workspace: Workspace) -> Iterator[Violation]:
    """A build must not use `target-cpu=native`, which depends on the machine that builds."""
    files = [file for file in files_below(workspace.root) if file.name in BUILD_FILES or file.suffix == ".sh"]
    for path, number, line in workspace.lines([*files, *workspace.workflows, *files_below(workspace.root / ".cargo")]):
        if "target-cpu=native" in line.replace(" ", "").replace('","', "").replace('"', ""):
            yield Violation(f"{path}:{number}: {line}", path, number)


@check(
    "LOG-3",
    then="""
    add to the features of `tracing` in Cargo.toml of the program: "release_max_level_debug", or a lower level
    """,
)
def trace_is_compiled_out(workspace: Workspace) -> Iterator[Violation]:
    """A release build of a program must leave out `trace!` events."""
    for package in workspace.packages:
        needed = [each for each in package.dependencies if each["name"] == "tracing"]
        features = [*package.default_features, *(feature for each in needed for feature in each["features"])]
        is_limited = any(map(LIMIT.fullmatch, features))
        if package.is_program and any(each["kind"] is None for each in needed) and not is_limited:
            manifest = package.manifest
            line = manifest.line("dependencies", "tracing")
            yield Violation(
                f"{package.name} enables no `release_max_level_*` feature of `tracing`", manifest.path, line
            )
