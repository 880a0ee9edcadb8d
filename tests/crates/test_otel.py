"""Runs a service that exports traces and metrics, with OTLP receivers: one that works and three broken ones.

The services are copies of the crate with routes of many kinds. The undefended one lacks the lines of DEFENCES.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from crates.collector import Collector, Mode, collector, dead_collector, values
from support.files import replace_only
from support.services import PATIENCE, Service, Start, add_routes, eventually, run_to_end
from support.workshop import Workshop

ROUTES = """
/// Routes that do what handlers do with spans.
mod probe {
    use super::App;
    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::extract::{Path, State};
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    use futures_util::stream;
    use std::convert::Infallible;
    use std::time::Duration;
    use tracing::Instrument as _;

    pub(super) fn routes() -> Router<App> {
        Router::new()
            .route("/inner", get(|| inner().instrument(tracing::info_span!("inner", key = 7))))
            .route("/job", get(job))
            .route("/stream", get(|| async { Body::from_stream(stream::once(frame())) }))
            .route("/panic", get(panics))
            .route("/sleep", get(|| tokio::time::sleep(Duration::from_secs(60))))
            .route("/status/{status}", get(status))
    }

    async fn inner() -> String {
        tracing::info!("within");
        let mut headers = HeaderMap::new();
        otel::inject(&mut headers);
        headers["traceparent"].to_str().unwrap_or_default().to_owned()
    }

    async fn job(State(app): State<App>) -> StatusCode {
        let job = app.pool.run(|| tracing::info_span!("job").in_scope(|| StatusCode::OK));
        job.await.unwrap_or(StatusCode::IM_A_TEAPOT)
    }

    async fn frame() -> Result<Bytes, Infallible> {
        tracing::info_span!("frame").in_scope(|| Ok(Bytes::from_static(b"x")))
    }

    async fn panics() -> StatusCode {
        panic!("on purpose")
    }

    async fn status(Path(status): Path<u16>) -> StatusCode {
        StatusCode::from_u16(status).unwrap_or_default()
    }
}
"""

LIB, REQUESTS, EXPORT = "lib.rs", "requests.rs", "export.rs"
# The lines of the undefended service instead of lines of otel/src.
DEFENCES = [
    (REQUESTS, ".start_with_context(&self.tracer, &parent)", ".start_with_context(&self.tracer, &Context::new())"),
    (REQUESTS, "propagator.inject_context(&context, &mut HeaderInjector(request.headers_mut()));\n", ""),
    (REQUESTS, "entered.push(context.attach())", "entered.push(Context::new().attach())"),
    (REQUESTS, "span.set_status(Status::error(", "let _ = (Status::error("),
    (REQUESTS, "status: CLIENT_LEFT,", "status: 200,"),
    (REQUESTS, "PROBES.contains(&route)", "PROBES.contains(&&*route.repeat(2))"),
    (REQUESTS, "self.requests.active.add(-1, &of_server(self.method));\n", ""),
    (REQUESTS, "attributes.push(status);\n", ""),
    (LIB, "let context = Context::current();", "let context = Context::new();"),
    (LIB, "left.clamp(LEAST_FLUSH, MOST_FLUSH)", "(MOST_FLUSH + left)"),
    (LIB, "if outcome != Outcome::Interrupted {", "if outcome != Outcome::Cut {"),
    (LIB, "self.counts.report_end();\n", ""),
    (EXPORT, "self.counts.of(QUEUE_FULL).inc();", "std::thread::sleep(Duration::from_secs(1));"),
    (EXPORT, "Err(_) => self.counts.of(EXPORT_FAILED),", "Err(_) => self.counts.exported.clone(),"),
]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
# Otherwise an export after 5 s or a minute would be the first.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "100"}
LATER = {"OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_METRIC_EXPORT_INTERVAL": "600000"}
# The drain ends in 1.1 s, and a loaded machine may need as long again.
DRAIN = ("--drain-grace", "0s", "--drain-cap", "1s")
DRAINED = 2.5


@pytest.fixture(scope="session")
def exporting_binary(workshop: Workshop) -> Path:
    """The service that all tests share, with an exporter."""
    return workshop.debug_binary(_probed(workshop, "exporting-service"))


@pytest.fixture(scope="session")
def undefended_exporting_binary(workshop: Workshop) -> Path:
    """The same service without the lines of DEFENCES."""
    crate = _probed(workshop, "undefended-exporting")
    for name, line, instead in DEFENCES:
        replace_only(crate / "otel" / "src" / name, line, instead)
    return workshop.debug_binary(crate)


def _probed(workshop: Workshop, name: str) -> Path:
    crate = workshop.crate(name, kind="service", otel=True)
    add_routes(crate, ROUTES)
    return crate


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start services, and stop them at the end of the test."""
    with ExitStack() as running:

        def start(endpoint: str, *flags: str, is_defended: bool = True, **environment: str) -> Service:
            flags = flags or DRAIN
            fixture = "exporting_binary" if is_defended else "undefended_exporting_binary"
            binary: Path = request.getfixturevalue(fixture)
            variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **SOON, **environment}
            service = Service(binary, flags, **variables)
            running.callback(service.close)
            return service

        yield start


@pytest.fixture
def receiver() -> Iterator[Collector]:
    """A collector that accepts everything."""
    with collector() as received:
        yield received


BOTH = pytest.mark.parametrize("is_defended", [True, False], ids=["defended", "undefended"])


# --- Traces ---


def test_a_request_is_a_span_of_the_trace_that_its_client_names(start: Start, receiver: Collector) -> None:
    attributes = "deployment.environment.name=test,service.version=7"
    service = start(receiver.url, OTEL_SERVICE_NAME="shop", OTEL_RESOURCE_ATTRIBUTES=attributes)
    response = service.request("POST", "/aggregate", b"a;1\n", traceparent=TRACEPARENT)
    assert response.status == 200
    span = receiver.span("POST /aggregate")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.kind == Span.SPAN_KIND_SERVER
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert span.start_time_unix_nano < span.end_time_unix_nano
    found = values(span.attributes)
    assert isinstance(found.pop("network.peer.port"), int)
    assert found == {
        "http.request.method": "POST",
        "http.route": "/aggregate",
        "http.response.status_code": 200,
        "network.peer.address": "127.0.0.1",
        "url.path": "/aggregate",
        "url.scheme": "http",
    }
    [resource, *_] = receiver.resources
    named = {"service.name": "shop", "service.version": "7", "deployment.environment.name": "test"}
    assert named.items() <= resource.items()
    assert resource["telemetry.sdk.language"] == "rust"


def test_without_variables_the_resource_is_the_crate(start: Start, receiver: Collector) -> None:
    start(receiver.url).request("GET", "/status/200")
    receiver.span("GET /status/{status}")
    assert receiver.resources[0]["service.name"] == "exporting-service"
    assert str(receiver.resources[0]["service.version"]).startswith("0.1.0")


@BOTH
def test_the_parent_is_that_of_the_client(start: Start, receiver: Collector, is_defended: bool) -> None:
    start(receiver.url, is_defended=is_defended).request("GET", "/inner", traceparent=TRACEPARENT)
    span = receiver.span("GET /inner")
    assert ((span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)) == is_defended


@pytest.mark.parametrize("header", ["", "00-0-0-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01"])
def test_a_malformed_header_begins_a_trace(start: Start, receiver: Collector, header: str) -> None:
    start(receiver.url).request("GET", "/inner", traceparent=header)
    span = receiver.span("GET /inner")
    assert span.parent_span_id == b""
    assert span.trace_id.hex() != TRACE


def test_a_trace_that_its_client_does_not_sample_is_not_exported(start: Start, receiver: Collector) -> None:
    service = start(receiver.url)
    response = service.request("GET", "/inner", traceparent=f"00-{TRACE}-{PARENT}-00")
    assert response.body.decode().startswith(f"00-{TRACE}-")
    assert response.body.decode().endswith("-00")
    service.request("GET", "/status/200")
    receiver.span("GET /status/{status}")
    assert TRACE not in {span.trace_id.hex() for span in receiver.spans}


@BOTH
def test_the_log_has_the_id_of_the_trace(start: Start, receiver: Collector, is_defended: bool) -> None:
    """This includes the id of a trace that begins in the service."""
    service = start(receiver.url, is_defended=is_defended)
    service.request("GET", "/status/200")
    span = receiver.span("GET /status/{status}")
    logged = service.event(message="request", route="/status/{status}")["span"].get("trace_id")
    assert (logged == span.trace_id.hex()) == is_defended


@BOTH
def test_a_request_propagates_its_span(start: Start, receiver: Collector, is_defended: bool) -> None:
    service = start(receiver.url, is_defended=is_defended)
    response = service.request("GET", "/inner")
    if not is_defended:
        # The missing header.
        assert response.status == 500
        return
    inner, outer = receiver.span("inner"), receiver.span("GET /inner")
    assert inner.parent_span_id == outer.span_id
    assert response.body.decode() == f"00-{outer.trace_id.hex()}-{inner.span_id.hex()}-01"
    assert values(inner.attributes)["key"] == 7
    assert [event.name for event in inner.events] == ["within"]


@BOTH
@pytest.mark.parametrize("name", ["job", "frame"])
def test_spans_of_other_threads_and_of_bodies_belong_to_the_request(
    start: Start, receiver: Collector, name: str, is_defended: bool
) -> None:
    path = {"job": "/job", "frame": "/stream"}[name]
    start(receiver.url, is_defended=is_defended).request("GET", path)
    inner, outer = receiver.span(name), receiver.span(f"GET {path}")
    assert (inner.parent_span_id == outer.span_id) == is_defended
    assert (inner.trace_id == outer.trace_id) == is_defended


@BOTH
@pytest.mark.parametrize(
    ("path", "route", "status"), [("/status/503", "/status/{status}", 503), ("/panic", "/panic", 500)]
)
def test_a_failure_is_an_error(
    start: Start, receiver: Collector, path: str, route: str, status: int, is_defended: bool
) -> None:
    assert start(receiver.url, is_defended=is_defended).request("GET", path).status == status
    span = receiver.span(f"GET {route}")
    assert (span.status.code == Status.STATUS_CODE_ERROR) == is_defended
    found = values(span.attributes)
    assert found["http.response.status_code"] == status
    assert found["error.type"] == str(status)


def test_a_client_error_is_not_an_error_of_the_service(start: Start, receiver: Collector) -> None:
    service = start(receiver.url)
    service.request("GET", "/status/404")
    service.request("BREW", "/nowhere")
    assert receiver.span("GET /status/{status}").status.code == Status.STATUS_CODE_UNSET
    # No name contains the path of an unknown client.
    assert "http.route" not in values(receiver.span("_OTHER").attributes)


@BOTH
def test_a_client_that_disconnects_is_recorded(start: Start, receiver: Collector, is_defended: bool) -> None:
    service = start(receiver.url, is_defended=is_defended)
    with service.stream() as stream:
        stream.sendall(b"GET /sleep HTTP/1.1\r\nhost: test\r\n\r\n")
        service.wait_in_flight(1)
    status = values(receiver.span("GET /sleep").attributes)["http.response.status_code"]
    assert (status == 499) == is_defended


@BOTH
def test_probes_are_not_traced(start: Start, receiver: Collector, is_defended: bool) -> None:
    service = start(receiver.url, is_defended=is_defended)
    service.request("GET", "/healthz")
    service.request("GET", "/status/200")
    receiver.span("GET /status/{status}")
    assert ("GET /healthz" not in {span.name for span in receiver.spans}) == is_defended


# --- Metrics ---


@BOTH
def test_metrics_arrive(start: Start, receiver: Collector, is_defended: bool) -> None:
    service = start(receiver.url, is_defended=is_defended)
    for _ in range(3):
        service.request("GET", "/status/503")
    durations = receiver.metric(
        "http.server.request.duration", lambda metric: metric.histogram.data_points[0].count == 3
    )
    assert durations.unit == "s"
    [point] = durations.histogram.data_points
    expected = {
        "http.request.method": "GET",
        "http.route": "/status/{status}",
        "url.scheme": "http",
        "error.type": "503",
    }
    found = values(point.attributes)
    assert (found == {**expected, "http.response.status_code": 503}) == is_defended
    assert 0 < point.sum < PATIENCE
    assert list(point.explicit_bounds)[:2] == [0.005, 0.01]
    active = receiver.metric("http.server.active_requests", lambda metric: bool(metric.sum.data_points))
    assert not active.sum.is_monotonic
    eventually(lambda: (_active(receiver) == 0) == is_defended)


def _requests(metric: Metric) -> int:
    return sum(point.count for point in metric.histogram.data_points)


def _active(receiver: Collector) -> int:
    newest = [metric for metric in receiver.metrics if metric.name == "http.server.active_requests"][-1]
    return int(sum(point.as_int for point in newest.sum.data_points))


# --- The export, and broken collectors ---


def _count(service: Service, name: str, **labels: str) -> int:
    """Return the value of a counter of /metrics."""
    listed = ",".join(f'{label}="{value}"' for label, value in labels.items())
    named = f"{name}_total{{{listed}}} " if labels else f"{name}_total "
    [line] = [line for line in service.metrics().splitlines() if line.startswith(named)]
    return int(line.removeprefix(named))


def _seconds(wait: Callable[[], object]) -> float:
    began = time.monotonic()
    wait()
    return time.monotonic() - began


def _ends_in_time(service: Service) -> bool:
    """Whether the service exits within the time limit of its drain."""
    service.terminate()
    try:
        code = service.process.wait(DRAINED)
    except subprocess.TimeoutExpired:
        return False
    assert code == 0
    return True


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a broken collector."""
    mode: str = request.param
    if mode == "dead":
        yield dead_collector()
        return
    modes: dict[str, Mode] = {"refusing": "refusing", "slow": "slow"}
    with collector(modes[mode]) as received:
        yield received.url


BROKEN = pytest.mark.parametrize("broken", ["dead", "refusing", "slow"], indirect=True)
SMALL = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}


@BROKEN
def test_a_broken_collector_costs_no_request(start: Start, broken: str) -> None:
    """The service loses and delays no request, counts the dropped spans, and exits in time."""
    service = start(broken, **SMALL)
    connection = service.connect()

    def request() -> None:
        connection.request("GET", "/status/200")
        response = connection.getresponse()
        response.read()
        assert response.status == 200

    # The timeout of an export is 10 s.
    assert max(_seconds(request) for _ in range(200)) < 1
    # All spans are accounted for, except those that are in the queue or are being sent.
    eventually(lambda: 200 - _dropped(service) <= 8)
    assert _count(service, "otel_spans_exported") == 0
    assert _ends_in_time(service)
    lost = service.event(message="spans not exported")
    assert lost["pending"] + lost["queue_full"] + lost["export_failed"] >= 200


def _dropped(service: Service) -> int:
    reasons = ("queue_full", "export_failed")
    return sum(_count(service, "otel_spans_dropped", reason=reason) for reason in reasons)


@BOTH
def test_a_full_queue_delays_no_request(start: Start, is_defended: bool) -> None:
    with collector("slow") as slow:
        service = start(slow.url, is_defended=is_defended, **SMALL)
        longest = max(_seconds(lambda: service.request("GET", "/status/200")) for _ in range(10))
        assert (longest < 0.9) == is_defended
        assert (_count(service, "otel_spans_dropped", reason="queue_full") == 2) == is_defended


@BOTH
def test_a_failed_export_is_counted_and_logged(start: Start, is_defended: bool) -> None:
    service = start(dead_collector(), is_defended=is_defended)
    service.request("GET", "/status/200")
    failed = service.event(message="export to the collector failed")
    assert failed["level"] == "WARN"
    assert "refused" in failed["error"]
    counted = ("otel_spans_dropped", {"reason": "export_failed"}) if is_defended else ("otel_spans_exported", {})
    eventually(lambda: _count(service, counted[0], **counted[1]) == 1)
    assert _count(service, "otel_export_failures") > 0
    # At most once a minute.
    for _ in range(3):
        service.request("GET", "/status/200")
    eventually(lambda: _count(service, counted[0], **counted[1]) == 4)
    assert [event["message"] for event in service.events].count("export to the collector failed") == 1


@BOTH
def test_a_slow_collector_does_not_delay_the_exit(start: Start, is_defended: bool) -> None:
    with collector("slow") as slow:
        service = start(slow.url, is_defended=is_defended, **LATER)
        service.request("GET", "/status/200")
        assert _ends_in_time(service) == is_defended


@BOTH
def test_a_second_signal_does_not_wait_for_the_collector(start: Start, is_defended: bool) -> None:
    with collector("slow") as slow:
        flags = ("--drain-grace", "1day")
        service = start(slow.url, *flags, is_defended=is_defended, **LATER)
        service.request("GET", "/status/200")
        service.terminate()
        service.event(message="draining")
        # A second signal within 100 ms counts as the first one.
        time.sleep(0.2)
        service.terminate()
        service.event(message="interrupted")
        try:
            assert service.process.wait(1) == 1
        except subprocess.TimeoutExpired:
            assert not is_defended
        else:
            assert is_defended


def test_queued_spans_are_sent_at_the_end(start: Start, receiver: Collector) -> None:
    service = start(receiver.url, **LATER)
    service.request("GET", "/status/200")
    assert receiver.requests == 0
    assert _ends_in_time(service)
    receiver.span("GET /status/{status}")
    receiver.metric("http.server.request.duration", lambda metric: _requests(metric) == 1)
    assert "spans not exported" not in {event["message"] for event in service.events}


def test_a_killed_service_sends_nothing(start: Start, receiver: Collector) -> None:
    """This proves that the flush at the end sends the spans in the other test."""
    service = start(receiver.url, **LATER)
    service.request("GET", "/status/200")
    service.process.send_signal(signal.SIGKILL)
    assert service.exit_code() == -signal.SIGKILL
    assert receiver.requests == 0


@BOTH
def test_the_last_log_line_counts_the_lost_spans(start: Start, is_defended: bool) -> None:
    with collector("slow") as slow:
        service = start(slow.url, is_defended=is_defended, **LATER)
        service.request("GET", "/status/200")
        service.terminate()
        service.exit_code()
        lost = [event for event in service.events if event["message"] == "spans not exported"]
        assert [event["pending"] for event in lost] == ([1] if is_defended else [])


def test_exports_are_counted(start: Start, receiver: Collector) -> None:
    service = start(receiver.url)
    service.request("GET", "/status/200")
    receiver.span("GET /status/{status}")
    eventually(lambda: _count(service, "otel_spans_exported") == 1)
    assert _dropped(service) == _count(service, "otel_export_failures") == 0


# --- Variables ---


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
    ],
)
@pytest.mark.parametrize("flags", [("--check-config",), ("--address=127.0.0.1:0", "--admin-address=127.0.0.1:0")])
def test_an_invalid_variable_is_rejected(
    exporting_binary: Path, variable: str, value: str, flags: tuple[str, ...]
) -> None:
    """`--check-config` also rejects it."""
    done = run_to_end(exporting_binary, *flags, **{variable: value})
    assert done.returncode == 2
    assert done.stdout == ""
    assert variable in done.stderr
    assert value in done.stderr


@pytest.mark.parametrize(
    ("variables", "spans", "metrics"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, False, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_SDK_DISABLED": "false"}, True, True),
    ],
)
def test_the_export_can_be_turned_off(
    start: Start, receiver: Collector, variables: dict[str, str], spans: bool, metrics: bool
) -> None:
    service = start(receiver.url, **variables)
    assert service.request("GET", "/inner", traceparent=TRACEPARENT).body.decode().startswith(f"00-{TRACE}")
    assert _ends_in_time(service)
    assert bool(receiver.spans) == spans
    assert bool(receiver.metrics) == metrics


def test_the_endpoint_of_one_signal_is_used_unchanged(start: Start, receiver: Collector) -> None:
    traces = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver.url}/v1/traces"}
    start(dead_collector(), **traces).request("GET", "/status/200")
    receiver.span("GET /status/{status}")
    assert receiver.metrics == []
