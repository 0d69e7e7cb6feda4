//! What stands in the tables, read as the daemon reads them: bucket by bucket, regions added up.

use std::collections::BTreeMap;

use sensor_common::address::Address;
use sensor_common::connection::{Connection, ConnectionBucket, ConnectionKey};
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::seat::{CLAIMED, FREE};
use sensor_common::stats::{NetworkBucket, NetworkStats, SourceBucket};
use sensor_common::traffic::TrafficBucket;

use super::{Attempt, Source};

/// Sources that have a place in the traffic table or a record.
pub(super) fn sources(traffic: &[TrafficBucket], records: &[SourceBucket]) -> BTreeMap<Address, Source> {
    let mut found: BTreeMap<Address, Source> = BTreeMap::new();
    for bucket in traffic {
        for (way, key) in bucket.keys.iter().enumerate().filter(|(_, key)| **key != FREE) {
            found.entry(Address::from_key(*key)).or_default().add(bucket, way);
        }
    }
    for bucket in records {
        for (way, key) in used(&bucket.keys) {
            let source = found.entry(Address::from_key(key)).or_default();
            assert!(!source.recorded, "two records of {}", Address::from_key(key));
            source.recorded = true;
            source.record = bucket.records[way];
        }
    }
    found
}

pub(super) fn networks(buckets: &[NetworkBucket]) -> BTreeMap<Address, NetworkStats> {
    collect(
        buckets
            .iter()
            .flat_map(|bucket| used(&bucket.keys).map(|(way, key)| (Address::from_key(key), bucket.records[way]))),
    )
}

pub(super) fn connections(buckets: &[ConnectionBucket]) -> BTreeMap<ConnectionKey, Connection> {
    collect(
        buckets
            .iter()
            .flat_map(|bucket| used(&bucket.tags).map(|(way, _)| (bucket.keys[way].key(), bucket.records[way]))),
    )
}

pub(super) fn attempts(buckets: &[HalfOpenBucket]) -> BTreeMap<u64, Attempt> {
    let attempt =
        |bucket: &HalfOpenBucket, way: usize| Attempt { isn: bucket.isns[way], started_us: bucket.times[way] };
    // Not one for each tag: a SYN that two CPUs received waits with both.
    let waiting = buckets.iter().flat_map(|bucket| {
        let taken = bucket.tags.iter().enumerate().filter(|(_, tag)| **tag != FREE);
        taken.map(move |(way, tag)| (*tag, attempt(bucket, way)))
    });
    waiting.collect()
}

/// Places in use, and their keys. No frame is under way: none may be claimed.
fn used(keys: &[u64; 8]) -> impl Iterator<Item = (usize, u64)> {
    assert!(!keys.contains(&CLAIMED), "a place was claimed and never given its key: {keys:x?}");
    keys.iter().copied().enumerate().filter(|(_, key)| *key != FREE)
}

fn collect<K: Ord + std::fmt::Debug + Copy, V>(entries: impl Iterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut found = BTreeMap::new();
    for (key, value) in entries {
        assert!(found.insert(key, value).is_none(), "two entries of {key:?}");
    }
    found
}
