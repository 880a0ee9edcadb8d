"""The cache on this machine: mirrors of templates, renderings, and git's configuration for our own repositories."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from platformdirs import user_cache_path

from fast_rust.errors import FastRustError


def cache_folder() -> Path:
    """Return the folder of the cache; deleting it loses nothing but time.

    Raises FastRustError where this user has no home folder.
    """
    if given := os.environ.get("FAST_RUST_CACHE_DIR"):
        return Path(given).absolute()
    try:
        return user_cache_path("copier-fast-rust")
    except RuntimeError as error:
        raise FastRustError(
            f"the cache folder is unknown: {error}; set the variable FAST_RUST_CACHE_DIR to a folder"
        ) from error


@contextmanager
def created_atomically(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, which is renamed to `folder` at the end: a killed run leaves no incomplete one.

    Of two concurrent runs the first wins, since both create the same.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(dir=folder.parent, suffix=".part"))
    try:
        yield part
        part.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
