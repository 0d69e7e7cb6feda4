//! `sensor capture`: evidence as it arrives, written to a file that thresholds can be calibrated with.
//!
//! A line is what was measured on one connection: no address, no port of a client, no payload, nothing per token.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::command::CaptureFlags;
use super::{ask, output};
use crate::control::client;
use crate::control::protocol::{Answer, Request};
use crate::control::route::MOST_CONNECTIONS;
use crate::evidence::{Evidence, Recent};
use crate::exit::{Code, Failure};

/// Version of the file's form.
pub const FORMAT: u32 = 1;
/// Between two questions to the daemon.
const POLL: Duration = Duration::from_millis(500);

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first one.
    Header {
        format: u32,
        sensor_version: String,
        started_unix_s: u64,
    },
    Connection(Box<Tuple>),
    /// The last one, unless the writing was cut off.
    End {
        seconds: u64,
        connections: u64,
        /// Connections that came too fast to be asked for.
        missed: u64,
    },
}

/// What was measured on one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuple {
    /// The server's port.
    pub service: u16,
    pub protocol: String,
    /// JA4 of the client, or the kernel's class where it has no name yet.
    pub client: Option<String>,
    pub rtt_us: Option<u32>,
    pub hello_gap_us: Option<u32>,
    pub flight_gap_us: Option<u32>,
    /// `relayed`, `direct` or `unknown`.
    pub path: String,
    /// From the connection's beginning to the record: when the first turn was complete.
    pub first_turn_us: u64,
    pub flags: Vec<String>,
}

impl From<Evidence> for Tuple {
    fn from(evidence: Evidence) -> Self {
        // Destructured in full: what is left out is left out on purpose.
        let Evidence {
            client: _,
            client_port: _,
            server: _,
            service,
            protocol,
            started_unix_us: _,
            duration_us,
            rtt_us,
            hello_gap_us,
            flight_gap_us,
            path,
            class,
            ja4,
            requests: _,
            bytes: _,
            acknowledged_bytes: _,
            flags,
        } = evidence;
        let first_turn_us = duration_us;
        Self {
            service,
            protocol,
            client: ja4.or(class),
            rtt_us,
            hello_gap_us,
            flight_gap_us,
            path,
            first_turn_us,
            flags,
        }
    }
}

/// Carries the command out.
///
/// # Errors
/// If the file is there already or cannot be written, or if nobody answers.
pub fn run(socket: &Path, flags: &CaptureFlags) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Runtime, format!("the runtime cannot start: {error}"), ""))?;
    runtime.block_on(listen(socket, flags))
}

async fn listen(socket: &Path, flags: &CaptureFlags) -> Result<(), Failure> {
    // Somebody must answer before a file is made.
    let mut next = recent(socket, u64::MAX).await?.next;
    let unwritten = |error: io::Error| {
        let hint = "give a path that can be written and where no file is yet";
        Failure::new(Code::Usage, format!("{} cannot be written: {error}", flags.out.display()), hint)
    };
    let mut out = BufWriter::new(File::create_new(&flags.out).map_err(unwritten)?);
    let started_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let sensor_version = env!("CARGO_PKG_VERSION").to_owned();
    write(&mut out, &Line::Header { format: FORMAT, sensor_version, started_unix_s }).map_err(unwritten)?;
    let began = Instant::now();
    let deadline = began + Duration::from_secs(flags.seconds);
    let (mut connections, mut missed) = (0_u64, 0_u64);
    let mut is_over = false;
    while !is_over {
        is_over = tokio::select! {
            () = tokio::time::sleep_until(deadline.min(Instant::now() + POLL)) => Instant::now() >= deadline,
            _ = tokio::signal::ctrl_c() => true,
        };
        loop {
            let Recent { connections: found, next: behind, missed: lost } = recent(socket, next).await?;
            let is_last = found.len() < MOST_CONNECTIONS;
            (next, missed) = (behind, missed.saturating_add(lost));
            connections = connections.saturating_add(found.len() as u64);
            for evidence in found {
                write(&mut out, &Line::Connection(Box::new(evidence.into()))).map_err(unwritten)?;
            }
            if is_last {
                break;
            }
        }
        out.flush().map_err(unwritten)?;
    }
    let seconds = began.elapsed().as_secs();
    write(&mut out, &Line::End { seconds, connections, missed }).and_then(|()| out.flush()).map_err(unwritten)?;
    let lost = if missed > 0 { format!(", {missed} came too fast and are missing") } else { String::new() };
    output::print(&format!("{}: {connections} connections within {seconds} s{lost}\n", flags.out.display()))
}

/// What came behind a place; behind the end of time nothing, but where the end is now.
async fn recent(socket: &Path, after: u64) -> Result<Recent, Failure> {
    let request = Request::Connections { limit: MOST_CONNECTIONS, after: Some(after), source: None };
    let answer = client::call(socket, &request).await.map_err(|error| ask::explain(socket, error))?;
    let Answer::Connections(recent) = answer.answer else {
        return Err(Failure::new(Code::Runtime, "the daemon answered something else", "look at its log"));
    };
    Ok(recent)
}

fn write(out: &mut impl io::Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
