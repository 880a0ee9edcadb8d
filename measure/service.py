"""Write docs/compare-service.md: the cost of a request in the service, by layer and compared with other stacks.

Needs Linux with two cores; valgrind and gungraun-runner for the layers, wrk and taskset for requests per second.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import tomlkit

from workbench import SCRATCH, make_crate, table, write_page

SOURCES = Path(__file__).with_name("service")
NAME = "measured-service"
# The bench counts this number of requests together.
REQUESTS = 100
CONNECTIONS = 16
SERVER_CORE, CLIENT_CORE = "0", "1"
# For wrk: each path, with a body if it has one.
SCRIPTS = {"/plain": "", "/length": 'wrk.method = "POST"\nwrk.body = string.rep("x", 65536)\n'}
TITLES = {"/plain": "two bytes answered", "/length": "64 KiB received"}
LEVELS = ("warn", "info")
# Both are built and started in the same way: axum alone, and axum behind the middleware that people use.
OTHERS = ("twin", "usual")


# --- The servers ---


@dataclass(frozen=True)
class Servers:
    """A crate with all servers, and the commands that start them at a log level."""

    crate: Path
    programs: Path

    def command(self, server: str, level: str) -> list[str]:
        pinned = ["taskset", "--cpu-list", SERVER_CORE]
        if server in OTHERS:
            return [*pinned, str(self.programs / server), level]
        addresses = ["--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]
        # The first line of the log has the address, so the log level must let it through.
        filters = f"{level},{NAME.replace('-', '_')}_server::server=info"
        return [*pinned, str(self.programs / NAME), *addresses, "--log-format", "json", "--log-filter", filters]


def make_servers(folder: Path, profile: str = "release") -> Servers:
    """Build a service with two more routes, and the other servers as members of its workspace, in the same way."""
    crate = make_crate(folder, NAME, kind="service")
    for other in OTHERS:
        shutil.copytree(SOURCES / other, crate / other)
    for member in (crate, *(crate / other for other in OTHERS)):
        shutil.copy(SOURCES / "handlers.rs", member / "src")
    insert(crate / "src" / "lib.rs", "pub mod error;\n", "pub mod handlers;\n")
    routes = '.route("/plain", get(crate::handlers::plain)).route("/length", post(crate::handlers::length))'
    insert(crate / "src" / "routes.rs", '.route("/aggregate", post(aggregate))', routes)
    manifest = crate / "Cargo.toml"
    document = tomlkit.parse(manifest.read_text(encoding="utf-8"))
    document["workspace"]["members"].extend(OTHERS)
    manifest.write_text(tomlkit.dumps(document), encoding="utf-8")
    # One package at a time, since cargo would build the features that one package asks for into all of them.
    for package in (NAME, *OTHERS):
        command = ["cargo", "build", "--quiet", "--profile", profile, "--package", package]
        subprocess.run(command, cwd=crate, check=True)
    built = Path(os.environ.get("CARGO_TARGET_DIR", crate / "target")) / ("debug" if profile == "dev" else profile)
    return Servers(crate, built)


def insert(path: Path, anchor: str, added: str) -> None:
    """Insert text behind an anchor, which must exist."""
    text = path.read_text(encoding="utf-8")
    if anchor not in text:
        raise SystemExit(f"{path} has no `{anchor.strip()}` any more: measure/service.py puts its routes behind that")
    path.write_text(text.replace(anchor, anchor + added), encoding="utf-8")


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: int
    address: str

    def cpu(self) -> float:
        """CPU time of all threads in microseconds."""
        threads = Path(f"/proc/{self.process}/task").glob("*/schedstat")
        return sum(int(thread.read_text(encoding="utf-8").split()[0]) for thread in threads) / 1000


@contextmanager
def running(command: Sequence[str]) -> Iterator[Server]:
    """Run a server, which logs its address; the settings that our service logs first have port 0."""
    # A process reads the log, as in production; this costs time on the client's core, not on the server's.
    reader = ["taskset", "--cpu-list", CLIENT_CORE, "cat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as process:
        lines = iter(process.stdout or ())
        found = next(filter(None, (re.search(rb"127\.0\.0\.1:[1-9]\d*", line) for line in lines)), None)
        with subprocess.Popen(reader, stdin=process.stdout, stdout=subprocess.DEVNULL):
            try:
                if found is None:
                    raise SystemExit(f"{' '.join(command)} ended and logged no address")
                yield Server(process.pid, found[0].decode())
            finally:
                process.kill()


# --- Requests per second ---


@dataclass(frozen=True)
class Round:
    """The results of wrk in one round."""

    rate: float
    """Requests per second."""
    cpu: float
    """Microseconds of the server's core for each request."""
    p50: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""


UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def read_wrk(printed: str, cpu: float) -> Round:
    """Read the output of `wrk --latency`; a failed request makes the round invalid."""
    if failed := re.search(r"Non-2xx.*|Socket errors.*", printed):
        raise SystemExit(f"wrk: {failed[0]}")
    rate = re.search(r"Requests/sec: +([\d.]+)", printed)
    count = re.search(r"(\d+) requests in", printed)
    shares = re.findall(r"(\d+)% +([\d.]+)(us|ms|s)", printed)
    times = {share: float(time) * UNITS[unit] for share, time, unit in shares}
    if rate is None or count is None or not {"50", "99"} <= times.keys():
        raise SystemExit(f"wrk printed what this script cannot read:\n{printed}")
    return Round(float(rate[1]), cpu / max(int(count[1]), 1), times["50"], times["99"])


def load(server: Server, path: str, seconds: int) -> Round:
    """Request a path as fast as the server responds."""
    script = SCRATCH / f"wrk{path.replace('/', '-')}.lua"
    script.write_text(SCRIPTS[path], encoding="utf-8")
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    command = ["taskset", "--cpu-list", CLIENT_CORE, "wrk", *options, f"http://{server.address}{path}"]
    before = server.cpu()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return read_wrk(printed, server.cpu() - before)


def compare(servers: Servers, path: str, level: str, rounds: int, seconds: int) -> dict[str, list[Round]]:
    """Run rounds of the servers in turn; the order rotates, too."""
    seen: dict[str, list[Round]] = {server: [] for server in ("ours", *OTHERS)}
    for number in range(rounds):
        for server in sorted(seen, reverse=bool(number % 2)):
            with running(servers.command(server, level)) as one:
                seen[server].append(load(one, path, seconds))
    return seen


def rate_row(path: str, level: str, seen: Mapping[str, Sequence[Round]]) -> list[str]:
    """Return the ratios of the pairs of rounds to each other server, and the medians of all servers."""
    figures = [("rate", ",.0f"), ("cpu", ".1f"), ("p99", ".2f")]
    sides = [
        format(median([getattr(one, name) for one in seen[server]]), form)
        for name, form in figures
        for server in ("ours", *OTHERS)
    ]
    return [TITLES[path], f"`{level}`", *(ratio(seen["ours"], seen[other]) for other in OTHERS), *sides]


def ratio(ours: Sequence[Round], others: Sequence[Round]) -> str:
    """Return the median of the ratios of adjacent rounds, with minimum and maximum."""
    ratios = sorted(one.rate / other.rate for one, other in zip(ours, others, strict=True))
    return f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


# --- Instructions ---


def count(crate: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Return instructions and heap blocks for each request, by bench and by the layer that is left out."""
    bench = ["--package", f"{NAME}-bench", "--bench", "request_instructions"]
    subprocess.run(
        ["cargo", "bench", "--quiet", *bench, "--", "--save-summary=json"],
        cwd=crate,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "GUNGRAUN_HOME": str(SCRATCH / "gungraun")},
    )
    summaries = (SCRATCH / "gungraun").rglob("request_instructions/**/summary.json")
    return dict(read_summary(json.loads(path.read_text(encoding="utf-8"))) for path in summaries)


def read_summary(summary: dict[str, object]) -> tuple[tuple[str, str], tuple[float, float]]:
    """Read one bench from the summary of gungraun, whose format may change with its version."""
    match summary:
        case {"version": "7", "function_name": str(function), "id": str(identity), "profiles": list(profiles)}:
            totals = {profile["tool"]: profile["data"]["total"]["metrics"] for profile in profiles}
            counts = (totals["Callgrind"]["Ir"], totals["DHAT"]["TotalBlocks"])
            instructions, blocks = (each["values"]["new"] / REQUESTS for each in counts)
            return (function, identity), (instructions, blocks)
        case _:
            raise SystemExit(f"gungraun writes summaries of version {summary.get('version')}; this script reads 7")


LAYERS = {
    "without_limits": "limits: concurrency, bytes, idle and total time",
    "without_log": "log line, as JSON",
    "without_record": "record: request id, span, log line, metrics, catching panics",
}


def layer_rows(counts: Mapping[tuple[str, str], tuple[float, float]]) -> list[list[str]]:
    """Return the cost of each layer: that of all layers minus that of all other layers."""
    benches = ("empty", "of_64_kib")

    def row(title: str, costs: Sequence[tuple[float, float]]) -> list[str]:
        return [title, *(f"{cost:,.0f}" for pair in costs for cost in pair)]

    whole = [counts[bench, "all_layers"] for bench in benches]
    rows = [row("handler and router alone", [counts[bench, "without_layers"] for bench in benches])]
    for without, title in LAYERS.items():
        rest = [counts[bench, without] for bench in benches]
        rows.append(row(title, [(a[0] - b[0], a[1] - b[1]) for a, b in zip(whole, rest, strict=True)]))
    metrics = counts["counted", "metrics"]
    return [*rows, row("of the record: metrics", [metrics, metrics]), row("all", whole)]


# --- The page ---

PAGE = """# What does a request cost in the service?

## By layer

Instructions and heap blocks per request, counted with gungraun, on one thread and without sockets: for a request
without a body, and for one with 64 KiB in four frames. The cost of a layer is the cost of all layers minus the cost
without that layer, so the rows do not add up exactly. The layer *record* includes the log line and the metrics.
`bench/benches/request_instructions.rs` in a crate limits the total with all layers, and without each of them, to the
measured value plus a tenth.

{layers}

## Compared with other stacks

Requests per second of three servers, measured in turns in one run:

- the service;
- the same handlers on [axum alone](../measure/service/twin/src/main.rs);
- the same handlers behind [the usual middleware](../measure/service/usual/src/main.rs): tower-http's trace, request
  id, timeout, body limit and catch-panic, tower's load-shed and concurrency limit, axum-prometheus, and tracing's
  JSON log from a separate thread.

All three have the same build profile and log level. At `info`, which is the default, the service and the usual stack
write a log line for each request, and axum alone writes none. Server and wrk have a core each, with {connections}
connections over loopback; {rounds} rounds of {seconds} s in turns. A ratio is the median of the rounds, with the
minimum and the maximum. CPU is microseconds of the server's core per request; p99 is in milliseconds.

{rates}

In addition to the usual stack, the service limits the bytes in flight and the size of headers; it disconnects clients
that are idle, send slowly or do not read the response; its metrics have the route pattern, not the path; and it
shuts down without losing a request.
"""
HEADS = [
    *("request", "log", "to axum", "to the usual", "rate", "axum", "usual"),
    *("CPU", "axum", "usual", "p99", "axum", "usual"),
]
LAYER_HEADS = ["layer", "instructions", "blocks", "instructions, 64 KiB", "blocks, 64 KiB"]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each round")
    arguments = parser.parse_args()
    if missing := [tool for tool in ("wrk", "taskset", "valgrind", "gungraun-runner") if not shutil.which(tool)]:
        raise SystemExit(f"missing: {', '.join(missing)}. On Debian: apt-get install wrk valgrind; then make setup")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    servers = make_servers(SCRATCH)
    layers = table(LAYER_HEADS, layer_rows(count(servers.crate)))
    rows = [
        rate_row(path, level, compare(servers, path, level, arguments.rounds, arguments.seconds))
        for path, level in product(SCRIPTS, LEVELS)
    ]
    page = PAGE.format(layers=layers, rates=table(HEADS, rows), connections=CONNECTIONS, **vars(arguments))
    write_page("compare-service.md", "compare-service", page)


if __name__ == "__main__":
    main()
