//! What both servers answer: the same handlers, in the service behind its layers and in the twin behind none.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;

/// A body of two bytes.
pub async fn plain() -> &'static str {
    "ok"
}

/// Reads the body to its end and answers its length.
///
/// # Errors
/// The body ends early.
pub async fn length(mut body: Body) -> Result<String, StatusCode> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(length.to_string())
}
