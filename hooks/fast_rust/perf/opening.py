"""Finds the workspace, and out whether there is something to compare."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from fast_rust import git
from fast_rust.checks.cargo import metadata
from fast_rust.perf.bases import find_base, or_fetch
from fast_rust.perf.benches import is_bench
from fast_rust.perf.errors import NothingToCompare, NotMeasuredError
from fast_rust.perf.options import Options
from fast_rust.perf.workspace import Workspace

# Files that no build and no bench reads, unless they are among the benches.
IRRELEVANT = (
    *("*.md", "LICENSE*", "justfile", "local.just", "clippy.toml", "deny.toml", "rustfmt.toml", "sgconfig.yml"),
    *(".copier-answers*.yml", ".dockerignore", ".editorconfig", ".gitattributes", ".gitignore", ".rustfmt.toml"),
    *(".gitlab-ci.yml", ".pre-commit-config.yaml", "Containerfile", "Dockerfile"),
)
IRRELEVANT_FOLDERS = (".config", ".github", ".gitlab", "docs", "lints")


def open_workspace(options: Options) -> Workspace:
    """Return the workspace of the current folder, with the commits to compare.

    Raises NotMeasuredError where those cannot be found, and NothingToCompare where neither side has benches, or nothing
    that they read was changed.
    """
    known = metadata(Path.cwd())
    root = Path(known["workspace_root"]).resolve()
    inside = git.run(root, "rev-parse", "--git-dir")
    if inside.returncode:
        raise NotMeasuredError(f"{root}: {git.reason_of(inside)}; run `git init`, and commit")
    top = git.top_of(root)
    head = _commit(top, options.head) if options.head else ""
    base = find_base(top, options.base, head or "HEAD", release=options.release)
    # Cargo names the files of a package alike in every folder, and keeps a program that is newer than its sources: in
    # the crate's own target folder `cargo bench` would run programs of the base.
    target = Path(known["target_directory"], "perf", "build")
    workspace = Workspace(top, root.relative_to(top), target, base, head)
    has_benches = any(is_bench(target) for package in known["packages"] for target in package["targets"])
    # The working tree may be neither side.
    if not has_benches and not any(map(_has_benches, _manifests(workspace))):
        raise NothingToCompare("Skipped: the workspace has no benchmark to compare.")
    changed = _changed(workspace)
    if not any(map(is_relevant, changed)):
        what = (
            f"none of the {len(changed)} changed files affects a build or a benchmark" if changed else "no file changed"
        )
        raise NothingToCompare(f"Skipped: {what}, so there is nothing to compare.")
    return workspace


def _commit(repository: Path, name: str) -> str:
    if not git.is_commit(repository, name):
        raise NotMeasuredError(
            f"the commit to measure, {name}, does not exist here;"
            f" {or_fetch(repository, 'pass another commit with --head')}"
        )
    return git.text(repository, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")


def _manifests(workspace: Workspace) -> Iterable[str]:
    """Yield the texts of the manifests of both sides."""
    inside = "" if workspace.inside == Path() else f"{workspace.inside.as_posix()}/"
    for commit, files in ((workspace.base, workspace.base_files), (workspace.head, workspace.head_files)):
        for path in sorted(files) if commit else ():
            if path.startswith(inside) and path.endswith("Cargo.toml"):
                done = git.run(workspace.repository, "show", f"{commit}:{path}")
                yield done.stdout.decode("utf-8", "replace")


def _has_benches(manifest: str) -> bool:
    return "[[bench]]" in manifest


def _changed(workspace: Workspace) -> set[str]:
    """Return the files that differ between base and head."""
    sides = [workspace.base, *filter(None, [workspace.head])]
    flags = ("--name-only", "-z", "--no-renames", "--no-ext-diff", "--ignore-submodules=none")
    changed = set(git.names(workspace.repository, "diff", *flags, *sides, "--"))
    return changed | (workspace.head_files - workspace.base_files)


def is_relevant(path: str) -> bool:
    """Return whether a build or a bench may read a file."""
    *folders, name = path.split("/")
    if {"bench", "benches"} & set(folders):
        return True
    is_known = any(fnmatchcase(name, pattern) for pattern in IRRELEVANT)
    return not (is_known or any(path.startswith(f"{folder}/") for folder in IRRELEVANT_FOLDERS))
