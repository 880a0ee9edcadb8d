"""The template of a fleet: its newest release, and a checkout taken for one."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fast_rust import git as base
from fast_rust.answers import answers_file
from fast_rust.fleet.manifest import Crate, Manifest
from fast_rust.fleet.repositories import git
from fast_rust.git import Config
from fast_rust.releases import TemplateError, open_repository

SOURCE = re.compile(r"^_src_path: *['\"]?([^'\"\n]+)", re.MULTILINE)


def target_of(manifest: Manifest, target: str | None) -> str:
    """The release that crates are to come to: one for the whole run, even if another is published meanwhile.

    Raises TemplateError where there is none.
    """
    repository = open_repository(manifest.template, needed=target, refresh=target is None)
    if target is not None:
        repository.commit(target)
        return target
    return repository.newest(manifest.template)


def refresh(crates: Iterable[Crate]) -> None:
    """Fetch each template that crates were made from, once, before workers look at them."""
    for address in {found[1].strip() for crate in crates if (found := SOURCE.search(_answers(crate)))}:
        # What cannot be had is said of each crate that needs it.
        with suppress(TemplateError):
            open_repository(address, refresh=True)


def _answers(crate: Crate) -> str:
    try:
        file = answers_file(crate.folder)
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        # It is said of the crate by who looks at it.
        return ""


@contextmanager
def checkout_as_release(checkout: Path) -> Iterator[tuple[str, str]]:
    """A copy of a checkout with all in it committed, whether it is so there or not: its address and its release."""
    with TemporaryDirectory(prefix="fast-rust-") as folder:
        copy = Path(folder) / "template"
        git(checkout, "clone", "--quiet", "--shared", "--no-checkout", ".", str(copy))
        here = (f"--git-dir={copy / '.git'}", f"--work-tree={checkout}")
        identity = ("-c", "user.name=fast-rust", "-c", "user.email=fast-rust@localhost")
        for command in (
            ("add", "--all"),
            ("commit", "--quiet", "--no-verify", "--allow-empty", "--message", "As it is in the checkout"),
        ):
            base.output(checkout, *identity, *here, *command, config=Config.OURS)
        git(copy, "reset", "--quiet", "--hard")
        yield str(copy), git(copy, "rev-parse", "HEAD").strip()
