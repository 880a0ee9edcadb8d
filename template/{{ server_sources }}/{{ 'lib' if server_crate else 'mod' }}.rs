//! An HTTP/1 server for axum routers: bounded connections and requests, a graceful shutdown, metrics
//! and a JSON log.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod connections;
pub mod extract;
mod health;
mod json;
pub mod limits;
pub mod metrics;
mod process;
mod record;
pub mod server;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub use self::health::check_health;
pub use self::limits::{Gate, RequestLimits};
pub use self::metrics::Metrics;
pub use self::server::{ConnectionLimits, Drain, Endpoint, Outcome, Server, StartError, bind, run};
pub use self::shutdown::Lifecycle;
pub use prometheus_client;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use axum::{Extension, Router};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why the server rejects a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// No route has this path.
    #[error("no route has this path")]
    NotFound,
    /// The route has no such method.
    #[error("the method is not allowed for this path; see the Allow header")]
    MethodNotAllowed,
    /// The `Host` header is malformed or missing, or there are several.
    #[error("the request must have one well-formed Host header")]
    BadHost,
    /// The `Transfer-Encoding` is not `chunked` alone.
    #[error("the only supported Transfer-Encoding is chunked")]
    TransferCoding,
    /// The body has a `Content-Encoding`, such as gzip.
    #[error("a request body must have no Content-Encoding")]
    EncodedBody,
    /// The body ended early or is not framed as HTTP wants it.
    #[error("the body could not be read to its end")]
    BrokenBody,
    /// The body is larger than one may be.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit that was set.
        limit: u64,
    },
    /// The client paused for too long within the body.
    #[error("the client sent no data of the body for too long")]
    BodyIdle,
    /// The client took too long to send the request.
    #[error("the request took too long")]
    TooSlow,
    /// The service took too long to respond to a request that has arrived.
    #[error("the service took too long to respond; try again")]
    Late,
    /// Enough requests run already.
    #[error("too many requests are running; try again")]
    Busy,
    /// The running requests hold enough body bytes already.
    #[error("the requests in progress use too much memory; try again")]
    MemoryBusy,
    /// The service is about to stop.
    #[error("the service is stopping; try another instance")]
    Draining,
    /// The service has a bug or an internal failure, such as a panic.
    #[error("the request failed with an internal error of the service")]
    Fault,
}

impl Rejection {
    fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::BadHost => (StatusCode::BAD_REQUEST, "bad_host"),
            Self::TransferCoding => (StatusCode::NOT_IMPLEMENTED, "transfer_coding"),
            Self::EncodedBody => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded_body"),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "broken_body"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BodyIdle => (StatusCode::REQUEST_TIMEOUT, "body_idle"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::Late => (StatusCode::SERVICE_UNAVAILABLE, "too_slow"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::MemoryBusy => (StatusCode::SERVICE_UNAVAILABLE, "memory_busy"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::Fault => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl From<axum::Error> for Rejection {
    /// Finds the rejection that a limited body gave; any other failure is the transport's.
    fn from(error: axum::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if let Some(rejection) = error.downcast_ref() {
                return *rejection;
            }
            cause = error.source();
        }
        Self::BrokenBody
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let mut response = error_response(status, code, &self.to_string(), None);
        let advice = match status {
            StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, "1"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (header::ACCEPT_ENCODING, "identity"),
            _ => return response,
        };
        let value = HeaderValue::from_static(advice.1);
        response.headers_mut().insert(advice.0, value);
        response
    }
}

/// Why a response is a 5xx, for the log alone: `(Cause::of(&error), Rejection::Fault)` is a response.
#[derive(Clone, Debug)]
pub struct Cause(Arc<str>);

impl Cause {
    /// The texts of `error` and of its sources.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        Self(Chain(error).to_string().into())
    }
}

impl IntoResponseParts for Cause {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Writes an error and its sources in one line.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let source = error.to_string();
            // Many errors end with the text of their source.
            if !text.ends_with(&source) {
                text.push_str(": ");
                text.push_str(&source);
            }
            cause = error.source();
        }
        formatter.write_str(&text)
    }
}

/// What an error response contains: the record of the request adds its id.
#[derive(Clone)]
struct ErrorObject(Value);

/// The one shape of every error: `{"error":{"code":"...","message":"...","line":12,"request_id":"..."}}`.
#[must_use]
pub fn error_response(
    status: StatusCode,
    code: &'static str,
    message: &str,
    line: Option<u64>,
) -> Response {
    let mut error = json!({ "code": code, "message": message });
    if let Some(line) = line {
        error["line"] = line.into();
    }
    let body = json!({ "error": error }).to_string();
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, Extension(ErrorObject(error)), body).into_response()
}

/// Adds the id to a response of [`error_response`].
fn add_request_id(response: &mut Response, id: &HeaderValue) {
    let error = response.extensions_mut().remove();
    // A layer may have compressed the body.
    let is_plain = !response.headers().contains_key(header::CONTENT_ENCODING);
    if let Some(ErrorObject(mut error)) = error.filter(|_| is_plain) {
        error["request_id"] = id.to_str().ok().into();
        let body = json!({ "error": error }).to_string();
        let length = HeaderValue::from(body.len());
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
        *response.body_mut() = body.into();
    }
}

/// Answers unknown paths, and unknown methods of the routes so far, with the common error.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async { Rejection::NotFound })
        .method_not_allowed_fallback(|| async { Rejection::MethodNotAllowed })
}
