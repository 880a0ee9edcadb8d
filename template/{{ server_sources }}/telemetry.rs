//! The log, and the record that each request leaves in it and in the metrics.

use super::metrics::Metrics;
use super::server::BodyUnread;
use super::{Cause, Chain, Rejection, error_response};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use futures_util::FutureExt as _;
use futures_util::future::{self, Either};
use hyper::body::{Frame, SizeHint};
use serde_json::{Map, Value};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};
use std::iter;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Instant;
use tower::layer::layer_fn;
use tower::{Service, service_fn};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Instrument, Span, Subscriber, field};
use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::registry::{LookupSpan, Scope, SpanRef};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The status recorded for a client that left before its answer, as is the custom of proxies.
const CLIENT_LEFT: u16 = 499;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one object a line.
    Json,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the log: {0}")]
pub struct InitError(#[from] Box<dyn Error + Send + Sync>);

/// Sends events to standard error; without a `format` the terminal decides it.
///
/// A thread of its own writes, so that a slow reader of the log delays no request; it drops
/// events rather than hold more than a bounded number. Keep the guard until the end: dropping
/// it writes what is queued.
///
/// # Errors
/// The filter is malformed, or the process has a log already.
pub fn init(filter: &str, format: Option<LogFormat>) -> Result<WorkerGuard, InitError> {
    let terminal = io::stderr().is_terminal();
    let by_terminal = if terminal {
        LogFormat::Pretty
    } else {
        LogFormat::Json
    };
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let _ = DROPPED.set(writer.error_counter());
    init_to(writer, filter, format.unwrap_or(by_terminal), terminal)?;
    // The default hook writes text for people between the lines for machines.
    std::panic::set_hook(Box::new(|panic| {
        let message = panic
            .payload_as_str()
            .unwrap_or("a payload that is no text");
        let location = panic.location().map(field::display);
        // It costs nothing unless RUST_BACKTRACE asks for it.
        let trace = Backtrace::capture();
        let is_captured = trace.status() == BacktraceStatus::Captured;
        let backtrace = is_captured.then(|| field::display(&trace));
        tracing::error!(panic = message, location, backtrace, "panicked");
    }));
    Ok(guard)
}

/// Whether `text` is a filter that [`init`] accepts.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
}

/// Counts the lines that are dropped because the log is read too slowly.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Returns how many lines of the log were dropped.
pub(super) fn dropped_lines() -> u64 {
    DROPPED
        .get()
        .map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Sends events to any writer, for benches: what [`init`] writes, without its thread.
///
/// # Errors
/// The filter is malformed, or the process has a log already.
pub fn init_to<W>(writer: W, filter: &str, format: LogFormat, ansi: bool) -> Result<(), InitError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|error| InitError(error.into()))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(ansi);
    match format {
        LogFormat::Pretty => log.try_init()?,
        LogFormat::Json => log.fmt_fields(Json).event_format(Json).try_init()?,
    }
    Ok(())
}

/// An event as one object a line: `span` is the outermost span, which is that of the request, and
/// `inner_spans` are those within it. So the request id has one place on every line.
///
/// The library's own format parses the text of the span again for each event, which takes longer
/// than all else that the server does for a request.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (level, target) = (event.metadata().level(), event.metadata().target());
        writer.write_str(r#"{"timestamp":""#)?;
        SystemTime.format_time(&mut writer)?;
        writer.write_str(r#"","level":""#)?;
        writer.write_str(level.as_str())?;
        writer.write_str(r#"","target":""#)?;
        writer.write_str(target)?;
        writer.write_char('"')?;
        write_members(writer.by_ref(), event, &RESERVED)?;
        if let Some(scope) = context.event_scope() {
            write_spans::<S, N>(&mut writer, scope)?;
        }
        writer.write_str("}\n")
    }
}

fn write_spans<S, N>(writer: &mut Writer<'_>, mut innermost_first: Scope<'_, S>) -> fmt::Result
where
    S: for<'span> LookupSpan<'span>,
    N: 'static,
{
    let Some(innermost) = innermost_first.next() else {
        return Ok(());
    };
    // In the span of a request there are no others, and no memory is needed for them.
    let mut others = innermost_first.collect::<Vec<_>>();
    writer.write_str(r#","span":"#)?;
    let Some(outermost) = others.pop() else {
        return write_span::<S, N>(writer, &innermost);
    };
    write_span::<S, N>(writer, &outermost)?;
    writer.write_str(r#","inner_spans":["#)?;
    for span in others.iter().rev() {
        write_span::<S, N>(writer, span)?;
        writer.write_char(',')?;
    }
    write_span::<S, N>(writer, &innermost)?;
    writer.write_char(']')
}

fn write_span<S, N>(writer: &mut Writer<'_>, span: &SpanRef<'_, S>) -> fmt::Result
where
    S: for<'span> LookupSpan<'span>,
    N: 'static,
{
    writer.write_str(r#"{"name":""#)?;
    writer.write_str(span.name())?;
    writer.write_char('"')?;
    if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
        writer.write_str(fields)?;
    }
    writer.write_char('}')
}

impl<'writer> FormatFields<'writer> for Json {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        write_members(writer, fields, &["name"])
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &span::Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)?;
        let Some(members) = current.fields.strip_prefix(',') else {
            return Ok(());
        };
        // Of a field that is recorded again, the last value is kept.
        let object = serde_json::from_str::<Map<String, Value>>(&format!("{{{members}}}"));
        let mut unique = String::new();
        for (name, value) in object.map_err(|_| fmt::Error)? {
            write!(unique, ",{}:{value}", Value::from(name))?;
        }
        current.fields = unique;
        Ok(())
    }
}

/// What an event has besides its fields.
const RESERVED: [&str; 5] = ["timestamp", "level", "target", "span", "inner_spans"];

thread_local! {
    /// Memory for the names of one object, kept because each object needs it.
    static NAMES: Cell<Vec<Name>> = const { Cell::new(Vec::new()) };
}

/// The name of a field, and how many underscores make it unique.
type Name = (&'static str, usize);

/// Writes fields as further members of an object that has the names `reserved` already.
fn write_members(
    writer: Writer<'_>,
    fields: impl RecordFields,
    reserved: &[&'static str],
) -> fmt::Result {
    let mut names = NAMES.take();
    names.clear();
    names.extend(reserved.iter().map(|name| (*name, 0)));
    let mut members = Members {
        writer,
        names,
        known: reserved
            .iter()
            .fold(0, |known, name| known | bit(&(name, 0))),
        result: Ok(()),
    };
    fields.record(&mut members);
    NAMES.set(members.names);
    members.result
}

fn is_same((one, more): &Name, (other, more_of_other): &Name) -> bool {
    one.len() + more == other.len() + more_of_other
        && one.trim_end_matches('_') == other.trim_end_matches('_')
}

/// A bit that differs for most names.
fn bit((name, underscores): &Name) -> u64 {
    let first = name.bytes().next().map_or(0, usize::from);
    1 << ((31 * first + name.len() + underscores) % 64)
}

struct Members<'writer> {
    writer: Writer<'writer>,
    names: Vec<Name>,
    /// A bit for each name, so that most names are compared with no other.
    known: u64,
    result: fmt::Result,
}

impl Members<'_> {
    /// Returns how many underscores make a name unique: a reader of a doubled one may refuse the line.
    fn underscores(&mut self, name: &'static str) -> usize {
        let mut name = (name, 0);
        while self.known & bit(&name) != 0 && self.names.iter().any(|other| is_same(other, &name)) {
            name.1 += 1;
        }
        self.known |= bit(&name);
        self.names.push(name);
        name.1
    }

    /// Adds a member whose value is written by `value`.
    ///
    /// Piece by piece, since the formatting of the standard library costs as much as all the rest.
    fn add(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let underscores = self.underscores(field.name());
        let mut write = || {
            // Names of fields, spans and targets are the program's own, so they need no escapes.
            self.writer.write_str(",\"")?;
            self.writer.write_str(field.name())?;
            (0..underscores).try_for_each(|_| self.writer.write_char('_'))?;
            self.writer.write_str("\":")
        };
        let written = write().and_then(|()| value(&mut self.writer));
        self.result = self.result.and(written);
    }

    fn add_text(&mut self, field: &Field, text: impl FnOnce(&mut Escaping<'_, '_>) -> fmt::Result) {
        self.add(field, |writer| {
            writer.write_char('"')?;
            text(&mut Escaping(writer))?;
            writer.write_char('"')
        });
    }
}

impl Visit for Members<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, |writer| write!(writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, |writer| write!(writer, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, |writer| match value.is_finite() {
            true => write!(writer, "{value}"),
            false => writer.write_str("null"),
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, |text| text.write_str(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add_text(field, |text| write!(text, "{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, |text| write!(text, "{value:?}"));
    }
}

/// Writes what may stand in a string of JSON.
struct Escaping<'a, 'writer>(&'a mut Writer<'writer>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        let is_special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
        while let Some(at) = text.as_bytes().iter().position(is_special) {
            self.0.write_str(&text[..at])?;
            write!(self.0, "\\u{:04x}", text.as_bytes()[at])?;
            text = &text[at + 1..];
        }
        self.0.write_str(text)
    }
}

/// Records the requests to the routes so far, and makes an answer of a panic in them.
pub fn observed(router: Router, metrics: &Arc<Metrics>) -> Router {
    let metrics = metrics.clone();
    router.layer(layer_fn(move |mut inner: Route| {
        let metrics = metrics.clone();
        // One layer for all, since each one costs blocks of the heap for each request.
        service_fn(move |request: Request| {
            let id = request_id(request.headers());
            let (record, request) = Record::begin(request, &id, metrics.clone());
            let answer = if has_sane_host(request.headers()) {
                Either::Left(inner.call(request))
            } else {
                Either::Right(future::ready(Ok(Rejection::BadHost.into_response())))
            };
            record.finish(id, answer)
        })
    }))
}

/// Whether no two servers on the way can take the request for another host each.
///
/// A request without the header is served: HTTP/1.0 allows it, and tests of handlers leave it out.
fn has_sane_host(headers: &HeaderMap) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".:-[]_~%!$&'()*+,;=".contains(byte);
    let mut hosts = headers.get_all(header::HOST).iter();
    let is_sane = hosts
        .next()
        .is_none_or(|host| host.as_bytes().iter().all(allowed));
    is_sane && hosts.next().is_none()
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
        .unwrap_or_else(new_id)
}

/// 32 hex digits, made without the formatting of the standard library for its cost.
fn new_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // It has to be unique, not secret.
    let random = fastrand::u128(..).to_ne_bytes();
    let mut id = [0; 32];
    for (two, byte) in id.chunks_exact_mut(2).zip(random) {
        two[0] = DIGITS[usize::from(byte >> 4)];
        two[1] = DIGITS[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("unknown"))
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
    peer: Option<SocketAddr>,
    method: &'static str,
    started: Instant,
    /// Of the body, unless it is empty.
    progress: Option<Arc<Progress>>,
    status: u16,
    cause: Option<Cause>,
}

impl Record {
    fn begin(request: Request, id: &HeaderValue, metrics: Arc<Metrics>) -> (Self, Request) {
        let trace_id = request.headers().get(TRACE_PARENT).and_then(trace_id);
        // At the level of errors, so that an error has its request at every filter.
        let span = tracing::error_span!("request", request_id = id.to_str().ok(), trace_id);
        metrics.in_flight.inc();
        let progress = (!request.body().is_end_stream()).then(Arc::<Progress>::default);
        let request = match &progress {
            Some(progress) => request.map(|body| {
                Body::new(Watched {
                    inner: body,
                    progress: progress.clone(),
                })
            }),
            None => request,
        };
        let record = Self {
            metrics,
            span,
            route: request.extensions().get().cloned(),
            peer: request.extensions().get().copied(),
            method: method_label(request.method()),
            started: Instant::now(),
            progress,
            status: CLIENT_LEFT,
            cause: None,
        };
        (record, request)
    }

    /// An async function would hold `answer` twice, in a block of the heap that is costly by its size.
    fn finish(
        self,
        id: HeaderValue,
        answer: impl Future<Output = Result<Response, Infallible>>,
    ) -> impl Future<Output = Result<Response, Infallible>> {
        // An answer that panicked is not polled again, so nobody sees a state that it left broken.
        let answer = AssertUnwindSafe(answer).catch_unwind();
        let answer = answer.instrument(self.span.clone());
        answer.map(|answer| self.complete(id, answer))
    }

    fn complete(
        mut self,
        id: HeaderValue,
        answer: thread::Result<Result<Response, Infallible>>,
    ) -> Result<Response, Infallible> {
        let mut response = answer.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            // The hook has logged the panic, with its text and place.
            let cause = Cause("panicked".into());
            Ok((cause, Rejection::Fault).into_response())
        })?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // The connection goes on with HTTP, so the client must not.
            response = upgrade_refused();
        }
        let is_lost = |progress: &Arc<Progress>| progress.lost.load(Ordering::Relaxed);
        if !self.progress.as_ref().is_some_and(is_lost) {
            self.status = response.status().as_u16();
        }
        if response.status().is_server_error() {
            self.cause = response.extensions_mut().remove();
        }
        response.headers_mut().insert(REQUEST_ID, id);
        let progress = self.progress.as_ref();
        if progress.is_some_and(|progress| !progress.ended.load(Ordering::Relaxed)) {
            response.extensions_mut().insert(BodyUnread);
        }
        if response.body().size_hint().exact().is_some() {
            // It is in memory, so it does not fail.
            return Ok(response);
        }
        let (span, metrics) = (self.span.clone(), self.metrics.clone());
        Ok(response.map(|inner| {
            Body::new(Streamed {
                inner,
                span,
                metrics,
            })
        }))
    }
}

/// The answer in place of a handler's that would leave HTTP.
fn upgrade_refused() -> Response {
    let message = "this service does not take upgrades, such as to WebSocket";
    let response = error_response(StatusCode::NOT_IMPLEMENTED, "upgrade", message, None);
    (Cause(message.into()), response).into_response()
}

impl Drop for Record {
    fn drop(&mut self) {
        let (method, status, time) = (self.method, self.status, self.started.elapsed());
        // The matched route, never the path: strangers choose paths, and each label costs memory.
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let progress = self.progress.as_ref();
        let bytes = progress.map_or(0, |progress| progress.bytes.load(Ordering::Relaxed));
        self.metrics.in_flight.dec();
        self.metrics.record(route, method, status, time, bytes);
        let latency = time.as_secs_f64();
        let span = &self.span;
        let peer = self.peer.map(field::display);
        let cause = self.cause.as_ref().map(|cause| &*cause.0);
        // A 503 without a cause is a refusal under load or at the end: the limits work.
        if status >= 500 && (status != 503 || cause.is_some()) {
            tracing::error!(parent: span, method, route, status, latency, bytes, peer, cause, "request");
        } else {
            tracing::info!(parent: span, method, route, status, latency, bytes, peer, "request");
        }
    }
}

/// A response body that is made while it is sent, in the span of its request; it records its failure.
struct Streamed {
    inner: Body,
    span: Span,
    metrics: Arc<Metrics>,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self {
            inner,
            span,
            metrics,
        } = &mut *self;
        let _entered = span.enter();
        // The error ends the connection, so nobody polls a body that panicked again.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(context)));
        let frame = ready!(polled.unwrap_or_else(|_| {
            metrics.panics.inc();
            let error = axum::Error::new("the body panicked");
            Poll::Ready(Some(Err(error)))
        }));
        if let Some(Err(error)) = &frame {
            tracing::error!(error = error as &dyn Error, "response body failed");
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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
    /// The client reset the connection, so it sees no answer.
    lost: AtomicBool,
}

/// A body that notes its progress.
struct Watched {
    inner: Body,
    progress: Arc<Progress>,
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
        if let Some(Err(error)) = &frame {
            self.progress.lost.store(is_reset(error), Ordering::Relaxed);
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

fn is_reset(error: &axum::Error) -> bool {
    let mut causes = iter::successors(error.source(), |&error| error.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionReset)
    })
}
