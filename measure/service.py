"""Write docs/compare-service.md: what a request costs in the service, by layer and beside axum alone.

Needs Linux with two cores; valgrind and gungraun-runner for the layers, wrk and taskset for requests a second.
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
# The bench counts so many together.
REQUESTS = 100
CONNECTIONS = 16
SERVER_CORE, CLIENT_CORE = "0", "1"
# By wrk, with a body where there is one.
SCRIPTS = {"/plain": "", "/length": 'wrk.method = "POST"\nwrk.body = string.rep("x", 65536)\n'}
TITLES = {"/plain": "two bytes answered", "/length": "64 KiB received"}
LEVELS = ("warn", "info")
# What we want to keep of the requests a second that axum alone answers.
AIMS = {"/plain": 85, "/length": 95}


# --- The two servers ---


@dataclass(frozen=True)
class Servers:
    """A crate with both servers, and the commands that start them at a level of the log."""

    crate: Path
    ours: Path
    twin: Path

    def command(self, server: str, level: str) -> list[str]:
        pinned = ["taskset", "--cpu-list", SERVER_CORE]
        if server == "twin":
            return [*pinned, str(self.twin), level]
        addresses = ["--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]
        # The first line of the log has the address, so that one is always written.
        filters = f"{level},{NAME.replace('-', '_')}::plumbing::server=info"
        return [*pinned, str(self.ours), *addresses, "--log-format", "json", "--log-filter", filters]


def make_servers(folder: Path) -> Servers:
    """Build a service with two routes more, and the twin as a member of its workspace, so that both are built alike."""
    crate = make_crate(folder, NAME, kind="service")
    shutil.copytree(SOURCES / "twin", crate / "twin")
    for source in (crate / "src", crate / "twin" / "src"):
        shutil.copy(SOURCES / "handlers.rs", source)
    insert(crate / "src" / "lib.rs", "pub mod error;\n", "pub mod handlers;\n")
    routes = '.route("/plain", get(crate::handlers::plain)).route("/length", post(crate::handlers::length))'
    insert(crate / "src" / "routes.rs", '.route("/aggregate", post(aggregate))', routes)
    manifest = crate / "Cargo.toml"
    document = tomlkit.parse(manifest.read_text(encoding="utf-8"))
    document["workspace"]["members"].append("twin")
    manifest.write_text(tomlkit.dumps(document), encoding="utf-8")
    packages = ["--package", NAME, "--package", "twin"]
    subprocess.run(["cargo", "build", "--quiet", "--release", *packages], cwd=crate, check=True)
    built = Path(os.environ.get("CARGO_TARGET_DIR", crate / "target")) / "release"
    return Servers(crate, built / NAME, built / "twin")


def insert(path: Path, anchor: str, added: str) -> None:
    """Put text behind an anchor, which has to be there."""
    text = path.read_text(encoding="utf-8")
    if anchor not in text:
        raise SystemExit(f"{path} has no `{anchor.strip()}` any more: measure/service.py puts its routes behind that")
    path.write_text(text.replace(anchor, anchor + added), encoding="utf-8")


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    process: int
    address: str

    def cpu(self) -> float:
        """Microseconds that all its threads have run for."""
        threads = Path(f"/proc/{self.process}/task").glob("*/schedstat")
        return sum(int(thread.read_text(encoding="utf-8").split()[0]) for thread in threads) / 1000


@contextmanager
def running(command: Sequence[str]) -> Iterator[Server]:
    """Run a server, which writes its address in its first line."""
    # Somebody reads a log, as in production; that costs the client's core, not the server's.
    reader = ["taskset", "--cpu-list", CLIENT_CORE, "cat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as process:
        first = b"" if process.stdout is None else process.stdout.readline()
        with subprocess.Popen(reader, stdin=process.stdout, stdout=subprocess.DEVNULL):
            try:
                address = re.search(rb"127\.0\.0\.1:\d+", first)
                if address is None:
                    raise SystemExit(f"{' '.join(command)} gave no address, but: {first!r}")
                yield Server(process.pid, address[0].decode())
            finally:
                process.kill()


# --- Requests a second ---


@dataclass(frozen=True)
class Round:
    """What wrk saw in one round."""

    rate: float
    """Requests a second."""
    cpu: float
    """Microseconds of the server's core a request."""
    p50: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""


UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def read_wrk(printed: str, cpu: float) -> Round:
    """Read what `wrk --latency` prints; a request that failed spoils the round."""
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
    """Ask for a path as fast as the server answers."""
    script = SCRATCH / f"wrk{path.replace('/', '-')}.lua"
    script.write_text(SCRIPTS[path], encoding="utf-8")
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    command = ["taskset", "--cpu-list", CLIENT_CORE, "wrk", *options, f"http://{server.address}{path}"]
    before = server.cpu()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return read_wrk(printed, server.cpu() - before)


def compare(servers: Servers, path: str, level: str, rounds: int, seconds: int) -> dict[str, list[Round]]:
    """Rounds of both servers in turn; who begins changes, too."""
    seen: dict[str, list[Round]] = {"ours": [], "twin": []}
    for number in range(rounds):
        for server in sorted(seen, reverse=bool(number % 2)):
            with running(servers.command(server, level)) as one:
                seen[server].append(load(one, path, seconds))
    return seen


def rate_row(path: str, level: str, seen: Mapping[str, Sequence[Round]]) -> list[str]:
    """The ratio of each pair of rounds, and the medians of both sides."""
    ratios = [100 * ours.rate / twin.rate for ours, twin in zip(seen["ours"], seen["twin"], strict=True)]
    figures = [("rate", ",.0f"), ("cpu", ".1f"), ("p50", ".2f"), ("p99", ".2f")]
    sides = [
        format(median([getattr(one, name) for one in seen[server]]), form)
        for name, form in figures
        for server in ("ours", "twin")
    ]
    spread = f"{min(ratios):.0f} to {max(ratios):.0f}"
    return [TITLES[path], f"`{level}`", f"{median(ratios):.0f} %", spread, f"{AIMS[path]} %", *sides]


# --- Instructions ---


def count(crate: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Instructions and heap blocks a request, by bench and by what is left out."""
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
    """Read one bench from the summary of gungraun, whose form may change with its version."""
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
    "without_log": "line in the log, as JSON",
    "without_record": "record: id, span, line, metrics, panics caught",
}


def layer_rows(counts: Mapping[tuple[str, str], tuple[float, float]]) -> list[list[str]]:
    """Each layer's cost: the whole without that of the whole but it."""
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

PAGE = """# What a request costs in the service

## By layer

Instructions and heap blocks a request, by gungraun, on one thread and without sockets: a request without a body, and
one with 64 KiB in four frames. A layer's cost is that of all layers, less that of all but it; the line in the log and
the metrics are parts of the record. `bench/benches/request_instructions.rs` of a crate holds each of these sums to what
was measured and a tenth.

{layers}

## Beside axum alone

Requests a second that the service answers, of those that a [twin](../measure/service/twin/src/main.rs) answers: the
same handlers on the same axum, the same profile, the log at the same level, and no layers. At `warn` neither writes a
line for a request; at `info`, which is the default, the service does, and the twin has none to write. Server and wrk
have a core each, with {connections} connections over loopback; {rounds} rounds of {seconds} s in turn. What is kept is
the median of the rounds, with the least and the greatest. CPU is microseconds of the server's core a request; p50 and
p99 are milliseconds.

{rates}

What the twin leaves out: limits on concurrency, on bodies, headers and time, refusals under load, request ids, metrics,
a log of requests, an answer where a handler panics, and a drain that loses no request.
"""
HEADS = ["request", "log", "kept", "spread", "aim", "rate", "twin", "CPU", "twin", "p50", "twin", "p99", "twin"]
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
