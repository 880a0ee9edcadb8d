"""The version of this tool."""

from importlib import import_module
from pathlib import Path


def own_version() -> str:
    """Return the version that is installed.

    The name of the folder of its metadata has it; importlib.metadata takes longer to import than all that `check` does.
    """
    match [folder.name for folder in Path(__file__).parents[1].glob("fast_rust-*.dist-info")]:
        case [name]:
            return name.removeprefix("fast_rust-").removesuffix(".dist-info")
    return str(import_module("importlib.metadata").version("fast-rust"))
