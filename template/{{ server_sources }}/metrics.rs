//! What the service counts, and the page it is read from.

use super::{Rejection, telemetry, with_fallbacks};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: &'static str,
}

/// The connections of this process, counted together: no layer of a router sees a connection.
pub(super) static CONNECTIONS: LazyLock<ConnectionMetrics> =
    LazyLock::new(ConnectionMetrics::default);

/// The counters of connections.
#[derive(Debug, Default)]
pub(super) struct ConnectionMetrics {
    open: Family<EndpointLabels, Gauge>,
    errors: Family<ReasonLabels, Counter>,
    aborted: Counter,
    accept_failures: Counter,
}

impl ConnectionMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_connections_open",
            "Open connections",
            self.open.clone(),
        );
        registry.register(
            "http_connection_errors",
            "Requests refused before they reach a route",
            self.errors.clone(),
        );
        registry.register(
            "http_responses_aborted",
            "Responses that were not sent to their end",
            self.aborted.clone(),
        );
        registry.register(
            "http_accept_failures",
            "Attempts to accept a connection for which the system had no resources",
            self.accept_failures.clone(),
        );
    }

    pub(super) fn count_open(&self, endpoint: &'static str, count: usize) {
        let open = self.open.get_or_create(&EndpointLabels { endpoint });
        open.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn record_error(&self, reason: &'static str) {
        self.errors.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn record_accept_failure(&self) {
        self.accept_failures.inc();
    }

    pub(super) fn record_aborted(&self) {
        self.aborted.inc();
    }
}

/// The count that the log keeps of lines that it had to drop.
#[derive(Debug)]
struct DroppedLines;

impl Collector for DroppedLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let count = ConstCounter::new(telemetry::dropped_lines());
        let help = "Lines of the log that were dropped because it was read too slowly";
        let kind = count.metric_type();
        count.encode(encoder.encode_descriptor("log_lines_dropped", help, None, kind)?)
    }
}

/// The counters of one service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// What the families hold, found without making the labels again for each request.
    routes: RwLock<HashMap<String, Arc<RouteMetrics>>>,
    shed: Family<ReasonLabels, Counter>,
    bytes_in: Counter,
    /// Requests that are being handled, or whose response is being sent.
    pub in_flight: Gauge,
    /// Handlers that panicked.
    pub panics: Counter,
}

/// The part of the families that is one route's.
#[derive(Debug)]
struct RouteMetrics {
    durations: Histogram,
    /// By method and status: few, so a scan finds one sooner than a hash would.
    requests: RwLock<Vec<(&'static str, u16, Counter)>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            routes: RwLock::default(),
            shed: Family::default(),
            bytes_in: Counter::default(),
            in_flight: Gauge::default(),
            panics: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self {
            registry,
            requests,
            durations,
            routes: _,
            shed,
            bytes_in,
            in_flight,
            panics,
        } = self;
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from the request's headers to the response's",
            durations.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests being handled or answered",
            in_flight.clone(),
        );
        registry.register(
            "http_requests_shed",
            "Requests refused under load",
            shed.clone(),
        );
        registry.register(
            "http_request_body_bytes",
            "Body bytes received",
            bytes_in.clone(),
        );
        registry.register("http_panics", "Handlers that panicked", panics.clone());
        CONNECTIONS.register(registry);
        registry.register_collector(Box::new(DroppedLines));
    }

    /// Where a service registers metrics of its own, before it shares the counters.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Counts a finished request; `route` and `method` must come from a bounded set.
    pub fn record(
        &self,
        route: &str,
        method: &'static str,
        status: u16,
        time: Duration,
        bytes: u64,
    ) {
        let of_route = self.of_route(route);
        of_route.durations.observe(time.as_secs_f64());
        let counter = of_route.requests(method, status);
        let counter =
            counter.unwrap_or_else(|| self.add_requests(&of_route, route, method, status));
        counter.inc();
        self.bytes_in.inc_by(bytes);
    }

    fn of_route(&self, route: &str) -> Arc<RouteMetrics> {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(route) {
            return known.clone();
        }
        drop(known);
        let labels = RouteLabels {
            route: route.to_owned(),
        };
        let new = Arc::new(RouteMetrics {
            durations: self.durations.get_or_create_owned(&labels),
            requests: RwLock::default(),
        });
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(labels.route).or_insert(new).clone()
    }

    fn add_requests(
        &self,
        of_route: &RouteMetrics,
        route: &str,
        method: &'static str,
        status: u16,
    ) -> Counter {
        let counter = self.requests.get_or_create_owned(&RequestLabels {
            route: route.to_owned(),
            method,
            status,
        });
        let requests = of_route.requests.write();
        let mut requests = requests.unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added the same meanwhile; the first one found is as good.
        requests.push((method, status, counter.clone()));
        counter
    }

    /// Counts a request that is refused because of load.
    pub fn record_shed(&self, reason: &'static str) {
        self.shed.get_or_create(&ReasonLabels { reason }).inc();
    }
}

impl RouteMetrics {
    fn requests(&self, method: &str, status: u16) -> Option<Counter> {
        let requests = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        let mut known = requests.iter();
        let found = known.find(|known| (known.0, known.1) == (method, status));
        found.map(|(_, _, counter)| counter.clone())
    }
}

/// The admin router: `GET /metrics`, and `GET /healthz`, which works when the public endpoint has no
/// connection left.
pub fn router(metrics: Arc<Metrics>) -> Router {
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/healthz", get(|| async { StatusCode::OK }));
    with_fallbacks(router).with_state(metrics)
}

async fn page(State(metrics): State<Arc<Metrics>>) -> Response {
    const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &metrics.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => Rejection::Fault.into_response(),
    }
}
