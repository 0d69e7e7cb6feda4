//! Makes what a table remembers older or younger, so that tests need not wait.

use sensor_common::connection::Connection;
use sensor_common::rule::{ClassRule, DenyRule};
use sensor_common::stats::{NetworkStats, SourceStats};

/// Something that remembers times.
pub(super) trait Age {
    /// Moves every time that is set back by `ns`; a negative number moves it forward.
    fn age(&mut self, ns: i64);
}

fn shift(time: &mut u64, ns: i64) {
    if *time != 0 {
        *time = time.saturating_add_signed(ns.saturating_neg()).max(1);
    }
}

impl Age for Connection {
    fn age(&mut self, ns: i64) {
        for time in [
            &mut self.started_ns,
            &mut self.established_ns,
            &mut self.flight_ack_ns,
            &mut self.refused_until_ns,
            &mut self.last_seen_ns,
        ] {
            shift(time, ns);
        }
    }
}

impl Age for SourceStats {
    fn age(&mut self, ns: i64) {
        for time in
            [&mut self.first_seen_ns, &mut self.last_seen_ns, &mut self.second_start_ns, &mut self.minute_start_ns]
        {
            shift(time, ns);
        }
    }
}

impl Age for NetworkStats {
    fn age(&mut self, ns: i64) {
        shift(&mut self.first_seen_ns, ns);
        shift(&mut self.last_seen_ns, ns);
    }
}

impl Age for DenyRule {
    fn age(&mut self, ns: i64) {
        shift(&mut self.expires_ns, ns);
        shift(&mut self.last_hit_ns, ns);
    }
}

impl Age for ClassRule {
    fn age(&mut self, ns: i64) {
        shift(&mut self.expires_ns, ns);
        shift(&mut self.newer_than_ns, ns);
    }
}
