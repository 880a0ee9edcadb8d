"""Write the files of a planned adoption."""

import os
from pathlib import Path

from fast_rust import git
from fast_rust.adopt import merging
from fast_rust.adopt.inference import ExistingCrate
from fast_rust.adopt.planning import ALIASES, AdoptError, AdoptionPlan, FileAction
from fast_rust.drift.keys import UnclearKeyError
from fast_rust.hot.crate import BENCH, BENCH_MANIFEST
from fast_rust.hot.membership import with_member


def write_files(plan: AdoptionPlan, folder: Path, root: Path) -> list[Path]:
    """Write the files of a plan, and return them."""
    written = []
    for path, action in plan.actions.items():
        file = folder / path
        if action is FileAction.MERGED:
            written += _merge(plan, folder, path)
        elif action in {FileAction.ADDED, FileAction.PROPOSED}:
            file = file if action is FileAction.ADDED else file.with_name(f"{file.name}.proposed")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_without_exemptions(folder, path, plan.rendering[path]))
            written.append(file)
    if BENCH_MANIFEST in plan.rendering:
        bench = (folder.relative_to(root) / BENCH).as_posix()
        merging.rewrite(root / "Cargo.toml", lambda text: with_member(text, bench))
    for package in _heirs(plan.crate):
        # A member may be next to the root.
        file = folder / os.path.relpath(package, plan.crate.folder) / "Cargo.toml"
        merging.rewrite(file, merging.with_inherited_lints)
        written.append(file)
    if plan.crate.main and plan.crate.main.fields["publish"] != [] and not plan.crate.is_member:
        new = sorted(f"/{file.relative_to(folder).as_posix()}" for file in written if not _is_tracked(file))
        merging.rewrite(folder / "Cargo.toml", lambda text: merging.without_new_files(text, new))
    return [*written, root / "Cargo.toml"]


def _is_tracked(file: Path) -> bool:
    return git.succeeds(file.parent, "ls-files", "--error-unmatch", "--", file.name)


# In tests: what of ours exempts code from a lint that a crate may have had on.
EXEMPTIONS = {
    "allow-dbg-in-tests": "dbg[-_]macro",
    "allow-print-in-tests": "print[-_]std(out|err)",
    "allow-unwrap-in-tests": "unwrap[-_]used",
}


def _without_exemptions(clone: Path, path: str, content: bytes) -> bytes:
    """Return a new file without exemptions from lints that the crate names: it may have them on in its tests."""
    if path != "clippy.toml":
        return content
    lines = content.decode().splitlines(keepends=True)
    named = [
        key
        for key, lint in EXEMPTIONS.items()
        if git.succeeds(clone, "grep", "-qIE", f"{lint}|clippy::restriction", "HEAD")
    ]
    return "".join(line for line in lines if line.partition(" ")[0] not in named).encode()


def _heirs(crate: ExistingCrate) -> list[Path]:
    """Return the packages that inherit the lints of the workspace from now on.

    Lints that are there already get no further package: what breaks them there would switch them off everywhere.
    """
    if crate.is_member:
        return [crate.folder]
    if "lints" in crate.manifest.get("workspace", {}):
        return []
    has_lints = "lints" in crate.manifest
    return [package.folder for package in crate.packages if not has_lints or package.folder == crate.folder]


def _nested(folder: Path) -> list[str]:
    """Return the folders of crates below one that no workspace has; a new workspace would claim them."""
    found = [Path(name).parent for name in git.names(folder, "ls-files", "-z") if Path(name).name == "Cargo.toml"]
    below = {path for path in found if path != Path()}
    return sorted(path.as_posix() for path in below if not below.intersection(path.parents))


def _merge(plan: AdoptionPlan, folder: Path, path: str) -> list[Path]:
    file = folder / path
    written = [file]
    for name in ALIASES.get(path, ()):
        if not file.exists() and (folder / name).exists():
            written.append((folder / name).rename(file))
            written.append(folder / name)
    is_top = path == "Cargo.toml" and not plan.crate.is_member

    def change(text: str) -> str:
        release_text = plan.rendering[path].decode()
        if is_top:
            text = merging.with_excluded(text, _nested(folder))
            text = merging.with_shared_lints(text)
            # The keys stay those of the release: a stricter value is not drift.
            release_text = merging.with_denied_lints(plan.rendering[path].decode(), text)
        text = merging.merged(text, release_text, plan.owned.keys(path), with_dependencies=path != "Cargo.toml")
        return merging.with_platforms(merging.with_clear_lints(text), release_text) if is_top else text

    try:
        merging.rewrite(file, change)
    except (ValueError, UnclearKeyError) as error:
        raise AdoptError(
            f"cannot add the template's settings to {path}: {error}; correct the file,"
            " and run the command again. Nothing was changed"
        ) from error
    return written
