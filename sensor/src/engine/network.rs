//! Which networks (/24 of IPv4, /48 of IPv6) have been seen, and since when. The unit of novelty.
//!
//! Only completed handshakes enter: a forged address never becomes a network.

use sensor_common::address::Address;
use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::state::Changed;
use super::time::{Span, Time};

/// A first sample later than this after the first sight tells of an old network.
const SAMPLE_WITHIN: Span = Span::seconds(3_600);

/// Sights are stored to this grain: novelty is a matter of days, and every change is a write.
const STORE_GRAIN: Span = Span::seconds(3_600);

/// Bytes of one network in the table.
pub(super) const BYTES: usize = Bounded::<Address, Network>::ENTRY_BYTES;

/// What is remembered of one network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub first_seen: Time,
    pub last_seen: Time,
    /// Whether it has given its one sample to a cohort.
    pub sampled: bool,
    /// Whether it took part in a campaign, over a relay.
    pub suspect: bool,
}

/// What one handshake says about its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    pub first_seen: Time,
    /// This is the one sample by which the network counts.
    pub counts: bool,
    /// It counts because it was part of an earlier campaign and came back.
    pub returned: bool,
}

/// All networks known.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    pub(super) table: Bounded<Address, Network>,
    pub(super) changed: Changed<Address>,
    evicted: u64,
}

impl Networks {
    /// An empty table with room for so many networks.
    #[must_use]
    pub fn with_room(networks: usize, secret: u64) -> Self {
        let changed = Changed::keyed(secret);
        Self { table: Bounded::with_room(networks, secret), changed, ..Self::default() }
    }

    /// Notes a completed handshake. `has_sample`: its relay gap was measured. After an absence of `novelty` a network
    /// is first seen again; after one of `away` a suspect counts again.
    pub fn see(
        &mut self,
        network: Address,
        at: Time,
        has_sample: bool,
        (novelty, away): (Span, Span),
        cap: usize,
    ) -> Sight {
        let fresh = Network { first_seen: at, last_seen: at, sampled: false, suspect: false };
        let Some(known) = self.table.touch(&network) else {
            self.table.insert(network, Network { sampled: has_sample, ..fresh });
            self.changed.note(network);
            while let Some((gone, _)) = self.table.shrink(cap) {
                self.changed.note(gone);
                self.evicted += 1;
            }
            return Sight { first_seen: at, counts: has_sample, returned: false };
        };
        let before = *known;
        if at.since(known.last_seen) >= novelty {
            *known = fresh;
        }
        known.first_seen = known.first_seen.min(at);
        known.last_seen = known.last_seen.max(at);
        // A handshake without sample must not use the network up: anyone can open a connection and say nothing.
        let is_new = !known.sampled && at.since(known.first_seen) <= SAMPLE_WITHIN;
        // Exits are used again after days; their networks are known by then, and would count no more.
        let returned = !is_new && known.suspect && at.since(before.last_seen) >= away;
        known.sampled |= has_sample;
        let stored = |n: &Network| (n.first_seen, n.last_seen.0 / STORE_GRAIN.0, n.sampled);
        if stored(&before) != stored(known) {
            self.changed.note(network);
        }
        Sight { first_seen: known.first_seen, counts: has_sample && (is_new || returned), returned }
    }

    /// Notes that a network took part in a campaign, or did not after all.
    pub fn suspect(&mut self, network: &Address, suspect: bool) {
        if let Some(known) = self.table.get_mut(network)
            && known.suspect != suspect
        {
            known.suspect = suspect;
            self.changed.note(*network);
        }
    }

    /// Enters a stored network, older ones first.
    pub(super) fn restore(&mut self, network: Address, stored: Network, now: Time, cap: usize) {
        let last_seen = stored.last_seen.min(now);
        let known = Network { first_seen: stored.first_seen.min(last_seen), last_seen, ..stored };
        self.table.insert(network.network(), known);
        while let Some((gone, _)) = self.table.shrink(cap) {
            self.changed.note(gone);
        }
    }

    #[must_use]
    pub fn get(&self, network: &Address) -> Option<&Network> {
        self.table.get(network)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Networks forgotten to make room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}
