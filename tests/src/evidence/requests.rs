//! How many requests the sensor counts for one that was served: by protocol, server, client and streams at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::job::{self, Job, Program, Way};
use super::server::Kind;
use crate::lab::Lab;
use crate::lab::address::{PLAIN_PORT, SERVER_V4, TLS_PORT, user};
use crate::live::Live;

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Key of the protocol: see [`PROTOCOLS`].
    pub(crate) protocol: &'static str,
    pub(crate) server: Kind,
    pub(crate) client: Program,
    pub(crate) streams: usize,
    /// Requests that the sensor counted.
    pub(crate) counted: u64,
    /// Requests that the client says were answered.
    #[serde(rename = "true")]
    pub(crate) served: u64,
}

/// A protocol, and the error that is asked of its count, percent. QUIC has no server here and is not counted.
pub(crate) const PROTOCOLS: &[(&str, f64)] =
    &[("http1", 0.0), ("http1_tls", 2.0), ("h2_serial", 2.0), ("h2_x4", 10.0), ("h2_x16", 25.0), ("h2c", 0.0)];

const SERVERS: [Kind; 4] = [Kind::Nginx, Kind::Hyper, Kind::Node, Kind::Python];
const CLIENTS: [Program; 4] = [Program::Curl, Program::H2load, Program::Node, Program::Python];

/// Whether both speak it. h2load keeps HTTP/1 connections open in ways of its own, so it is asked for HTTP/2 only.
fn speak(protocol: &str, server: Kind, client: Program) -> bool {
    match protocol {
        "http1" | "http1_tls" => client != Program::H2load,
        // nginx before 1.25 wants a port of its own for it, Node a server of its own.
        "h2c" => server == Kind::Hyper && client != Program::Python,
        _ => server != Kind::Python && client != Program::Python,
    }
}

/// A run to come.
#[derive(Clone, Copy, Debug)]
struct Pair {
    protocol: &'static str,
    server: Kind,
    client: Program,
    /// Which user it is.
    place: usize,
}

/// Runs every pair; `requests` in each run. Clients of one server run side by side, each its protocols in turn.
pub(crate) fn measure(live: &mut Live, requests: usize, skipped: &mut Vec<String>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut place = 0;
    for server in SERVERS {
        if !server.is_installed() {
            skipped.push(format!("server {}: not installed", server.name()));
            continue;
        }
        live.server.stop(Duration::from_secs(2));
        live.server = server.start(&live.lab)?;
        let mut lists = Vec::new();
        for client in CLIENTS {
            if !client.is_installed() {
                skipped.push(format!("client {}: not installed", client.name()));
                continue;
            }
            let spoken = PROTOCOLS.iter().filter(|(protocol, _)| speak(protocol, server, client));
            let pairs = spoken.map(|(protocol, _)| {
                place += 1;
                Pair { protocol, server, client, place }
            });
            lists.push(pairs.collect::<Vec<_>>());
        }
        for (Pair { protocol, server, client, place }, served) in side_by_side(&live.lab, &lists, requests) {
            let streams = streams(protocol);
            match served {
                Ok(served) => {
                    let counted = counted(live, user(place).into());
                    eprintln!("{protocol} {} {}: {counted}/{served}", server.name(), client.name());
                    rows.push(Row { protocol, server, client, streams, counted, served });
                }
                Err(error) => skipped.push(format!("{protocol} {} {}: {error:#}", server.name(), client.name())),
            }
        }
    }
    Ok(rows)
}

/// Runs each list in turn, all lists at once; what each run served.
fn side_by_side(lab: &Lab, lists: &[Vec<Pair>], requests: usize) -> Vec<(Pair, Result<u64>)> {
    let run = |list: &[Pair]| list.iter().map(|pair| (*pair, serve(lab, pair, requests))).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let threads: Vec<_> = lists.iter().map(|list| scope.spawn(|| run(list))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a client's thread does not panic")).collect()
    })
}

fn streams(protocol: &str) -> usize {
    match protocol {
        "h2_x4" => 4,
        "h2_x16" => 16,
        _ => 1,
    }
}

/// Runs one; how many requests were served.
fn serve(lab: &Lab, pair: &Pair, requests: usize) -> Result<u64> {
    let Pair { protocol, server, client, place } = *pair;
    let from: IpAddr = user(place).into();
    let tls = !matches!(protocol, "http1" | "h2c");
    // One after the other takes its time. curl 7.88 cannot use a cleartext HTTP/2 connection twice.
    let requests = if streams(protocol) == 1 { requests / 4 } else { requests };
    let (connections, requests) =
        if protocol == "h2c" && client == Program::Curl { (requests.min(20), 1) } else { (1, requests) };
    let job = Job {
        from,
        server: SERVER_V4.into(),
        port: if tls { TLS_PORT } else { PLAIN_PORT },
        tls,
        http2: protocol.starts_with("h2"),
        streams: streams(protocol),
        connections,
        requests,
        path: server.path(),
        post: true,
        way: Way::Direct,
        relay: from,
        relay_port: 0,
        ca: PathBuf::new(),
    };
    job::run(lab, client, &job)
}

/// Requests counted for a source; none for one that is not known yet.
fn counted(live: &Live, from: IpAddr) -> u64 {
    live.source(from).ok().and_then(|source| source["requests"].as_u64()).unwrap_or(0)
}

/// Counted and true requests by protocol.
pub(crate) fn sums(rows: &[Row]) -> BTreeMap<&'static str, (u64, u64)> {
    let mut sums: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(row.protocol).or_default();
        sum.0 += row.counted;
        sum.1 += row.served;
    }
    sums
}
