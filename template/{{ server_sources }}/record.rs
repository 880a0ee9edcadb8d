//! Records each request in the log and in the metrics.

use super::json::write_number;
use super::metrics::Metrics;
use super::server::{BodyUnread, HostMissing};
use super::{Cause, Rejection, add_request_id, error_response};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use futures_util::FutureExt as _;
use futures_util::future::{self, Either};
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};
use tower::layer::layer_fn;
use tower::{Service, service_fn};
use tracing::{Instrument, Metadata, Span, field};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The routes that answer probes, which come every few seconds and are worth a line only if they fail.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The status recorded for a client that left before its answer, by the convention of proxies.
const CLIENT_LEFT: u16 = 499;

/// Records the requests to the routes so far, and makes an answer of a panic in them.
pub fn observed(router: Router, metrics: &Arc<Metrics>) -> Router {
    let metrics = metrics.clone();
    router.layer(layer_fn(move |mut inner: Route| {
        let metrics = metrics.clone();
        // One layer for all, since each one costs blocks of the heap for each request.
        service_fn(move |request: Request| {
            let id = request_id(request.headers());
            let (record, request) = Record::begin(request, &id, metrics.clone());
            let answer = match check_head(&request) {
                Ok(()) => Either::Left(inner.call(request)),
                Err(rejection) => Either::Right(future::ready(Ok(rejection.into_response()))),
            };
            record.finish(id, answer)
        })
    }))
}

/// Whether a span is the one that [`observed`] makes for each request.
#[must_use]
pub fn is_request_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.name() == "request" && metadata.target() == module_path!()
}

/// Refuses a request that two servers on the way may understand in two ways.
fn check_head(request: &Request) -> Result<(), Rejection> {
    if !has_sane_host(request) {
        return Err(Rejection::BadHost);
    }
    let codings = request.headers().get_all(header::TRANSFER_ENCODING);
    let is_known = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.iter().all(is_known) {
        Ok(())
    } else {
        Err(Rejection::TransferCoding)
    }
}

/// Whether there is at most one `Host`, of characters that a host can have, and it is not missing.
fn has_sane_host(request: &Request) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".:-[]_~%!$&'()*+,;=".contains(byte);
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let is_sane = match hosts.next() {
        Some(host) => host.as_bytes().iter().all(allowed),
        None => request.extensions().get::<HostMissing>().is_none(),
    };
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
///
/// The metrics end with the head of the response. The event of a response that is made while it is
/// sent is written at its end.
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
    response_bytes: Option<u64>,
    cause: Option<Cause>,
    is_counted: bool,
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
            response_bytes: None,
            cause: None,
            is_counted: false,
        };
        (record, request)
    }

    /// An async function would hold `answer` twice, in a block of the heap that is costly by its size.
    fn finish(
        self,
        id: HeaderValue,
        answer: impl Future<Output = Result<Response, Infallible>>,
    ) -> impl Future<Output = Result<Response, Infallible>> {
        // An answer that panicked is not polled again, so its broken state is never seen.
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
            // The connection stays with HTTP, so the client must too.
            response = upgrade_refused();
        }
        let is_lost = |progress: &Arc<Progress>| progress.lost.load(Ordering::Relaxed);
        if !self.progress.as_ref().is_some_and(is_lost) {
            self.status = response.status().as_u16();
        }
        if response.status().is_server_error() {
            self.cause = response.extensions_mut().remove();
        }
        if response.status() >= StatusCode::BAD_REQUEST {
            add_request_id(&mut response, &id);
        }
        response.headers_mut().insert(REQUEST_ID, id);
        let progress = self.progress.as_ref();
        if progress.is_some_and(|progress| !progress.ended.load(Ordering::Relaxed)) {
            response.extensions_mut().insert(BodyUnread);
        }
        self.response_bytes = response.body().size_hint().exact();
        if self.response_bytes.is_some() {
            // It is in memory, so it does not fail.
            return Ok(response);
        }
        self.count(self.started.elapsed());
        self.response_bytes = Some(0);
        let streamed = |inner| {
            Body::new(Streamed {
                inner,
                record: self,
            })
        };
        Ok(response.map(streamed))
    }

    /// The matched route, never the path: strangers choose paths, and each label costs memory.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("unmatched", MatchedPath::as_str)
    }

    /// Returns how much of the request's body was read.
    fn bytes(&self) -> u64 {
        let progress = self.progress.as_ref();
        progress.map_or(0, |progress| progress.bytes.load(Ordering::Relaxed))
    }

    /// Writes the metrics, once.
    fn count(&mut self, time: Duration) {
        if !mem::replace(&mut self.is_counted, true) {
            let (route, method, status) = (self.route(), self.method, self.status);
            self.metrics.in_flight.dec();
            self.metrics
                .record(route, method, status, time, self.bytes());
        }
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
        let time = self.started.elapsed();
        self.count(time);
        let (method, route, status, bytes) = (self.method, self.route(), self.status, self.bytes());
        let duration_us = time.as_micros() as u64;
        let (span, response_bytes) = (&self.span, self.response_bytes);
        let peer = self.peer.map(|peer| field::display(Peer(peer)));
        let cause = self.cause.as_ref().map(|cause| &*cause.0);
        // A 503 without a cause is a refusal under load or at the end: the limits work.
        if status >= 500 && (status != 503 || cause.is_some()) {
            tracing::error!(
                parent: span, method, route, status, duration_us, bytes, response_bytes, peer, cause, "request"
            );
        } else if status < 400 && PROBES.contains(&route) {
            tracing::debug!(
                parent: span, method, route, status, duration_us, bytes, response_bytes, peer, "request"
            );
        } else {
            tracing::info!(
                parent: span, method, route, status, duration_us, bytes, response_bytes, peer, "request"
            );
        }
    }
}

/// Formats an IPv4 address without the standard library, which takes several times as long.
struct Peer(SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SocketAddr::V4(address) = self.0 else {
            return self.0.fmt(formatter);
        };
        let mut text = *b"255.255.255.255:65535";
        let mut start = write_number(&mut text, address.port().into());
        let octets = address.ip().octets().into_iter().rev();
        for (octet, separator) in octets.zip(*b":...") {
            start -= 1;
            text[start] = separator;
            start = write_number(&mut text[..start], octet.into());
        }
        formatter.write_str(str::from_utf8(&text[start..]).map_err(|_| fmt::Error)?)
    }
}

/// A response body that is made while it is sent, in the span of its request; it records its failure.
struct Streamed {
    inner: Body,
    record: Record,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { inner, record } = &mut *self;
        let _entered = record.span.enter();
        // The error ends the connection, so a body that panicked is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(context)));
        let frame = ready!(polled.unwrap_or_else(|_| {
            record.metrics.panics.inc();
            let error = axum::Error::new("the body panicked");
            Poll::Ready(Some(Err(error)))
        }));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                record.response_bytes = record.response_bytes.map(|sent| sent + bytes);
            }
            Some(Err(error)) => {
                tracing::error!(error = error as &dyn Error, "response body failed");
            }
            None => {}
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
