//! The span of each request and its metrics, by OpenTelemetry's conventions for HTTP servers.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::Route;
use futures_util::FutureExt as _;
use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::{Histogram, Meter, UpDownCounter};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, ContextGuard, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use server::telemetry::is_request_span;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;
use tower::layer::layer_fn;
use tower::{Service, service_fn};
use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{self, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The routes that answer probes: counted, but not traced.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
/// The status of a client that left before its response, as in the log.
const CLIENT_LEFT: u16 = 499;
/// Upper bounds of the duration buckets, in seconds, which the convention recommends.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Records requests; clones share the instruments.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    tracer: SdkTracer,
    durations: Histogram<f64>,
    active: UpDownCounter<i64>,
}

impl Requests {
    pub(crate) fn new(tracer: SdkTracer, meter: &Meter) -> Self {
        let durations = meter
            .f64_histogram("http.server.request.duration")
            .with_description("Duration of HTTP server requests.")
            .with_unit("s")
            .with_boundaries(BUCKETS.to_vec());
        let active = meter
            .i64_up_down_counter("http.server.active_requests")
            .with_description("Number of active HTTP server requests.")
            .with_unit("{request}");
        Self {
            tracer,
            durations: durations.build(),
            active: active.build(),
        }
    }

    /// Records the requests to a router that has all its other layers.
    pub(crate) fn traced(&self, router: Router) -> Router {
        let requests = self.clone();
        router.layer(layer_fn(move |mut inner: Route| {
            let requests = requests.clone();
            service_fn(move |mut request: Request| {
                let record = Record::begin(requests.clone(), &mut request);
                let context = record.context.clone();
                let response = inner.call(request).with_context(context);
                response.map(|response| response.map(|response| record.end(response)))
            })
        }))
    }

    fn span(&self, request: &mut Request, method: &'static str, route: Option<&str>) -> Context {
        let propagator = TraceContextPropagator::new();
        let parent =
            propagator.extract_with_context(&Context::new(), &HeaderExtractor(request.headers()));
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("url.path", request.uri().path().to_owned()),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        if let Some(peer) = request.extensions().get::<SocketAddr>() {
            attributes.push(KeyValue::new("network.peer.address", peer.ip().to_string()));
            attributes.push(KeyValue::new("network.peer.port", i64::from(peer.port())));
        }
        let span = self
            .tracer
            .span_builder(name)
            .with_kind(SpanKind::Server)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, &parent);
        let context = parent.with_span(span);
        // So that the log has the id of this trace, also where the client sent none.
        propagator.inject_context(&context, &mut HeaderInjector(request.headers_mut()));
        context
    }
}

/// The span and the metrics of a request, written when dropped: also when the client leaves.
struct Record {
    requests: Requests,
    context: Context,
    method: &'static str,
    route: Option<MatchedPath>,
    started: Instant,
    status: u16,
}

impl Record {
    fn begin(requests: Requests, request: &mut Request) -> Self {
        let started = Instant::now();
        let method = method_label(request.method());
        let matched = request.extensions().get::<MatchedPath>().cloned();
        let route = matched.as_ref().map(MatchedPath::as_str);
        let context = match route {
            Some(route) if PROBES.contains(&route) => Context::new(),
            _ => requests.span(request, method, route),
        };
        requests.active.add(1, &of_server(method));
        Self {
            requests,
            context,
            method,
            route: matched,
            started,
            status: CLIENT_LEFT,
        }
    }

    fn end(mut self, response: Response) -> Response {
        self.status = response.status().as_u16();
        response
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let status = KeyValue::new("http.response.status_code", i64::from(self.status));
        let mut attributes = of_server(self.method).to_vec();
        let route = self.route.as_ref().map(MatchedPath::as_str);
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let span = self.context.span();
        if self.status >= StatusCode::INTERNAL_SERVER_ERROR.as_u16() {
            let error = KeyValue::new("error.type", self.status.to_string());
            span.set_attribute(error.clone());
            span.set_status(Status::error(""));
            attributes.push(error);
        }
        span.set_attribute(status.clone());
        span.end();
        attributes.push(status);
        self.requests.active.add(-1, &of_server(self.method));
        let time = self.started.elapsed().as_secs_f64();
        self.requests.durations.record(time, &attributes);
    }
}

fn of_server(method: &'static str) -> [KeyValue; 2] {
    [
        KeyValue::new("http.request.method", method),
        KeyValue::new("url.scheme", "http"),
    ]
}

/// A method as an attribute; strangers can invent methods, so those share one.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// Makes OpenTelemetry's context of a request current wherever the log's span of the request is: in its body, and
/// in the jobs of a `BlockingPool`.
pub(crate) struct RequestContext;

thread_local! {
    static ENTERED: RefCell<Vec<ContextGuard>> = const { RefCell::new(Vec::new()) };
}

impl<S> Layer<S> for RequestContext
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, spans: layer::Context<'_, S>) {
        if !is_request_span(attributes.metadata()) {
            return;
        }
        if let Some(span) = spans.span(id) {
            span.extensions_mut().insert(Context::current());
        }
    }

    fn on_enter(&self, id: &Id, spans: layer::Context<'_, S>) {
        let span = spans.span(id);
        let context = span.and_then(|span| span.extensions().get::<Context>().cloned());
        if let Some(context) = context {
            ENTERED.with_borrow_mut(|entered| entered.push(context.attach()));
        }
    }

    fn on_exit(&self, id: &Id, spans: layer::Context<'_, S>) {
        let is_request = |metadata| is_request_span(metadata);
        if spans.metadata(id).is_some_and(is_request) {
            drop(ENTERED.with_borrow_mut(Vec::pop));
        }
    }
}
