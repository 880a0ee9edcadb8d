//! The log, and the record that each request leaves in it and in the metrics.

use super::Rejection;
use super::metrics::Metrics;
use super::server::BodyUnread;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use std::any::Any;
use std::io::IsTerminal;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, Span, field};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The status recorded for a client that left before its answer, as is the custom of proxies.
const CLIENT_LEFT: u16 = 499;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one object a line.
    Json,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the log: {0}")]
pub struct InitError(#[from] Box<dyn std::error::Error + Send + Sync>);

/// Sends events to standard error; without a `format` the terminal decides it.
///
/// A thread of its own writes, so that a slow reader of the log delays no request; it drops
/// events rather than hold more than a bounded number. Keep the guard until the end: dropping
/// it writes what is queued.
///
/// # Errors
/// The filter is malformed, or the process has a log already.
pub fn init(filter: &str, format: Option<LogFormat>) -> Result<WorkerGuard, InitError> {
    let terminal = std::io::stderr().is_terminal();
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let filter = EnvFilter::try_new(filter).map_err(|error| InitError(error.into()))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(terminal);
    if format.map_or(terminal, |format| format == LogFormat::Pretty) {
        log.try_init()?;
    } else {
        log.json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init()?;
    }
    // The default hook writes text for people between the lines for machines.
    std::panic::set_hook(Box::new(|panic| {
        let message = panic
            .payload_as_str()
            .unwrap_or("a payload that is no text");
        let location = panic.location().map(field::display);
        tracing::error!(panic = message, location, "panicked");
    }));
    Ok(guard)
}

/// Records the requests to the routes so far, and makes an answer of a panic in them.
pub fn observed(router: Router, metrics: &Arc<Metrics>) -> Router {
    let counted = metrics.clone();
    let on_panic = move |_: Box<dyn Any + Send>| {
        // The hook has logged it, with the place.
        counted.panics.inc();
        Rejection::Fault.into_response()
    };
    router
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(from_fn_with_state(metrics.clone(), observe))
}

async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let trace_id = request.headers().get(TRACE_PARENT).and_then(trace_id);
    // At the level of errors, so that an error has its request at every filter.
    let span = tracing::error_span!("request", request_id = id.to_str().ok(), trace_id);
    let progress = Arc::new(Progress::default());
    let mut record = Record::begin(&request, metrics, span.clone(), progress.clone());
    let request = request.map(|body| Body::new(Watched::new(body, progress.clone())));
    let mut response = next.run(request).instrument(span).await;
    record.status = response.status().as_u16();
    response.headers_mut().insert(REQUEST_ID, id);
    if !progress.ended.load(Ordering::Relaxed) {
        response.extensions_mut().insert(BodyUnread);
    }
    response
}

/// The client's own id if it is sane, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |id: &&HeaderValue| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(allowed)
    };
    headers
        .get(REQUEST_ID)
        .filter(sane)
        .cloned()
        .unwrap_or_else(|| {
            // It has to be unique, not secret.
            let id = format!("{:032x}", fastrand::u128(..));
            HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("unknown"))
        })
}

/// The trace id of a W3C `traceparent`: `version-trace-parent-flags`, in lower case hex.
fn trace_id(header: &HeaderValue) -> Option<&str> {
    let text = header.to_str().ok()?;
    let hex = |part: &str, length| {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        part.len() == length && part.bytes().all(digit)
    };
    let named = |part: &str, length| hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let mut parts = text.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Only version 00 promises that nothing follows.
    let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (known && named(trace, 32) && named(parent, 16) && hex(flags, 2)).then_some(trace)
}

/// The metrics and the event of one request, written when dropped: also when the client leaves.
struct Record {
    metrics: Arc<Metrics>,
    span: Span,
    route: Option<MatchedPath>,
    method: &'static str,
    started: Instant,
    progress: Arc<Progress>,
    status: u16,
}

impl Record {
    fn begin(
        request: &Request,
        metrics: Arc<Metrics>,
        span: Span,
        progress: Arc<Progress>,
    ) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics,
            span,
            route: request.extensions().get().cloned(),
            method: method_label(request.method()),
            started: Instant::now(),
            progress,
            status: CLIENT_LEFT,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (method, status, time) = (self.method, self.status, self.started.elapsed());
        // The matched route, never the path: strangers choose paths, and each label costs memory.
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let bytes = self.progress.bytes.load(Ordering::Relaxed);
        self.metrics.in_flight.dec();
        self.metrics.record(route, method, status, time, bytes);
        let latency = time.as_secs_f64();
        tracing::info!(parent: &self.span, method, route, status, latency, bytes, "request");
    }
}

/// A method as a label; strangers can invent methods, so those share one.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// How much of a body was read.
#[derive(Default)]
struct Progress {
    bytes: AtomicU64,
    ended: AtomicBool,
}

/// A body that notes its progress.
struct Watched {
    inner: Body,
    progress: Arc<Progress>,
}

impl Watched {
    fn new(inner: Body, progress: Arc<Progress>) -> Self {
        progress
            .ended
            .store(inner.is_end_stream(), Ordering::Relaxed);
        Self { inner, progress }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(data) = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
        {
            self.progress
                .bytes
                .fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        let ended = frame.is_none() || self.inner.is_end_stream();
        self.progress.ended.store(ended, Ordering::Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
