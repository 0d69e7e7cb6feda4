//! Makes what a table remembers older or younger, so that tests need not wait.

use sensor_common::connection::{Connection, ConnectionBucket};
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::rule::{ClassRule, Rule};
use sensor_common::seat::FREE;
use sensor_common::stats::{NetworkBucket, NetworkStats, SourceBucket, SourceRecord};
use sensor_common::tables::EventBudget;
use sensor_common::traffic::{PROTECTED, TICKS, TrafficBucket};

/// A step back in time, in the units that tables keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    ns: i64,
    us: i64,
    ticks: i64,
}

/// How far tables were moved back. Units of time do not divide every step: what is left goes into the next one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past(i64);

impl Past {
    /// The next step; a negative number of nanoseconds moves times forward.
    pub(super) fn step(&mut self, ns: i64) -> Step {
        let before = self.0;
        self.0 += ns;
        let by = |unit: i64| self.0.div_euclid(unit) - before.div_euclid(unit);
        Step { ns, us: by(1_000), ticks: by(1 << 26) }
    }
}

/// Something that remembers times.
pub(super) trait Age {
    /// Moves every time that is set back.
    fn age(&mut self, step: Step);
}

fn shift(time: &mut u64, step: Step) {
    if *time != 0 && *time != u64::MAX {
        *time = time.saturating_add_signed(step.ns.saturating_neg()).max(1);
    }
}

impl Age for Connection {
    fn age(&mut self, step: Step) {
        for time in [
            &mut self.started_ns,
            &mut self.established_ns,
            &mut self.flight_ack_ns,
            &mut self.refused_until_ns,
            &mut self.last_seen_ns,
        ] {
            shift(time, step);
        }
    }
}

impl Age for ConnectionBucket {
    fn age(&mut self, step: Step) {
        aged(&self.tags, &mut self.records, step);
    }
}

impl Age for SourceRecord {
    fn age(&mut self, step: Step) {
        for time in
            [&mut self.first_seen_ns, &mut self.last_seen_ns, &mut self.second_start_ns, &mut self.minute_start_ns]
        {
            shift(time, step);
        }
    }
}

impl Age for SourceBucket {
    fn age(&mut self, step: Step) {
        aged(&self.keys, &mut self.records, step);
    }
}

impl Age for NetworkStats {
    fn age(&mut self, step: Step) {
        shift(&mut self.first_seen_ns, step);
        shift(&mut self.last_seen_ns, step);
    }
}

impl Age for NetworkBucket {
    fn age(&mut self, step: Step) {
        aged(&self.keys, &mut self.records, step);
    }
}

impl Age for TrafficBucket {
    fn age(&mut self, step: Step) {
        for (seen, _) in self.seen.iter_mut().zip(self.keys).filter(|(_, key)| *key != FREE) {
            // Modulo 2^31, as the table counts.
            let ticks = i64::from(*seen & TICKS).wrapping_sub(step.ticks) as u32 & TICKS;
            *seen = *seen & PROTECTED | ticks;
        }
    }
}

impl Age for HalfOpenBucket {
    fn age(&mut self, step: Step) {
        for (time, _) in self.times.iter_mut().zip(self.tags).filter(|(_, tag)| *tag != FREE) {
            *time = i64::from(*time).wrapping_sub(step.us) as u32;
        }
    }
}

impl Age for Rule {
    fn age(&mut self, step: Step) {
        shift(&mut self.expires_ns, step);
    }
}

impl Age for ClassRule {
    fn age(&mut self, step: Step) {
        shift(&mut self.expires_ns, step);
        shift(&mut self.newer_than_ns, step);
    }
}

impl Age for EventBudget {
    fn age(&mut self, step: Step) {
        shift(&mut self.second_start_ns, step);
    }
}

fn aged<T: Age>(keys: &[u64; 8], records: &mut [T; 8], step: Step) {
    for (record, _) in records.iter_mut().zip(keys).filter(|(_, key)| **key != FREE) {
        record.age(step);
    }
}
