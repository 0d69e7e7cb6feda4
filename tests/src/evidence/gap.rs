//! Whose connections have a relay-gap sample, and whose are flagged: direct clients by program, relayed ones by relay.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::job::{self, Job, Program, Way};
use super::proxy::Relay;
use super::server::Kind;
use crate::lab::address::{RELAY_PORT, SERVER_V4, TLS_PORT, exit, user};
use crate::live::Live;

/// Addresses of each direct client, every one at a distance of its own.
pub(crate) const DIRECT_ADDRESSES: usize = 8;
/// Exit addresses of each relay, every one with a leg of its own.
pub(crate) const RELAY_ADDRESSES: usize = 3;
/// Direct clients have addresses from here on; those below belong to the request counts.
pub(crate) const FIRST_ADDRESS: usize = 80;

const CLIENTS: [Program; 3] = [Program::Curl, Program::Node, Program::Python];

/// Connections of one client by one way.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    /// The client's program.
    pub(crate) client: &'static str,
    /// The relay, or `direct`.
    pub(crate) path: &'static str,
    pub(crate) connections: u64,
    /// Connections with a valid sample.
    pub(crate) samples: u64,
    /// Connections that count as relayed.
    pub(crate) flagged: u64,
}

/// Each client with `connections` from each address: directly, and through each relay.
pub(crate) fn measure(live: &mut Live, connections: usize, skipped: &mut Vec<String>) -> Result<Vec<Row>> {
    live.server.stop(Duration::from_secs(2));
    live.server = Kind::Hyper.start(&live.lab)?;
    let clients: Vec<Program> = CLIENTS.into_iter().filter(|client| client.is_installed()).collect();
    let mut rows = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        let addresses = (0..DIRECT_ADDRESSES).map(|n| user(FIRST_ADDRESS + number * DIRECT_ADDRESSES + n));
        rows.push(one(live, *client, "direct", Way::Direct, addresses, connections)?);
    }
    for (number, relay) in Relay::ALL.into_iter().enumerate() {
        if !relay.is_installed() {
            skipped.push(format!("relay {}: not installed", relay.name()));
            continue;
        }
        let exits = (0..RELAY_ADDRESSES).map(|n| exit(number * RELAY_ADDRESSES + n));
        let started: Result<Vec<_>> = exits.clone().map(|exit| relay.start(&live.lab, exit)).collect();
        let mut processes = match started {
            Ok(processes) => processes,
            Err(error) => {
                skipped.push(format!("relay {}: {error:#}", relay.name()));
                continue;
            }
        };
        for client in &clients {
            match one(live, *client, relay.name(), relay.way(), exits.clone(), connections) {
                Ok(row) => rows.push(row),
                Err(error) => skipped.push(format!("{} through {}: {error:#}", client.name(), relay.name())),
            }
        }
        // Asked to end, each gives back what it holds outside the lab.
        for process in &mut processes {
            process.stop(Duration::from_secs(3));
        }
    }
    for row in &rows {
        eprintln!(
            "{} {}: {} connections, {} samples, {} flagged",
            row.path, row.client, row.connections, row.samples, row.flagged
        );
    }
    Ok(rows)
}

fn one(
    live: &Live,
    client: Program,
    path: &'static str,
    way: Way,
    addresses: impl Iterator<Item = Ipv4Addr> + Clone,
    connections: usize,
) -> Result<Row> {
    let before = tally(live, addresses.clone())?;
    for address in addresses.clone() {
        let job = Job {
            from: address.into(),
            server: SERVER_V4.into(),
            port: TLS_PORT,
            tls: true,
            http2: client != Program::Python,
            streams: 1,
            connections,
            requests: 1,
            path: Kind::Hyper.path(),
            post: true,
            way,
            relay: address.into(),
            relay_port: RELAY_PORT,
            ca: std::path::PathBuf::new(),
        };
        job::run(&live.lab, client, &job)?;
    }
    let after = tally(live, addresses)?;
    let [connections, samples, flagged] = [0, 1, 2].map(|at| after[at] - before[at]);
    Ok(Row { client: client.name(), path, connections, samples, flagged })
}

/// Connections, samples and flagged ones of these sources so far.
fn tally(live: &Live, addresses: impl Iterator<Item = Ipv4Addr>) -> Result<[u64; 3]> {
    live.settled()?;
    let answer = live.ask(&["sources", "--limit", "1000", "--sort", "packets"])?;
    let sources = answer["sources"].as_array().cloned().unwrap_or_default();
    let names: Vec<String> = addresses.map(|address| format!("{}/32", IpAddr::from(address))).collect();
    let mine = sources.iter().filter(|source| names.iter().any(|name| source["source"] == name.as_str()));
    Ok(mine.fold([0; 3], |sum, source| {
        let number = |key: &str| source[key].as_u64().unwrap_or(0);
        [sum[0] + number("connections"), sum[1] + number("gap_samples"), sum[2] + number("gap_flagged")]
    }))
}
