//! What clients are told to do and what they report: plans and events, shared by the Rust, Python and Node clients.

use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::lab::address::{PLAIN_PORT, RELAY_PORT, SERVER_NAME, SERVER_V4, SERVER_V6, TLS_PORT};

/// Seconds after which an unanswered request counts as refused.
pub const TIMEOUT_S: f64 = 8.0;

/// Direct users of one client process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserPlan {
    /// Address of the server for IPv4 users.
    pub server: IpAddr,
    /// Address of the server for IPv6 users.
    pub server_v6: IpAddr,
    /// Name in the certificate.
    pub name: String,
    /// Port with TLS.
    pub tls_port: u16,
    /// Port without.
    pub plain_port: u16,
    /// File with the trusted authority.
    pub ca: PathBuf,
    /// Same seed, same behaviour.
    pub seed: u64,
    /// File to which events are appended.
    pub out: PathBuf,
    /// Seconds after which a request counts as refused.
    pub timeout_s: f64,
    /// Who they are.
    pub groups: Vec<Group>,
}

impl UserPlan {
    /// A plan against the lab's model server.
    pub fn in_lab(seed: u64, ca: &Path, out: PathBuf, groups: Vec<Group>) -> Self {
        Self {
            server: SERVER_V4.into(),
            server_v6: SERVER_V6.into(),
            name: SERVER_NAME.to_owned(),
            tls_port: TLS_PORT,
            plain_port: PLAIN_PORT,
            ca: ca.to_owned(),
            seed,
            out,
            timeout_s: TIMEOUT_S,
            groups,
        }
    }
}

/// Users who behave alike.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Which client: `python`, `requests`, `node`, `rust`, `health` or `curl`. Reported with each event.
    pub kind: String,
    /// One address for each user.
    pub addresses: Vec<IpAddr>,
    /// TLS or plaintext.
    pub tls: bool,
    /// New users a second, each taking the next address once; 0 makes all addresses regulars who come again and again.
    pub arrivals_per_s: f64,
    /// Fewest and most requests on one connection.
    pub requests: (u32, u32),
    /// Shortest and longest pause between requests, in seconds.
    pub think_s: (f64, f64),
    /// Length of the answers.
    pub max_tokens: u32,
}

/// A harvester, or with direct exits a flash crowd.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HarvestPlan {
    /// Address of the server.
    pub server: IpAddr,
    /// Name in the certificate.
    pub name: String,
    /// Port with TLS.
    pub tls_port: u16,
    /// Port without.
    pub plain_port: u16,
    /// Port on which the relays listen.
    pub relay_port: u16,
    /// File with the trusted authority.
    pub ca: PathBuf,
    /// Same seed, same order.
    pub seed: u64,
    /// File to which events are appended.
    pub out: PathBuf,
    /// `attack` or `crowd`.
    pub label: String,
    /// Way and address of each exit.
    pub exits: Vec<(Way, IpAddr)>,
    /// Attempts a second over all exits.
    pub rate_per_s: f64,
    /// Share of attempts on the plaintext port.
    pub plain_share: f64,
    /// Attempts under way at the same time, at most.
    pub concurrency: u32,
    /// Seconds after which an attempt counts as refused.
    pub timeout_s: f64,
    /// Length of the answers asked for.
    pub max_tokens: u32,
}

impl HarvestPlan {
    /// A plan against the lab's model server with the demo's pace.
    pub fn in_lab(seed: u64, label: &str, ca: &Path, out: PathBuf, exits: Vec<(Way, IpAddr)>) -> Self {
        Self {
            server: SERVER_V4.into(),
            name: SERVER_NAME.to_owned(),
            tls_port: TLS_PORT,
            plain_port: PLAIN_PORT,
            relay_port: RELAY_PORT,
            ca: ca.to_owned(),
            seed,
            out,
            label: label.to_owned(),
            exits,
            rate_per_s: 7.0,
            plain_share: 0.06,
            concurrency: 96,
            timeout_s: TIMEOUT_S,
            max_tokens: 16,
        }
    }
}

/// How an attempt gets to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// From an own address.
    Direct,
    /// Through a SOCKS5 relay.
    Socks5,
    /// Through an HTTP CONNECT relay.
    Connect,
}

/// How one request of a client ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Unix time at which it began, seconds.
    pub at: f64,
    /// Unix time at which it ended, seconds.
    pub end: f64,
    /// `benign`, `attack` or `crowd`.
    pub label: String,
    /// Kind of client, or way of the harvester.
    pub kind: String,
    /// Address of the user or exit.
    pub from: IpAddr,
    /// Port of the server.
    pub port: u16,
    /// Whether the answer was complete.
    pub outcome: Outcome,
    /// Why not: `reset`, `timeout`, `tls`, `cut` or another word.
    pub error: Option<String>,
}

/// End of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Complete answer.
    Served,
    /// Anything else.
    Refused,
}

/// Reads events as they are appended to a file.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    offset: u64,
}

impl EventReader {
    /// A reader from the start of the file, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// The events since the last call. A half-written last line is left for the next.
    ///
    /// # Errors
    /// When the file cannot be read or a line is not an event.
    pub fn fresh(&mut self) -> Result<Vec<Event>> {
        let Ok(mut file) = fs::File::open(&self.path) else { return Ok(Vec::new()) };
        file.seek(SeekFrom::Start(self.offset)).context("seek in an event file")?;
        let mut reader = BufReader::new(file);
        let mut events = Vec::new();
        let mut line = String::new();
        while reader.read_line(&mut line).context("read an event file")? > 0 && line.ends_with('\n') {
            self.offset += line.len() as u64;
            let event = serde_json::from_str(&line)
                .with_context(|| format!("{}: not an event: {}", self.path.display(), line.trim()))?;
            events.push(event);
            line.clear();
        }
        Ok(events)
    }
}
