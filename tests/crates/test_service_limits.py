"""Attacks each limit of the service, and shows that the attack succeeds without the limit.

The services are copies of the crate with routes of many kinds. The undefended one lacks the lines of DEFENCES.
"""

from __future__ import annotations

import http.client
import json
import re
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.files import replace_only
from support.services import MIB, PATIENCE, Answer, Service, Start, add_routes, eventually, run_to_end
from support.workshop import Workshop

ROUTES = """
/// Routes of many shapes.
mod probe {
    use super::App;
    use server::{Cause, Rejection, extract};
    use axum::body::{Body, Bytes};
    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use axum::routing::{get, post};
    use axum::{Extension, Json, Router};
    use futures_util::{Stream, StreamExt as _, stream};
    use std::error::Error;
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::time::sleep;

    const FRAME: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);

    pub(super) fn routes() -> Router<App> {
        Router::new()
            .route("/bytes", post(|body: Bytes| async move { body.len().to_string() }))
            .route("/text", post(|body: String| async move { body.len().to_string() }))
            .route("/json", post(|Json(body): Json<serde_json::Value>| async move { body.to_string() }))
            .route("/sleep/{millis}", get(nap).post(nap))
            .route("/whole/{length}", get(|Path(length): Path<usize>| async move { vec![b'x'; length] }))
            .route("/frames/{count}", get(|Path(count)| async move { Body::from_stream(frames(count)) }))
            .route("/broken", get(|| async { Body::from_stream(broken()) }))
            .route("/panicking", get(|| async { Body::from_stream(panicking()) }))
            .route("/log/{lines}", get(log))
            .route("/peer", get(peer))
            .route("/upgrade", get(upgrade))
            .route("/spans", get(|| async { log_in_spans() }))
            .route("/fault", get(|| async { (Cause::of(&no_report()), Rejection::Fault) }))
            .route("/unavailable", get(|| async { (Cause::of(&no_report()), Rejection::Busy) }))
            .route("/status/{status}", get(nothing))
            .route("/panic", get(panics))
            .route("/panic-elsewhere", get(panics_elsewhere))
            .route("/typed/{count}", post(typed))
    }

    async fn typed(
        extract::Path(count): extract::Path<usize>,
        extract::Json(word): extract::Json<String>,
    ) -> extract::Json<String> {
        extract::Json(word.repeat(count))
    }

    async fn nap(Path(millis): Path<u64>, body: Bytes) -> String {
        sleep(Duration::from_millis(millis)).await;
        body.len().to_string()
    }

    fn frames(count: usize) -> impl Stream<Item = io::Result<Bytes>> {
        stream::iter((0..count).map(|_| Ok(FRAME)))
    }

    fn panicking() -> impl Stream<Item = io::Result<Bytes>> {
        stream::iter(0..2).map(|count| if count == 0 { Ok(FRAME) } else { panic!("in a body") })
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no report")]
    struct NoReport(#[source] io::Error);

    fn no_report() -> NoReport {
        NoReport(io::Error::other("disk on fire"))
    }

    async fn log(Path(lines): Path<u32>) {
        (0..lines).for_each(|_| tracing::info!("line"));
    }

    async fn peer(peer: Option<Extension<SocketAddr>>) -> String {
        peer.map_or_else(String::new, |peer| peer.0.to_string())
    }

    async fn upgrade() -> impl IntoResponse {
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "websocket")])
    }

    async fn panics() {
        panic!("on purpose");
    }

    async fn panics_elsewhere() -> String {
        format!("{:?}", std::thread::spawn(|| panic!("elsewhere")).join().is_err())
    }

    async fn nothing(Path(status): Path<u16>) -> StatusCode {
        tracing::info!(error = &no_report() as &dyn Error, "nothing");
        StatusCode::from_u16(status).unwrap_or_default()
    }

    fn log_in_spans() {
        tracing::info_span!("outer", name = "n", user = 7).in_scope(|| {
            let inner = tracing::info_span!("inner", user = "a", rows = 1);
            inner.record("user", "\\"b\\"").record("rows", 2.5).record("user", 8);
            inner.in_scope(|| {
                tracing::info!(timestamp = 1, level = 2, level_ = 3, target = 4, span = 5, inner_spans = 6, "in spans");
            });
        });
        tracing::info!(parent: None, message = 1, "in no span");
    }

    fn broken() -> impl Stream<Item = io::Result<Bytes>> {
        stream::iter([Ok(FRAME), Err(io::Error::other("on purpose"))])
    }
}
"""

LIMITS, SERVER, CONNECTIONS = "limits.rs", "server.rs", "connections.rs"
EXTRACT, JSON, RECORD, TELEMETRY = "extract.rs", "json.rs", "record.rs", "telemetry.rs"
METRICS, SETTINGS = "metrics.rs", "settings.rs"
SLOW = 'tracing::warn!("handler exceeded the request time");\n        Rejection::Late\n'
# The lines of the undefended service instead of lines of server/src.
DEFENCES = [
    (JSON, "        && known == now.as_secs()\n", "        && known > 0\n"),
    (LIMITS, "        self.hold(response)\n", "        let _ = Self::hold;\n        response\n"),
    (LIMITS, "DefaultBodyLimit::disable().apply(&mut request);\n", "let _ = &mut request;\n"),
    (LIMITS, "if status.is_client_error() ||", "if false && status.is_client_error() ||"),
    (LIMITS, "self.check_length(body.size_hint().lower())?;", "let declared = body.size_hint().lower();"),
    (
        LIMITS,
        "entry.upload = Some(",
        "self.0.free_bytes.fetch_sub(declared, Ordering::Relaxed);\n         entry.upload = Some(",
    ),
    (LIMITS, SLOW, "Rejection::TooSlow\n"),
    (SERVER, "socket.set_send_buffer_size(SEND_BUFFER)?;\n", "let _ = SEND_BUFFER;\n"),
    (SERVER, "CONNECTIONS.record_error(reason);\n", "\n"),
    (SERVER, "stream.write_all(HTTP2_REFUSAL).await;\n", "stream.write_all(&HTTP2_REFUSAL[..0]).await;\n"),
    (SERVER, "CONNECTIONS.record_aborted();\n", "\n"),
    (CONNECTIONS, "self.close_longest_idle();\n", "let _ = Self::close_longest_idle;\n"),
    (
        JSON,
        "let Some(outermost) = others.pop() else {",
        "others.clear();\n        let Some(outermost) = others.pop() else {",
    ),
    (JSON, "name.1 += 1;\n", "break;\n"),
    (JSON, "current.fields = unique;\n", "let _ = unique;\n"),
    (JSON, 'write!(text, "{}", Chain(value))', 'write!(text, "{value}")'),
    (RECORD, "if status >= 500 &&", "if status >= 600 &&"),
    (RECORD, "if self.response_bytes.is_some() {", "if self.status != 0 {"),
    (TELEMETRY, "let _ = DROPPED.set(writer.error_counter());\n", ""),
    (SERVER, "request.extensions_mut().insert(peer);\n", "let _ = &mut request;\n"),
    (RECORD, "response = upgrade_refused();\n", "let _ = upgrade_refused;\n"),
    (SERVER, "public.connections = reduced_to;\n", "\n"),
    (SERVER, "CONNECTIONS.record_accept_failure();\n", "\n"),
    (SERVER, "request.extensions_mut().insert(HostMissing);\n", "let _ = HostMissing;\n"),
    (RECORD, "if codings.iter().all(is_known) {", "if codings.iter().all(is_known) || true {"),
    (LIMITS, '!coding.as_bytes().eq_ignore_ascii_case(b"identity")', "coding.is_empty()"),
    (RECORD, "is_sane && hosts.next().is_none()", "is_sane || hosts.next().is_none()"),
    (
        RECORD,
        "Some(host) => host.as_bytes().iter().all(allowed),",
        "Some(host) => allowed(&b'a') && !host.is_empty(),",
    ),
    (RECORD, "self.progress.lost.store(is_reset(error), Ordering::Relaxed);\n", "let _ = is_reset(error);\n"),
    (
        EXTRACT,
        "    error_response(status, code, message, None)\n",
        "    let _ = (error_response, code);\n    (status, message.to_owned()).into_response()\n",
    ),
    (SERVER, "signals.next_after(again)", "signals.next_after(Instant::now())"),
    (SERVER, "drain.grace.max(LEAST_GRACE)", "drain.grace.min(LEAST_GRACE)"),
    (RECORD, "add_request_id(&mut response, &id);\n", "let _ = add_request_id;\n"),
    (RECORD, "PROBES.contains(&route)", "PROBES.contains(&&*route.repeat(2))"),
    (
        METRICS,
        "self.errors\n                .get_or_create(&ReasonLabels { reason })\n                .inc_by(0);\n",
        "let _ = reason;\n",
    ),
    (METRICS, "shed.get_or_create(&ReasonLabels { reason }).inc_by(0);\n", "let _ = reason;\n"),
    (TELEMETRY, "PANICS.fetch_add(1, Ordering::Relaxed);\n", "\n"),
    (TELEMETRY, "new.map_or(Ok(()), |new| handle.reload(new))?;\n", "let _ = new;\n"),
    (LIMITS, "self.gate.0.metrics.bytes_in_use.inc_by(signed(more));\n", "\n"),
    (LIMITS, "in_use.dec_by(signed(self.bytes()));\n", "in_use.dec_by(0);\n"),
    (SERVER, "CONNECTIONS.draining.set(1);\n", "\n"),
    (CONNECTIONS, "CONNECTIONS.set_limit(endpoint, limit);\n", "CONNECTIONS.set_limit(endpoint, 0);\n"),
    (SETTINGS, "unknown.find(|name| !is_link(name))", "unknown.find(|name| is_link(name))"),
    (SETTINGS, "let is_secret = setting.is_hide_env_values_set();", "let is_secret = false;"),
    (TELEMETRY, "trace.status() == BacktraceStatus::Captured", "trace.status() == BacktraceStatus::Unsupported"),
]

WHOLE = 6_000_000
"""Length of a response that does not fit into the buffers between the service and its client."""


@pytest.fixture(scope="session")
def defended_binary(workshop: Workshop) -> Path:
    return workshop.debug_binary(_probed(workshop, "defended-service"))


@pytest.fixture(scope="session")
def undefended_binary(workshop: Workshop) -> Path:
    crate = _probed(workshop, "undefended-service")
    for name, line, instead in DEFENCES:
        replace_only(crate / "server" / "src" / name, line, instead)
    return workshop.debug_binary(crate)


def _probed(workshop: Workshop, name: str) -> Path:
    crate = workshop.crate(name, kind="service")
    first = "    /// Maximum number of distinct keys in a request\n"
    setting = "    /// Key\n    #[arg(long, hide_env_values = true)]\n    pub key: Option<String>,\n\n"
    replace_only(crate / "src" / "config.rs", first, setting + first)
    add_routes(crate, ROUTES)
    return crate


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start services, and stop them at the end of the test."""
    running: list[Service] = []

    def start(*flags: str, is_defended: bool = True, **environment: str) -> Service:
        binary: Path = request.getfixturevalue("defended_binary" if is_defended else "undefended_binary")
        running.append(Service(binary, flags, **environment))
        return running[-1]

    yield start
    for service in running:
        service.close()


both = pytest.mark.parametrize("is_defended", [True, False], ids=["defended", "undefended"])


class Reader:
    """A client that reads a response only when a test calls `read`."""

    def __init__(self, service: Service, path: str) -> None:
        self.stream = socket.socket()
        self.stream.settimeout(PATIENCE)
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        self.stream.connect(service.address)
        self.stream.sendall(f"GET {path} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        self.peer = "{}:{}".format(*self.stream.getsockname())
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n") and (byte := self.stream.recv(1)):
            self.head += byte
        self.status = int(self.head[9:12] or 0)

    def read(self, rest: int, *, pause: float = 0.0, piece: int = 1 << 16) -> int:
        """Read to the end of the response, or `rest` bytes; return the number of bytes read."""
        got = 0
        while got < rest and (data := self.stream.recv(piece)):
            got += len(data)
            time.sleep(pause)
        return got

    def close(self) -> None:
        self.stream.close()


@pytest.fixture
def read(request: pytest.FixtureRequest) -> Callable[[Service, str], Reader]:
    def read(service: Service, path: str) -> Reader:
        reader = Reader(service, path)
        request.addfinalizer(reader.close)
        return reader

    return read


Read = Callable[[Service, str], Reader]


# B1: responses that clients do not read


@both
def test_responses_count_against_the_bytes_until_they_are_sent(start: Start, read: Read, *, is_defended: bool) -> None:
    service = start("--body-limit", "1MiB", "--in-flight-limit", "16MiB", is_defended=is_defended)
    readers = [read(service, f"/whole/{WHOLE}") for _ in range(8)]
    # Two responses fit into 16 MiB.
    assert sorted(reader.status for reader in readers) == ([200] * 2 + [503] * 6 if is_defended else [200] * 8)
    if not is_defended:
        return
    service.wait_in_flight(2)
    assert 'http_requests_shed_total{reason="memory"} 6\n' in service.metrics()
    refused = service.request("GET", f"/whole/{WHOLE}")
    assert (refused.error["code"], refused.headers["retry-after"]) == ("memory_busy", "1")
    assert service.request("GET", "/whole/1000").status == 200
    for reader in readers:
        reader.close()
    service.wait_in_flight(0)
    assert len(service.request("GET", f"/whole/{WHOLE}").body) == WHOLE


def test_a_limit_above_all_responses_rejects_none(start: Start, read: Read) -> None:
    service = start("--in-flight-limit", "1GiB")
    assert {read(service, f"/whole/{WHOLE}").status for _ in range(8)} == {200}
    service.wait_in_flight(8)


@both
def test_responses_count_against_the_concurrency_until_they_are_sent(
    start: Start, read: Read, *, is_defended: bool
) -> None:
    service = start("--concurrency", "2", is_defended=is_defended)
    readers = [read(service, f"/whole/{WHOLE}") for _ in range(2)]
    answer = service.request("GET", "/whole/1")
    assert answer.status == (503 if is_defended else 200)
    if is_defended:
        assert answer.error["code"] == "busy"
    assert service.request("GET", "/healthz").status == 200
    assert {reader.read(WHOLE) for reader in readers} == {WHOLE}
    service.wait_in_flight(0)
    assert service.request("GET", "/whole/1").status == 200


@both
def test_frames_count_from_their_production_until_they_are_sent(start: Start, read: Read, *, is_defended: bool) -> None:
    service = start("--body-limit", "64KiB", "--in-flight-limit", "1MiB", is_defended=is_defended)
    count = 160
    # The sum exceeds the limit, but the frames do not exist at the same time.
    assert len(service.request("GET", f"/frames/{count}").body) == count * 65_536
    # Each response holds up to the write buffer of hyper, 400 KiB, minus the bytes in the buffers of the system.
    readers = [read(service, f"/frames/{count}") for _ in range(16)]
    if is_defended:
        eventually(lambda: re.search(r'shed_total{reason="memory"} [1-9]', service.metrics()) is not None)
        cut = service.event(message="response aborted")
        assert cut["peer"] in {reader.peer for reader in readers}
    else:
        time.sleep(0.3)
        assert 'http_requests_shed_total{reason="memory"}' not in service.metrics()


# M1: slow readers, and responses that end early


@both
def test_a_slow_but_steady_reader_gets_all_of_a_response(start: Start, read: Read, *, is_defended: bool) -> None:
    service = start("--idle-time", "1s", is_defended=is_defended)
    reader = read(service, f"/whole/{WHOLE}")
    # Reading a third of the buffers of the system takes longer than a second.
    got = reader.read(WHOLE, pause=0.02, piece=8 * 1024)
    assert (got == WHOLE) == is_defended


@both
def test_aborted_responses_are_recorded(start: Start, read: Read, *, is_defended: bool) -> None:
    service = start("--idle-time", "300ms", is_defended=is_defended)
    stuck = read(service, f"/whole/{WHOLE}")
    assert service.event(message="response aborted", peer=stuck.peer)["level"] == "WARN"
    left = read(service, f"/whole/{WHOLE}")
    # A reset.
    left.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    left.close()
    service.event(message="response aborted", peer=left.peer)
    broken = read(service, "/broken")
    assert broken.read(1 << 20) < 1 << 20
    event = service.event(message="response aborted", peer=broken.peer)
    assert "on purpose" in event["cause"]
    assert service.request("GET", "/whole/1").status == 200
    assert f"http_responses_aborted_total {3 if is_defended else 0}\n" in service.metrics()


# M3: bodies that are declared but not sent


def _post(path: str, length: int | None = None) -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{framing}\r\n\r\n".encode()


@both
def test_only_received_bytes_are_reserved(start: Start, *, is_defended: bool) -> None:
    service = start("--body-limit", "1KiB", "--in-flight-limit", "4KiB", is_defended=is_defended)
    for _ in range(3):
        service.stream().sendall(_post("/bytes", 1024) + b"1234")
    service.wait_in_flight(3)
    answer = service.request("POST", "/bytes", b"x" * 1000)
    # The undefended service returns no status for a limit that an extractor exceeds.
    assert answer.status == (200 if is_defended else 400)
    if not is_defended:
        assert b"use too much memory" in answer.body
        return
    # Received bytes are reserved.
    for _ in range(4):
        service.stream().sendall(_post("/bytes", 1024) + b"x" * 1000)
    service.wait_in_flight(7)
    eventually(lambda: service.request("POST", "/bytes", b"x" * 1000).status == 503)


# M4: the extractors of axum

EXTRACTORS = ("/bytes", "/text", "/json")
SMALL = ("--body-limit", "1KiB", "--in-flight-limit", "4KiB")


@both
@pytest.mark.parametrize("path", EXTRACTORS)
def test_extractors_take_bodies_up_to_the_limit(start: Start, path: str, *, is_defended: bool) -> None:
    service = start("--body-limit", "16MiB", is_defended=is_defended)
    body = json.dumps("x" * 3 * MIB).encode()
    answer = service.request("POST", path, body, content_type="application/json")
    assert answer.status == (200 if is_defended else 413)


@both
@pytest.mark.parametrize("path", EXTRACTORS)
def test_extractors_give_the_status_of_a_limit(start: Start, path: str, *, is_defended: bool) -> None:
    service = start(*SMALL, "--idle-time", "300ms", is_defended=is_defended)

    def answer(sent: bytes) -> tuple[int, str]:
        stream = service.stream()
        stream.sendall(_post(path) + sent)
        found = Answer.on(stream)
        if found.headers["content-type"] != "application/json":
            return found.status, "text"
        assert (found.headers["retry-after"] is not None) == (found.status == 503)
        return found.status, found.error["code"]

    large, begun, malformed = b"7d0\r\n%b\r\n0\r\n\r\n" % (b"1" * 2000), b"4\r\n1234\r\n", b"4\r\n1234\r\nno\r\n"
    found = [answer(large), answer(begun), answer(malformed)]
    if is_defended:
        assert found == [(413, "body_too_large"), (408, "body_idle"), (400, "broken_body")]
    else:
        assert found == [(400, "text")] * 3


@both
@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "code"),
    [
        ("/typed/2", b'"a', "application/json", 400, "bad_json"),
        ("/typed/2", b"1", "application/json", 422, "bad_json"),
        ("/typed/2", b'"a"', "text/plain", 415, "bad_json"),
        ("/typed/two", b'"a"', "application/json", 400, "bad_path"),
    ],
)
def test_a_body_that_does_not_parse_is_rejected_in_the_common_format(
    start: Start, path: str, body: bytes, kind: str, status: int, code: str, *, is_defended: bool
) -> None:
    service = start(is_defended=is_defended)
    assert service.request("POST", "/typed/2", b'"ab"', content_type="application/json").body == b'"abab"'
    answer = service.request("POST", path, body, content_type=kind)
    assert answer.status == status
    assert (answer.headers["content-type"] == "application/json") == is_defended
    if is_defended:
        assert answer.error["code"] == code


@both
def test_extractors_give_503_while_the_memory_is_full(start: Start, *, is_defended: bool) -> None:
    service = start("--body-limit", "1KiB", "--in-flight-limit", "1KiB", is_defended=is_defended)
    service.stream().sendall(_post("/bytes") + b"3e8\r\n%b\r\n" % (b"x" * 1000))
    service.wait_in_flight(1)

    def answer() -> Answer:
        return service.request("POST", "/bytes", iter([b"x" * 100]))

    eventually(lambda: answer().status == (503 if is_defended else 400))
    if is_defended:
        assert (answer().error["code"], answer().headers["retry-after"]) == ("memory_busy", "1")


# M7: slow handlers and slow clients


@both
def test_a_slow_handler_is_an_error_of_the_service(start: Start, *, is_defended: bool) -> None:
    service = start("--request-time", "300ms", "--idle-time", "300ms", is_defended=is_defended)
    for answer in (service.request("GET", "/sleep/60000"), service.request("POST", "/sleep/60000", b"x" * 100)):
        assert (answer.status, answer.error["code"]) == (503 if is_defended else 408, "too_slow")
    if not is_defended:
        return
    assert service.event(message="handler exceeded the request time")["span"]["request_id"]
    stream = service.stream()
    stream.sendall(_post("/sleep/60000", 100) + b"x" * 50)
    answer = Answer.on(stream)
    assert (answer.status, answer.headers["connection"]) == (408, "close")


# M2: idle connections

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n"


@both
@pytest.mark.parametrize("sent", [b"", b"GET / HT", HEALTH, HEALTH + b"GET / HT"], ids=["none", "part", "one", "more"])
def test_idle_connections_are_closed_for_new_ones(start: Start, sent: bytes, *, is_defended: bool) -> None:
    service = start("--connections", "4", "--concurrency", "2", is_defended=is_defended)
    idle = []
    for _ in range(4):
        stream = service.stream()
        idle.append(stream)
        time.sleep(0.02)
        stream.sendall(sent)
        if sent.startswith(HEALTH):
            assert Answer.on(stream).status == 200
    with socket.create_connection(service.address, timeout=PATIENCE if is_defended else 2) as other:
        other.sendall(HEALTH)
        if not is_defended:
            with pytest.raises(TimeoutError):
                other.recv(1)
            return
        assert Answer.on(other).status == 200
        # The connection that was idle the longest.
        assert idle[0].recv(1) == b""
        assert 'http_connections_open{endpoint="public"} 4\n' in service.metrics()
        assert service.event(message="all connections in use; closing idle ones")["connections"] == 4
        assert service.request("GET", "/healthz").status == 200
    full = [event for event in service.events if event["message"].startswith("all connections in use")]
    assert len(full) == 1, "one line a minute"


def test_a_busy_connection_is_not_closed_for_a_new_one(start: Start, read: Read) -> None:
    service = start("--connections", "3", "--concurrency", "2")
    uploading = service.stream()
    uploading.sendall(_post("/bytes", 8) + b"1234")
    service.wait_in_flight(1)
    downloading = read(service, f"/whole/{WHOLE}")
    idle = service.stream()
    for _ in range(3):
        assert service.request("GET", "/healthz").status == 200
    assert idle.recv(1) == b""
    uploading.sendall(b"5678")
    assert Answer.on(uploading).body == b"8"
    assert downloading.read(WHOLE) == WHOLE


def test_the_admin_address_answers_health_checks(start: Start) -> None:
    service = start("--connections", "2", "--concurrency", "1")
    _idle = [service.stream() for _ in range(3)]
    connection = HTTPConnection(*service.admin_address, timeout=PATIENCE)
    connection.request("GET", "/healthz")
    assert Answer.read(connection.getresponse()).status == 200
    connection.close()


# M8: requests that hyper rejects

REFUSED = {
    "malformed": b"GET\r\n\r\n",
    "head_too_large": b"GET / HTTP/1.1\r\nhost: test\r\nx: %b\r\n\r\n" % (b"x" * 8000),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "head_too_slow": b"GET / HT",
}


@both
def test_refused_requests_are_counted_and_logged(start: Start, *, is_defended: bool) -> None:
    service = start("--header-limit", "4KiB", "--header-time", "1s", "--header-count", "10", is_defended=is_defended)
    idle, many = service.stream(), service.stream()
    many.sendall(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20 + b"\r\n")
    for reason, sent in REFUSED.items():
        stream = service.stream()
        stream.sendall(sent)
        peer = "{}:{}".format(*stream.getsockname())
        event = service.event(message="request refused", reason=reason, peer=peer)
        assert event["level"] == "INFO"
    assert idle.recv(1) == b"", "an idle connection ends without a record"
    counts = {"malformed": 1, "head_too_large": 2, "http2": 1, "head_too_slow": 1}
    for reason, count in counts.items():
        line = f'http_connection_errors_total{{reason="{reason}"}} {count}\n'
        assert (line in service.metrics()) == is_defended
    assert sum(event["message"] == "request refused" for event in service.events) == sum(counts.values())


@both
def test_http2_is_refused_by_its_own_error(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    with service.stream() as stream:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack("!xHBBL", 0, 4, 0, 0))
        frames = b"".join(iter(lambda: stream.recv(64), b""))
    settings, goaway = struct.pack("!xHBBL", 0, 4, 0, 0), struct.pack("!xHBBLLL", 8, 7, 0, 0, 0, 0xD)
    assert frames == (settings + goaway if is_defended else b"")


# M5: the log of spans


def _doubled(line: str) -> list[str]:
    """Return the names that occur twice in an object of a line."""
    found: list[str] = []

    def check(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        found.extend({name for name in names if names.count(name) > 1})

    json.loads(line, object_pairs_hook=check)
    return found


@both
def test_a_line_has_the_time_at_which_it_was_written(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    is_right = []
    for number in range(40):
        if number == 20:
            # Each thread caches the text of a second, for the lines of the same second.
            time.sleep(1.1)
        before = datetime.now(UTC)
        assert service.request("GET", "/peer", x_request_id=f"r{number}").status == 200
        event = service.event(message="request", span={"name": "request", "request_id": f"r{number}"})
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["timestamp"])
        is_right.append(before <= datetime.fromisoformat(event["timestamp"]) <= datetime.now(UTC))
    assert all(is_right) == is_defended


@both
def test_an_event_in_inner_spans_keeps_the_request_id(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    service.request("GET", "/spans", x_request_id="my-id")
    event = service.event(message="in spans")
    assert (event["span"].get("request_id") == "my-id") == is_defended
    line = next(line for line in service.lines if "in spans" in line)
    if not is_defended:
        assert sorted(_doubled(line)) == ["level", "rows", "span", "target", "timestamp", "user"]
        return
    assert _doubled(line) == []
    assert event["inner_spans"] == [
        {"name": "outer", "name_": "n", "user": 7},
        {"name": "inner", "user": 8, "rows": 2.5},
    ]
    assert (event["level"], event["level_"], event["level__"], event["span_"]) == ("INFO", 2, 3, 5)
    outside = service.event(message="in no span", message_=1)
    assert "span" not in outside
    assert "inner_spans" not in service.event(message="request")


# M6: causes of errors


@both
def test_an_internal_error_is_logged_with_its_cause(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    assert service.request("GET", "/status/504").status == 504
    assert service.event(message="nothing")["error"] == ("no report: disk on fire" if is_defended else "no report")
    failure = service.request("GET", "/fault")
    assert (failure.status, failure.error["code"]) == (500, "internal")
    assert b"disk" not in failure.body
    assert service.request("GET", "/unavailable").status == 503
    assert service.request("GET", "/panic").status == 500
    text = "no report: disk on fire"
    for path, cause in {"/status/{status}": None, "/fault": text, "/unavailable": text, "/panic": "panicked"}.items():
        event = service.event(message="request", route=path)
        assert (event["level"], event.get("cause")) == (("ERROR", cause) if is_defended else ("INFO", None))
        assert event["span"]["request_id"]
    # A rejected request is not an internal error.
    assert service.request("GET", "/status/503").status == 503
    assert service.event(message="request", route="/status/{status}", status=503)["level"] == "INFO"


# M13: the backtrace of a panic


@both
def test_a_panic_has_a_backtrace_if_asked_for(start: Start, *, is_defended: bool) -> None:
    for wanted in ("0", "1"):
        service = start(is_defended=is_defended, RUST_BACKTRACE=wanted)
        assert service.request("GET", "/panic").status == 500
        event = service.event(message="panicked")
        assert event["panic"] == "on purpose"
        assert event["location"].startswith("src/routes.rs:")
        assert ("probe" in event.get("backtrace", "")) == (is_defended and wanted == "1")
        assert event["span"]["request_id"]


# M10: response bodies that fail


@both
def test_a_body_that_fails_is_recorded(start: Start, read: Read, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    for path in ("/broken", "/panicking"):
        assert read(service, path).read(1 << 20) < 1 << 20
    assert ("request_id" in service.event(message="panicked", panic="in a body").get("span", {})) == is_defended
    assert f"http_panics_total {int(is_defended)}\n" in service.metrics()
    if is_defended:
        service.event(message="response body failed", error="the body panicked")
    failed = [event for event in service.events if event["message"] == "response body failed"]
    if not is_defended:
        assert not failed
        return
    assert [(event["level"], event["error"]) for event in failed] == [
        ("ERROR", "on purpose"),
        ("ERROR", "the body panicked"),
    ]
    requests = {e["span"]["request_id"]: e["route"] for e in service.events if e["message"] == "request"}
    assert [requests[event["span"]["request_id"]] for event in failed] == ["/broken", "/panicking"]
    assert len([event for event in service.events if event["message"] == "request"]) == 2
    eventually(lambda: "http_responses_aborted_total 2\n" in service.metrics())


@both
def test_the_line_of_a_streamed_response_has_its_bytes(start: Start, read: Read, *, is_defended: bool) -> None:
    """The line is written at the end of the body; the metrics are recorded at the head, as for any other response."""
    service = start(is_defended=is_defended)
    assert len(service.request("GET", "/frames/2").body) == 131_072
    event = service.event(message="request", route="/frames/{count}")
    assert event.get("response_bytes") == (131_072 if is_defended else None)
    if not is_defended:
        return
    labels = 'http_request_method="GET",http_route="/frames/{count}",http_response_status_code="200"'
    eventually(lambda: f"http_server_request_duration_seconds_count{{{labels}}} 1\n" in service.metrics())
    eventually(lambda: "http_server_active_requests 0\n" in service.metrics())
    reader = read(service, "/frames/1000")
    assert "http_server_active_requests 1\n" in service.metrics()
    reader.close()
    aborted = service.event(message="request", status=200, peer=reader.peer)
    assert aborted.get("response_bytes", 0) < 1000 * 65_536
    eventually(lambda: "http_server_active_requests 0\n" in service.metrics())


# Data for on-call engineers


@both
def test_an_error_has_the_id_of_its_request(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    for path in ("/nowhere", "/panic", "/fault"):
        answer = service.request("GET", path, x_request_id="my-id")
        assert answer.error.get("request_id") == ("my-id" if is_defended else None)
    assert service.request("HEAD", "/nowhere").body == b""


@both
def test_probes_that_succeed_are_logged_at_debug(start: Start, *, is_defended: bool) -> None:
    service = start("--drain-grace", "1s", is_defended=is_defended)
    assert service.request("GET", "/healthz").status == 200
    assert service.request("GET", "/readyz").status == 200
    assert service.request("GET", "/status/204").status == 204
    service.event(message="request", status=204)
    service.terminate()
    service.event(message="draining")
    assert service.request("GET", "/readyz").status == 503
    service.event(message="request", status=503)
    logged = [event["route"] for event in service.events if event["message"] == "request"]
    assert ("/healthz" in logged) != is_defended
    assert logged.count("/readyz") == (1 if is_defended else 2)


@both
def test_counters_of_all_reasons_exist_from_the_first_scrape(start: Start, *, is_defended: bool) -> None:
    page = start(is_defended=is_defended).metrics()
    for reason in REFUSED:
        assert (f'http_connection_errors_total{{reason="{reason}"}} 0\n' in page) == is_defended
    for reason in ("concurrency", "memory"):
        assert (f'http_requests_shed_total{{reason="{reason}"}} 0\n' in page) == is_defended


@both
def test_a_panic_of_a_thread_is_counted(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    for path in ("/panic-elsewhere", "/panic"):
        service.request("GET", path)
    assert "http_panics_total 1\n" in service.metrics()
    assert f"\npanics_total {2 if is_defended else 0}\n" in service.metrics()


@both
def test_limits_are_shown_next_to_their_usage(start: Start, *, is_defended: bool) -> None:
    flags = ("--connections", "9", "--concurrency", "8", "--in-flight-limit", "32MiB")
    service = start(*flags, "--drain-grace", "2s", is_defended=is_defended)
    assert f"http_body_bytes_limit {32 * MIB}\n" in service.metrics()
    allowed = 'http_connections_limit{endpoint="public"} 9\n'
    assert (allowed in service.metrics()) == is_defended
    uploading = service.stream()
    uploading.sendall(_post("/bytes", 8) + b"1234")
    used = 4 if is_defended else 0
    service.wait_in_flight(1)
    eventually(lambda: f"http_body_bytes_in_use {used}\n" in service.metrics())
    uploading.sendall(b"5678")
    assert Answer.on(uploading).status == 200
    service.wait_in_flight(0)
    assert "http_body_bytes_in_use 0\n" in service.metrics()
    assert "http_server_draining 0\n" in service.metrics()
    service.terminate()
    service.event(message="draining")
    assert f"http_server_draining {int(is_defended)}\n" in service.metrics()


@both
def test_the_log_filter_is_changed_at_run_time(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)

    def ask(method: str, text: str | None = None) -> Answer:
        connection = HTTPConnection(*service.admin_address, timeout=PATIENCE)
        connection.request(method, "/log-filter", text)
        answer = Answer.read(connection.getresponse())
        connection.close()
        return answer

    assert ask("GET").body == b"info"
    refused = ask("PUT", "inof")
    assert (refused.status, refused.error["code"]) == (400, "bad_filter")
    assert refused.error["message"].startswith("type a level such as info")
    assert ask("PUT", "debug").body == (b"debug" if is_defended else b"info")
    service.event(message="log filter changed", filter="debug")
    assert service.request("GET", "/healthz").status == 200
    ask("PUT", "warn")
    assert service.request("GET", "/nowhere").status == 404
    ask("PUT", "info")
    assert service.request("GET", "/status/204").status == 204
    service.event(message="request", status=204)
    requests = [(event["level"], event["status"]) for event in service.events if event["message"] == "request"]
    assert (("DEBUG", 200) in requests) == is_defended
    assert (("INFO", 404) in requests) != is_defended


@both
def test_the_configuration_is_logged_at_the_start_without_secrets(start: Start, *, is_defended: bool) -> None:
    kind = "defended" if is_defended else "undefended"
    service = start("--body-limit", "1MiB", is_defended=is_defended, **{f"{kind.upper()}_SERVICE_KEY": "hunter2"})
    event = service.event(message="starting", name=f"{kind}-service")
    assert event["version"].startswith("0.1.0")
    settings = event["settings"].split()
    assert {"--body-limit=1MiB", "--connections=896", f"--key={'***' if is_defended else 'hunter2'}"} <= set(settings)
    assert ("hunter2" in "".join(service.lines)) != is_defended
    assert f'build_info{{name="{kind}-service",version="{event["version"]}"}} 1\n' in service.metrics()


@both
def test_an_unknown_variable_is_refused(request: pytest.FixtureRequest, *, is_defended: bool) -> None:
    kind = "defended" if is_defended else "undefended"
    binary: Path = request.getfixturevalue(f"{kind}_binary")
    prefix = f"{kind.upper()}_SERVICE_"
    # Kubernetes sets these variables for services with such names.
    for name in ("SERVICE_HOST", "PORT", "PORT_80_TCP", "CACHE_SERVICE_PORT_HTTP"):
        assert (run_to_end(binary, "--check-config", **{prefix + name: "x"}).returncode == 0) == is_defended
    refused = run_to_end(binary, "--check-config", **{f"{prefix}BODY_LIMT": "1MiB"})
    assert (refused.returncode == 2) == is_defended
    assert (f"unknown variable {prefix}BODY_LIMT" in refused.stderr) == is_defended
    assert (f"{prefix}BODY_LIMIT" in refused.stderr) == is_defended


# M12: dropped log lines


@both
def test_dropped_lines_are_counted(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    assert "log_lines_dropped_total 0\n" in service.metrics()
    lines = 200_000
    with service.unread_log():
        # More than the capacity of queue and pipe, in parts that a busy machine writes within the client's timeout.
        for _ in range(20):
            assert service.request("GET", f"/log/{lines // 20}").status == 200
        dropped = re.search(r"^log_lines_dropped_total (\d+)$", service.metrics(), re.MULTILINE)
    assert dropped
    assert (50_000 < int(dropped[1]) < lines) == is_defended


# M9: the address of the peer, and requests that it may not send


@both
def test_the_address_of_the_peer_is_known(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    stream = service.stream()
    stream.sendall(b"GET /peer HTTP/1.1\r\nhost: test\r\n\r\n")
    peer = "{}:{}".format(*stream.getsockname())
    assert Answer.on(stream).body.decode() == (peer if is_defended else "")
    assert service.event(message="request").get("peer") == (peer if is_defended else None)


@both
def test_an_upgrade_is_refused(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    stream = service.stream()
    wanted = b"connection: upgrade\r\nupgrade: websocket\r\n"
    stream.sendall(b"GET /upgrade HTTP/1.1\r\nhost: test\r\n" + wanted + b"\r\n")
    if not is_defended:
        assert stream.recv(12) == b"HTTP/1.1 101"
        return
    answer = Answer.on(stream)
    assert (answer.status, answer.error["code"], answer.headers["upgrade"]) == (501, "upgrade", None)
    event = service.event(message="request", route="/upgrade")
    assert (event["level"], event["status"]) == ("ERROR", 501)
    # The connection stays open.
    stream.sendall(HEALTH)
    assert Answer.on(stream).status == 200


# M11: open files


@both
def test_open_files_are_reserved_for_the_admin_address(start: Start, *, is_defended: bool) -> None:
    with _open_files(100):
        service = start(is_defended=is_defended)
    event = service.event(connections=896, open_files=100, reduced_to=20)
    assert event["level"] == "WARN"
    assert "--connections" in event["message"]
    if not is_defended:
        streams = [service.stream() for _ in range(100)]
        service.event(message="cannot accept")
        with pytest.raises(TimeoutError):
            _ask(service.admin_address)
        for stream in streams:
            stream.close()
        assert "http_accept_failures_total 0\n" in service.metrics()
        return
    for _ in range(100):
        service.stream().sendall(b"GET")
    service.event(message="all connections in use; closing idle ones")
    assert 'http_connections_open{endpoint="public"} 20\n' in service.metrics()
    assert "http_accept_failures_total 0\n" in service.metrics()
    # Handlers have opened more files than the reserve leaves to them.
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (16, 100))
    with pytest.raises(TimeoutError):
        _ask(service.admin_address)
    service.event(message="cannot accept")
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (100, 100))
    eventually(lambda: re.search(r"^http_accept_failures_total [1-9]", service.metrics(), re.MULTILINE) is not None)


def _ask(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, timeout=1) as stream:
        stream.sendall(HEALTH)
        return stream.recv(1)


@contextmanager
def _open_files(limit: int) -> Iterator[None]:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


# Misleading requests


@both
@pytest.mark.parametrize("hosts", [(), ("a", "b"), ("a/b",), ("user@a",)])
def test_an_invalid_host_is_rejected(start: Start, hosts: tuple[str, ...], *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    stream = service.stream()
    stream.sendall(_get("/healthz", *hosts))
    answer = Answer.on(stream)
    if not is_defended:
        assert answer.status == 200
        return
    assert (answer.status, answer.error["code"]) == (400, "bad_host")
    assert service.event(message="request", status=400)["span"]["request_id"]
    for host in ("a.example:80", "[::1]:8080", "a_b-c"):
        stream.sendall(_get("/healthz", host))
        assert Answer.on(stream).status == 200
    stream.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert Answer.on(stream).status == 200


def _get(path: str, *hosts: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n{''.join(f'host: {host}{chr(13)}{chr(10)}' for host in hosts)}\r\n".encode()


@both
@pytest.mark.parametrize("coding", ["gzip, chunked", "identity, chunked", "Chunked"])
def test_an_unknown_transfer_coding_is_refused(start: Start, coding: str, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    head = b"POST /bytes HTTP/1.1\r\nhost: a\r\ntransfer-encoding: "
    body = b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    stream = service.stream()
    stream.sendall(head + coding.encode() + body)
    answer = Answer.on(stream)
    if is_defended and coding != "Chunked":
        assert (answer.status, answer.error["code"]) == (501, "transfer_coding")
        return
    assert answer.status == 200


@both
def test_an_encoded_body_is_refused(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    answers = {}
    for coding in ("gzip", "identity, br", "Identity"):
        stream = service.stream()
        head = _post("/bytes", 3).removesuffix(b"\r\n")
        stream.sendall(head + f"content-encoding: {coding}\r\n\r\nabc".encode())
        answers[coding] = Answer.on(stream)
    assert answers["Identity"].status == 200
    for coding in ("gzip", "identity, br"):
        answer = answers[coding]
        if not is_defended:
            assert answer.status == 200
            continue
        assert (answer.status, answer.error["code"]) == (415, "encoded_body")
        assert answer.headers["accept-encoding"] == "identity"


@both
def test_a_reset_within_a_body_is_not_an_error_of_the_request(start: Start, *, is_defended: bool) -> None:
    service = start(is_defended=is_defended)
    stream = service.stream()
    stream.sendall(_post("/bytes", 1024) + b"1234")
    service.wait_in_flight(1)
    # A reset.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()
    assert service.event(message="request", route="/bytes")["status"] == (499 if is_defended else 400)


# Shutdown


@both
def test_a_signal_that_is_sent_twice_at_once_counts_once(start: Start, *, is_defended: bool) -> None:
    service = start("--drain-grace", "300ms", is_defended=is_defended)
    service.terminate()
    service.event(message="draining")
    # As `timeout` sends it: to the process, and to its group.
    service.terminate()
    assert service.exit_code() == (0 if is_defended else 1)


@both
def test_a_drain_without_grace_loses_no_request(start: Start, *, is_defended: bool) -> None:
    service = start("--drain-grace", "0s", is_defended=is_defended)
    assert service.request("GET", "/healthz").status == 200
    idle = service.stream()
    idle.sendall(HEALTH)
    assert Answer.on(idle).status == 200
    service.terminate()
    service.event(message="draining")
    time.sleep(0.03)
    # The request was on its way at the time of the signal.
    if not is_defended:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            _ask_again(idle)
        return
    assert _ask_again(idle).headers["connection"] == "close"
    assert service.exit_code() == 0


def _ask_again(stream: socket.socket) -> Answer:
    stream.sendall(HEALTH)
    return Answer.on(stream)


# All limits at once


def test_no_byte_and_no_slot_is_lost(start: Start) -> None:
    """Requests of all kinds release their reservations, however they end."""
    service = start("--body-limit", "1MiB", "--in-flight-limit", "2MiB", "--concurrency", "4", "--idle-time", "300ms")

    def attack() -> None:
        for _ in range(10):
            for path in ("/whole/2000000", "/frames/40", "/broken"):
                reader = Reader(service, path)
                reader.close()
            stream = service.stream()
            stream.sendall(_post("/bytes", 1000) + b"x" * 500)
            stream.close()
            service.request("POST", "/bytes", b"x" * MIB)

    attackers = [threading.Thread(target=attack) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    for attacker in attackers:
        attacker.join()
    service.wait_in_flight(0)
    # The entire limit is free again, and not more.
    assert service.request("GET", f"/whole/{2 * MIB}").status == 200
    service.wait_in_flight(0)
    assert service.request("GET", f"/whole/{2 * MIB + 1}").status == 503
