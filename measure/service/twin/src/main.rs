//! The handlers of the service on axum alone: without limits, a log of requests, metrics, or a drain.

mod handlers;

use axum::Router;
use axum::routing::{get, post};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .init();
    let app = Router::new()
        .route("/plain", get(handlers::plain))
        .route("/length", post(handlers::length));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
