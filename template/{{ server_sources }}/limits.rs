//! Limits for each request, and for all requests together.

use super::Rejection;
use super::metrics::Metrics;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tower::layer::layer_fn;
use tower::{Service, service_fn};

/// Bytes of a frame that are not worth a block of the heap to count them until they are written:
/// the connection holds few frames at once.
const SMALL_FRAME: usize = 1024;

/// Limits of one request, and of all concurrent requests.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Maximum number of concurrent requests; more are rejected, never queued.
    pub concurrency: u32,
    /// Maximum bytes of one body.
    pub body_bytes: u64,
    /// Body bytes of all running requests and of the responses that are being sent, together.
    pub in_flight_bytes: u64,
    /// Maximum time for which a client may pause within a body.
    pub idle_time: Duration,
    /// Maximum time of an entire request.
    pub total_time: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            concurrency: 256,
            body_bytes: 16 << 20,
            in_flight_bytes: 128 << 20,
            idle_time: Duration::from_secs(10),
            total_time: Duration::from_secs(60),
        }
    }
}

/// Admits requests within the limits; clones share the counts.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: RequestLimits,
    running: Arc<Semaphore>,
    free_bytes: AtomicU64,
    takes_encoded: bool,
    metrics: Arc<Metrics>,
}

impl Gate {
    /// Returns a gate without admitted requests.
    ///
    /// It rejects bodies with a `Content-Encoding`, which a handler would not decode.
    #[must_use]
    pub fn new(limits: RequestLimits, metrics: Arc<Metrics>) -> Self {
        Self::build(limits, metrics, false)
    }

    /// Returns a gate for routes with a layer that decodes bodies and limits their decoded size.
    #[must_use]
    pub fn with_encoded_bodies(limits: RequestLimits, metrics: Arc<Metrics>) -> Self {
        Self::build(limits, metrics, true)
    }

    fn build(limits: RequestLimits, metrics: Arc<Metrics>, takes_encoded: bool) -> Self {
        metrics.bytes_limit.inc_by(signed(limits.in_flight_bytes));
        Self(Arc::new(Shared {
            limits,
            running: Arc::new(Semaphore::new(limits.concurrency as usize)),
            free_bytes: AtomicU64::new(limits.in_flight_bytes),
            takes_encoded,
            metrics,
        }))
    }

    /// Admits a request, or returns the limit that rejects it.
    fn enter(&self, mut request: Request) -> Result<(Entry, Request), Rejection> {
        let Ok(running) = self.0.running.clone().try_acquire_owned() else {
            return Err(self.shed("concurrency", Rejection::Busy));
        };
        let mut entry = Entry {
            gate: self.clone(),
            running,
            upload: None,
        };
        let body = request.body();
        if body.is_end_stream() {
            return Ok((entry, request));
        }
        if !self.0.takes_encoded && is_encoded(request.headers()) {
            return Err(Rejection::EncodedBody);
        }
        // A declared length is rejected before the client sends any of the body.
        self.check_length(body.size_hint().lower())?;
        // The limit of the gate replaces the default of axum's extractors, which is 2 MB.
        DefaultBodyLimit::disable().apply(&mut request);
        let upload = Arc::new(Upload {
            share: Share::new(self.clone()),
            waiting: AtomicBool::new(false),
            rejection: OnceLock::new(),
        });
        entry.upload = Some(upload.clone());
        Ok((entry, request.map(|body| limited(body, upload))))
    }

    fn check_length(&self, length: u64) -> Result<(), Rejection> {
        let limit = self.0.limits.body_bytes;
        if length > limit {
            return Err(Rejection::BodyTooLarge { limit });
        }
        Ok(())
    }

    fn shed(&self, reason: &'static str, rejection: Rejection) -> Rejection {
        self.0.metrics.record_shed(reason);
        rejection
    }
}

/// An admitted request whose response is not known yet.
struct Entry {
    gate: Gate,
    running: OwnedSemaphorePermit,
    /// The request body, unless it is empty.
    upload: Option<Arc<Upload>>,
}

impl Entry {
    /// Returns the handler's response, which counts against the limits until it is sent, or the
    /// rejection that replaces it.
    fn leave(self, answer: Result<Response, Elapsed>) -> Response {
        let Ok(response) = answer else {
            return self.too_slow().into_response();
        };
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            // An extractor has no word for a limit, so it reports a malformed body.
            let upload = self.upload.as_ref();
            if let Some(rejection) = upload.and_then(|upload| upload.rejection.get()) {
                return rejection.into_response();
            }
        }
        if response.body().is_end_stream() {
            return response;
        }
        self.hold(response)
    }

    fn too_slow(&self) -> Rejection {
        let upload = self.upload.as_ref();
        if upload.is_some_and(|upload| upload.waiting.load(Ordering::Relaxed)) {
            return Rejection::TooSlow;
        }
        tracing::warn!("handler exceeded the request time");
        Rejection::Late
    }

    fn hold(self, response: Response) -> Response {
        let length = response.body().size_hint().exact();
        // The response takes over the share of the request body, unless it still reads the body.
        let mut share = match self.upload.and_then(Arc::into_inner) {
            Some(upload) => upload.share,
            None => Share::new(self.gate),
        };
        match share.resize(length.unwrap_or(0)) {
            Ok(()) => response.map(|inner| Body::new(Held::new(inner, share, self.running))),
            Err(rejection) => rejection.into_response(),
        }
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Applies the limits of the [`Gate`] to the routes that `router` has so far.
pub fn admitted<S: Clone + Send + Sync + 'static>(router: Router<S>, gate: &Gate) -> Router<S> {
    let gate = gate.clone();
    router.route_layer(layer_fn(move |mut inner: Route| {
        let gate = gate.clone();
        // A function of axum's would cost three more blocks of the heap for each request.
        service_fn(move |request| {
            let total_time = gate.0.limits.total_time;
            let entered = gate.enter(request);
            let running = entered.map(|(entry, request)| (entry, inner.call(request)));
            async move {
                match running {
                    Ok((entry, answer)) => {
                        let answer = timeout(total_time, answer).await;
                        let answer = answer.map(|Ok(response)| response);
                        Ok::<_, Infallible>(entry.leave(answer))
                    }
                    Err(rejection) => Ok(rejection.into_response()),
                }
            }
        })
    }))
}

/// The same for `axum::middleware::from_fn_with_state`, as crates of earlier releases have it.
///
/// # Errors
/// The limit that the request ran into.
pub async fn admit(
    State(gate): State<Gate>,
    request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let (entry, request) = gate.enter(request)?;
    let answer = timeout(gate.0.limits.total_time, next.run(request)).await;
    Ok(entry.leave(answer))
}

/// What is known of a request body, to the body and to the response.
struct Upload {
    share: Share,
    /// Whether the handler waits for the client to send more.
    waiting: AtomicBool,
    /// Why the body ended early.
    rejection: OnceLock<Rejection>,
}

/// Passes `body` on frame by frame, and ends it with a [`Rejection`] at the first limit it meets.
fn limited(body: Body, upload: Arc<Upload>) -> Body {
    Body::from_stream(stream::try_unfold(
        (body, upload),
        |(mut body, upload)| async move {
            match upload.receive(&mut body).await {
                Ok(data) => Ok(data.map(|data| (data, (body, upload)))),
                Err(rejection) => Err(*upload.rejection.get_or_init(|| rejection)),
            }
        },
    ))
}

impl Upload {
    /// Returns the next data of `body`, or nothing at its end.
    async fn receive(&self, body: &mut Body) -> Result<Option<Bytes>, Rejection> {
        let gate = &self.share.gate;
        loop {
            self.waiting.store(true, Ordering::Relaxed);
            let frame = timeout(gate.0.limits.idle_time, body.frame()).await;
            self.waiting.store(false, Ordering::Relaxed);
            let frame = frame.map_err(|_| Rejection::BodyIdle)?.transpose()?;
            // Any other frame is a trailer, which is dropped.
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    let more = data.len() as u64;
                    gate.check_length(self.share.bytes().saturating_add(more))?;
                    self.share.grow(more)?;
                    return Ok(Some(data));
                }
                Some(Err(_)) => {}
                None => return Ok(None),
            }
        }
    }
}

/// A response body that counts against the limits until the connection has passed it on.
///
/// It never says that its last frame was its last: so hyper keeps it until it has passed on all
/// that exceeds its write buffer.
struct Held {
    inner: Body,
    /// The bytes reserved for the frames that are still to be sent.
    share: Share,
    _running: OwnedSemaphorePermit,
}

impl Held {
    fn new(inner: Body, share: Share, running: OwnedSemaphorePermit) -> Self {
        // The record of the request ends with the head of the response.
        share.gate.0.metrics.in_flight.inc();
        Self {
            inner,
            share,
            _running: running,
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, axum::Error> {
        match frame.into_data() {
            Ok(data) => {
                let is_reserved = self.share.bytes() >= data.len() as u64;
                if is_reserved && data.len() <= SMALL_FRAME {
                    return Ok(Frame::data(data));
                }
                let share = self.share.split(data.len() as u64);
                let _share = share.map_err(axum::Error::new)?;
                // The connection may keep a frame for longer than the body.
                Ok(Frame::data(Bytes::from_owner(Passed { data, _share })))
            }
            Err(trailers) => Ok(trailers),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.gate.0.metrics.in_flight.dec();
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| self.pass(frame?)))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Data of a response that the connection has not written yet.
struct Passed {
    data: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Passed {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// Part of the bytes that all requests may hold; given back when dropped.
struct Share {
    gate: Gate,
    bytes: AtomicU64,
}

impl Share {
    fn new(gate: Gate) -> Self {
        let bytes = AtomicU64::new(0);
        Self { gate, bytes }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn grow(&self, more: u64) -> Result<(), Rejection> {
        // The count guards no other memory, so no ordering is needed.
        let free = &self.gate.0.free_bytes;
        free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            free.checked_sub(more)
        })
        .map_err(|_| self.gate.shed("memory", Rejection::MemoryBusy))?;
        self.bytes.fetch_add(more, Ordering::Relaxed);
        self.gate.0.metrics.bytes_in_use.inc_by(signed(more));
        Ok(())
    }

    fn resize(&mut self, bytes: u64) -> Result<(), Rejection> {
        let reserved = *self.bytes.get_mut();
        if bytes > reserved {
            return self.grow(bytes - reserved);
        }
        drop(self.take(reserved - bytes));
        Ok(())
    }

    /// Moves `bytes` to another share, and reserves what is missing.
    fn split(&mut self, bytes: u64) -> Result<Self, Rejection> {
        if bytes > self.bytes() {
            self.resize(bytes)?;
        }
        Ok(self.take(bytes))
    }

    /// Moves `bytes`, which must be reserved, to another share.
    fn take(&mut self, bytes: u64) -> Self {
        *self.bytes.get_mut() -= bytes;
        Self {
            gate: self.gate.clone(),
            bytes: AtomicU64::new(bytes),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let free = &self.gate.0.free_bytes;
        free.fetch_add(self.bytes(), Ordering::Relaxed);
        let in_use = &self.gate.0.metrics.bytes_in_use;
        in_use.dec_by(signed(self.bytes()));
    }
}

/// As a gauge counts.
const fn signed(bytes: u64) -> i64 {
    bytes.cast_signed()
}

/// Runs long computations outside the asynchronous threads, as many at once as there are cores.
#[derive(Clone, Debug)]
pub struct BlockingPool(Arc<Semaphore>);

impl Default for BlockingPool {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(cores)))
    }
}

impl BlockingPool {
    /// Waits for a free core and runs `job` on it; a panic of `job` propagates to the caller.
    ///
    /// # Errors
    /// The runtime is being shut down.
    pub async fn run<T, F>(&self, job: F) -> Result<T, Rejection>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let permit = self
            .0
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Rejection::Draining)?;
        let span = tracing::Span::current();
        let running = tokio::task::spawn_blocking(move || {
            // The job outlives a caller that gives up, so it holds the permit itself.
            let _permit = permit;
            span.in_scope(job)
        });
        running.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Rejection::Draining,
        })
    }
}
