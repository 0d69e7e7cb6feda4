//! The model server: a streaming OpenAI-style API over TLS (HTTP/1.1 and h2 by ALPN) and over plaintext, on IPv4 and
//! IPv6. Pauses like a prefill, then sends tokens at a pace. Logs each request with the label in the body's `user`
//! field, so that the lab knows whom it served; the sensor never sees labels of encrypted requests and reads none.

pub mod api;
pub(crate) mod certificate;
mod log;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::lab::address::{PLAIN_PORT, SERVER_V4, SERVER_V6, TLS_PORT};
use api::{Pace, Peer};
use log::RequestLog;

/// Where the server listens and what it writes.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Addresses to listen on.
    pub addresses: Vec<IpAddr>,
    /// Folder for `ca.pem` and `requests.jsonl`.
    pub dir: PathBuf,
    /// Milliseconds before the first token and between tokens.
    pub pace: Pace,
}

impl Serve {
    /// The lab's own server.
    pub fn in_lab(dir: &Path, pace: Pace) -> Self {
        Self { addresses: vec![SERVER_V4.into(), SERVER_V6.into()], dir: dir.to_owned(), pace }
    }
}

/// File with the authority's certificate in the server's folder. It appears when the server listens.
pub fn authority_file(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// File with one JSON line for each answered request.
pub fn request_log_file(dir: &Path) -> PathBuf {
    dir.join("requests.jsonl")
}

/// Serves until the process is killed.
///
/// # Errors
/// When an address cannot be bound or a file not be written.
pub fn serve(options: &Serve) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(options))
}

async fn run(options: &Serve) -> Result<()> {
    let chain = certificate::issue(&options.addresses)?;
    let acceptor = TlsAcceptor::from(Arc::new(chain.server_config()?));
    let router = api::router(options.pace, RequestLog::open(&request_log_file(&options.dir))?);
    let mut doors = JoinSet::new();
    for address in &options.addresses {
        let tls = listen(SocketAddr::new(*address, TLS_PORT))?;
        doors.spawn(accept(tls, router.clone(), Some(acceptor.clone())));
        let plain = listen(SocketAddr::new(*address, PLAIN_PORT))?;
        doors.spawn(accept(plain, router.clone(), None));
    }
    // Written last and in one step: clients wait for this file before they connect.
    let file = authority_file(&options.dir);
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, &chain.authority_pem).context("write the authority's certificate")?;
    std::fs::rename(&fresh, &file).context("publish the authority's certificate")?;
    while let Some(ended) = doors.join_next().await {
        ended.context("a listener panicked")??;
    }
    Ok(())
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("listen on {address}"))?;
    socket.listen(1024).with_context(|| format!("listen on {address}"))
}

async fn accept(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>) -> Result<()> {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The client was gone before we looked.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error).context("accept a connection"),
        };
        let router = router.clone().layer(Extension(Peer { from, encrypted: tls.is_some() }));
        let tls = tls.clone();
        tokio::spawn(async move {
            // Broken connections are the client's business; what was served is in the log.
            let _ = answer(stream, router, tls).await;
        });
    }
}

async fn answer(stream: TcpStream, router: Router, tls: Option<TlsAcceptor>) -> Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        Some(acceptor) => converse(acceptor.accept(stream).await?, router).await,
        None => converse(stream, router).await,
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) -> Result<()> {
    Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))
}
