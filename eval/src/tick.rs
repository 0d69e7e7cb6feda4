//! What a tick costs with a long history: a million networks known, ten thousand sources active.

use std::time::Duration;

use sensor::engine::Engine;
use sensor::engine::plan::Rules;
use sensor::engine::record::{ConnectionRecord, Snapshot, SourceTotals};
use sensor::engine::tier::Tiers;
use sensor::engine::time::{Span, Time};
use sensor::tunable::Tunables;
use sensor_common::address::Address;
use sensor_common::event::{flag, protocol};
use sensor_common::hash::mix;

use crate::run::processor_time;
use crate::site::START;

const KNOWN: u64 = 1_000_000;
const ACTIVE: u64 = 10_000;
const TICKS: u64 = 25;

/// Milliseconds of processor time for each of some ticks; its records are part of it.
#[must_use]
pub fn measure(tunables: &Tunables) -> Vec<f64> {
    let mut engine = Engine::new(tunables, Tiers::default());
    let standing = Rules::new();
    for n in 0..KNOWN {
        let at = START + Span(n * 1_000_000);
        engine.observe(&record(n, at));
        if n.is_multiple_of(1_000) {
            engine.step(at, &Snapshot::default(), &standing);
        }
    }
    let begin = START + Span::seconds(KNOWN / 1_000);
    (1..=TICKS)
        .map(|tick| {
            let now = begin + Span::seconds(tick);
            let sources: Vec<SourceTotals> = (0..ACTIVE).map(|n| totals(tick * ACTIVE + n, tick, now)).collect();
            let snapshot = Snapshot { sources, connections: KNOWN + tick * ACTIVE };
            let records: Vec<ConnectionRecord> = (0..ACTIVE).map(|n| record(tick * ACTIVE + n, now)).collect();
            let before = processor_time();
            for record in &records {
                engine.observe(record);
            }
            engine.step(now, &snapshot, &standing);
            processor_time().saturating_sub(before)
        })
        .map(|time: Duration| time.as_secs_f64() * 1e3)
        .collect()
}

/// Client number `n`, alone in its network.
fn client(n: u64) -> Address {
    let [.., a, b, c] = (0x14_0000 + n).to_be_bytes();
    Address::v4([a, b, c, 7])
}

fn totals(n: u64, tick: u64, now: Time) -> SourceTotals {
    SourceTotals {
        source: client(n),
        connections: tick,
        requests: tick,
        first_seen: now - Span::seconds(60),
        last_seen: now,
        answer_bytes: 0,
    }
}

fn record(n: u64, at: Time) -> ConnectionRecord {
    let relayed = mix(n, 1).is_multiple_of(50);
    let late = if relayed { flag::GAP_FLAGGED } else { 0 };
    ConnectionRecord {
        at,
        client: client(n),
        service: 443,
        protocol: protocol::TLS,
        fingerprint: 1 + mix(n, 2) % 1_000,
        rtt_us: 20_000,
        hello_gap_us: Some(1_000),
        flight_gap_us: Some(if relayed { 60_000 } else { 2_000 }),
        flags: flag::ESTABLISHED | flag::GAP_SAMPLE | late,
    }
}
