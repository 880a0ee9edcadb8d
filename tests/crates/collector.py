"""An OTLP receiver on loopback, and broken collectors."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, TypeAlias, TypeVar

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.services import PATIENCE

Value: TypeAlias = str | int
Found = TypeVar("Found")
Mode: TypeAlias = Literal["accepting", "refusing", "slow"]


class Collector:
    """Records the received data, decoded by the protobuf definitions that OpenTelemetry publishes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests = 0
        self.resources: list[dict[str, Value]] = []
        self.spans: list[Span] = []
        self.metrics: list[Metric] = []
        self._changed = threading.Condition()

    def receive(self, path: str, body: bytes) -> None:
        """Decode a request of an exporter."""
        with self._changed:
            self.requests += 1
            if path == "/v1/traces":
                for traces in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.resources.append(values(traces.resource.attributes))
                    self.spans += [span for scope in traces.scope_spans for span in scope.spans]
            else:
                assert path == "/v1/metrics"
                for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    self.resources.append(values(metrics.resource.attributes))
                    self.metrics += [metric for scope in metrics.scope_metrics for metric in scope.metrics]
            self._changed.notify_all()

    def span(self, name: str) -> Span:
        """Wait for a span of this name."""
        return self._wait(lambda: next((span for span in self.spans if span.name == name), None), f"span {name}")

    def metric(self, name: str, has: Callable[[Metric], bool]) -> Metric:
        """Wait for a metric of this name that has data points."""
        return self._wait(lambda: next((m for m in self.metrics if m.name == name and has(m)), None), name)

    def _wait(self, find: Callable[[], Found | None], what: str) -> Found:
        with self._changed:
            found = self._changed.wait_for(find, PATIENCE)
        assert found is not None, f"no {what} in {[span.name for span in self.spans]}"
        return found


def values(attributes: Iterable[KeyValue]) -> dict[str, Value]:
    """Return attributes as Python values."""
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}


@contextmanager
def collector(mode: Mode = "accepting") -> Iterator[Collector]:
    """Listen until the end of the block.

    A slow collector accepts connections and reads requests, but never responds.
    """
    ending = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/x-protobuf"
            received.receive(self.path, body)
            if mode == "slow":
                ending.wait()
                return
            self.send_response(503 if mode == "refusing" else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        received = Collector(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield received
        ending.set()
        server.shutdown()


def dead_collector() -> str:
    """Return an address that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"
