//! The lab's own relay: SOCKS5 (no authentication) and HTTP CONNECT on one port, for many exit addresses in one
//! process. Each connection leaves from the address it came in on. Bytes are spliced; nothing is read or changed.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::lab::address::{SERVER_NAME, SERVER_V4};

/// Longest CONNECT head that is accepted.
const HEAD_MAX: usize = 4096;

/// Serves the exits listed one a line in `exits` until the process is killed. `ready` is created when all listen.
///
/// # Errors
/// When an address cannot be bound.
pub fn run(exits: &Path, port: u16, ready: &Path) -> Result<()> {
    let text = std::fs::read_to_string(exits).with_context(|| format!("read {}", exits.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut doors = JoinSet::new();
        for line in text.lines() {
            let exit: IpAddr = line.parse().with_context(|| format!("{line} is not an address"))?;
            let listener =
                TcpListener::bind((exit, port)).await.with_context(|| format!("listen on {exit} port {port}"))?;
            doors.spawn(serve(listener, exit));
        }
        std::fs::write(ready, "").context("write the ready file")?;
        while let Some(ended) = doors.join_next().await {
            ended.context("a relay panicked")??;
        }
        Ok(())
    })
}

async fn serve(listener: TcpListener, exit: IpAddr) -> Result<()> {
    loop {
        let (customer, _) = listener.accept().await.context("accept a customer")?;
        tokio::spawn(async move {
            // A failed connection is the customer's loss: he sees the reset.
            let _ = relay(customer, exit).await;
        });
    }
}

async fn relay(mut customer: TcpStream, exit: IpAddr) -> Result<()> {
    customer.set_nodelay(true)?;
    let mut first = [0_u8; 1];
    customer.read_exact(&mut first).await?;
    let socks = first[0] == 5;
    let target =
        if socks { socks_target(&mut customer).await? } else { connect_target(&mut customer, first[0]).await? };
    let socket = if exit.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(exit, 0))?;
    let mut server = socket.connect(target).await?;
    server.set_nodelay(true)?;
    if socks {
        customer.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    } else {
        customer.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    }
    copy_bidirectional(&mut customer, &mut server).await?;
    Ok(())
}

/// RFC 1928, without authentication.
async fn socks_target(customer: &mut TcpStream) -> Result<SocketAddr> {
    let methods = customer.read_u8().await?;
    let mut skipped = vec![0; usize::from(methods)];
    customer.read_exact(&mut skipped).await?;
    customer.write_all(&[5, 0]).await?;
    let mut request = [0_u8; 4];
    customer.read_exact(&mut request).await?;
    let address = match request {
        [5, 1, _, 1] => {
            let mut octets = [0_u8; 4];
            customer.read_exact(&mut octets).await?;
            IpAddr::from(octets)
        }
        [5, 1, _, 3] => {
            let length = customer.read_u8().await?;
            let mut name = vec![0; usize::from(length)];
            customer.read_exact(&mut name).await?;
            resolve(&String::from_utf8_lossy(&name))?
        }
        [5, 1, _, 4] => {
            let mut octets = [0_u8; 16];
            customer.read_exact(&mut octets).await?;
            IpAddr::from(octets)
        }
        other => bail!("not a SOCKS5 connect request: {other:?}"),
    };
    Ok(SocketAddr::new(address, customer.read_u16().await?))
}

/// RFC 9110 section 9.3.6.
async fn connect_target(customer: &mut TcpStream, first: u8) -> Result<SocketAddr> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_MAX {
            bail!("the CONNECT head is longer than {HEAD_MAX} bytes");
        }
        head.push(customer.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let authority = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).context("not a CONNECT")?;
    let (host, port) = authority.rsplit_once(':').context("CONNECT without a port")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(SocketAddr::new(resolve(host)?, port.parse().context("CONNECT with a bad port")?))
}

fn resolve(host: &str) -> Result<IpAddr> {
    if host == SERVER_NAME {
        return Ok(SERVER_V4.into());
    }
    host.parse().with_context(|| format!("cannot resolve {host}"))
}
