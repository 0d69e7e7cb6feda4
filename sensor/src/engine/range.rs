//! New networks that fill with active addresses of one client: what D5 counts.
//!
//! Per network the client that most of its connections come from (majority vote, Boyer and Moore 1981), and the addresses
//! that it was seen at as a set of 256 bits: exactly those of a /24, and of a /48 its /64s by their last byte. Kept for
//! networks that were not known before only; the least recently seen is forgotten for a new one.

use sensor_common::address::Address;

use super::bounded::Bounded;
use super::cohort::CohortKey;
use super::time::{Span, Time};

/// Active addresses that fill a network.
pub const ADDRESSES_MIN: u32 = 8;

/// Addresses that were active within this time count together.
const WITHIN: Span = Span::seconds(3_600);

/// The client must make more than so many times the connections of all others in the network.
const OTHERS: u64 = 10;

/// Networks followed.
pub(super) const RANGES_MAX: usize = 65_536;

/// Bytes of one network in the table.
pub(super) const BYTES: usize = Bounded::<Address, Range>::ENTRY_BYTES;

#[derive(Clone, Copy, Debug, Default)]
struct Range {
    began: Time,
    client: CohortKey,
    addresses: [u64; 4],
    /// Connections of that client, and of others.
    own: u32,
    others: u32,
    filled: bool,
}

impl Range {
    fn new(client: CohortKey, began: Time) -> Self {
        Self { began, client, ..Self::default() }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct RangeTable {
    table: Bounded<Address, Range>,
    evicted: u64,
}

impl RangeTable {
    /// An empty table; `secret` keeps clients from choosing where they stand in it.
    #[must_use]
    pub fn keyed(secret: u64) -> Self {
        Self { table: Bounded::with_room(0, secret), evicted: 0 }
    }

    /// Notes a connection from a network. Whether it has just filled with addresses of this client and hardly any other:
    /// homes and clouds are a mixture.
    pub fn see(&mut self, client: CohortKey, source: &Address, at: Time) -> bool {
        let network = source.network();
        let range = match self.table.find(&network) {
            Some(place) => self.table.touch_at(place),
            None => self.table.insert(network, Range::new(client, at)),
        };
        if range.filled {
            return false;
        }
        if at.since(range.began) >= WITHIN {
            *range = Range::new(client, at);
        }
        if range.client == client {
            range.own = range.own.saturating_add(1);
            // The last byte of what tells sources apart: of the IPv4 address, or of the /64.
            let last = source.octets[if source.is_v4() { 15 } else { 7 }];
            range.addresses[usize::from(last >> 6)] |= 1 << (last & 63);
        } else {
            range.others = range.others.saturating_add(1);
            if range.others > range.own {
                *range = Range { others: range.own, own: 1, ..Range::new(client, range.began) };
            }
        }
        let addresses: u32 = range.addresses.iter().map(|word| word.count_ones()).sum();
        range.filled = addresses >= ADDRESSES_MIN && u64::from(range.others) * OTHERS < u64::from(range.own);
        let filled = range.filled;
        while self.table.shrink(RANGES_MAX).is_some() {
            self.evicted += 1;
        }
        filled
    }

    /// Networks followed.
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
