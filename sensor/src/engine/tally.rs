//! Relay samples per source, whatever it speaks and to which service.
//!
//! The rule of the smallest gap: a source that ever answered without delay is not behind a relay, or shares its address
//! with someone who is not (`CGNAT`), and is never refused by address. One that was late each time, twice or more, is
//! (1.5 % false by one connection, 0.08 % by two; measured).

use sensor_common::address::Address;

use super::bounded::Bounded;
use super::cohort::CohortKey;
use super::time::Time;

/// Bytes of one tally in the table.
pub(super) const BYTES: usize = Bounded::<Address, Tally>::ENTRY_BYTES;

// What the documentation of the type says.
const _: () = assert!(size_of::<Tally>() == 56 && BYTES == 56 + 16 + 28);

/// Samples of one source: 56 bytes, and 44 of key, links and index at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections whose gap was measured.
    pub samples: u32,
    /// Of these, those that came over a relay.
    pub relayed: u32,
    /// Of these, those of the cohort, and those of the service, that it was last caught in.
    caught: u32,
    caught_by_service: u32,
    cohort: CohortKey,
    /// The latest record, to know it again if it comes twice.
    last: (Time, Option<u32>),
    known: bool,
}

impl Tally {
    /// Samples that spoke for a direct client.
    #[must_use]
    pub const fn direct(&self) -> u32 {
        self.samples.saturating_sub(self.relayed)
    }

    /// The cohort that it was last caught in.
    #[must_use]
    pub const fn cohort(&self) -> CohortKey {
        self.cohort
    }

    /// Whether every sample, and two at least in this cohort, came over a relay.
    #[must_use]
    pub fn is_caught(&self, cohort: CohortKey) -> bool {
        let caught = match cohort.is_whole_service() {
            true if self.cohort.service == cohort.service => self.caught_by_service,
            false if self.cohort == cohort => self.caught,
            _ => 0,
        };
        caught >= 2 && self.direct() == 0
    }
}

/// Tallies of all sources that completed a handshake.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    table: Bounded<Address, Tally>,
}

impl Tallies {
    /// An empty table with room for so many sources.
    #[must_use]
    pub fn with_room(sources: usize, secret: u64) -> Self {
        Self { table: Bounded::with_room(sources, secret) }
    }

    /// Enters one record: its gap and whether that says relay. `None` if the record came before.
    pub fn enter(
        &mut self,
        source: Address,
        cohort: CohortKey,
        at: Time,
        sample: Option<(u32, bool)>,
        cap: usize,
    ) -> Option<Tally> {
        while self.table.len() >= cap.max(1) && !self.table.contains(&source) {
            self.table.shrink(cap.max(1) - 1);
        }
        let tally = match self.table.find(&source) {
            Some(place) => self.table.touch_at(place),
            None => self.table.insert(source, Tally::default()),
        };
        let record = (at, sample.map(|(gap_us, _)| gap_us));
        if tally.known && tally.last == record {
            return None;
        }
        (tally.known, tally.last) = (true, record);
        if let Some((_, relayed)) = sample {
            tally.samples = tally.samples.saturating_add(1);
            if relayed {
                if tally.cohort.service != cohort.service {
                    tally.caught_by_service = 0;
                }
                if tally.cohort != cohort {
                    (tally.cohort, tally.caught) = (cohort, 0);
                }
                tally.relayed = tally.relayed.saturating_add(1);
                tally.caught = tally.caught.saturating_add(1);
                tally.caught_by_service = tally.caught_by_service.saturating_add(1);
            }
        }
        Some(*tally)
    }

    #[must_use]
    pub fn get(&self, source: &Address) -> Option<&Tally> {
        self.table.get(source)
    }
}
