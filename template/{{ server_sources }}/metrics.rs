//! The metrics of the service, and the page that lists them.

use super::process::Process;
use super::{Rejection, error_response, telemetry, with_fallbacks};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds: those of OpenTelemetry, and more at both ends.
const BUCKETS: [f64; 19] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 30.0, 60.0,
];
/// Why requests are refused under load.
const SHED: [&str; 2] = ["concurrency", "memory"];
/// Why requests are refused before they reach a route.
const ERRORS: [&str; 4] = ["malformed", "head_too_large", "head_too_slow", "http2"];

/// As OpenTelemetry names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
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
    limit: Family<EndpointLabels, Gauge>,
    errors: Family<ReasonLabels, Counter>,
    aborted: Counter,
    accept_failures: Counter,
    /// 1 from the signal on.
    pub(super) draining: Gauge,
}

impl ConnectionMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_connections_open",
            "Open connections",
            self.open.clone(),
        );
        registry.register(
            "http_connections_limit",
            "Connections allowed at once",
            self.limit.clone(),
        );
        registry.register(
            "http_server_draining",
            "Whether the service is shutting down",
            self.draining.clone(),
        );
        // A counter that appears with its first increment hides that increment from `rate`.
        for reason in ERRORS {
            self.errors
                .get_or_create(&ReasonLabels { reason })
                .inc_by(0);
        }
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

    pub(super) fn set_limit(&self, endpoint: &'static str, connections: u32) {
        let limit = self.limit.get_or_create(&EndpointLabels { endpoint });
        limit.set(connections.into());
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

/// The counters of one service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
    /// What the family holds, found without making the labels again for each request.
    routes: RwLock<HashMap<String, Arc<OfRoute>>>,
    shed: Family<ReasonLabels, Counter>,
    bytes_in: Counter,
    /// Bytes that the gates have given to requests and responses.
    pub(super) bytes_in_use: Gauge,
    /// Bytes that they may give.
    pub(super) bytes_limit: Gauge,
    /// Requests that are being handled, or whose response is being sent.
    pub in_flight: Gauge,
    /// Handlers that panicked.
    pub panics: Counter,
}

/// The histograms of one route by method and status: few, so a scan finds one sooner than a hash would.
type OfRoute = RwLock<Vec<(&'static str, u16, Histogram)>>;

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            routes: RwLock::default(),
            shed: Family::default(),
            bytes_in: Counter::default(),
            bytes_in_use: Gauge::default(),
            bytes_limit: Gauge::default(),
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
            durations,
            routes: _,
            shed,
            bytes_in,
            bytes_in_use,
            bytes_limit,
            in_flight,
            panics,
        } = self;
        registry.register(
            "http_server_request_duration_seconds",
            "Time from the request's headers to the response's",
            durations.clone(),
        );
        registry.register(
            "http_server_active_requests",
            "Requests being handled or answered",
            in_flight.clone(),
        );
        for reason in SHED {
            shed.get_or_create(&ReasonLabels { reason }).inc_by(0);
        }
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
        registry.register(
            "http_body_bytes_in_use",
            "Bytes of request bodies and of unsent responses",
            bytes_in_use.clone(),
        );
        registry.register(
            "http_body_bytes_limit",
            "Bytes that they may be together",
            bytes_limit.clone(),
        );
        registry.register("http_panics", "Handlers that panicked", panics.clone());
        CONNECTIONS.register(registry);
        registry.register_collector(Box::new(Process));
    }

    /// Where a service registers its own metrics, before it shares the counters.
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
        let durations = find(&of_route, method, status);
        let durations = durations.unwrap_or_else(|| self.add(&of_route, route, method, status));
        durations.observe(time.as_secs_f64());
        self.bytes_in.inc_by(bytes);
    }

    fn of_route(&self, route: &str) -> Arc<OfRoute> {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(route) {
            return known.clone();
        }
        drop(known);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route.to_owned()).or_default().clone()
    }

    fn add(&self, known: &OfRoute, route: &str, method: &'static str, status: u16) -> Histogram {
        let durations = self.durations.get_or_create_owned(&RequestLabels {
            http_request_method: method,
            http_route: route.to_owned(),
            http_response_status_code: status,
        });
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added the same meanwhile; the first one found is as good.
        known.push((method, status, durations.clone()));
        durations
    }

    /// Counts a request that is refused because of load.
    pub fn record_shed(&self, reason: &'static str) {
        self.shed.get_or_create(&ReasonLabels { reason }).inc();
    }
}

fn find(known: &OfRoute, method: &str, status: u16) -> Option<Histogram> {
    let known = known.read().unwrap_or_else(PoisonError::into_inner);
    let found = known
        .iter()
        .find(|known| (known.0, known.1) == (method, status));
    found.map(|(_, _, durations)| durations.clone())
}

/// The admin router: `GET /metrics`, `GET /healthz`, which works when the public endpoint has no
/// connection left, and `GET` and `PUT /log-filter`.
pub fn router(metrics: Arc<Metrics>) -> Router {
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/healthz", get(|| async { StatusCode::OK }))
        .route("/log-filter", get(telemetry::filter).put(set_filter));
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

async fn set_filter(text: String) -> Result<String, Response> {
    telemetry::set_filter(text.trim()).map_err(|error| {
        let message = error.to_string();
        error_response(StatusCode::BAD_REQUEST, "bad_filter", &message, None)
    })
}
