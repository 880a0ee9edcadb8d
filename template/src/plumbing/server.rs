//! Accepts connections, serves HTTP/1 on them, and ends without losing a request.
//!
//! `axum::serve` would be shorter, but it bounds nothing and closes busy keep-alive connections
//! under their clients when it stops.

use super::shutdown::{Lifecycle, Signals};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tower::Service;

/// Pause after the system has no resources for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long connections are taken in before the listener is closed.
const LAST_CALL: Duration = Duration::from_millis(50);
/// How long a new connection may take to send its first request when the service closes.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// What hyper parses without an allocation for each request.
const HEADERS_ON_STACK: usize = 100;

/// What one connection may take, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections open at once; more wait in the system's queue.
    pub connections: u32,
    /// Header lines of one request.
    pub header_count: usize,
    /// Size of the request line and headers of one request.
    pub header_bytes: usize,
    /// Time to receive them, which includes the time that a connection stands unused.
    pub header_time: Duration,
    /// Time for which a client may take nothing of a response.
    pub write_time: Duration,
    /// Bytes that are read and dropped after a response that did not wait for them.
    pub linger_bytes: u64,
    /// Time spent on that.
    pub linger_time: Duration,
}

/// How long the parts of the end may take.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// For clients to go elsewhere, while they are still served.
    pub grace: Duration,
    /// For open connections to finish after that.
    pub cap: Duration,
}

/// A listener and what it serves.
#[derive(Debug)]
pub struct Endpoint {
    /// Where connections come from.
    pub listener: TcpListener,
    /// What answers their requests.
    pub app: Router,
    /// What they may take.
    pub limits: ConnectionLimits,
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every connection was finished.
    Drained,
    /// Some were not, within the cap.
    Cut,
    /// A second signal came.
    Interrupted,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, not ours or not allowed.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system answered.
        reason: io::Error,
    },
    /// The system refused something else.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A response with this extension was made before its request's body was read to the end.
#[derive(Clone, Copy, Debug)]
pub struct BodyUnread;

/// Listens on `address`.
///
/// # Errors
/// The address and what the system answered.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|reason| StartError::Bind { address, reason })
}

/// Serves `public` and `admin` until a signal comes, and drains `public` then.
///
/// # Errors
/// The system refuses to hand over its signals.
pub async fn run(
    public: Endpoint,
    admin: Endpoint,
    lifecycle: &Lifecycle,
    drain: Drain,
) -> Result<Outcome, StartError> {
    let mut signals = Signals::listen()?;
    let address = public.listener.local_addr()?;
    let admin_address = admin.listener.local_addr()?;
    tracing::info!(%address, %admin_address, "listening");
    let server = Server::start(public, lifecycle.clone());
    // Its own lifecycle, which never ends: the metrics of the drain are worth reading too.
    let _admin = Server::start(admin, Lifecycle::default());

    let signal = signals.next().await;
    lifecycle.drain();
    tracing::info!(signal, "draining");
    let finished = async {
        sleep(drain.grace).await;
        lifecycle.close();
        server.finish(drain.cap).await
    };
    tokio::select! {
        finished = finished => match finished {
            Ok(()) => {
                tracing::info!("drained");
                Ok(Outcome::Drained)
            }
            Err(connections) => {
                tracing::warn!(connections, "drain cap reached");
                Ok(Outcome::Cut)
            }
        },
        signal = signals.next() => {
            tracing::info!(signal, "interrupted");
            Ok(Outcome::Interrupted)
        }
    }
}

/// An endpoint that is being served until its [`Lifecycle`] closes.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    app: Router,
    limits: ConnectionLimits,
    http: http1::Builder,
    lifecycle: Lifecycle,
    /// Each connection holds one, so that those in use tell how many are open.
    slots: Arc<Semaphore>,
}

impl Server {
    /// Starts to accept.
    #[must_use]
    pub fn start(endpoint: Endpoint, lifecycle: Lifecycle) -> Self {
        let Endpoint {
            listener,
            app,
            limits,
        } = endpoint;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_header_size(limits.header_bytes);
        if limits.header_count != HEADERS_ON_STACK {
            http.max_headers(limits.header_count);
        }
        let slots = Arc::new(Semaphore::new(limits.connections as usize));
        let shared = Arc::new(Shared {
            app,
            limits,
            http,
            lifecycle,
            slots,
        });
        let accepting = tokio::spawn(shared.clone().accept_all(listener));
        Self { shared, accepting }
    }

    /// Waits until nothing is accepted and, at most for `cap`, until every connection has ended.
    ///
    /// # Errors
    /// How many connections are still open.
    pub async fn finish(self, cap: Duration) -> Result<(), usize> {
        let Self { shared, accepting } = self;
        let all = shared.limits.connections;
        // This takes no longer than the last call.
        let _ = accepting.await;
        let ended = timeout(cap, shared.slots.acquire_many(all)).await.is_ok();
        if ended {
            Ok(())
        } else {
            Err(all as usize - shared.slots.available_permits())
        }
    }
}

/// A connection, whom it is with, and the place that it holds until it ends.
type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

impl Shared {
    async fn accept_all(self: Arc<Self>, listener: TcpListener) {
        loop {
            tokio::select! {
                () = self.lifecycle.closing() => break,
                accepted = self.accept(&listener) => if let Some(accepted) = accepted {
                    tokio::spawn(self.clone().serve(accepted));
                },
            }
        }
        // Closing a listener resets the connections in its queue, and with them the requests
        // that clients have sent already. So for a moment connections are taken in but not
        // served: clients that wait for an answer open no others, and the queue runs empty.
        let mut held = Vec::new();
        let take_in = async {
            loop {
                held.extend(self.accept(&listener).await);
            }
        };
        let _: Result<(), _> = timeout(LAST_CALL, take_in).await;
        drop(listener);
        for accepted in held {
            tokio::spawn(self.clone().serve(accepted));
        }
    }

    /// The next connection once there is a slot for it, or nothing after a failure.
    async fn accept(&self, listener: &TcpListener) -> Option<Accepted> {
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, peer)) => Some((stream, peer, slot)),
            // The client left while it was in the queue.
            Err(error) if is_of_connection(&error) => None,
            Err(error) => {
                // Out of files or memory: the listener stays ready, so going on would spin.
                tracing::warn!(%error, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    async fn serve(self: Arc<Self>, (stream, peer, _slot): Accepted) {
        // A refusal costs latency, not correctness.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.write_time));
        let (served, unread) = (AtomicBool::new(false), AtomicBool::new(false));
        let service = service_fn(|request: Request<Incoming>| {
            served.store(true, Ordering::Relaxed);
            let answer = self.app.clone().call(request);
            Box::pin(async {
                let mut response = answer.await?;
                self.close_if_needed(&mut response, &unread);
                Ok::<_, Infallible>(response)
            })
        });
        let mut connection = self
            .http
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let result = {
            let mut close = pin!(self.close_time(&served));
            let mut closing = false;
            poll_fn(|context| {
                // First the connection: a request that has arrived is still answered.
                let result = connection.poll_without_shutdown(context);
                if result.is_ready() || closing || close.as_mut().poll(context).is_pending() {
                    return result;
                }
                closing = true;
                Pin::new(&mut connection).graceful_shutdown();
                connection.poll_without_shutdown(context)
            })
            .await
        };
        let mut stream = connection.into_parts().io.into_inner();
        let _ = stream.shutdown().await;
        match result {
            Err(error) if error.is_parse() => linger(&mut stream, &self.limits).await,
            Err(error) => tracing::debug!(%error, %peer, "connection failed"),
            Ok(()) if unread.into_inner() => linger(&mut stream, &self.limits).await,
            Ok(()) => {}
        }
    }

    /// Announces the end of the connection where this response must be its last.
    fn close_if_needed(&self, response: &mut Response, unread: &AtomicBool) {
        if response.extensions().get::<BodyUnread>().is_some() {
            unread.store(true, Ordering::Relaxed);
        } else if !self.lifecycle.is_draining() {
            return;
        }
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }

    /// Waits until a connection must end after its current request.
    async fn close_time(&self, served: &AtomicBool) {
        self.lifecycle.closing().await;
        // hyper closes a connection at once that has not received anything; on one accepted
        // just now the first request may still be on its way.
        if !served.load(Ordering::Relaxed) {
            sleep(FIRST_REQUEST).await;
        }
    }
}

/// Reads on after the response, because closing a connection with unread bytes resets it, and
/// a reset can overtake the response to a client that still sends.
async fn linger(stream: &mut (impl AsyncRead + Unpin), limits: &ConnectionLimits) {
    let mut rest = stream.take(limits.linger_bytes);
    let _ = timeout(
        limits.linger_time,
        tokio::io::copy(&mut rest, &mut tokio::io::sink()),
    )
    .await;
}

fn is_of_connection(error: &io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
