"""Runs the service as its users do: a process, real sockets, real signals."""

from __future__ import annotations

import http.client
import json
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from support.services import MIB, PATIENCE, Answer, Service, Start, eventually, head_of, run_to_end
from support.variants import CHECKOUT


@pytest.fixture(scope="module", autouse=True)
def _enough_open_files() -> None:
    """A service warns if the limit on open files is low."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture
def start(service_binary: Path) -> Iterator[Start]:
    running: list[Service] = []

    def start(*flags: str) -> Service:
        running.append(Service(service_binary, flags))
        return running[-1]

    yield start
    for service in running:
        service.close()


@pytest.fixture
def quiet(start: Start) -> Iterator[Start]:
    """Start services that must log no warning."""
    services: list[Service] = []

    def start_quiet(*flags: str) -> Service:
        services.append(start(*flags))
        return services[-1]

    yield start_quiet
    for service in services:
        assert not [e for e in service.events if e["level"] in ("WARN", "ERROR")]


def _records(count: int) -> bytes:
    choose = random.Random(count)
    lines = (f"key {choose.randrange(500)};{choose.randrange(-9999, 9999) / 100}\n" for _ in range(count))
    return "".join(lines).encode()


def _aggregate(records: bytes) -> dict[str, tuple[int, Decimal, Decimal, Decimal]]:
    values: dict[str, list[Decimal]] = {}
    for line in records.decode().splitlines():
        key, _, value = line.rpartition(";")
        values.setdefault(key, []).append(Decimal(value))
    return {k: (len(v), min(v), sum(v, Decimal(0)) / len(v), max(v)) for k, v in values.items()}


# Valid requests


@pytest.mark.parametrize("count", [1, 1_000, 200_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_aggregates(quiet: Start, count: int, chunked: bool) -> None:
    records = _records(count)
    pieces = (records[at : at + 300_000] for at in range(0, len(records), 300_000))
    answer = quiet().request("POST", "/aggregate", pieces if chunked else records)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    rows = json.loads(answer.body, parse_float=Decimal, parse_int=Decimal)
    expected = _aggregate(records)
    assert [row["key"] for row in rows] == sorted(expected)
    for row in rows:
        number, least, mean, greatest = expected[row["key"]]
        assert (row["count"], row["min"], row["max"]) == (number, least, greatest)
        assert abs(row["mean"] - mean) <= Decimal("0.0001")


def test_one_connection_serves_many_requests(quiet: Start) -> None:
    connection = quiet().connect()
    connection.connect()
    stream = connection.sock
    for _ in range(3):
        connection.request("POST", "/aggregate", b"a;1\n")
        assert Answer.read(connection.getresponse()).status == 200
        assert connection.sock is stream


def test_health(quiet: Start) -> None:
    service = quiet()
    assert service.request("GET", "/healthz").status == 200
    assert service.request("GET", "/readyz").status == 200


# Rejected requests


def test_a_malformed_line_is_an_error(quiet: Start) -> None:
    answer = quiet().request("POST", "/aggregate", b"a;1\nb;2\nc\n")
    assert (answer.status, answer.error["code"], answer.error["line"]) == (422, "malformed_line", 3)
    assert "`;`" in answer.error["message"]


def test_too_many_keys(quiet: Start) -> None:
    service = quiet("--distinct-keys", "2")
    assert service.request("POST", "/aggregate", b"a;1\nb;2\na;3\n").status == 200
    answer = service.request("POST", "/aggregate", b"a;1\nb;2\nc;3\n")
    assert (answer.status, answer.error["code"]) == (422, "too_many_keys")
    assert "line" not in answer.error


@pytest.mark.parametrize("chunked", [False, True])
def test_early_error_reaches_a_client_that_still_sends(quiet: Start, chunked: bool) -> None:
    service = quiet("--body-limit", "1MiB")
    rest = b"a;1\n" * MIB
    for body, status in ((rest, 413), (b"malformed\n" + rest, 413 if not chunked else 422)):
        pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
        answer = service.request("POST", "/aggregate", pieces if chunked else body)
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert answer.error["code"] in ("body_too_large", "malformed_line")


def test_declared_size_is_refused_before_the_body(quiet: Start) -> None:
    with quiet("--body-limit", "1KiB").stream() as stream:
        stream.sendall(head_of(1025))
        assert Answer.on(stream).error["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not_found"), ("GET", "/aggregate", 405, "method_not_allowed"),
     ("BREW", "/aggregate", 405, "method_not_allowed"), ("POST", "/healthz", 405, "method_not_allowed")],
)  # fmt: skip
def test_unknown_route_or_method(quiet: Start, method: str, path: str, status: int, code: str) -> None:
    answer = quiet().request(method, path)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert status == 404 or answer.headers["allow"]


def test_broken_chunks(quiet: Start) -> None:
    with quiet().stream() as stream:
        stream.sendall(b"POST /aggregate HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n")
        answer = Answer.on(stream)
    assert (answer.status, answer.error["code"]) == (400, "broken_body")


def test_headers_are_bounded(quiet: Start) -> None:
    service = quiet("--header-limit", "4KiB", "--header-count", "10", "--header-time", "300ms")
    assert service.request("GET", "/healthz", x_large="a" * 8000).status == 431
    assert service.request("GET", "/healthz", None, **{f"x_{n}": "a" for n in range(20)}).status == 431
    with service.stream() as stream:
        stream.sendall(b"GET / HTTP/1.1\r\n")
        assert stream.recv(1) == b""


# Slow clients and many clients


def test_idle_body(quiet: Start) -> None:
    with quiet("--idle-time", "200ms").held() as held:
        answer = Answer.on(held)
    assert (answer.status, answer.error["code"]) == (408, "body_idle")


def test_slow_body(quiet: Start) -> None:
    service = quiet("--idle-time", "600ms", "--request-time", "600ms")
    with service.held() as held:
        for _ in range(4):
            time.sleep(0.2)
            held.sendall(b"a;1\n")
        answer = Answer.on(held)
    assert (answer.status, answer.error["code"]) == (408, "too_slow")


def test_a_client_that_reads_no_response_is_dropped(start: Start) -> None:
    # Long enough for a busy machine to send all of the body without a pause that exceeds the timeout.
    service = start("--idle-time", "2s", "--drain-grace", "0s")
    body = b"".join(b"%0*d;1\n" % (1500, key) for key in range(10_000))
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.connect(service.address)
        stream.sendall(head_of(len(body)) + body)
        service.event(message="request", status=200)
        service.terminate()
        assert service.exit_code() == 0
        service.event(message="response aborted")


def test_requests_above_the_concurrency_limit_are_shed(quiet: Start) -> None:
    service = quiet("--concurrency", "2")
    held = [service.held(8), service.held(8)]
    service.wait_in_flight(2)
    began = time.monotonic()
    for _ in range(5):
        answer = service.request("POST", "/aggregate", b"a;1\n")
        assert (answer.status, answer.error["code"]) == (503, "busy")
        assert answer.headers["retry-after"] == "1"
        assert service.request("GET", "/healthz").status == 200
        assert service.request("GET", "/readyz").status == 200
    assert time.monotonic() - began < 2, "refusals must not wait"
    for stream in held:
        stream.sendall(b"b;2\n")
        assert Answer.on(stream).status == 200
        stream.close()
    assert service.request("POST", "/aggregate", b"a;1\n").status == 200
    assert 'http_requests_shed_total{reason="concurrency"} 5\n' in service.metrics()


def test_requests_above_the_limit_on_bytes_are_shed(quiet: Start) -> None:
    service = quiet("--body-limit", "1KiB", "--in-flight-limit", "1KiB")
    with service.held(1024) as held:
        held.sendall(b"a;1\n" * 254)
        service.wait_in_flight(1)

        def is_refused(body: bytes | Iterator[bytes]) -> bool:
            answer = service.request("POST", "/aggregate", body)
            return (
                answer.status == 503 and answer.error["code"] == "memory_busy" and bool(answer.headers["retry-after"])
            )

        eventually(lambda: is_refused(b"b;10\n"))
        assert is_refused(iter([b"b;10\n"]))
    service.wait_in_flight(0)
    assert service.request("POST", "/aggregate", b"a;1\n").status == 200


def test_connections_are_bounded(start: Start) -> None:
    service = start("--connections", "2", "--concurrency", "1")
    # Neither connection is idle: the service still reads from the second one after its early response.
    first = service.held()
    service.wait_in_flight(1)
    assert Answer.on(service.held()).status == 503
    with service.stream() as third:
        third.sendall(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n")
        third.settimeout(0.2)
        with pytest.raises(TimeoutError):
            third.recv(1)
        first.close()
        third.settimeout(PATIENCE)
        assert Answer.on(third).status == 200


def test_running_out_of_files_pauses(start: Start) -> None:
    service = start()
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (16, 16))
    streams = [service.stream() for _ in range(16)]
    service.event(message="cannot accept")
    time.sleep(0.5)
    for stream in streams:
        stream.close()
    assert service.request("GET", "/healthz").status == 200
    assert sum(event["message"] == "cannot accept" for event in service.events) < 10


# Observability


def test_request_id_and_trace_in_response_and_log(quiet: Start) -> None:
    service = quiet()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    body = b"a;1\n"
    answer = service.request(
        "POST", "/aggregate", body, x_request_id="my-id.7", traceparent=f"00-{trace}-00f067aa0ba902b7-01"
    )
    assert answer.headers["x-request-id"] == "my-id.7"
    event = service.event(message="request", route="/aggregate")
    assert (event["span"]["request_id"], event["span"]["trace_id"]) == ("my-id.7", trace)
    assert (event["method"], event["status"], event["bytes"]) == ("POST", 200, len(body))
    assert 0 < event["duration_us"] < PATIENCE * 1e6
    assert event["response_bytes"] == len(answer.body)


@pytest.mark.parametrize("strange", ["", "with space", "a" * 129, 'quo"te', "00-zz-zz-01"])
def test_strange_ids_are_replaced(quiet: Start, strange: str) -> None:
    service = quiet()
    answer = service.request("GET", "/nowhere", x_request_id=strange, traceparent=strange)
    span = service.event(message="request")["span"]
    if strange != "00-zz-zz-01":
        assert len(answer.headers["x-request-id"]) == 32
    assert span["request_id"] == answer.headers["x-request-id"]
    assert "trace_id" not in span


def test_metrics_have_bounded_labels(quiet: Start) -> None:
    service = quiet()
    service.request("POST", "/aggregate", b"a;1\n")
    service.request("BREW", "/secret/path")
    metrics = service.metrics()
    for line in (
        f"{DURATION}_count{{{_labels('POST', '/aggregate', 200)}}} 1",
        f"{DURATION}_count{{{_labels('OTHER', 'unmatched', 404)}}} 1",
        f'{DURATION}_bucket{{le="0.075",{_labels("POST", "/aggregate", 200)}}} 1',
        "http_server_active_requests 0",
        "http_request_body_bytes_total 4",
        "http_panics_total 0",
    ):
        assert line + "\n" in metrics
    assert "secret" not in metrics
    assert "BREW" not in metrics
    for path in ("/metrics", "/log-filter"):
        assert service.request("GET", path).status == 404, "only the admin address has it"


DURATION = "http_server_request_duration_seconds"


def _labels(method: str, route: str, status: int) -> str:
    return f'http_request_method="{method}",http_route="{route}",http_response_status_code="{status}"'


def test_the_process_and_its_runtime_are_measured(quiet: Start) -> None:
    page = quiet().metrics()
    figures = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in page.splitlines()}
    for name, least, most in (
        ("process_cpu_seconds_total", 0, PATIENCE),
        ("process_open_fds", 5, 100),
        ("process_max_fds", 100, 1e9),
        ("process_threads", 2, 100),
        ("process_resident_memory_bytes", MIB, 1000 * MIB),
        ("process_start_time_seconds", time.time() - 60, time.time() + 1),
        ("tokio_workers", 1, 1000),
        ("tokio_alive_tasks", 2, 1000),
        ("tokio_global_queue_depth", 0, 1000),
        ("tokio_workers_busy_seconds_total", 0, PATIENCE),
    ):
        assert least <= float(figures[name]) <= most, name


def _names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:build|http|log|panics|process|tokio)_\w+", expression))


def _queries(board: str) -> list[str]:
    panels = json.loads(board)["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_the_dashboard_queries_existing_metrics(quiet: Start) -> None:
    service = quiet()
    service.request("POST", "/aggregate", b"a;1\n")
    there = _names(service.metrics())
    board = (CHECKOUT / "docs" / "grafana-dashboard.json").read_text(encoding="utf-8")
    assert len(_queries(board)) > 10
    for query in _queries(board):
        assert _names(query) <= there, query
    misspelt = board.replace("http_connections_open", "http_connection_open")
    assert not all(_names(query) <= there for query in _queries(misspelt))
    # The page lists all metrics, too.
    page = (CHECKOUT / "docs" / "service.md").read_text(encoding="utf-8")
    families = set(re.findall(r"(?m)^# TYPE (\S+)", service.metrics()))
    assert {name for name in families if f"`{name}" not in page} == set()


def test_a_client_that_disconnects_is_not_an_error(quiet: Start) -> None:
    service = quiet()
    service.held().close()
    service.event(message="request", route="/aggregate")
    assert service.request("POST", "/aggregate", b"a;1\n").status == 200


def test_the_peer_of_a_failed_connection_is_logged(quiet: Start) -> None:
    service = quiet("--log-filter", "debug")
    held = service.held()
    service.wait_in_flight(1)
    host, port = held.getsockname()
    # A reset, because a regular close may arrive after the last write, and then no error occurs.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    held.close()
    service.event(message="connection failed", peer=f"{host}:{port}")


@pytest.mark.parametrize("source", ["127.0.0.1", "127.255.10.99"])
def test_the_peer_of_a_request_is_logged(quiet: Start, source: str) -> None:
    service = quiet("--log-filter", "debug")
    with socket.create_connection(service.address, source_address=(source, 0)) as client:
        client.sendall(head_of(0))
        service.event(message="request", peer="{}:{}".format(*client.getsockname()))


# Shutdown


def test_request_finishes_after_sigterm(quiet: Start) -> None:
    service = quiet("--drain-grace", "1s")
    with service.held(8) as held:
        service.wait_in_flight(1)
        service.terminate()
        service.event(message="draining", signal="SIGTERM")
        answer = service.request("GET", "/readyz")
        assert (answer.status, answer.error["code"]) == (503, "draining")
        answer = service.request("GET", "/healthz")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        eventually(lambda: not _accepts(service))
        held.sendall(b"b;2\n")
        answer = Answer.on(held)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert service.exit_code() == 0


def _accepts(service: Service) -> bool:
    try:
        service.stream().close()
    except ConnectionRefusedError:
        return False
    return True


def _busy_client(service: Service, reconnect: bool, answered: list[int], lost: list[OSError]) -> None:
    """Send requests until the service accepts no connection; record the statuses and the lost requests."""
    request = head_of(4) + b"a;1\n"
    while True:
        try:
            stream = service.stream()
        except OSError:
            return
        with stream:
            while True:
                try:
                    stream.sendall(request)
                    answer = Answer.on(stream)
                except (OSError, http.client.HTTPException) as error:
                    lost.append(error if isinstance(error, OSError) else OSError(repr(error)))
                    return
                answered.append(answer.status)
                if answer.headers["connection"] == "close":
                    break
        if not reconnect:
            return


def drain_under_load(service: Service, reconnect: bool) -> tuple[list[int], list[OSError], int]:
    """Stop the service under 32 busy keep-alive connections; return responses, losses and exit code."""
    answered: list[int] = []
    lost: list[OSError] = []
    arguments = (service, reconnect, answered, lost)
    clients = [threading.Thread(target=_busy_client, args=arguments) for _ in range(32)]
    for client in clients:
        client.start()
    eventually(lambda: len(answered) > 1000)
    service.terminate()
    for client in clients:
        client.join()
    return answered, lost, service.exit_code()


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("reconnect", [False, True])
def test_no_request_is_lost_under_load(quiet: Start, *, reconnect: bool, attempt: int) -> None:  # noqa: ARG001
    service = quiet("--drain-grace", "500ms")
    answered, lost, code = drain_under_load(service, reconnect)
    assert (lost, set(answered), code) == ([], {200}, 0)


def test_the_drain_limit_closes_connections(start: Start) -> None:
    service = start("--drain-grace", "0s", "--drain-cap", "200ms")
    with service.held():
        service.wait_in_flight(1)
        service.terminate()
        assert service.exit_code() == 1
    assert service.event(message="drain cap reached")["connections"] == 1


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_the_service_at_once(quiet: Start, second: signal.Signals) -> None:
    service = quiet()
    with service.held():
        service.wait_in_flight(1)
        service.terminate()
        service.event(message="draining")
        # A signal that follows at once counts as the first one.
        time.sleep(0.2)
        began = time.monotonic()
        service.process.send_signal(second)
        assert service.exit_code() == 1
        assert time.monotonic() - began < 1


def test_sigint_drains_idle_connections(quiet: Start) -> None:
    service = quiet("--drain-grace", "0s")
    connection = service.connect()
    connection.request("GET", "/healthz")
    Answer.read(connection.getresponse())
    service.process.send_signal(signal.SIGINT)
    assert service.exit_code() == 0


@pytest.mark.parametrize("level", ["info", "off"])
def test_the_service_runs_until_the_signal_at_any_log_level(service_binary: Path, level: str) -> None:
    flags = ("--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--drain-grace", "0s")
    with subprocess.Popen([service_binary, *flags, "--log-filter", level], stderr=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


# Start


@pytest.mark.parametrize("flag", ["--address", "--admin-address"])
def test_an_address_in_use_is_an_error(service_binary: Path, flag: str) -> None:
    addresses = {"--address": "127.0.0.1:0", "--admin-address": "127.0.0.1:0"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addresses[flag] = f"127.0.0.1:{taken.getsockname()[1]}"
        run = run_to_end(service_binary, *(word for pair in addresses.items() for word in pair))
    assert run.returncode == 2
    assert addresses[flag] in run.stderr
    assert "in use" in run.stderr


@pytest.mark.parametrize(
    "flags",
    [("--address", "here"), ("--idle-time", "soon"), ("--body-limit", "much"), ("--concurrency", "0"),
     ("--header-limit", "1MiB"), ("--log-filter", "a=b=c"), ("--log-filter", "inof"), ("--body-limit", "1GiB"),
     ("--connections", "1"), ("--idle-time", "2h")],
)  # fmt: skip
def test_bad_configuration(service_binary: Path, flags: tuple[str, str]) -> None:
    run = run_to_end(service_binary, "--check-config", *flags)
    assert run.returncode == 2
    assert flags[0] in run.stderr


@pytest.mark.parametrize("flag", ["--address", "--admin-address"])
def test_an_address_with_a_name_of_a_host(service_binary: Path, flag: str) -> None:
    run = run_to_end(service_binary, "--check-config", flag, "localhost:8080")
    assert run.returncode == 2
    assert "type an IP address and a port, such as 0.0.0.0:8080" in run.stderr


def test_help_on_a_full_disk(service_binary: Path) -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [service_binary, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
        )
    assert run.returncode == 1


@pytest.mark.parametrize(
    ("address", "admin"),
    [("127.0.0.1:80", "127.0.0.1:80"), ("0.0.0.0:80", "127.0.0.1:80"), ("127.0.0.1:80", "[::]:80")],
)
def test_one_address_twice(service_binary: Path, address: str, admin: str) -> None:
    run = run_to_end(service_binary, "--check-config", "--address", address, "--admin-address", admin)
    assert run.returncode == 2
    assert f"--address {address} and --admin-address {admin}" in run.stderr
    different = ("--address", "127.0.0.1:80", "--admin-address", "[::1]:80")
    assert run_to_end(service_binary, "--check-config", *different).returncode == 0


def test_configuration_from_the_environment(service_binary: Path) -> None:
    name = f"{service_binary.stem.upper().replace('-', '_')}_BODY_LIMIT"
    run = run_to_end(service_binary, "--check-config", **{name: "1MiB"})
    assert (run.returncode, run.stdout) == (0, "configuration is valid\n")
    run = run_to_end(service_binary, "--check-config", **{name: "much"})
    assert run.returncode == 2
    assert f"'much' for '--body-limit <{name}>': type a size" in run.stderr


def test_help_and_version(service_binary: Path) -> None:
    assert "Exit codes:" in run_to_end(service_binary, "--help").stdout
    assert run_to_end(service_binary, "--version").stdout.startswith(f"{service_binary.stem} ")
