//! Two executors of the packet path behind one interface: the host's plain memory, and the real program in the kernel.
//!
//! A test describes a [`World`] (settings, rules, what is known), feeds frames with the time between them, and reads
//! back what moved. Time is virtual for both: the host is told the time, and what the kernel's tables remember is aged
//! instead of waited for.

mod age;
mod arrays;
pub mod both;
pub mod conversation;
pub mod expect;
pub mod given;
pub mod host;
pub mod kernel;
mod mapped;
mod maps;
mod rules;
mod source;

use std::collections::BTreeMap;
use std::time::Duration;

use sensor_common::ABI_VERSION;
use sensor_common::address::{Address, Prefix};
use sensor_common::connection::{Connection, ConnectionKey};
use sensor_common::counter::Counter;
use sensor_common::event::{ConnectionEvent, UNKNOWN_US};
use sensor_common::plain::Plain as _;
use sensor_common::rule::{ClassKey, ClassRule, TierLimit};
use sensor_common::seat::FREE;
use sensor_common::settings::{Settings, Sizes};
use sensor_common::stats::{NetworkBucket, NetworkStats, network_bucket};

pub use self::rules::List;
pub use self::source::Source;

/// The shortest frame that the kernel's test run takes, bytes: an Ethernet header.
pub const KERNEL_FRAME_MIN: usize = 14;

/// Small tables, and one part of them for all CPUs: a test may be moved from one to the other.
pub const SIZES: Sizes = Sizes { regions: 1, traffic: 64, half_open: 64, sources: 64, networks: 64, connections: 32 };

/// Nanoseconds relative to the start of the test: negative ones have passed.
pub type RelativeNs = i64;

/// A class rule before its times are absolute.
#[derive(Clone, Debug)]
pub struct ClassTerms {
    pub key: ClassKey,
    pub expires: RelativeNs,
    /// Networks first seen before are old.
    pub newer_than: RelativeNs,
}

impl ClassTerms {
    /// The rule, given what a relative time is.
    fn rule(&self, at: impl Fn(RelativeNs) -> u64) -> ClassRule {
        ClassRule { expires_ns: at(self.expires), newer_than_ns: at(self.newer_than), hits: 0, passed: 0 }
    }
}

/// What a test starts from.
#[derive(Clone, Debug)]
pub struct World {
    pub settings: Settings,
    /// Watched TCP ports.
    pub services: Vec<u16>,
    pub allow: Vec<Prefix>,
    /// Prefix and when its rule ends.
    pub deny: Vec<(Prefix, RelativeNs)>,
    /// Prefix and its tier.
    pub tiers: Vec<(Prefix, u32)>,
    /// Tier and its limits.
    pub limits: Vec<(u32, TierLimit)>,
    pub classes: Vec<ClassTerms>,
    /// Networks already known, and since when.
    pub networks: Vec<(Address, RelativeNs)>,
}

impl Default for World {
    /// The lab's two services watched, verdicts enforced, no rules, default thresholds.
    fn default() -> Self {
        Self {
            settings: Settings {
                seed: 0x5eed_5eed_5eed_5eed,
                abi_version: ABI_VERSION,
                enforce: 1,
                relay_gap_us: 25_000,
                relay_gap_rtt_percent: 25,
                events_per_s: 1_000_000,
                reserved: 0,
                sizes: SIZES,
            },
            services: vec![crate::lab::address::TLS_PORT, crate::lab::address::PLAIN_PORT],
            allow: Vec::new(),
            deny: Vec::new(),
            tiers: Vec::new(),
            limits: Vec::new(),
            classes: Vec::new(),
            networks: Vec::new(),
        }
    }
}

impl World {
    /// Its prefix rules, and when each ends.
    fn rules(&self) -> impl Iterator<Item = (List, Prefix, Option<RelativeNs>)> {
        let allow = self.allow.iter().map(|prefix| (List::Allow, *prefix, None));
        allow.chain(self.deny.iter().map(|(prefix, ends)| (List::Deny, *prefix, Some(*ends))))
    }
}

/// The networks that a world knows, bucket by bucket.
fn network_entries(world: &World, at: impl Fn(RelativeNs) -> u64) -> BTreeMap<usize, NetworkBucket> {
    let mut buckets: BTreeMap<usize, NetworkBucket> = BTreeMap::new();
    for (network, since) in &world.networks {
        let key = network.key();
        let index = usize::try_from(network_bucket(&world.settings, key)).expect("fits into memory");
        let bucket = buckets.entry(index).or_insert_with(NetworkBucket::zeroed);
        let way = bucket.keys.iter().position(|known| *known == FREE).expect("few networks of a test share a bucket");
        bucket.keys[way] = key;
        bucket.records[way] = NetworkStats { first_seen_ns: at(*since), last_seen_ns: at(*since) };
    }
    buckets
}

/// A connection attempt that waits for its handshake's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub isn: u32,
    /// When the SYN came: monotonic microseconds, modulo 2^32.
    pub started_us: u32,
}

/// Everything that can be read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Counters that moved.
    pub counters: BTreeMap<Counter, u64>,
    pub sources: BTreeMap<Address, Source>,
    pub networks: BTreeMap<Address, NetworkStats>,
    /// By tag, see [`sensor_common::half_open::tag`].
    pub attempts: BTreeMap<u64, Attempt>,
    pub connections: BTreeMap<ConnectionKey, Connection>,
    /// Frames that allowed prefixes matched.
    pub allow: BTreeMap<Prefix, u64>,
    /// Frames that denied prefixes matched.
    pub deny: BTreeMap<Prefix, u64>,
    pub classes: BTreeMap<ClassKey, ClassRule>,
    pub events: Vec<ConnectionEvent>,
}

/// Where the packet path runs.
pub trait Executor {
    /// For messages.
    fn name(&self) -> &'static str;

    /// Forgets everything and starts from `world`.
    fn install(&mut self, world: &World);

    /// Lets `after` pass since the frame before, then runs this one. Returns whether it was dropped.
    fn run(&mut self, after: Duration, frame: &[u8]) -> bool;

    /// Reads everything back; events only once.
    fn observe(&mut self) -> Observation;

    /// Runs what follows on this CPU.
    fn set_cpu(&mut self, cpu: u32);

    /// Puts a rule in force, at a place of the rule table that no rule in force has. `ends` counts from the latest
    /// frame; without it the rule does not end.
    fn add_rule(&mut self, list: List, prefix: &Prefix, place: u32, ends: Option<RelativeNs>);

    /// Takes a rule back. Its place is free; the filter keeps its bits.
    fn remove_rule(&mut self, list: List, prefix: &Prefix);

    /// Whether virtual time was kept: on a busy machine the kernel's clock may have run away, and the test must be
    /// run again.
    fn on_time(&self) -> bool {
        true
    }
}

impl Observation {
    /// The same without what differs between two runs that are otherwise equal: absolute times, and durations
    /// rounded to `grain_us` (which the caller chooses so that test durations lie between the steps).
    #[must_use]
    pub fn timeless(mut self, grain_us: u32) -> Self {
        let time = |ns: &mut u64| *ns = u64::from(*ns != 0);
        let duration = |us: &mut u32| {
            if *us != UNKNOWN_US {
                *us = us.saturating_add(grain_us / 2) / grain_us;
            }
        };
        for source in self.sources.values_mut() {
            source.last_tick = u32::from(source.last_tick != 0);
            let record = &mut source.record;
            for ns in [
                &mut record.first_seen_ns,
                &mut record.last_seen_ns,
                &mut record.second_start_ns,
                &mut record.minute_start_ns,
            ] {
                time(ns);
            }
        }
        for attempt in self.attempts.values_mut() {
            attempt.started_us = 0;
        }
        for stats in self.networks.values_mut() {
            time(&mut stats.first_seen_ns);
            time(&mut stats.last_seen_ns);
        }
        for rule in self.classes.values_mut() {
            time(&mut rule.expires_ns);
            time(&mut rule.newer_than_ns);
        }
        for connection in self.connections.values_mut() {
            for ns in [
                &mut connection.started_ns,
                &mut connection.established_ns,
                &mut connection.flight_ack_ns,
                &mut connection.refused_until_ns,
                &mut connection.last_seen_ns,
            ] {
                time(ns);
            }
            for us in [&mut connection.rtt_us, &mut connection.hello_gap_us, &mut connection.flight_gap_us] {
                duration(us);
            }
        }
        for event in &mut self.events {
            time(&mut event.started_ns);
            time(&mut event.at_ns);
            for us in [&mut event.rtt_us, &mut event.hello_gap_us, &mut event.flight_gap_us] {
                duration(us);
            }
        }
        self
    }

    /// What differs from another observation, line by line; `None` if nothing does.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self == other {
            return None;
        }
        let (left, right) = (format!("{self:#?}"), format!("{other:#?}"));
        let lines: Vec<String> = left
            .lines()
            .zip(right.lines())
            .filter(|(left, right)| left != right)
            .map(|(left, right)| format!("{} <> {}", left.trim(), right.trim()))
            .take(12)
            .collect();
        Some(if lines.is_empty() { "one of them has more entries".to_owned() } else { lines.join("; ") })
    }

    /// How far one counter moved.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }

    /// The connection, if there is exactly one.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        let mut all = self.connections.values();
        all.next().filter(|_| all.next().is_none())
    }
}
