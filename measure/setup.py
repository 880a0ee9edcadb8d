"""Measures `just setup` with an empty cache, compared with that of release 0.7.0.

`make measure-setup` prints both times, and the programs that each installed. The new command runs as a person types it,
with nothing but Rust, git, a C compiler, valgrind and uv: `uvx --from rust-just just setup`. The older command compiles
the tools.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from workbench import SCRATCH, crate_of

FOLDER = SCRATCH / "setup"
PROGRAMS = Path(sys.executable).parent


def environment(cache: Path) -> dict[str, str]:
    """Return the environment of a machine that has only uv and Rust, with empty caches."""
    (cache / "bin").mkdir(parents=True)
    for name in ("uv", "uvx"):
        (cache / "bin" / name).symlink_to(PROGRAMS / name)
    paths = [path for path in os.environ["PATH"].split(os.pathsep) if Path(path) != PROGRAMS]
    names = ("XDG_CACHE_HOME", "UV_CACHE_DIR", "UV_TOOL_DIR", "CARGO_INSTALL_ROOT")
    folders = {name: str(cache / name.lower()) for name in names}
    own = {name: value for name, value in os.environ.items() if name != "FAST_RUST"}
    return {**own, **folders, "PATH": os.pathsep.join([str(cache / "bin"), *paths])}


def measure(name: str, crate: Path, *command: str | Path) -> None:
    """Run a command in a crate, and print its time and exit code."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, cwd=crate, env=environment(FOLDER / f"cache-{name}"), check=False, capture_output=True, text=True
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    print(f"{time.perf_counter() - begun:6.1f} s, exit code {done.returncode}  {name}")
    for line in lines[-12:]:
        print(f"    {line}")


def main() -> None:
    """Print the results for both releases."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    just = ("uvx", "--from", "rust-just", "just", "setup")
    measure("now", crate_of("HEAD", FOLDER / "now" / "totals", kind="lib"), *just)
    measure("0.7.0", crate_of("0.7.0", FOLDER / "older" / "totals", kind="lib"), PROGRAMS / "just", "setup")


if __name__ == "__main__":
    main()
