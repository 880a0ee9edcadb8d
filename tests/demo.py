"""The main job, shown from end to end: a service is made, built, used, watched and stopped."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.table import Table

CHECKOUT = Path(__file__).parents[1]
CRATE = CHECKOUT / "build" / "demo"
TARGET = CHECKOUT / "build" / "target"
LINES = 200_000

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run all steps; return 0 if the service worked as expected."""
    started = time.monotonic()
    render()
    program = build()
    lines = sample()
    with subprocess.Popen(
        [program, "--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--log-format", "json"],
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stderr is not None
        try:
            right = use(service.stderr, lines)
            drained = stop(service)
        finally:
            service.kill()
    say_what_next(time.monotonic() - started)
    return 0 if right and drained else 1


def step(text: str) -> None:
    """Print the name of the next step."""
    console.print(f"\n[bold]{text}[/bold]")


def render() -> None:
    """Make the crate, with the default answers."""
    step("copier copy: a service, all answers by default")
    shutil.rmtree(CRATE, ignore_errors=True)
    copier = Path(sys.executable).with_name("copier")
    subprocess.run(
        [copier, "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD", "--data", "kind=service", CHECKOUT, CRATE],
        check=True,
        # If this checkout has uncommitted changes, the demo shows them.
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    for path in sorted(path for path in CRATE.rglob("*") if path.is_file()):
        console.print(f"  {path.relative_to(CRATE)}")


def build() -> Path:
    """Build the release profile."""
    step("cargo build --release")
    subprocess.run(
        ["cargo", "build", "--quiet", "--release"],
        cwd=CRATE,
        check=True,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)},
    )
    return TARGET / "release" / CRATE.name


def sample() -> list[tuple[str, Decimal]]:
    """Return measurements as a network of weather stations would send them."""
    chance = random.Random(1)
    names = ("Bergen", "Cádiz", "Dakar", "Hobart", "Lima", "Nuuk", "Oslo", "Quito", "Turku", "Zürich")
    return [(chance.choice(names), Decimal(chance.randint(-400, 500)) / 10) for _ in range(LINES)]


def use(log: IO[str], lines: list[tuple[str, Decimal]]) -> bool:
    """Post the sample, and return whether the response is correct."""
    event = next(event for event in map(json.loads, log) if event["message"] == "listening")
    address, admin_address = event["address"], event["admin_address"]

    step(f"POST http://{address}/aggregate: {LINES:,} lines")
    body = "".join(f"{key};{value}\n" for key, value in lines).encode()
    began = time.monotonic()
    answer = fetch(f"http://{address}/aggregate", body)
    milliseconds = (time.monotonic() - began) * 1_000
    right = compare(json.loads(answer, parse_float=Decimal, parse_int=Decimal), lines)
    verdict = "[green]the same" if right else "[red]NOT the same"
    console.print(f"{len(body):,} bytes answered in {milliseconds:.0f} ms; {verdict}, computed twice")

    step(f"GET http://{admin_address}/metrics")
    for line in fetch(f"http://{admin_address}/metrics").decode().splitlines():
        if not line.startswith("#") and "bucket" not in line:
            console.print(f"  {line}", markup=False)
    return right


def fetch(url: str, body: bytes | None = None) -> bytes:
    """Return the body of a response of the service."""
    with urllib.request.urlopen(url, body, timeout=60) as response:  # noqa: S310  Loopback.
        return bytes(response.read())


def compare(answer: list[dict[str, Decimal]], lines: list[tuple[str, Decimal]]) -> bool:
    """Print the response next to Python's result, and return whether they are equal."""
    values: dict[str, list[Decimal]] = defaultdict(list)
    for key, value in lines:
        values[key].append(value)
    table = Table("key", "count", "min", "mean", "max", "mean by Python")
    same = len(answer) == len(values)
    for row in answer:
        own = values[str(row["key"])]
        mean = (sum(own, Decimal()) / len(own)).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        same &= [row["count"], row["min"], row["mean"], row["max"]] == [len(own), min(own), mean, max(own)]
        table.add_row(*(str(cell) for cell in row.values()), str(mean.normalize()))
    console.print(table)
    return same


def stop(service: subprocess.Popen[str]) -> bool:
    """Stop the service as an orchestrator does, and return whether it drained."""
    step("kill -TERM")
    service.send_signal(signal.SIGTERM)
    _, log = service.communicate(timeout=60)
    for line in log.splitlines():
        console.print(f"  {line}", markup=False)
    console.print(f"exit code {service.returncode}")
    return service.returncode == 0


def say_what_next(seconds: float) -> None:
    """Print the next steps for the reader."""
    step(f"That took {seconds:.0f} s. Your own crate:")
    console.print('  .venv/bin/copier copy "$PWD" ../my-crate')
    console.print("  cd ../my-crate && cargo test")


if __name__ == "__main__":
    sys.exit(main())
