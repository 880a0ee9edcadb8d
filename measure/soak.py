"""Write docs/soak.md: tests a service under overload, slow clients, resets, full resources and drains: `make soak`.

Each phase starts the service, loads it, and fails if a request is lost, if `/healthz` does not respond, or if requests,
bytes or files are still in use afterwards. Needs Linux.
"""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from workbench import SCRATCH, make_crate, table, write_page

MIB = 2**20
PATIENCE = 30.0
CONCURRENCY = 8
WORKERS = 64
IN_FLIGHT_LIMIT = 128 * MIB
# Memory in addition to the limit on bytes: the program, its buffers, and memory that the allocator keeps.
MEMORY = IN_FLIGHT_LIMIT + 256 * MIB
FILES = 160
RECORDS = b"".join(b"key %d;%d.5\n" % (number % 500, number) for number in range(40_000))
# The response to this request is 15 times as long.
MANY_KEYS = b"".join(b"\x01%d;1\n" % number for number in range(8_000))
GET = b"GET /healthz HTTP/1.1\r\nhost: soak\r\n\r\n"


class SoakError(Exception):
    """A phase in which the service lost a request, stopped responding, or did not release a resource."""


@dataclass(frozen=True)
class Scale:
    """The size of each load."""

    clients: int
    """Number of slow clients and resets."""
    seconds: float
    """Seconds that a load lasts."""
    drains: int
    health: float
    """Seconds in which `/healthz` must respond."""


FULL = Scale(1000, 60.0, 20, 5.0)
# Higher limit for a machine that builds crates at the same time.
QUICK = Scale(40, 1.0, 2, 20.0)


def post(body: bytes, length: int | None = None) -> bytes:
    """Return a request whose body may be incomplete."""
    return b"POST /aggregate HTTP/1.1\r\nhost: soak\r\ncontent-length: %d\r\n\r\n" % (length or len(body)) + body


# --- The service ---


class Service:
    """A running service, whose memory and health are watched."""

    def __init__(self, program: Path, *flags: str, is_log_read: bool = True) -> None:
        addresses = ("--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--log-format", "json")
        self.process = subprocess.Popen([program, *addresses, *flags], stderr=subprocess.PIPE)
        listening = next(line for line in iter(self.process.stderr or ()) if b'"listening"' in line)
        found = json.loads(listening)
        self.port, self.admin_port = (int(found[name].rpartition(":")[2]) for name in ("address", "admin_address"))
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        if is_log_read:
            self._reader.start()
        self.files = self.open_files()
        self.memory, self.slowest = 0, 0.0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()

    def _read_log(self) -> None:
        # This thread is the only reader. It does not use the file object, which another thread could not close.
        with suppress(OSError):
            while self.process.stderr and os.read(self.process.stderr.fileno(), MIB):
                pass

    def open_files(self) -> int:
        """Return the number of open files."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def get(self, path: str) -> tuple[int, str]:
        """Send a request to the admin address."""
        with closing(HTTPConnection("127.0.0.1", self.admin_port, timeout=PATIENCE)) as connection:
            connection.request("GET", path, headers={"connection": "close"})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def figure(self, name: str) -> int:
        """Return the value of a metric without labels."""
        found = re.search(rf"(?m)^{name} (\d+)$", self.get("/metrics")[1])
        return int(found[1]) if found else -1

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            begun = time.monotonic()
            with suppress(OSError):
                pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
                self.memory = max(self.memory, int(pages) * os.sysconf("SC_PAGE_SIZE"))
                self.get("/healthz")
            self.slowest = max(self.slowest, time.monotonic() - begun)

    def settle(self) -> None:
        """Wait until nothing is in use.

        Raises SoakError if something stays in use.
        """
        deadline = time.monotonic() + PATIENCE
        while left := self._in_use():
            if time.monotonic() > deadline:
                raise SoakError(f"still in use after the load: {left}")
            time.sleep(0.1)

    def _in_use(self) -> dict[str, int]:
        used = {name: self.figure(name) for name in ("http_server_active_requests", "http_body_bytes_in_use")}
        # The connection that asked for the metrics may still have a file open.
        used["files"] = self.open_files() - self.files - 1
        return {name: count for name, count in used.items() if count > 0}

    def close(self) -> None:
        """Stop the service by its process id."""
        self.unwatch()
        with self.process:
            self.process.kill()
            if self._reader.is_alive():
                self._reader.join()

    def unwatch(self) -> None:
        """Stop the watch, because a stopping service refuses its requests."""
        self._ended.set()
        self._watch.join()


@contextmanager
def running(program: Path, *flags: str, is_log_read: bool = True) -> Iterator[Service]:
    """Run a service, and stop it by its process id."""
    service = Service(program, *flags, is_log_read=is_log_read)
    try:
        yield service
    finally:
        service.close()


# --- Clients ---


@dataclass
class Seen:
    """What the clients observed."""

    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    """Requests that were sent and got no response."""


class Client:
    """A connection that sends one request after the other."""

    def __init__(self, service: Service, seen: Seen) -> None:
        self.port, self.seen = service.port, seen
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes, expected: Sequence[int] = (200, 503)) -> int:
        """Send a request and read its response; open a new connection if the last response closed the old one.

        Raises OSError if the service does not accept a connection.
        """
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port, limit=64 * MIB)
        reader, writer = self.streams
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
        except (OSError, asyncio.IncompleteReadError):
            self.seen.lost += 1
            self.close()
            return 0
        status = int(head.split(maxsplit=2)[1])
        self.seen.statuses[status] += 1
        if b"connection: close" in head.lower():
            self.close()
        if status not in expected:
            raise SoakError(f"a request got the status {status}")
        return status

    def close(self) -> None:
        """Close the connection."""
        if self.streams:
            self.streams[1].close()
            self.streams = None


async def load(service: Service, seen: Seen, request: bytes, workers: int, seconds: float) -> float:
    """Send requests from this number of clients for a time; return the responses with status 200 per second."""
    begun, before = time.monotonic(), seen.statuses[200]

    async def work() -> None:
        with closing(Client(service, seen)) as client:
            while time.monotonic() - begun < seconds:
                await client.send(request)

    await asyncio.gather(*(work() for _ in range(workers)))
    return (seen.statuses[200] - before) / (time.monotonic() - begun)


async def gathered(clients: int, client: Callable[[], Awaitable[None]]) -> None:
    """Run this number of clients at once; a client that is refused or cut off counts as finished."""

    async def guarded() -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await client()

    await asyncio.gather(*(guarded() for _ in range(clients)))


# --- The phases ---


async def overload(service: Service, seen: Seen, scale: Scale) -> str:
    """Send as much as the service can take, then send from eight times as many clients."""
    capacity = await load(service, seen, post(RECORDS), CONCURRENCY, scale.seconds / 6)
    answered, begun = sum(seen.statuses.values()), time.monotonic()
    served = await load(service, seen, post(RECORDS), WORKERS, scale.seconds)
    offered = (sum(seen.statuses.values()) - answered) / (time.monotonic() - begun)
    return f"{capacity:,.0f} a second served at capacity; {served:,.0f} of {offered:,.0f} a second in overload"


async def slow_uploads(service: Service, seen: Seen, scale: Scale) -> str:
    """Declare a body, and send a byte five times a second."""

    async def upload() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        with closing(writer):
            writer.write(post(b"a;1\n", 10_000))
            for _ in range(int(scale.seconds * 5)):
                await asyncio.sleep(0.2)
                writer.write(b"a")
                await writer.drain()

    others = load(service, seen, GET, 2, scale.seconds)
    rate, _ = await asyncio.gather(others, gathered(scale.clients, upload))
    return f"{rate:,.0f} other requests a second meanwhile"


async def slow_readers(service: Service, seen: Seen, scale: Scale) -> str:
    """Ask for a long response, and read a kibibyte ten times a second."""

    async def read() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=4096)
        with closing(writer):
            writer.write(post(MANY_KEYS))
            for _ in range(int(scale.seconds * 10)):
                await reader.read(1024)
                await asyncio.sleep(0.1)

    others = load(service, seen, GET, 2, scale.seconds)
    rate, _ = await asyncio.gather(others, gathered(scale.clients, read))
    return f"{rate:,.0f} other requests a second meanwhile"


async def resets(service: Service, seen: Seen, scale: Scale) -> str:
    """Reset half of the connections during the request, the others during the response."""
    numbers = iter(range(scale.clients))

    async def reset() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=4096)
        if next(numbers) % 2:
            writer.write(post(b"a;1\n", 1_000))
        else:
            writer.write(post(MANY_KEYS))
            await reader.read(1024)
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    await gathered(scale.clients, reset)
    await load(service, seen, GET, 2, min(1.0, scale.seconds))
    return f"{scale.clients} connections reset"


async def full_log(service: Service, seen: Seen, scale: Scale) -> str:
    """Leave the log unread."""
    rate = await load(service, seen, post(b"a;1\n"), CONCURRENCY, scale.seconds)
    return f"{rate:,.0f} a second; {service.figure('log_lines_dropped_total'):,} log lines dropped and counted"


async def many_connections(service: Service, seen: Seen, scale: Scale) -> str:
    """Open more connections than the limit on open files allows."""

    async def wait() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        with closing(writer):
            await asyncio.sleep(min(5.0, scale.seconds))

    await gathered(2 * FILES, wait)
    await load(service, seen, GET, 2, min(1.0, scale.seconds))
    return f"{2 * FILES} connections with {FILES} files"


@dataclass(frozen=True)
class Phase:
    """A load, and the flags that the service needs for it."""

    name: str
    load: Callable[[Service, Seen, Scale], Coroutine[Any, Any, str]]
    flags: tuple[str, ...] = ()
    is_log_read: bool = True
    files: int = 0
    """The limit on open files, if the phase sets one."""


PHASES = (
    Phase("overload", overload, ("--concurrency", str(CONCURRENCY))),
    Phase("slow uploads", slow_uploads),
    Phase("slow readers", slow_readers),
    Phase("resets", resets),
    Phase("log that no one reads", full_log, is_log_read=False),
    Phase("more connections than files", many_connections, files=FILES),
)


@contextmanager
def limited(files: int) -> Iterator[None]:
    """Limit the open files of programs that are started within the block."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files or most, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run(phase: Phase, program: Path, scale: Scale) -> list[str]:
    """Run a phase, and return its row.

    Raises SoakError if the service does not withstand the load.
    """
    seen = Seen()
    with limited(phase.files):
        service = Service(program, *phase.flags, is_log_read=phase.is_log_read)
    try:
        found = asyncio.run(phase.load(service, seen, scale))
        service.settle()
    finally:
        service.close()
    if seen.lost:
        raise SoakError(f"{phase.name}: {seen.lost} requests were lost")
    if service.memory > MEMORY:
        raise SoakError(f"{phase.name}: the service took {service.memory / MIB:,.0f} MiB")
    if service.slowest > scale.health:
        raise SoakError(f"{phase.name}: /healthz took {service.slowest:.1f} s")
    statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(seen.statuses.items()))
    return [phase.name, statuses, f"{service.memory / MIB:,.0f}", f"{service.slowest * 1000:,.0f}", found]


def drain(program: Path, scale: Scale) -> list[str]:
    """Stop services under load, and return one row for all of them.

    Raises SoakError for a lost request, or an exit code other than 0.
    """
    seen, memory = Seen(), 0
    for _ in range(scale.drains):
        with running(program, "--drain-grace", "300ms", "--drain-cap", "10s") as service:
            asyncio.run(_stop_under_load(service, seen))
            memory = max(memory, service.memory)
            if code := service.process.wait(PATIENCE):
                raise SoakError(f"the service ended with {code} after SIGTERM")
    if seen.lost:
        raise SoakError(f"{seen.lost} requests were lost in {scale.drains} drains")
    statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(seen.statuses.items()))
    return ["SIGTERM under load", statuses, f"{memory / MIB:,.0f}", "", f"{scale.drains} times, exit code 0, none lost"]


async def _stop_under_load(service: Service, seen: Seen) -> None:
    async def work() -> None:
        # Until the service stops accepting.
        with suppress(ConnectionError), closing(Client(service, seen)) as client:
            while True:
                await client.send(post(RECORDS))

    workers = asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    await asyncio.sleep(0.3)
    service.unwatch()
    service.process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(workers, PATIENCE)


# --- The page ---


PAGE = """# What does a service withstand?

A release build, one phase after the other, on loopback. A phase fails if a request is lost, if `/healthz` on the admin
address takes longer than {patience:.0f} s, if the service takes more than {memory} MiB, or if requests, bytes or files
are in use afterwards. There are {clients:,} slow clients and resets; a load lasts {seconds:.0f} s. `make test` runs the
same phases with {quick} clients.

{rows}

A phase without its own flags uses the defaults, such as `--concurrency 256` and `--in-flight-limit 128MiB`.
*Overload* has `--concurrency {concurrency}`: its capacity is measured with {concurrency} clients, and the load comes
from {workers}.
"""
HEADS = ("load", "responses", "most memory, MiB", "slowest /healthz, ms", "what happened")


def main() -> None:
    """Build the service in its release profile, run all phases, and write the page."""
    crate = make_crate(SCRATCH / "soak", "soaked-service", kind="service")
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=crate, check=True)
    program = Path(os.environ.get("CARGO_TARGET_DIR", crate / "target")) / "release" / crate.name
    rows = []
    try:
        for phase in PHASES:
            rows.append(run(phase, program, FULL))
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
        rows.append(drain(program, FULL))
    except SoakError as error:
        sys.exit(f"error: {error}")
    page = PAGE.format(
        patience=FULL.health,
        memory=MEMORY // MIB,
        clients=FULL.clients,
        seconds=FULL.seconds,
        quick=QUICK.clients,
        rows=table(HEADS, rows, texts=5),
        concurrency=CONCURRENCY,
        workers=WORKERS,
    )
    write_page("soak.md", "soak", page)


if __name__ == "__main__":
    main()
