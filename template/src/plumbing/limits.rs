//! Bounds on what requests may take, alone and together.

use super::Rejection;
use super::metrics::Metrics;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Frame;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tower::layer::layer_fn;
use tower::{Service, service_fn};

/// What one request may take, and all that run at once.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// How many run at once; more are refused, never queued.
    pub concurrency: u32,
    /// Bytes of one body.
    pub body_bytes: u64,
    /// Body bytes of all running requests together.
    pub in_flight_bytes: u64,
    /// How long a client may pause within a body.
    pub idle_time: Duration,
    /// How long a request may take as a whole.
    pub total_time: Duration,
}

/// Decides which requests run; clones share the counts.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: RequestLimits,
    running: Arc<Semaphore>,
    free_bytes: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Gate {
    /// A gate that nothing has passed yet.
    #[must_use]
    pub fn new(limits: RequestLimits, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared {
            limits,
            running: Arc::new(Semaphore::new(limits.concurrency as usize)),
            free_bytes: AtomicU64::new(limits.in_flight_bytes),
            metrics,
        }))
    }

    /// Takes a request in as long as what it gives is held, or names the limit it ran into.
    fn enter(&self, request: Request) -> Result<(OwnedSemaphorePermit, Request), Rejection> {
        let Ok(running) = self.0.running.clone().try_acquire_owned() else {
            return Err(self.shed("concurrency", Rejection::Busy));
        };
        if request.body().is_end_stream() {
            return Ok((running, request));
        }
        // A declared length is refused or reserved before the client sends any of it.
        let mut share = Share {
            gate: self.clone(),
            received: 0,
            reserved: 0,
        };
        share.reserve(request.body().size_hint().lower())?;
        Ok((running, request.map(|body| limited(body, share))))
    }

    fn shed(&self, reason: &'static str, rejection: Rejection) -> Rejection {
        self.0.metrics.record_shed(reason);
        rejection
    }
}

/// Holds the requests to the routes so far to the limits of the [`Gate`].
pub fn admitted<S: Clone + Send + Sync + 'static>(router: Router<S>, gate: &Gate) -> Router<S> {
    let gate = gate.clone();
    router.route_layer(layer_fn(move |mut inner: Route| {
        let gate = gate.clone();
        // A function of axum's would cost three more blocks of the heap for each request.
        service_fn(move |request| {
            let total_time = gate.0.limits.total_time;
            let entered = gate.enter(request);
            let running = entered.map(|(running, request)| (running, inner.call(request)));
            async move {
                match running {
                    Ok((_running, answer)) => timeout(total_time, answer)
                        .await
                        .unwrap_or_else(|_| Ok(Rejection::TooSlow.into_response())),
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
    let (_running, request) = gate.enter(request)?;
    timeout(gate.0.limits.total_time, next.run(request))
        .await
        .map_err(|_| Rejection::TooSlow)
}

/// Passes `body` on frame by frame, and ends it with a [`Rejection`] at the first limit it meets.
fn limited(body: Body, share: Share) -> Body {
    let idle_time = share.gate.0.limits.idle_time;
    Body::from_stream(stream::try_unfold(
        (body, share),
        move |(mut body, mut share)| async move {
            loop {
                let frame = timeout(idle_time, body.frame())
                    .await
                    .map_err(|_| Rejection::BodyIdle)?;
                // What is not data is a trailer, and no limit lets it through.
                match frame.transpose()?.map(Frame::into_data) {
                    Some(Ok(data)) => {
                        share.receive(&data)?;
                        return Ok::<_, Rejection>(Some((data, (body, share))));
                    }
                    Some(Err(_)) => {}
                    None => return Ok(None),
                }
            }
        },
    ))
}

/// What one body has taken of the bytes that all may hold; given back when dropped.
struct Share {
    gate: Gate,
    received: u64,
    reserved: u64,
}

impl Share {
    fn receive(&mut self, data: &Bytes) -> Result<(), Rejection> {
        self.received = self.received.saturating_add(data.len() as u64);
        self.reserve(self.received)
    }

    fn reserve(&mut self, total: u64) -> Result<(), Rejection> {
        let limit = self.gate.0.limits.body_bytes;
        if total > limit {
            return Err(Rejection::BodyTooLarge { limit });
        }
        let more = total.saturating_sub(self.reserved);
        // The count guards no other memory, so no ordering is needed.
        let free = &self.gate.0.free_bytes;
        free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            free.checked_sub(more)
        })
        .map_err(|_| self.gate.shed("memory", Rejection::MemoryBusy))?;
        self.reserved += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gate
            .0
            .free_bytes
            .fetch_add(self.reserved, Ordering::Relaxed);
    }
}

/// Runs long computations beside the asynchronous threads, as many at once as there are cores.
#[derive(Clone, Debug)]
pub struct BlockingPool(Arc<Semaphore>);

impl Default for BlockingPool {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(cores)))
    }
}

impl BlockingPool {
    /// Waits for a free core and runs `job` on it; a panic of `job` goes on in the caller.
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
