//! Reading the tables of sources and networks that completed a handshake, and writing networks before the start.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use sensor_common::address::{Address, network_key};
use sensor_common::seat::{CLAIMED, FREE};
use sensor_common::settings::Settings;
use sensor_common::stats::{NetworkStats, network_bucket, source_bucket};

use super::Completed;
use super::shared::{NetworkCells, RecordCells, SourceCells};

/// How far the kernel's clock may be behind, and a record behind its time, nanoseconds.
const SLACK_NS: u64 = 200_000_000;

/// Sources whose record changed since the latest look, and how many records there are.
pub(super) fn changed(table: &[SourceCells], latest_ns: Option<u64>) -> (Vec<Completed>, u64) {
    let since_ns = latest_ns.map_or(0, |latest| latest.saturating_sub(SLACK_NS));
    let mut found = Vec::new();
    let mut used = 0;
    for bucket in table {
        for (key, record) in bucket.keys.iter().zip(&bucket.records) {
            if is_free(key) {
                continue;
            }
            used += 1;
            if record.last_seen_ns.load(Ordering::Relaxed) >= since_ns {
                found.extend(read(key, record));
            }
        }
    }
    (found, used)
}

/// Every source that completed a handshake.
pub(super) fn each(table: &[SourceCells], mut visit: impl FnMut(&Completed)) {
    for bucket in table {
        let places = bucket.keys.iter().zip(&bucket.records);
        places.filter_map(|(key, record)| read(key, record)).for_each(|source| visit(&source));
    }
}

/// What the kernel knows of the handshakes of one source.
pub(super) fn get(table: &[SourceCells], settings: &Settings, key: u64) -> Option<Completed> {
    let bucket = table.get(source_bucket(settings, key) as usize)?;
    let mut places = bucket.keys.iter().zip(&bucket.records);
    let (cell, record) = places.find(|(cell, _)| cell.load(Ordering::Relaxed) == key)?;
    read(cell, record).filter(|source| source.key == key)
}

/// Places in use.
pub(super) fn used<'a>(keys: impl Iterator<Item = &'a AtomicU64>) -> u64 {
    keys.filter(|key| !is_free(key)).count() as u64
}

fn is_free(key: &AtomicU64) -> bool {
    matches!(key.load(Ordering::Relaxed), FREE | CLAIMED)
}

/// A record whose key was the same before and after.
fn read(key: &AtomicU64, record: &RecordCells) -> Option<Completed> {
    let before = key.load(Ordering::Acquire);
    let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let source = Completed {
        key: before,
        connections: load(&record.connections),
        requests: load(&record.requests),
        gap_samples: load(&record.gap_samples),
        gap_flagged: load(&record.gap_flagged),
        first_seen_ns: load(&record.first_seen_ns),
        last_seen_ns: load(&record.last_seen_ns),
    };
    fence(Ordering::Acquire);
    (!matches!(before, FREE | CLAIMED) && load(key) == before).then_some(source)
}

/// Enters networks known from earlier; one that is there keeps the earlier first sight, and where a bucket is full the
/// one not seen for longest gives way. Only while no program runs on the table: nothing else may claim a place.
pub(super) fn remember(table: &[NetworkCells], settings: &Settings, networks: &[(Address, NetworkStats)]) {
    for (network, stats) in networks {
        let key = network_key(network.key());
        let Some(bucket) = table.get(network_bucket(settings, key) as usize) else { continue };
        let keys = bucket.keys.each_ref().map(|key| key.load(Ordering::Relaxed));
        let sights = &bucket.records;
        let seen = |way: usize| sights[way].last_seen_ns.load(Ordering::Relaxed);
        let way = keys
            .iter()
            .position(|other| *other == key)
            .or_else(|| keys.iter().position(|other| *other == FREE))
            .or_else(|| (0..keys.len()).min_by_key(|way| seen(*way)))
            .unwrap_or(0);
        let (first, last) = if keys[way] == key {
            let first = sights[way].first_seen_ns.load(Ordering::Relaxed).min(stats.first_seen_ns);
            (first, seen(way).max(stats.last_seen_ns))
        } else if keys[way] != FREE && seen(way) > stats.last_seen_ns {
            continue;
        } else {
            (stats.first_seen_ns, stats.last_seen_ns)
        };
        sights[way].first_seen_ns.store(first, Ordering::Relaxed);
        sights[way].last_seen_ns.store(last, Ordering::Relaxed);
        bucket.keys[way].store(key, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use sensor_common::address::Address;
    use sensor_common::plain::Plain;
    use sensor_common::seat::CLAIMED;
    use sensor_common::settings::{Settings, Sizes};
    use sensor_common::stats::{NetworkStats, network_bucket, source_bucket};

    use super::{changed, each, get, remember};
    use crate::kernel::shared::{Mapped, NetworkCells, SourceCells};

    const SECOND: u64 = 1_000_000_000;

    fn settings() -> Settings {
        let sizes = Sizes { regions: 1, traffic: 64, half_open: 64, sources: 64, networks: 1, connections: 64 };
        Settings { seed: 7, sizes, ..Settings::zeroed() }
    }

    #[test]
    fn only_what_changed_is_given() {
        let table = Mapped::<SourceCells>::anonymous(64);
        let settings = settings();
        for number in 0..3_u8 {
            let key = Address::v4([192, 0, 2, number]).key();
            let bucket = &table[source_bucket(&settings, key) as usize];
            let way = bucket.keys.iter().position(|key| key.load(Ordering::Relaxed) == 0).expect("room");
            bucket.keys[way].store(key, Ordering::Relaxed);
            bucket.records[way].connections.store(u64::from(number) + 1, Ordering::Relaxed);
            bucket.records[way].last_seen_ns.store(u64::from(number) * SECOND, Ordering::Relaxed);
        }
        let (all, used) = changed(&table, None);
        assert_eq!((all.len(), used), (3, 3));
        let (late, used) = changed(&table, Some(2 * SECOND));
        assert_eq!((late.len(), late[0].connections, used), (1, 3, 3));
        let key = Address::v4([192, 0, 2, 1]).key();
        assert_eq!(get(&table, &settings, key).map(|source| source.connections), Some(2));
        assert_eq!(get(&table, &settings, key + 100), None);
        // A place that is being given away is nobody's.
        table.iter().flat_map(|bucket| &bucket.keys).for_each(|key| key.store(CLAIMED, Ordering::Relaxed));
        assert_eq!(changed(&table, None).1, 0);
        each(&table, |source| panic!("{source:?}"));
    }

    #[test]
    fn networks_are_entered_merged_and_the_oldest_gives_way() {
        let table = Mapped::<NetworkCells>::anonymous(1);
        let settings = settings();
        let network = |number: u8| Address::v4([10, 0, number, 0]);
        let stats = |first, last| NetworkStats { first_seen_ns: first, last_seen_ns: last };
        let places = || {
            let read = |way: usize| {
                let sight = &table[0].records[way];
                let key = table[0].keys[way].load(Ordering::Relaxed);
                (key, sight.first_seen_ns.load(Ordering::Relaxed), sight.last_seen_ns.load(Ordering::Relaxed))
            };
            (0..8).map(read).collect::<Vec<_>>()
        };
        assert_eq!(network_bucket(&settings, network(1).key()), 0);
        let known: Vec<_> = (0..8).map(|number| (network(number), stats(5, 10 + u64::from(number)))).collect();
        remember(&table, &settings, &known);
        assert_eq!(places()[3], (network(3).key(), 5, 13));
        remember(&table, &settings, &[(network(3), stats(2, 4)), (network(3), stats(7, 40))]);
        assert_eq!(places()[3], (network(3).key(), 2, 40), "first sight is the earliest, last the latest");
        remember(&table, &settings, &[(network(100), stats(1, 9))]);
        assert_eq!(places()[0].0, network(0).key(), "older than all there are");
        remember(&table, &settings, &[(network(100), stats(1, 30))]);
        assert_eq!(places()[0], (network(100).key(), 1, 30), "the one not seen for longest gave way");
    }
}
