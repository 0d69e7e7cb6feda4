//! What a tick of the engine costs: medians over many ticks with as many known sources as a busy day brings.
//!
//! `cargo bench -p sensor --bench engine` prints a table; with `-- --json` one object. It measures and asserts nothing.

use std::hint::black_box;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use sensor::engine::Engine;
use sensor::engine::plan::{Origin, Rule, Rules, Subject};
use sensor::engine::record::{ConnectionRecord, Snapshot, SourceTotals};
use sensor::engine::tier::{Tier, Tiers};
use sensor::engine::time::{Span, Time};
use sensor::tunable::Tunables;
use sensor_common::address::Address;
use sensor_common::event::{flag, protocol};

const START: Time = Time(1_795_356_000_000_000_000);
const KNOWN: u64 = 1_000_000;
const ACTIVE: u64 = 100_000;
const TICKS: usize = 25;

/// A number below `n` (SplitMix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Client number `n`, spread over the address space as real ones are.
fn client(n: u64) -> Address {
    let spread = (n as u32).wrapping_mul(0x9e37_79b1).to_be_bytes();
    Address::v4(spread)
}

/// Processor time of this thread: what else runs on the machine does not count, but for the memory it takes.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).expect("every thread has this clock")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn settings() -> (Tunables, Tiers) {
    let tunables = Tunables { sources_max: 2_000_000, networks_max: 2_000_000, ..Tunables::default() };
    // With limits set, every changed source is judged.
    let limits = Tier { name: "default".to_owned(), connections_1m: 1_000, requests_1d: 1 << 40, ..Tier::default() };
    (tunables, Tiers::new(vec![limits]).expect("the tier is valid"))
}

fn record(n: u64, at: Time, random: &mut Random) -> ConnectionRecord {
    let relayed = random.below(100) == 0;
    ConnectionRecord {
        at,
        client: client(n),
        service: 443,
        protocol: protocol::TLS,
        fingerprint: 1 + random.below(500),
        rtt_us: 20_000,
        hello_gap_us: Some(900),
        flight_gap_us: Some(if relayed { 60_000 } else { 2_000 }),
        flags: flag::ESTABLISHED | flag::GAP_SAMPLE | if relayed { flag::GAP_FLAGGED } else { 0 },
    }
}

fn blocked(rules: u64) -> Rules {
    let mut standing = Rules::new();
    for n in 0..rules {
        let reason = "a list".to_owned();
        let rule = Rule {
            origin: Origin::Operator,
            expires: Some(START + Span::seconds(1 << 30)),
            newer_than: None,
            reason,
            campaign: None,
        };
        standing.insert(Subject::Deny(client(n + (1 << 30)).host_prefix()), rule);
    }
    standing
}

struct Row {
    case: &'static str,
    value: f64,
    unit: &'static str,
}

fn main() {
    let mut rows = Vec::new();
    let (tunables, tiers) = settings();
    let mut engine = Engine::new(&tunables, tiers);
    let mut random = Random(7);
    let standing = Rules::new();
    let mut now = START;
    let mut totals: Vec<SourceTotals> = (0..KNOWN)
        .map(|n| SourceTotals {
            source: client(n),
            connections: 1,
            requests: 2,
            answer_bytes: 0,
            first_seen: START,
            last_seen: START,
        })
        .collect();
    engine.step(now, &Snapshot::default(), &standing);
    let began = processor_time();
    engine.step(now, &Snapshot { sources: totals.clone(), connections: 0 }, &standing);
    rows.push(Row { case: "step_first_1m_new_sources", value: milliseconds(processor_time() - began), unit: "ms" });

    let _ = engine.changes();
    let (mut steps, mut stores) = (Vec::new(), Vec::new());
    for tick in 0..TICKS {
        now = now + Span::seconds(1);
        let mut sources = Vec::new();
        for _ in 0..ACTIVE {
            let one = &mut totals[random.below(KNOWN) as usize];
            (one.connections, one.requests, one.last_seen) = (one.connections + 1, one.requests + 3, now);
            sources.push(*one);
        }
        let snapshot = Snapshot { sources, connections: tick as u64 };
        let began = processor_time();
        black_box(engine.step(now, &snapshot, &standing));
        steps.push(processor_time() - began);
        if tick % 5 == 4 {
            let began = processor_time();
            black_box(engine.changes());
            stores.push(processor_time() - began);
        }
    }
    rows.push(Row { case: "step_100k_of_1m", value: milliseconds(median(steps.clone())), unit: "ms" });
    rows.push(Row {
        case: "step_100k_of_1m_least",
        value: milliseconds(steps.iter().copied().min().unwrap_or_default()),
        unit: "ms",
    });
    rows.push(Row {
        case: "step_100k_of_1m_worst",
        value: milliseconds(steps.into_iter().max().unwrap_or_default()),
        unit: "ms",
    });
    rows.push(Row { case: "changes_for_store", value: milliseconds(median(stores)), unit: "ms" });

    for (case, rules) in [("step_idle", 0), ("step_idle_100k_standing_rules", 100_000)] {
        let standing = blocked(rules);
        let mut times = Vec::new();
        for _ in 0..TICKS {
            now = now + Span::seconds(1);
            let began = processor_time();
            black_box(engine.step(now, &Snapshot::default(), &standing));
            times.push(processor_time() - began);
        }
        rows.push(Row { case, value: milliseconds(median(times)), unit: "ms" });
    }

    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    let mut after = Vec::new();
    for (times, base) in [(&mut fresh, true), (&mut again, false)] {
        for batch in 0..10_u64 {
            now = now + Span::seconds(1);
            let records: Vec<ConnectionRecord> = (0..ACTIVE)
                .map(|n| {
                    let number = if base { batch * ACTIVE + n } else { random.below(KNOWN) };
                    record(number, now + Span(n), &mut random)
                })
                .collect();
            let began = processor_time();
            for record in &records {
                engine.observe(record);
            }
            times.push(processor_time() - began);
            let began = processor_time();
            black_box(engine.step(now, &Snapshot::default(), &standing));
            after.push(processor_time() - began);
        }
    }
    // The second half of the ticks has a million networks behind it.
    rows.push(Row { case: "tick_1m_networks", value: milliseconds(median(after.split_off(10))), unit: "ms" });
    let rate = |times: Vec<Duration>| ACTIVE as f64 / median(times).as_secs_f64();
    rows.push(Row { case: "observe_new_sources", value: rate(fresh), unit: "records/s" });
    rows.push(Row { case: "observe_known_sources", value: rate(again), unit: "records/s" });
    let resident = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        resident.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    rows.push(Row { case: "resident", value: kib.unwrap_or(0.0) / 1024.0, unit: "MiB" });
    print(&rows, std::env::args().any(|argument| argument == "--json"));
}

fn print(rows: &[Row], json: bool) {
    if json {
        let object: serde_json::Map<String, serde_json::Value> = rows
            .iter()
            .map(|row| (format!("{}_{}", row.case, row.unit.replace('/', "_per_")), serde_json::json!(row.value)))
            .collect();
        println!("{}", serde_json::Value::Object(object));
        return;
    }
    for Row { case, value, unit } in rows {
        println!("{case:<32}{value:>14.3} {unit}");
    }
}
