"""Shared code of the measuring scripts: crates made from this checkout, commands measured, and pages written."""

import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
DOCUMENTS = CHECKOUT / "docs"
# Large inputs, sources and results of the measurements; never committed.
SCRATCH = Path(os.environ.get("FAST_RUST_SCRATCH", CHECKOUT / "build" / "measure"))


@dataclass(frozen=True)
class Usage:
    """The usage of one run of a command."""

    wall: float
    """Wall-clock seconds."""
    cpu: float
    """CPU seconds of all threads, in user and system mode."""
    memory: int
    """Maximum resident memory in bytes; unreliable for processes that end within hundredths of a second."""
    output: bytes


def measure(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    success: Collection[int] = (0,),
) -> Usage:
    """Run a command that must succeed, and return its usage; its standard output is kept.

    Raises subprocess.CalledProcessError if the command fails.
    """
    own_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}, cwd=folder
    ) as process:
        watch = _MemoryWatch(process.pid)
        output = process.stdout.read() if process.stdout else b""
        # Only wait4 reports the usage of this one child; without the next line Popen would not learn that the child
        # ended.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    watch.stop()
    if process.returncode not in success:
        raise subprocess.CalledProcessError(process.returncode, list(map(str, command)), output)
    # Linux counts kibibytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    memory = used.ru_maxrss * unit
    # Linux counts the memory of the parent at the start of a child as the child's; below that, only the watch is exact.
    if used.ru_maxrss <= 1.05 * own_memory:
        memory = watch.peak or memory
    return Usage(wall, used.ru_utime + used.ru_stime, memory, output)


def fetch(folder: Path, packages: Mapping[str, str]) -> dict[str, Path]:
    """Let cargo download packages at exact versions, by a crate in a folder; return the folder of their sources.

    Raises subprocess.CalledProcessError if cargo fails.
    """
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "src" / "lib.rs").touch()
    needs = "".join(f'{name} = "={version}"\n' for name, version in packages.items())
    head = '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[dependencies]\n'
    (folder / "Cargo.toml").write_text(head + needs, encoding="utf-8")
    subprocess.run(["cargo", "fetch"], cwd=folder, check=True)
    registries = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "registry" / "src"
    return {name: next(registries.glob(f"*/{name}-{version}")) for name, version in packages.items()}


class _MemoryWatch(threading.Thread):
    """Reads the peak memory of a process from Linux a hundred times a second, until the process ends."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._status = Path(f"/proc/{process}/status")
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while True:
            try:
                lines = self._status.read_text(encoding="utf-8").splitlines()
            except OSError:  # another system, or the process is gone
                return
            # A process that has ended, but was not waited for, lacks this line.
            peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
            self.peak = max([self.peak, *peaks])
            if self._ended.wait(0.01):
                return

    def stop(self) -> None:
        """Stop when the process has ended."""
        self._ended.set()
        self.join()


def make_crate(folder: Path, name: str, **answers: str | bool) -> Path:
    """Make a crate from this checkout as a user does, committed or not; it replaces an existing crate."""
    crate = folder / name
    shutil.rmtree(crate, ignore_errors=True)
    data = [
        argument
        for key, answer in {"crate_name": name, **answers}.items()
        for argument in ("--data", f"{key}={str(answer).lower() if isinstance(answer, bool) else answer}")
    ]
    copier = Path(sys.executable).with_name("copier")
    options = ["--quiet", "--defaults", "--vcs-ref=HEAD"]
    subprocess.run([str(copier), "copy", *options, *data, str(CHECKOUT), str(crate)], check=True)
    return crate


def machine() -> str:
    """Return the processor, its cores, the system and the compiler, in one line."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, rustc {rustc}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """Return a Markdown table; the first columns are text, and the others are figures."""
    lines = [heads, [*["---"] * texts, *["---:"] * (len(heads) - texts)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_page(name: str, target: str, text: str) -> None:
    """Write docs/NAME, with the command that makes it and the machine."""
    note = f"*Written by `make {target}` on {time.strftime('%Y-%m-%d')}: {machine()}. Do not edit.*"
    title, _, rest = text.strip().partition("\n")
    (DOCUMENTS / name).write_text(f"{title}\n\n{note}\n{rest}\n", encoding="utf-8")


def crate_of(release: str, folder: Path, *, kind: str) -> Path:
    """Make a crate of the last commit (`HEAD`), or of a past release, and return its folder."""
    reference = release
    if release != "HEAD":
        # A release is the last commit with its version.
        search = ("git", "log", "--format=%H", f'-Gversion = "{release}"', "--", "pyproject.toml")
        found = subprocess.run(search, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.split()
        # The first commit that the search prints is the one that replaced the version.
        reference = f"{found[0]}^"
    copier = Path(sys.executable).with_name("copier")
    options = ["--quiet", "--defaults", f"--vcs-ref={reference}", f"--data=crate_name={folder.name}"]
    subprocess.run([copier, "copy", *options, f"--data=kind={kind}", CHECKOUT, folder], check=True)
    return folder
