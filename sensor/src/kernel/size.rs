//! How large the kernel's tables are made: what the operator asks for, what comes of it, and the shape of every map.

use std::fs;

use sensor_common::address::Prefix;
use sensor_common::capacity;
use sensor_common::connection::ConnectionBucket;
use sensor_common::counter::Counter;
use sensor_common::filter;
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::names;
use sensor_common::rule::{ClassKey, ClassRule, Reference, Rule, TierLimit};
use sensor_common::settings::{Settings, Sizes};
use sensor_common::stats::{NetworkBucket, SourceBucket};
use sensor_common::traffic::TrafficBucket;
use sensor_common::{seat, traffic};

/// Words of the bit set of watched ports.
pub(super) const SERVICE_WORDS: u32 = 1_024;

/// CPUs that get a part of their own, at most; each costs the memory of its hit counters.
const REGIONS_MAX: u32 = 128;

/// Buckets of a CPU's own part, at least.
const REGION_MIN: u32 = 64;

/// Half-open connections in a bucket.
pub(super) const ATTEMPT_WAYS: u32 = 4;

/// What is known about one key of `[capacity]`.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    /// Smallest and largest value taken.
    pub range: (u32, u32),
    pub default: u32,
    pub help: &'static str,
}

/// Entries of the tables whose size is chosen at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Sources whose frames are counted, all CPUs together.
    pub sources: u32,
    /// Sources with a completed handshake.
    pub records: u32,
    pub connections: u32,
    pub networks: u32,
}

/// Every key of `[capacity]`.
pub const ROWS: [Row; 4] = [
    Row {
        name: "sources",
        range: (4_096, 1 << 25),
        default: capacity::SOURCES,
        help: "Sources whose frames are counted at once, spoofed ones too; 32 bytes each and 48 in the daemon. A source takes a place on \
               each CPU that receives its frames.",
    },
    Row {
        name: "records",
        range: (1_024, 1 << 23),
        default: capacity::RECORDS,
        help: "Sources with a completed handshake that are followed at once; 80 bytes each.",
    },
    Row {
        name: "connections",
        range: (1_024, 1 << 22),
        default: capacity::CONNECTIONS,
        help: "Connections followed at once.",
    },
    Row {
        name: "networks",
        range: (1_024, 1 << 24),
        default: capacity::NETWORKS,
        help: "Networks whose first sight the kernel remembers, 24 bytes each; the store remembers more.",
    },
];

impl Default for Capacity {
    fn default() -> Self {
        let [sources, records, connections, networks] = ROWS.map(|row| row.default);
        Self { sources, records, connections, networks }
    }
}

impl Capacity {
    /// The sizes for a host with this many CPUs: each is the next power of two.
    #[must_use]
    pub fn sizes(&self, cpus: u32) -> Sizes {
        let regions = cpus.clamp(1, REGIONS_MAX).next_power_of_two();
        let region = |entries: u32, ways: u32| (entries.next_power_of_two() / regions / ways).max(REGION_MIN);
        let shared = |entries: u32| (entries.next_power_of_two() / seat::WAYS as u32).max(REGION_MIN);
        Sizes {
            regions,
            traffic: region(self.sources, traffic::WAYS as u32),
            half_open: region(capacity::ATTEMPTS, ATTEMPT_WAYS),
            sources: shared(self.records),
            networks: shared(self.networks),
            connections: shared(self.connections),
        }
    }
}

/// One more than the highest number of a CPU that is online; a CPU beyond it shares its part with another.
#[must_use]
pub fn cpus() -> u32 {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    highest(&online).map_or(1, |highest| highest.saturating_add(1))
}

/// The highest number of a list like `0-3,8`.
fn highest(list: &str) -> Option<u32> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// A pinned map as this daemon knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    /// Bytes of a key and of a value.
    pub(super) key: usize,
    pub(super) value: usize,
    pub(super) entries: u32,
}

/// Every pinned map, by the sizes chosen.
pub(super) fn shapes(sizes: &Sizes) -> [Shape; 17] {
    let elements = sizes.elements();
    let shape = |name, key, value, entries| Shape { name, key, value, entries };
    let array = |name, value, entries| shape(name, 4, value, entries);
    let trie = |name, value, entries| shape(name, size_of::<Prefix>(), value, entries);
    [
        array(names::SETTINGS, size_of::<Settings>(), 1),
        array(names::SERVICES, 8, SERVICE_WORDS),
        array(names::COUNTERS, 8 * Counter::COUNT as usize, 1),
        array(names::TRAFFIC, size_of::<TrafficBucket>(), elements.traffic),
        array(names::HALF_OPEN, size_of::<HalfOpenBucket>(), elements.half_open),
        array(names::SOURCES, size_of::<SourceBucket>(), elements.sources),
        array(names::NETWORKS, size_of::<NetworkBucket>(), elements.networks),
        array(names::CONNECTIONS, size_of::<ConnectionBucket>(), elements.connections),
        array(names::FILTER, 8, filter::WORDS),
        array(names::RULES, size_of::<Rule>(), capacity::RULES),
        array(names::HITS, 8, elements.hits),
        trie(names::ALLOW, size_of::<Reference>(), capacity::ALLOW),
        trie(names::DENY, size_of::<Reference>(), capacity::DENY),
        shape(names::CLASSES, size_of::<ClassKey>(), size_of::<ClassRule>(), capacity::CLASSES),
        trie(names::TIERED, 4, capacity::TIERED),
        array(names::LIMITS, size_of::<TierLimit>(), capacity::TIERS),
        shape(names::EVENTS, 0, 0, capacity::EVENTS_BYTES),
    ]
}

/// Bytes the kernel's tables take with these sizes before any rule is entered.
#[must_use]
pub fn kernel_bytes(sizes: &Sizes) -> u64 {
    let tries = [names::ALLOW, names::DENY, names::TIERED];
    let bytes = |shape: &Shape| (shape.key + shape.value) as u64 * u64::from(shape.entries);
    let fixed: u64 = shapes(sizes).iter().filter(|shape| !tries.contains(&shape.name)).map(bytes).sum();
    fixed + u64::from(capacity::EVENTS_BYTES)
}

#[cfg(test)]
mod tests {
    use sensor_common::names;

    use super::{Capacity, ROWS, highest, kernel_bytes, shapes};

    #[test]
    fn sizes_are_powers_of_two_that_hold_what_was_asked_for() {
        for (cpus, sources) in [(1, 1 << 20), (2, 1_000_000), (12, 1 << 20), (1_000, 1 << 20), (3, 5_000)] {
            let sizes = Capacity { sources, ..Capacity::default() }.sizes(cpus);
            let all = [sizes.regions, sizes.traffic, sizes.half_open, sizes.sources, sizes.networks, sizes.connections];
            assert!(all.iter().all(|size| size.is_power_of_two()), "{cpus} {sources}: {all:?}");
            assert!(sizes.elements().traffic * 4 >= sources, "{cpus} {sources}: {sizes:?}");
            assert!(sizes.regions >= cpus.min(128), "{cpus} {sources}: {sizes:?}");
            assert!(sizes.traffic >= 64, "{cpus} {sources}: {sizes:?}");
        }
        let sizes = Capacity::default().sizes(2);
        assert_eq!((sizes.regions, sizes.traffic, sizes.half_open), (2, 131_072, 16_384));
        assert_eq!((sizes.sources, sizes.networks, sizes.connections), (32_768, 32_768, 16_384));
    }

    #[test]
    fn every_map_has_a_shape() {
        let names: Vec<&str> = shapes(&Capacity::default().sizes(2)).iter().map(|shape| shape.name).collect();
        assert_eq!(names, names::MAPS);
    }

    #[test]
    fn the_largest_tables_can_be_counted() {
        let [sources, records, connections, networks] = ROWS.map(|row| row.range.1);
        let largest = Capacity { sources, records, connections, networks };
        for cpus in [1, 128] {
            let sizes = largest.sizes(cpus);
            let elements = sizes.elements();
            assert_eq!(u64::from(elements.traffic), u64::from(sizes.regions) * u64::from(sizes.traffic));
            assert!(kernel_bytes(&sizes) > 1 << 30);
        }
    }

    #[test]
    fn the_highest_cpu_is_found() {
        for (list, expected) in [("0\n", Some(0)), ("0-1\n", Some(1)), ("0-3,8-11,16\n", Some(16)), ("", None)] {
            assert_eq!(highest(list), expected, "{list:?}");
        }
    }
}
