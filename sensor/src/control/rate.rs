//! Rates from two readings of the kernel's counters.

use sensor_common::counter::{Counter, Group};

use super::protocol::Rates;

impl Rates {
    /// Rates between two readings of the kernel's counters (indexed by [`Counter::index`]), `elapsed_s` seconds apart.
    /// All zero if no time went by; a counter that restarted counts from zero.
    #[must_use]
    pub fn between(earlier: &[u64], later: &[u64], elapsed_s: f64) -> Self {
        let read =
            |counters: &[u64], counter: Counter| counters.get(counter.index() as usize).copied().unwrap_or_default();
        let per_s = |counter: Counter| {
            let (before, now) = (read(earlier, counter), read(later, counter));
            let grown = now.checked_sub(before).unwrap_or(now);
            if elapsed_s > 0.0 { grown as f64 / elapsed_s } else { 0.0 }
        };
        let refused = Counter::ALL.iter().filter(|c| matches!(c.group(), Group::Drop | Group::WouldDrop));
        Self {
            frames_per_s: per_s(Counter::Frames),
            bytes_per_s: per_s(Counter::Bytes),
            connections_per_s: per_s(Counter::Connections),
            requests_per_s: per_s(Counter::RequestsExact) + per_s(Counter::RequestsEstimated),
            refused_frames_per_s: refused.map(|c| per_s(*c)).sum(),
        }
    }
}
