//! The client of the control socket: one connection, one request, one answer.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Method;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::protocol::{Refusal, Request, VERSION, Versioned};
use super::route;

/// Time for the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of an answer: the largest list of sources stays well below.
const ANSWER_BYTES: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// Nobody answers on the socket.
    Unreachable(io::Error),
    /// The socket is there, but this user may not use it.
    Denied(io::Error),
    /// The daemon said no.
    Refused(Refusal),
    /// What came back is no answer: another version, or no sensor at all.
    Strange(String),
}

/// Asks the daemon behind a socket.
///
/// # Errors
/// See [`CallError`].
pub async fn call(socket: &Path, request: &Request) -> Result<Versioned, CallError> {
    tokio::time::timeout(TIMEOUT, exchange(socket, request))
        .await
        .unwrap_or_else(|_| Err(CallError::Strange(format!("no answer within {} s", TIMEOUT.as_secs()))))
}

async fn exchange(socket: &Path, request: &Request) -> Result<Versioned, CallError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        if denied { CallError::Denied(error) } else { CallError::Unreachable(error) }
    })?;
    let strange = |error: hyper::Error| CallError::Strange(format!("it does not speak HTTP: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(strange)?;
    let route::Call { target, body } = route::call(request);
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let sent = hyper::Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, "sensor")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .expect("paths are fixed and queries are encoded");
    // The connection is driven beside the exchange and ends with it.
    let driver = tokio::spawn(connection);
    let answered = async {
        let response = sender.send_request(sent).await.map_err(strange)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
        let bytes = body.map_err(|error| CallError::Strange(format!("its answer broke off: {error}")))?.to_bytes();
        if status.is_success() { read_answer(&bytes) } else { Err(read_refusal(status.as_u16(), &bytes)) }
    }
    .await;
    driver.abort();
    answered
}

fn read_answer(bytes: &[u8]) -> Result<Versioned, CallError> {
    #[derive(serde::Deserialize)]
    struct Head {
        version: u32,
    }
    let unread = |error: serde_json::Error| CallError::Strange(format!("its answer cannot be read: {error}"));
    let Head { version } = serde_json::from_slice(bytes).map_err(unread)?;
    if version != VERSION {
        return Err(CallError::Strange(format!("it answers in version {version}, this command reads {VERSION}")));
    }
    serde_json::from_slice(bytes).map_err(unread)
}

fn read_refusal(status: u16, bytes: &[u8]) -> CallError {
    match serde_json::from_slice(bytes) {
        Ok(refusal) => CallError::Refused(refusal),
        Err(_) => CallError::Strange(format!("it answers with HTTP status {status}")),
    }
}
