//! What a row expects, and whether an executor's observation meets it.
//!
//! Cells behind the frames: `given ...` (see [`super::given`]), then the verdicts (one word for the last frame, all
//! before it pass; or one word a frame), then every counter that moves besides `frames` and `bytes`, as in
//! `syns+1 reject.fragment+2`; no other may move. Then any of:
//!
//! | cell | meaning |
//! |---|---|
//! | `source ADDRESS FIELD N ...` | fields of that source's counters |
//! | `no source ADDRESS` | it has none |
//! | `connection FIELD VALUE ...` | fields of the only connection, see [`field`] |
//! | `no connection` | none is tracked |
//! | `attempts N` | so many attempts wait for their handshake's end |
//! | `event FIELD VALUE ...` | the same of the only record; `events N` only counts them |
//! | `hits allow PREFIX N`, `hits deny PREFIX N` | a rule's hits |

use std::collections::BTreeMap;

use sensor_common::address::Address;
use sensor_common::connection::{Connection, stage};
use sensor_common::counter::{Counter, Group};
use sensor_common::event::{UNKNOWN_US, flag, protocol};

use super::{Observation, Source, World, given};
use crate::frame::table::Row;

/// Durations in tables are multiples of this, microseconds.
pub const GRAIN_US: u32 = 10_000;

/// A row with its cells read.
#[derive(Clone, Debug)]
pub struct Case {
    pub world: World,
    /// Whether each frame is dropped.
    pub dropped: Vec<bool>,
    pub counters: BTreeMap<Counter, u64>,
    checks: Vec<Vec<String>>,
}

impl Case {
    /// Reads a row's cells.
    ///
    /// # Errors
    /// The cell that is not understood.
    pub fn read(row: &Row) -> Result<Self, String> {
        let mut cells = row.expected.iter().map(String::as_str).peekable();
        let world = match cells.peek().and_then(|cell| cell.strip_prefix("given ")) {
            Some(text) => {
                let world = given::read(text)?;
                cells.next();
                world
            }
            None => World::default(),
        };
        let dropped = verdicts(cells.next().unwrap_or_default(), row.steps.len())?;
        let mut counters = moves(cells.next().unwrap_or_default())?;
        counters.insert(Counter::Frames, row.steps.len() as u64);
        counters.insert(Counter::Bytes, row.steps.iter().map(|step| step.frame.len() as u64).sum());
        let checks = cells.map(|cell| cell.split_whitespace().map(str::to_owned).collect()).collect();
        Ok(Self { world, dropped, counters, checks })
    }

    /// What differs from the expectation; empty if nothing does.
    #[must_use]
    pub fn faults(&self, dropped: &[bool], seen: &Observation) -> Vec<String> {
        let mut faults = Vec::new();
        if dropped != self.dropped {
            faults.push(format!("dropped {dropped:?}, expected {:?}", self.dropped));
        }
        for counter in Counter::ALL {
            let (is, should) = (seen.count(*counter), self.counters.get(counter).copied().unwrap_or(0));
            if is != should {
                faults.push(format!("{} moved by {is}, expected {should}", label(*counter)));
            }
        }
        for check in &self.checks {
            let words: Vec<&str> = check.iter().map(String::as_str).collect();
            if let Err(fault) = verify(&words, seen) {
                faults.push(format!("`{}`: {fault}", words.join(" ")));
            }
        }
        faults
    }
}

/// A counter's name in tables: `syns`, `reject.fragment`, `would.deny`.
#[must_use]
pub fn label(counter: Counter) -> String {
    let group = match counter.group() {
        Group::Total => return counter.name().to_owned(),
        Group::Reject => "reject",
        Group::Drop => "drop",
        Group::WouldDrop => "would",
        Group::Unknown => "unknown",
        Group::Lost => "lost",
    };
    format!("{group}.{}", counter.name())
}

fn verdicts(cell: &str, frames: usize) -> Result<Vec<bool>, String> {
    let words = cell
        .split_whitespace()
        .map(|word| match word {
            "pass" => Ok(false),
            "drop" => Ok(true),
            other => Err(format!("`{other}` is no verdict: write `pass` or `drop`")),
        })
        .collect::<Result<Vec<bool>, String>>()?;
    match words[..] {
        [last] => Ok((1..frames).map(|_| false).chain([last]).collect()),
        _ if words.len() == frames => Ok(words),
        _ => Err(format!("{} verdicts for {frames} frames", words.len())),
    }
}

fn moves(cell: &str) -> Result<BTreeMap<Counter, u64>, String> {
    cell.split_whitespace()
        .map(|word| {
            let wrong = || format!("`{word}` is no counter that moves: write `syns+1`");
            let (name, by) = word.rsplit_once('+').ok_or_else(wrong)?;
            let counter = Counter::ALL.iter().find(|counter| label(**counter) == name).ok_or_else(wrong)?;
            Ok((*counter, by.parse().map_err(|_| wrong())?))
        })
        .collect()
}

fn verify(words: &[&str], seen: &Observation) -> Result<(), String> {
    match *words {
        ["source", address, ref fields @ ..] => {
            let stats = seen.sources.get(&parse_address(address)?).ok_or("there is no such source")?;
            pairs(fields, |name, value| same(source_field(stats, name)?, value))
        }
        ["no", "source", address] => match seen.sources.get(&parse_address(address)?) {
            None => Ok(()),
            Some(stats) => Err(format!("there is one: {stats:?}")),
        },
        ["connection", ref fields @ ..] => {
            let connection = seen.connection().ok_or(format!("there are {}", seen.connections.len()))?;
            pairs(fields, |name, value| same(field(connection, name)?, value))
        }
        ["attempts", n] => same(seen.attempts.len().to_string(), n),
        ["no", "connection"] if seen.connections.is_empty() => Ok(()),
        ["event", ref fields @ ..] => {
            let [event] = &seen.events[..] else { return Err(format!("there are {}", seen.events.len())) };
            let connection = Connection {
                flags: event.flags,
                protocol: event.protocol,
                fingerprint: event.fingerprint,
                rtt_us: event.rtt_us,
                hello_gap_us: event.hello_gap_us,
                flight_gap_us: event.flight_gap_us,
                ..sensor_common::connection::EMPTY
            };
            pairs(fields, |name, value| same(field(&connection, name)?, value))
        }
        ["events", n] => same(seen.events.len().to_string(), n),
        ["hits", "allow", prefix, n] => {
            let hits = given::prefix(prefix).and_then(|prefix| seen.allow.get(&prefix)).ok_or("no such rule")?;
            same(hits.to_string(), n)
        }
        ["hits", "deny", prefix, n] => {
            let hits = given::prefix(prefix).and_then(|prefix| seen.deny.get(&prefix)).ok_or("no such rule")?;
            same(hits.to_string(), n)
        }
        _ => Err("not understood, or not so".to_owned()),
    }
}

fn parse_address(text: &str) -> Result<Address, String> {
    let ip: std::net::IpAddr = text.parse().map_err(|_| format!("`{text}` is no address"))?;
    Ok(ip.into())
}

fn pairs(fields: &[&str], check: impl Fn(&str, &str) -> Result<(), String>) -> Result<(), String> {
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err("fields and values come in pairs".to_owned());
    }
    fields.chunks_exact(2).try_for_each(|pair| check(pair[0], pair[1]).map_err(|fault| format!("{}: {fault}", pair[0])))
}

fn same(is: String, should: &str) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("is {is}, expected {should}")) }
}

fn source_field(source: &Source, name: &str) -> Result<String, String> {
    Ok(match name {
        "packets" => source.packets,
        "bytes" => source.bytes,
        "syns" => source.syns,
        "connections" => source.record.connections,
        "requests" => source.record.requests,
        "dropped" => source.dropped,
        "gap_samples" => source.record.gap_samples,
        "gap_flagged" => source.record.gap_flagged,
        "protected" => source.protected.into(),
        "recorded" => source.recorded.into(),
        other => return Err(format!("a source has no field {other}")),
    }
    .to_string())
}

/// A connection's field in words: `stage`, `protocol`, `requests`, `bytes`, `fingerprint yes|no`, `rtt`, `hello_gap`
/// and `flight_gap` (in milliseconds rounded to tens, or `unknown`), and any flag in lower case (`yes` or `no`).
///
/// # Errors
/// If there is no such field.
pub fn field(connection: &Connection, name: &str) -> Result<String, String> {
    let yes = |whether: bool| if whether { "yes" } else { "no" }.to_owned();
    let rounded = |us: u32| match us {
        UNKNOWN_US => "unknown".to_owned(),
        us => format!("{}ms", us.saturating_add(GRAIN_US / 2) / GRAIN_US * (GRAIN_US / 1_000)),
    };
    Ok(match name {
        "stage" => match connection.stage {
            stage::SYN => "syn",
            stage::ESTABLISHED => "established",
            stage::HELLO => "hello",
            stage::FLIGHT_ACKED => "flight_acked",
            stage::DONE => "done",
            _ => "impossible",
        }
        .to_owned(),
        "protocol" => protocol::name(connection.protocol).to_owned(),
        "requests" => connection.requests.to_string(),
        "bytes" => connection.bytes.to_string(),
        "fingerprint" => yes(connection.fingerprint != 0),
        "rtt" => rounded(connection.rtt_us),
        "hello_gap" => rounded(connection.hello_gap_us),
        "flight_gap" => rounded(connection.flight_gap_us),
        _ => {
            let bit = FLAGS.iter().find(|(known, _)| *known == name).ok_or(format!("no field {name}"))?.1;
            yes(connection.flags & bit != 0)
        }
    })
}

const FLAGS: &[(&str, u32)] = &[
    ("established", flag::ESTABLISHED),
    ("gap_sample", flag::GAP_SAMPLE),
    ("gap_flagged", flag::GAP_FLAGGED),
    ("hello_gap_flagged", flag::HELLO_GAP_FLAGGED),
    ("class_matched", flag::CLASS_MATCHED),
    ("refused", flag::REFUSED),
    ("reported", flag::REPORTED),
    ("closed", flag::CLOSED),
    ("stream_gap", flag::STREAM_GAP),
    ("timestamps", flag::TIMESTAMPS),
    ("timestamps_disagree", flag::TIMESTAMPS_DISAGREE),
    ("allowed", flag::ALLOWED),
    ("new_network", flag::NEW_NETWORK),
    ("malformed", flag::MALFORMED),
    ("no_pure_ack", flag::NO_PURE_ACK),
    ("fast_open", flag::FAST_OPEN),
    ("requested", flag::REQUESTED),
];
