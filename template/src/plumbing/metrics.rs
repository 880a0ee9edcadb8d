//! What the service counts, and the page it is read from.

use super::{Rejection, with_fallbacks};
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
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
struct ShedLabels {
    reason: &'static str,
}

/// The counters of one service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    shed: Family<ShedLabels, Counter>,
    bytes_in: Counter,
    /// Requests that are being handled.
    pub in_flight: Gauge,
    /// Handlers that panicked.
    pub panics: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
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
            "Requests being handled",
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
        let route = route.to_owned();
        self.durations
            .get_or_create(&RouteLabels {
                route: route.clone(),
            })
            .observe(time.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels {
                route,
                method,
                status,
            })
            .inc();
        self.bytes_in.inc_by(bytes);
    }

    /// Counts a request that is refused because of load.
    pub fn record_shed(&self, reason: &'static str) {
        self.shed.get_or_create(&ShedLabels { reason }).inc();
    }
}

/// The admin router: `GET /metrics`.
pub fn router(metrics: Arc<Metrics>) -> Router {
    with_fallbacks(Router::new().route("/metrics", get(page))).with_state(metrics)
}

async fn page(State(metrics): State<Arc<Metrics>>) -> Response {
    const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &metrics.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => Rejection::Fault.into_response(),
    }
}
