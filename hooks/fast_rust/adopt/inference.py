"""The answers that an existing crate gives without being asked: read from its manifest, each with its reason."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fast_rust.checks.cargo import metadata
from fast_rust.errors import FastRustError

SERVERS = ("axum", "actix-web", "hyper", "poem", "rocket", "salvo", "tonic", "warp")
ALLOCATORS = {"mimalloc": "mimalloc", "tikv-jemallocator": "jemalloc", "jemallocator": "jemalloc"}
LICENSES = ("MIT OR Apache-2.0", "Apache-2.0", "MIT")
OLDEST_MSRV = 85
LONGEST_LINE = 200


class CrateError(FastRustError):
    """The folder holds no crate that could be read; the message says why, and what to do."""


@dataclass(frozen=True)
class Answer:
    """An answer to a question of the template's, and why it was taken."""

    name: str
    value: str | bool
    reason: str


@dataclass(frozen=True)
class Package:
    """A package of the workspace, as cargo reads it."""

    name: str
    folder: Path
    is_program: bool
    needs: frozenset[str]
    """The names of the packages that it depends on, but for tests and builds."""
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class ExistingCrate:
    """The package to adopt, and the workspace of which it is the root or a member."""

    folder: Path
    root: Path
    """The folder of the workspace; the crate's folder if it has no other workspace."""
    packages: tuple[Package, ...]
    manifest: Mapping[str, Any]
    """Cargo.toml of the workspace."""

    @property
    def is_member(self) -> bool:
        """Whether a workspace above it holds the tables and recipes."""
        return self.folder != self.root

    @property
    def main(self) -> Package | None:
        """The package in the folder itself; a workspace may have none there."""
        return next((package for package in self.packages if package.folder == self.folder), None)


def read_crate(folder: Path) -> ExistingCrate:
    """Read a crate by cargo.

    Raises FastRustError if the folder has no package, or cargo cannot read it.
    """
    folder = folder.resolve()
    manifest = folder / "Cargo.toml"
    if not manifest.is_file():
        raise CrateError(f"{manifest} does not exist; run the command in the folder of a crate, or pass that folder")
    try:
        table = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CrateError(f"{manifest} is not valid TOML: {error}") from error
    if "package" not in table and "workspace" not in table:
        raise CrateError(
            f"{manifest} has neither [package] nor [workspace]; pass the folder of a crate or of a workspace"
        )
    found = metadata(folder)
    root = Path(found["workspace_root"]).resolve()
    top = table if root == folder else tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))
    return ExistingCrate(folder, root, tuple(map(_package, found["packages"])), top)


def _package(fields: Mapping[str, Any]) -> Package:
    return Package(
        fields["name"],
        Path(fields["manifest_path"]).resolve().parent,
        any("bin" in target["kind"] for target in fields["targets"]),
        frozenset(needed["name"] for needed in fields["dependencies"] if needed["kind"] is None),
        fields,
    )


def infer(crate: ExistingCrate, given_kind: str | None = None) -> Iterator[Answer]:
    """The answers of a crate to all questions that apply to its kind, which may be given, and its place."""
    main = crate.main
    fields = main.fields if main else {}
    name = main.name if main else re.sub(r"[^a-z0-9]+", "-", crate.folder.name.lower()).strip("-0123456789") or "crate"
    kind = Answer("kind", given_kind, "--data") if given_kind else _kind(crate)
    yield Answer(
        "crate_name", name, "[package] name" if main else "the folder's name, since the workspace has no root package"
    )
    yield kind
    if crate.is_member:
        yield Answer("place", "member", f"it is a member of the workspace {crate.root}")
    else:
        yield Answer("place", "repository", "it is not a member of another workspace")
        yield _ci(crate)
    yield Answer("sample", value=False, reason="the crate has its own code, so it needs no sample code")
    yield Answer("adopted", value=True, reason="the crate was not created from the template")
    shared = fields or (crate.packages[0].fields if crate.packages else {})
    yield from _identity(name, fields, shared)
    if kind.value == "lib":
        yield _msrv(fields)
    else:
        yield _allocator(crate)
        if not crate.is_member:
            yield _panic(crate)
            yield Answer("cpu_level", "portable", "rustc's default, so that the build does not change")
            yield Answer("container", value=False, reason="the crate keeps its own container image, if it has one")
    if kind.value != "service":
        yield Answer("publish", value=False, reason="the crate keeps its own workflow for crates.io, if it has one")


def _own(crate: ExistingCrate) -> list[Package]:
    """The packages that are adopted: one in a workspace, or all of it."""
    if crate.is_member:
        return [crate.main] if crate.main else []
    return [package for package in crate.packages if package.name != "xtask"]


def _kind(crate: ExistingCrate) -> Answer:
    programs = [package for package in _own(crate) if package.is_program]
    for package in programs:
        if servers := sorted(package.needs.intersection(SERVERS)):
            return Answer("kind", "service", f"{package.name} is a program and depends on {servers[0]}")
    if programs:
        return Answer("kind", "cli", f"{programs[0].name} has a binary target")
    return Answer("kind", "lib", "no package has a binary target")


def _ci(crate: ExistingCrate) -> Answer:
    """Return the service that the crate has a pipeline for, or else the one that hosts its repository."""
    fields = crate.packages[0].fields if crate.packages else {}
    for folder in (crate.folder, *crate.folder.parents):
        if (folder / ".github" / "workflows").is_dir():
            return Answer("ci", "github", "the crate has .github/workflows")
        if (folder / ".gitlab-ci.yml").is_file():
            return Answer("ci", "gitlab", "the crate has .gitlab-ci.yml")
        if (folder / ".git").exists():
            break
    if re.match(r"https://([^/]+\.)?gitlab\.", str(fields.get("repository") or "")):
        return Answer("ci", "gitlab", f"[package] repository {fields['repository']}")
    return Answer("ci", "github", "the default, since the crate has no CI configuration")


def _identity(name: str, fields: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[Answer]:
    """Yield who a crate is; a workspace without a root package shares the identity of its first."""
    description = " ".join(str(fields.get("description") or "").split())
    if description:
        yield Answer("description", description[:LONGEST_LINE].strip(), "[package] description")
    else:
        yield Answer("description", f"The crate {name}", "[package] has no description")
    match shared.get("authors"):
        case [str(first), *_]:
            yield Answer("copyright_holder", first.strip()[:LONGEST_LINE], "the first of [package] authors")
        case _:
            yield Answer("copyright_holder", f"The {name} contributors", "[package] has no authors")
    url = str(shared.get("repository") or "").removesuffix(".git").rstrip("/")
    if re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)+", url):
        yield Answer("repository_url", url, "[package] repository")
    else:
        yield Answer(
            "repository_url",
            "",
            f"[package] repository {url} is not an https address" if url else "[package] has no repository",
        )
    yield _license(str(shared.get("license") or ""))


def _license(text: str) -> Answer:
    known = {_terms(name): name for name in LICENSES}
    if name := known.get(_terms(text)):
        return Answer("license", name, f"[package] license {text}")
    reason = f"the question has no choice {text}" if text else "[package] has no license"
    return Answer("license", "proprietary", f"{reason}; the answer changes no file of an adopted crate")


def _terms(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in re.split(r" OR |/", text))


def _msrv(fields: Mapping[str, Any]) -> Answer:
    promised = str(fields.get("rust_version") or "")
    parts = f"{promised}.0".split(".")
    if not promised:
        return Answer(
            "msrv",
            f"1.{OLDEST_MSRV}",
            "[package] has no rust-version, and keeps none; this answer is the oldest possible",
        )
    if int(parts[1]) < OLDEST_MSRV:
        return Answer(
            "msrv", f"1.{OLDEST_MSRV}", f"[package] keeps rust-version {promised}; this answer is the oldest possible"
        )
    return Answer("msrv", ".".join(parts[:2]), f"rust-version {promised}")


def _allocator(crate: ExistingCrate) -> Answer:
    for package in _own(crate):
        for needed, allocator in ALLOCATORS.items():
            if needed in package.needs:
                return Answer("allocator", allocator, f"{package.name} depends on {needed}")
    return Answer("allocator", "system", "no package depends on an allocator")


def _panic(crate: ExistingCrate) -> Answer:
    strategy = crate.manifest.get("profile", {}).get("release", {}).get("panic")
    if strategy in {"abort", "unwind"}:
        return Answer("panic", strategy, "profile.release.panic")
    return Answer("panic", "unwind", "cargo's default, since profile.release.panic is not set")
