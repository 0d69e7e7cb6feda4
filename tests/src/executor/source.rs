//! One source as its reader sees it: frames of all regions added up, and the record of its completed handshakes.

use sensor_common::stats::{NEW_SOURCE, SourceRecord};
use sensor_common::traffic::{PROTECTED, TICKS, TrafficBucket};

/// What is known of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub packets: u64,
    pub bytes: u64,
    pub syns: u64,
    pub dropped: u64,
    /// When its latest frame came, see [`sensor_common::traffic::tick`].
    pub last_tick: u32,
    /// In how many regions it has a place.
    pub places: u32,
    /// In how many of them it completed a handshake.
    pub protected: u32,
    /// The rule it was last found under; of several regions the greatest.
    pub rule: u32,
    /// Whether it has a record.
    pub recorded: bool,
    /// Its record, or [`NEW_SOURCE`].
    pub record: SourceRecord,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            packets: 0,
            bytes: 0,
            syns: 0,
            dropped: 0,
            last_tick: 0,
            places: 0,
            protected: 0,
            rule: 0,
            recorded: false,
            record: NEW_SOURCE,
        }
    }
}

impl Source {
    /// Adds what one region counted.
    pub(super) fn add(&mut self, bucket: &TrafficBucket, way: usize) {
        self.packets += u64::from(bucket.packets[way]);
        self.bytes += u64::from(bucket.bytes[way]);
        self.syns += u64::from(bucket.syns[way]);
        self.dropped += u64::from(bucket.dropped[way]);
        self.last_tick = self.last_tick.max(bucket.seen[way] & TICKS);
        self.places += 1;
        self.protected += u32::from(bucket.seen[way] & PROTECTED != 0);
        self.rule = self.rule.max(bucket.rules[way]);
    }
}
