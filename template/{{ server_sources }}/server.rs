//! Accepts connections, serves HTTP/1 on them, and shuts down without losing a request.
//!
//! `axum::serve` would be shorter, but it has no limits, and at shutdown it closes keep-alive
//! connections that clients are using.

use super::connections::{Connection, Connections};
use super::metrics::CONNECTIONS;
use super::shutdown::{Lifecycle, Signals};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error as _;
use std::fs;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tower::Service;

/// Time in which a second signal counts as the first one: `timeout` sends SIGTERM to the process and
/// once more to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(100);
/// The minimum time between the signal and the closing of connections that are idle: less loses requests
/// that are on their way.
const LEAST_GRACE: Duration = Duration::from_millis(100);
/// Connections of the admin endpoint.
const ADMIN_CONNECTIONS: u32 = 16;
/// Open files that are no connections of clients: listeners, the log, what handlers open.
const OTHER_FILES: u32 = 64;
/// Pause after the system has no resources for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long connections are taken in before the listener is closed.
const LAST_CALL: Duration = Duration::from_millis(50);
/// How long a new connection may take to send its first request when the service closes.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// Size of the send buffer of a connection; Linux doubles it.
///
/// A third of the buffer must drain before a write makes progress. The default of the system grows
/// to megabytes, for which a slow but steady client needs longer than the write time.
const SEND_BUFFER: u32 = 128 * 1024;
/// Connections that may wait in the system's queue to be accepted; the system may allow fewer.
const BACKLOG: u32 = 1024;
/// Tells a client of HTTP/2 to use HTTP/1.1: empty SETTINGS, and GOAWAY with the error HTTP_1_1_REQUIRED.
const HTTP2_REFUSAL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d";
/// What hyper parses without an allocation for each request.
const HEADERS_ON_STACK: usize = 100;

/// Limits of a connection, and of their number.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Maximum number of open connections; another one waits until an idle one is closed.
    pub connections: u32,
    /// Maximum number of headers of a request.
    pub header_count: usize,
    /// Maximum size of the request line and headers of a request.
    pub header_bytes: usize,
    /// Maximum time to receive the headers, which includes the time that a connection is idle.
    pub header_time: Duration,
    /// Maximum time for which a client may receive nothing of a response.
    pub write_time: Duration,
    /// Maximum bytes of a body that are read and discarded after an early response.
    pub linger_bytes: u64,
    /// Maximum time for that.
    pub linger_time: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            // A limit of 1024 open files, which many systems have, leaves room for the rest.
            connections: 896,
            header_count: HEADERS_ON_STACK,
            header_bytes: 32 << 10,
            header_time: Duration::from_secs(75),
            write_time: Duration::from_secs(10),
            linger_bytes: 16 << 20,
            linger_time: Duration::from_secs(5),
        }
    }
}

/// Times of a graceful shutdown.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Drain {
    /// Time in which clients learn of the shutdown, while they are still served.
    pub grace: Duration,
    /// Maximum time for open connections to finish after that.
    pub cap: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(2),
            cap: Duration::from_secs(25),
        }
    }
}

/// A listener and what it serves.
#[derive(Debug)]
pub struct Endpoint {
    /// The listener of the connections.
    pub listener: TcpListener,
    /// The router that handles their requests.
    pub app: Router,
    /// The limits of the connections.
    pub limits: ConnectionLimits,
}

/// How the graceful shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every connection was finished.
    Drained,
    /// Some connections were not finished within the cap.
    Cut,
    /// A second signal ended the shutdown early.
    Interrupted,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is in use, not of this machine, or not allowed.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// The requested address.
        address: SocketAddr,
        /// The error of the system.
        reason: io::Error,
    },
    /// Another system call failed.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A response with this extension was made before its request's body was read to the end.
#[derive(Clone, Copy, Debug)]
pub struct BodyUnread;

/// A request with this extension has no `Host`, though it must have one.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostMissing;

/// Listens on `address`.
///
/// # Errors
/// The address, with the error of the system.
pub fn bind(address: SocketAddr) -> Ready<Result<TcpListener, StartError>> {
    // Callers of earlier releases await it.
    ready(listen(address).map_err(|reason| StartError::Bind { address, reason }))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart need not wait for connections of the last process; Windows never does.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `public` and `admin` until a signal arrives, then shuts `public` down gracefully.
///
/// # Errors
/// The signal handlers cannot be installed.
pub async fn run(
    mut public: Endpoint,
    mut admin: Endpoint,
    lifecycle: &Lifecycle,
    drain: Drain,
) -> Result<Outcome, StartError> {
    let mut signals = Signals::listen()?;
    let address = public.listener.local_addr()?;
    let admin_address = admin.listener.local_addr()?;
    share_files(&mut public.limits, &mut admin.limits);
    tracing::info!(%address, %admin_address, "listening");
    let server = Server::start_as("public", public, lifecycle.clone(), true);
    // Its own lifecycle, which never ends: the metrics of the drain are worth reading too.
    let _admin = Server::start_as("admin", admin, Lifecycle::default(), true);

    let signal = signals.next().await;
    lifecycle.drain();
    CONNECTIONS.draining.set(1);
    tracing::info!(signal, "draining");
    let again = Instant::now() + SAME_SIGNAL;
    let finished = async {
        sleep(drain.grace.max(LEAST_GRACE)).await;
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
        signal = signals.next_after(again) => {
            tracing::info!(signal, "interrupted");
            Ok(Outcome::Interrupted)
        }
    }
}

/// Leaves files of the process for the admin endpoint and for everything but connections.
fn share_files(public: &mut ConnectionLimits, admin: &mut ConnectionLimits) {
    admin.connections = admin.connections.min(ADMIN_CONNECTIONS);
    let Some(open_files) = open_files() else {
        return;
    };
    let left = open_files.saturating_sub(admin.connections + OTHER_FILES);
    let (connections, reduced_to) = (public.connections, left.max(1));
    if connections > reduced_to {
        tracing::warn!(
            connections,
            open_files,
            reduced_to,
            "--connections is above what the limit of open files leaves; raise `ulimit -n`"
        );
        public.connections = reduced_to;
    }
}

/// Returns how many files the process may have open, where the system tells it as Linux does.
pub(super) fn open_files() -> Option<u32> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let values = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    values.split_whitespace().next()?.parse().ok()
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
    connections: Connections,
    requires_host: bool,
}

impl Server {
    /// Starts to accept; other than [`run`], also requests without a `Host`, as tests send them.
    #[must_use]
    pub fn start(endpoint: Endpoint, lifecycle: Lifecycle) -> Self {
        Self::start_as("public", endpoint, lifecycle, false)
    }

    fn start_as(
        name: &'static str,
        endpoint: Endpoint,
        lifecycle: Lifecycle,
        requires_host: bool,
    ) -> Self {
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
        let connections = Connections::new(name, limits.connections);
        let shared = Arc::new(Shared {
            app,
            limits,
            http,
            lifecycle,
            connections,
            requires_host,
        });
        let accepting = tokio::spawn(Arc::clone(&shared).accept_all(listener));
        Self { shared, accepting }
    }

    /// Waits until nothing is accepted and, at most for `cap`, until every connection has ended.
    ///
    /// # Errors
    /// How many connections are still open.
    pub async fn finish(self, cap: Duration) -> Result<(), usize> {
        let Self { shared, accepting } = self;
        // This takes no longer than the last call.
        let _ = accepting.await;
        shared.connections.finish(cap).await
    }
}

/// A stream, its peer, and its place among the connections.
type Accepted = (TcpStream, SocketAddr, Connection);

/// A listener, and the connection that was taken from it but has no slot yet.
struct Queue {
    listener: TcpListener,
    next: Option<(TcpStream, SocketAddr)>,
}

impl Shared {
    async fn accept_all(self: Arc<Self>, listener: TcpListener) {
        let next = None;
        let mut queue = Queue { listener, next };
        loop {
            tokio::select! {
                () = self.lifecycle.closing() => break,
                accepted = self.accept(&mut queue) => if let Some(accepted) = accepted {
                    tokio::spawn(Arc::clone(&self).serve(accepted));
                },
            }
        }
        // Closing a listener resets the connections in its queue, and with them the requests
        // that clients have sent already. So for a moment connections are taken in but not
        // served: clients that wait for an answer open no others, and the queue runs empty.
        let mut held = Vec::new();
        let take_in = async {
            loop {
                held.extend(self.accept(&mut queue).await);
            }
        };
        let _: Result<(), _> = timeout(LAST_CALL, take_in).await;
        drop(queue);
        for accepted in held {
            tokio::spawn(Arc::clone(&self).serve(accepted));
        }
    }

    /// Returns the next connection once there is a slot for it, or nothing after a failure.
    ///
    /// A caller that stops waiting loses no connection: `queue` keeps it.
    async fn accept(&self, queue: &mut Queue) -> Option<Accepted> {
        if queue.next.is_none() {
            queue.next = Some(take(&queue.listener).await?);
        }
        // Only now, so that an idle connection is closed only if another one waits.
        let slot = self.connections.slot().await?;
        let (stream, peer) = queue.next.take()?;
        Some((stream, peer, self.connections.open(slot)))
    }

    async fn serve(self: Arc<Self>, (stream, peer, open): Accepted) {
        // A refusal costs latency, not correctness.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.write_time));
        let sent = Sent::default();
        let service = service_fn(|mut request: Request<Incoming>| {
            // For handlers as `Extension<SocketAddr>`, and for the log.
            request.extensions_mut().insert(peer);
            if self.requires_host
                && request.version() != Version::HTTP_10
                && !request.headers().contains_key(header::HOST)
            {
                request.extensions_mut().insert(HostMissing);
            }
            open.begin_request();
            sent.responding.store(false, Ordering::Relaxed);
            let answer = self.app.clone().call(request);
            Box::pin(async {
                let mut response = answer.await?;
                open.end_request();
                self.close_if_needed(&mut response, &sent);
                Ok::<_, Infallible>(response)
            })
        });
        let mut connection = self
            .http
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let result = self.drive(&mut connection, &open).await;
        let parts = connection.into_parts();
        let mut stream = parts.io.into_inner();
        if result
            .as_ref()
            .is_err_and(hyper::Error::is_parse_version_h2)
        {
            let _ = stream.write_all(HTTP2_REFUSAL).await;
        }
        let _ = stream.shutdown().await;
        let lingers = match result {
            Ok(()) => sent.unread.into_inner(),
            Err(error) => {
                let has_head = !parts.read_buf.is_empty();
                report(&error, peer, has_head, sent.responding.into_inner());
                error.is_parse()
            }
        };
        if lingers {
            linger(&mut stream, &self.limits).await;
        }
    }

    /// Serves requests until the connection ends or has to.
    async fn drive(
        &self,
        connection: &mut http1::Connection<
            Io,
            impl HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Unpin> + Unpin,
        >,
        open: &Connection,
    ) -> hyper::Result<()> {
        let mut close = pin!(self.close_time(open));
        let mut closing = false;
        poll_fn(|context| {
            // First the connection: a request that has arrived is still answered.
            let result = connection.poll_without_shutdown(context);
            if result.is_ready() || closing || close.as_mut().poll(context).is_pending() {
                return result;
            }
            if open.is_spare() && !open.has_served() {
                // hyper would wait for the end of a head that has begun.
                return Poll::Ready(Ok(()));
            }
            closing = true;
            Pin::new(&mut *connection).graceful_shutdown();
            connection.poll_without_shutdown(context)
        })
        .await
    }

    /// Announces the end of the connection where this response must be its last.
    fn close_if_needed(&self, response: &mut Response, sent: &Sent) {
        let unread = response.extensions().get::<BodyUnread>().is_some();
        sent.unread.store(unread, Ordering::Relaxed);
        // A client that has not sent its request to the end may leave.
        sent.responding.store(!unread, Ordering::Relaxed);
        if unread || self.lifecycle.is_draining() {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Waits until a connection must end after its current request.
    async fn close_time(&self, open: &Connection) {
        tokio::select! {
            () = open.spare() => return,
            () = self.lifecycle.closing() => {}
        }
        // hyper closes a connection at once that has not received anything; on one accepted
        // just now the first request may still be on its way.
        if !open.has_served() {
            sleep(FIRST_REQUEST).await;
        }
    }
}

/// The next connection, or nothing after a failure.
async fn take(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        // The client left while it was in the queue.
        Err(error) if is_of_connection(&error) => None,
        Err(error) => {
            // Out of files or memory: the listener stays ready, so going on would spin.
            CONNECTIONS.record_accept_failure();
            tracing::warn!(%error, "cannot accept");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// What hyper reads from and writes to.
type Io = TokioIo<Pin<Box<TimeoutStream<TcpStream>>>>;

/// What is known of the last response of a connection.
#[derive(Debug, Default)]
struct Sent {
    /// It does not wait for the end of its request's body.
    unread: AtomicBool,
    /// It has begun, and the client waits for its end.
    responding: AtomicBool,
}

/// Records a connection that failed.
fn report(error: &hyper::Error, peer: SocketAddr, has_head: bool, responding: bool) {
    let cause = error.source().map(tracing::field::display);
    if let Some(reason) = refusal(error, has_head) {
        CONNECTIONS.record_error(reason);
        tracing::info!(%error, cause, %peer, reason, "request refused");
    } else if responding && !has_head && !error.is_timeout() {
        CONNECTIONS.record_aborted();
        tracing::warn!(%error, cause, %peer, "response aborted");
    } else {
        tracing::debug!(%error, cause, %peer, "connection failed");
    }
}

/// Returns why hyper refused a request, if it did.
fn refusal(error: &hyper::Error, has_head: bool) -> Option<&'static str> {
    match error {
        _ if error.is_parse_too_large() => Some("head_too_large"),
        _ if error.is_parse_version_h2() => Some("http2"),
        _ if error.is_parse() => Some("malformed"),
        // Without a part of a head the connection was idle.
        _ if error.is_timeout() && has_head => Some("head_too_slow"),
        _ => None,
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
