//! What each source did lately: windows built from the kernel's running totals.
//!
//! Totals are differenced once a tick. A total that falls means that the kernel began to count anew; a source met for
//! the first time counts in full only if the kernel met it since the last tick too. Only sources that were active
//! since the last tick are looked at.

use sensor_common::address::Address;
use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::detect::Detector;
use super::detect::source::{Exceeded, Heavy};
use super::record::{Snapshot, SourceTotals};
use super::state::Changed;
use super::tier::Tiers;
use super::time::{Span, Time};
use super::window::Windows;

/// The kernel's tables are read while it writes them: activity this long before the last tick may be news.
const OVERLAP: Span = Span::seconds(2);

/// A source that goes on is stored again after this time.
const STORE_GRAIN: Span = Span::seconds(100);

/// One source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Totals at the last tick.
    total_connections: u64,
    total_requests: u64,
    /// When the kernel began to count.
    first_seen: Time,
    pub last_seen: Time,
    pub connections: Windows,
    pub requests: Windows,
    stored: Time,
}

/// A source over a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeavySource {
    pub source: Address,
    /// Number of its tier.
    pub tier: usize,
    pub exceeded: Exceeded,
}

/// All sources.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub(super) table: Bounded<Address, Source>,
    pub(super) changed: Changed<Address>,
    /// The last tick; `None` before the first one, which only sets the totals.
    previous: Option<Time>,
    evicted: u64,
}

impl Sources {
    /// Takes in one snapshot. Gives the sources over a limit of their tier, in the order of their addresses.
    pub fn update(&mut self, now: Time, snapshot: &Snapshot, tiers: &Tiers, cap: usize) -> Vec<HeavySource> {
        let since = self.previous.map(|at| at - OVERLAP);
        let mut active: Vec<&SourceTotals> =
            snapshot.sources.iter().filter(|s| since.is_none_or(|since| s.last_seen >= since)).collect();
        if active.len() > cap {
            active.sort_unstable_by_key(|s| (std::cmp::Reverse(s.last_seen), s.source));
            self.evicted += (active.len() - cap) as u64;
            active.truncate(cap);
        }
        active.sort_unstable_by_key(|s| s.source);
        active.dedup_by_key(|s| s.source);
        let mut heavy = Vec::new();
        for totals in active {
            let counted = self.count(now, totals);
            if !counted {
                continue;
            }
            let tier = tiers.index_of(&totals.source);
            let Some(source) = self.table.get_mut(&totals.source) else { continue };
            if let Some(exceeded) = Heavy.judge(source, (&tiers.all()[tier], now)) {
                heavy.push(HeavySource { source: totals.source, tier, exceeded });
            }
        }
        while let Some((gone, _)) = self.table.shrink(cap) {
            self.changed.note(gone);
            self.evicted += 1;
        }
        self.previous = Some(now);
        heavy
    }

    /// Counts what one source did since the last tick; whether it did anything.
    fn count(&mut self, now: Time, totals: &SourceTotals) -> bool {
        let previous = self.previous;
        let Some(known) = self.table.get_mut(&totals.source) else {
            let mut fresh = Source::default();
            // Met before the last tick: forgotten here since, or not yet known after a start. Its past has no date.
            let is_new = previous.is_some_and(|at| totals.first_seen >= at - OVERLAP);
            fresh.enter(now, totals, if is_new { (totals.connections, totals.requests) } else { (0, 0) });
            self.table.insert(totals.source, fresh);
            self.changed.note(totals.source);
            return is_new;
        };
        let anew = totals.first_seen > known.first_seen && totals.first_seen > known.last_seen;
        let since = |total: u64, before: u64| if anew || total < before { total } else { total - before };
        let (connections, requests) = if previous.is_none() {
            (0, 0)
        } else {
            (since(totals.connections, known.total_connections), since(totals.requests, known.total_requests))
        };
        if totals.last_seen == known.last_seen && connections == 0 && requests == 0 && !anew {
            return false;
        }
        known.enter(now, totals, (connections, requests));
        if now.since(known.stored) >= STORE_GRAIN {
            known.stored = now;
            self.changed.note(totals.source);
        }
        self.table.touch(&totals.source);
        connections > 0 || requests > 0
    }

    /// Enters a stored source, older ones first.
    pub(super) fn restore(&mut self, source: Address, stored: Source, now: Time, cap: usize) {
        let last_seen = stored.last_seen.min(now);
        let (connections, requests) = (stored.connections.sane(now), stored.requests.sane(now));
        let stored_at = stored.stored.min(now);
        self.table.insert(source.source(), Source { last_seen, connections, requests, stored: stored_at, ..stored });
        while let Some((gone, _)) = self.table.shrink(cap) {
            self.changed.note(gone);
        }
    }

    #[must_use]
    pub fn get(&self, source: &Address) -> Option<&Source> {
        self.table.get(source)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Sources forgotten to make room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

impl Source {
    fn enter(&mut self, now: Time, totals: &SourceTotals, (connections, requests): (u64, u64)) {
        self.total_connections = totals.connections;
        self.total_requests = totals.requests;
        self.first_seen = totals.first_seen;
        self.last_seen = totals.last_seen;
        self.connections.add(now, connections);
        self.requests.add(now, requests);
    }
}
