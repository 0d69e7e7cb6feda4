//! The metrics port: `/metrics` for Prometheus, `/healthz` for probes. It reads, nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;

use super::Exposition;
use crate::control::listen::{self, Limits};
use crate::exit::{Code, Failure};

/// Without a tick for this long the sensor is not healthy.
const STALE: Duration = Duration::from_secs(10);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Binds the metrics port. Must be called within a tokio runtime.
///
/// # Errors
/// If the address is taken or not this host's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "metrics are readable beyond this host: anyone who reaches the port sees its traffic");
    }
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(
            Code::Runtime,
            format!("metrics port {address}: {error}"),
            "choose another with --metrics ADDRESS:PORT; `ss -ltnp` shows who holds this one",
        )
    })
}

/// Serves the metrics until dropped.
pub async fn serve(listener: TcpListener, exposition: Exposition) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /metrics and /healthz\n") })
        .with_state(exposition);
    listen::serve(listener, router, Limits { connections: 16, ..Limits::default() }).await;
}

async fn metrics(State(exposition): State<Exposition>) -> Response {
    ([(CONTENT_TYPE, OPENMETRICS)], exposition.text()).into_response()
}

#[derive(Serialize)]
struct Health {
    healthy: bool,
    /// Age of the latest tick; `None` before the first.
    last_tick_s: Option<f64>,
}

async fn healthz(State(exposition): State<Exposition>) -> Response {
    let age = exposition.tick_age();
    let healthy = age.is_some_and(|age| age < STALE);
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Health { healthy, last_tick_s: age.map(|age| age.as_secs_f64()) })).into_response()
}
