//! Clients that keep their connections: real TCP through the lab, real requests, every answer read.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sensor_common::address::Address;
use sensor_common::connection::ConnectionKey;
use tokio::net::TcpSocket;

use crate::lab::address::{PLAIN_PORT, SERVER_V4, SERVER_V6, user, user_v6};
use crate::lab::{Lab, Role};

/// What nginx answers ends with this.
const END: &[u8] = b"served\n";
const REQUEST: &[u8] = b"GET /crowd HTTP/1.1\r\nHost: model.lab\r\n\r\n";
/// How long an answer may take: a lost frame is sent again within less.
const PATIENCE: Duration = Duration::from_secs(30);

/// Open connections to nginx.
#[derive(Debug)]
pub struct Crowd {
    streams: Vec<TcpStream>,
    rounds: u64,
}

impl Crowd {
    /// Opens so many connections from the lab's users, IPv4 and IPv6 in turn.
    ///
    /// # Errors
    /// When the server does not take one.
    pub fn connect(lab: &Lab, connections: usize) -> Result<Self> {
        let plan = lab.plan();
        let clients: Vec<IpAddr> =
            (0..plan.users).map(|n| user(n).into()).chain((0..plan.users_v6).map(|n| user_v6(n).into())).collect();
        let open = || -> Result<Vec<TcpStream>> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut streams = Vec::with_capacity(connections);
                for client in clients.iter().cycle().take(connections) {
                    streams.push(connect(*client).await.with_context(|| format!("connect from {client}"))?);
                }
                Ok(streams)
            })
        };
        Ok(Self { streams: lab.space(Role::Users).run(open)?, rounds: 0 })
    }

    /// One request on each connection; all of them are under way at once.
    ///
    /// # Errors
    /// When a connection is lost, or an answer does not come.
    pub fn round(&mut self) -> Result<()> {
        for stream in &mut self.streams {
            stream.write_all(REQUEST).context("send a request")?;
        }
        for stream in &mut self.streams {
            answer(stream).with_context(|| format!("the answer to {:?}", stream.local_addr()))?;
        }
        self.rounds += 1;
        Ok(())
    }

    /// Requests sent on each connection so far.
    #[must_use]
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Every connection, as the sensor names it.
    ///
    /// # Errors
    /// When the kernel does not tell an address.
    pub fn keys(&self) -> Result<Vec<ConnectionKey>> {
        let key = |stream: &TcpStream| -> Result<ConnectionKey> {
            let (client, server) = (stream.local_addr()?, stream.peer_addr()?);
            Ok(ConnectionKey {
                client: Address::from(client.ip()),
                server: Address::from(server.ip()),
                client_port: client.port(),
                server_port: server.port(),
            })
        };
        self.streams.iter().map(key).collect()
    }

    /// Connections of each source.
    ///
    /// # Errors
    /// As [`Crowd::keys`].
    pub fn sources(&self) -> Result<BTreeMap<Address, u64>> {
        let mut sources = BTreeMap::new();
        for key in self.keys()? {
            *sources.entry(key.client.source()).or_default() += 1;
        }
        Ok(sources)
    }
}

async fn connect(client: IpAddr) -> Result<TcpStream> {
    let (socket, server): (_, IpAddr) = match client {
        IpAddr::V4(_) => (TcpSocket::new_v4()?, SERVER_V4.into()),
        IpAddr::V6(_) => (TcpSocket::new_v6()?, SERVER_V6.into()),
    };
    socket.bind(SocketAddr::new(client, 0))?;
    let stream = socket.connect(SocketAddr::new(server, PLAIN_PORT)).await?.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn answer(stream: &mut TcpStream) -> Result<()> {
    let mut text = Vec::new();
    let mut piece = [0; 1024];
    while !text.ends_with(END) {
        let length = stream.read(&mut piece)?;
        ensure!(length > 0, "the server closed the connection after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..length]);
    }
    ensure!(text.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&text));
    Ok(())
}
