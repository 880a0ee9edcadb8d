"""The templates of a fleet: fetched once for a run, the newest release, and a checkout taken for a release."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fast_rust import git
from fast_rust.answers import answers_file
from fast_rust.fleet.manifest import Crate, Manifest
from fast_rust.releases import Repository, TemplateError, open_repository

SOURCE = re.compile(r"^_src_path: *['\"]?([^'\"\n]+)", re.MULTILINE)


def refresh(manifest: Manifest, crates: Iterable[Crate]) -> dict[str, str]:
    """Fetch each template of a manifest and of crates, once, before workers begin.

    Returns the addresses that could not be fetched, with the reason.
    """
    addresses = {found[1].strip() for crate in crates if (found := SOURCE.search(_answers(crate)))}
    unreachable = {}
    for address in sorted(addresses | {manifest.template}):
        try:
            open_repository(address, refresh=True)
        except TemplateError as error:
            unreachable[address] = str(error)
    return unreachable


def target_of(manifest: Manifest, target: str | None, unreachable: Mapping[str, str]) -> str:
    """Return the release to update to: one for the entire run, even if another one is published meanwhile.

    Raises TemplateError if none exists.
    """
    if target is None and manifest.template in unreachable:
        raise TemplateError(unreachable[manifest.template])
    repository = open_repository(manifest.template)
    if target is None:
        return repository.newest(manifest.template)
    repository.commit(target)
    return target


def open_fetched(address: str, unreachable: Mapping[str, str]) -> Repository:
    """Return the repository of a template that the run has fetched; a worker fetches nothing.

    Raises TemplateError where it could not be fetched.
    """
    if address in unreachable:
        raise TemplateError(unreachable[address])
    return open_repository(address)


def _answers(crate: Crate) -> str:
    try:
        file = answers_file(crate.folder)
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        # The worker of the crate reports it.
        return ""


@contextmanager
def checkout_as_release(checkout: Path) -> Iterator[tuple[str, str]]:
    """Give a copy of a checkout with all its files committed, whether they are so there or not.

    Gives its address and its commit. Raises GitError.
    """
    head, top = git.require_commit(checkout), git.top_of(checkout)
    with (
        TemporaryDirectory(prefix="fast-rust-") as folder,
        git.empty_clone(checkout, Path(folder).resolve() / "template") as copy,
    ):
        tags = git.output(checkout, "for-each-ref", "--format=create %(refname) %(objectname)", "refs/tags")
        git.output(copy, "update-ref", "--stdin", given=tags)
        git.output(copy, "update-ref", "HEAD", head)
        git.output(copy, f"--git-dir={copy / '.git'}", f"--work-tree={top}", "add", "--all")
        tree = git.text(copy, "write-tree")
        commit = git.commit_tree(copy, tree, [head], "The files of the checkout\n")
        git.output(copy, "update-ref", "HEAD", commit)
        git.output(copy, "reset", "--quiet", "--hard")
        yield str(copy), commit
