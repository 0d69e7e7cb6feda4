//! Serving HTTP/1 with every resource bounded: connections, head bytes, time to send a head, time to answer.
//!
//! Shared by the control socket and the metrics port. It knows nothing of what is served.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::protocol::Refusal;

/// What one listener grants its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; further ones wait in the listener's queue.
    pub connections: usize,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Time to send a request head, also between two requests of one connection.
    pub head_timeout: Duration,
    /// Time from the head's end to the answer, a slow body included.
    pub answer_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head_bytes: 16 * 1024,
            head_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(15),
        }
    }
}

/// Serves until dropped; connections end with it.
pub async fn serve<L: Listener>(mut listener: L, router: Router, limits: Limits) {
    let router = router.layer(middleware::from_fn(move |request, next| answer_in_time(limits, request, next)));
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let (io, _) = listener.accept().await;
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head_timeout)
                .max_buf_size(limits.head_bytes)
                .serve_connection(TokioIo::new(io), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "connection ended early");
            }
            drop(slot);
        });
    }
}

async fn answer_in_time(limits: Limits, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limits.answer_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let refusal = Refusal::new(
                "failed",
                format!("no answer within {} s", limits.answer_timeout.as_secs()),
                "try again; if it stays so, look at the daemon's log",
            );
            (StatusCode::REQUEST_TIMEOUT, axum::Json(refusal)).into_response()
        }
    }
}
