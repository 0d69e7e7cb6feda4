//! What each source did lately: windows built from the kernel's running totals.
//!
//! Totals are differenced once a tick. A total that falls means that the kernel began to count anew; a source met for
//! the first time counts in full only if the kernel met it since the last tick too. Only sources that were active
//! since the last tick are looked at.

use std::hint::black_box;

use sensor_common::address::Address;
use serde::{Deserialize, Serialize};

use super::bounded::{Bounded, Place};
use super::detect::Detector;
use super::detect::source::{Exceeded, Heavy};
use super::harm::{Ownership, Taken};
use super::record::{Snapshot, SourceTotals};
use super::state::{Changed, Rows, split};
use super::tier::Tiers;
use super::time::{Span, Time};
use super::window::{Moment, Windows};

/// The kernel's tables are read while it writes them: activity this long before the last tick may be news.
const OVERLAP: Span = Span::seconds(2);

/// A source that goes on is stored again after this time.
const STORE_GRAIN: Span = Span::seconds(100);

/// Sources whose memory is asked for at once.
const AHEAD: usize = 16;

/// A source that goes on becomes the most recent one again after this time: the least recently seen is forgotten to the
/// minute.
const RECENT_GRAIN: Span = Span::seconds(60);

/// Bytes of one source in the table.
pub(super) const BYTES: usize = Bounded::<Address, Source>::ENTRY_BYTES;

// What the documentation of the type says.
const _: () = assert!(size_of::<Source>() == 256 && BYTES == 256 + 16 + 28);

/// One source: 256 bytes, and 44 of key, links and index at most. Its tally ([`super::tally::Tally`]) takes more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Totals at the last tick.
    total_connections: u64,
    total_requests: u64,
    total_answer_bytes: u64,
    /// When the kernel began to count.
    first_seen: Time,
    pub last_seen: Time,
    pub connections: Windows,
    pub requests: Windows,
    stored: Time,
    /// The campaign that counts it as its own; 0: none.
    campaign: u32,
    /// When it last became the most recent one, Unix seconds.
    #[serde(skip)]
    recent_s: u32,
    /// The update that last told of it: a snapshot has one word for each source.
    #[serde(skip)]
    told: u32,
    /// It waits to be stored.
    #[serde(skip)]
    unsaved: bool,
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
    /// Counts the snapshots, from 1.
    updates: u32,
    pub(super) ownership: Ownership,
    evicted: u64,
}

/// One update's view of time.
#[derive(Clone, Copy)]
struct Tick {
    now: Time,
    moment: Moment,
    previous: Option<Time>,
    number: u32,
}

impl Sources {
    /// An empty table with room for so many sources.
    #[must_use]
    pub fn with_room(sources: usize, secret: u64) -> Self {
        let changed = Changed::keyed(secret);
        Self { table: Bounded::with_room(sources, secret), changed, ..Self::default() }
    }

    /// Takes in one snapshot. Gives the sources over a limit of their tier, in the order of their addresses.
    pub fn update(&mut self, now: Time, snapshot: &Snapshot, tiers: &Tiers, cap: usize) -> Vec<HeavySource> {
        let since = self.previous.map(|at| at - OVERLAP);
        let is_active = |s: &&SourceTotals| since.is_none_or(|since| s.last_seen >= since);
        self.updates = self.updates.wrapping_add(1).max(1);
        let tick = Tick { now, moment: now.into(), previous: self.previous, number: self.updates };
        let mut heavy = Vec::new();
        let mut active: Vec<&SourceTotals> = snapshot.sources.iter().filter(is_active).collect();
        if active.len() > cap {
            active.sort_unstable_by_key(|s| (std::cmp::Reverse(s.last_seen), s.source));
            self.evicted += (active.len() - cap) as u64;
            active.truncate(cap);
        }
        self.count_all(&tick, &active, tiers, &mut heavy);
        while let Some((gone, _)) = self.table.shrink(cap) {
            self.changed.note(gone);
            self.evicted += 1;
        }
        self.previous = Some(now);
        heavy.sort_unstable_by_key(|heavy| heavy.source);
        heavy
    }

    /// First where each is, then each in the order in which they lie: a source takes four lines of memory, and most of
    /// the time is spent on waiting for them.
    fn count_all(&mut self, tick: &Tick, active: &[&SourceTotals], tiers: &Tiers, heavy: &mut Vec<HeavySource>) {
        let mut known: Vec<(Place, u32)> = Vec::with_capacity(active.len());
        let mut others: Vec<&SourceTotals> = Vec::new();
        for (totals, number) in active.iter().zip(0..) {
            match self.table.guess(&totals.source) {
                Some(place) => known.push((place, number)),
                None => others.push(totals),
            }
        }
        known.sort_unstable();
        let mut judge = |sources: &mut Self, totals: &SourceTotals, place: Option<Place>| {
            let Some(source) = sources.count(tick, totals, place) else { return };
            let tier = tiers.index_of(&totals.source);
            if let Some(exceeded) = Heavy.judge(source, (&tiers.all()[tier], tick.moment)) {
                heavy.push(HeavySource { source: totals.source, tier, exceeded });
            }
        };
        for chunk in known.chunks(AHEAD) {
            // Asked for together, so that the memory answers together.
            let mut is_at = [false; AHEAD];
            for (is_at, (place, number)) in is_at.iter_mut().zip(chunk) {
                *is_at = self.table.is_at(*place, &active[*number as usize].source);
                black_box(self.table.at(*place).reach());
            }
            for (is_at, (place, number)) in is_at.iter().zip(chunk) {
                let totals = active[*number as usize];
                if *is_at {
                    judge(self, totals, Some(*place));
                } else {
                    others.push(totals);
                }
            }
        }
        for totals in others {
            let place = self.table.find(&totals.source);
            judge(self, totals, place);
        }
    }

    /// Counts what one source did since the last tick; `None` if it did nothing.
    fn count(&mut self, tick: &Tick, totals: &SourceTotals, place: Option<Place>) -> Option<&mut Source> {
        let Some(place) = place else {
            let (told, recent_s) = (tick.number, seconds(tick.now));
            let campaign = self.ownership.met(&totals.source);
            let mut fresh = Source { told, recent_s, campaign, unsaved: true, ..Source::default() };
            // Met before the last tick: forgotten here since, or not yet known after a start. Its past has no date.
            let is_new = tick.previous.is_some_and(|at| totals.first_seen >= at - OVERLAP);
            if is_new {
                self.ownership.take(campaign, Taken { answers: totals.requests, bytes: totals.answer_bytes });
            }
            fresh.enter(tick.moment, totals, if is_new { (totals.connections, totals.requests) } else { (0, 0) });
            self.changed.note_first(totals.source);
            let entered = self.table.insert(totals.source, fresh);
            return is_new.then_some(entered);
        };
        let known = self.table.at(place);
        if known.told == tick.number {
            return None;
        }
        known.told = tick.number;
        let anew = totals.first_seen > known.first_seen && totals.first_seen > known.last_seen;
        let since = |total: u64, before: u64| if anew || total < before { total } else { total - before };
        let (connections, requests) = if tick.previous.is_none() {
            (0, 0)
        } else {
            (since(totals.connections, known.total_connections), since(totals.requests, known.total_requests))
        };
        let is_same = totals.last_seen == known.last_seen && totals.answer_bytes == known.total_answer_bytes;
        if is_same && connections == 0 && requests == 0 && !anew {
            return None;
        }
        let bytes = if tick.previous.is_none() { 0 } else { since(totals.answer_bytes, known.total_answer_bytes) };
        if requests > 0 || bytes > 0 {
            self.ownership.take(known.campaign, Taken { answers: requests, bytes });
        }
        known.enter(tick.moment, totals, (connections, requests));
        if !known.unsaved && tick.now.since(known.stored) >= STORE_GRAIN {
            (known.stored, known.unsaved) = (tick.now, true);
            self.changed.note_first(totals.source);
        }
        let now_s = seconds(tick.now);
        let is_recent = u64::from(now_s.abs_diff(known.recent_s)) < RECENT_GRAIN.as_seconds();
        if !is_recent {
            known.recent_s = now_s;
        }
        let known = if is_recent { self.table.at(place) } else { self.table.touch_at(place) };
        (connections > 0 || requests > 0).then_some(known)
    }

    /// Notes that a source belongs to a campaign: what it takes from now on is that campaign's.
    pub(super) fn claim(&mut self, source: Address, campaign: u64, at: Time) {
        let campaign = u32::try_from(campaign).unwrap_or(0);
        match self.table.get_mut(&source) {
            Some(known) => known.campaign = campaign,
            None => self.ownership.expect(source, campaign, at),
        }
    }

    /// Rows that changed since they were last taken; the rest comes with the next calls.
    pub(super) fn changes(&mut self) -> Rows<[u8; 16], Source> {
        let (keys, whole) = self.changed.take(|| self.table.recent().map(|(key, _)| *key).collect());
        let mut row = |key: Address| {
            let source = self.table.get_mut(&key).map(|source| {
                source.unsaved = false;
                source.clone()
            });
            (key.octets, source)
        };
        split(keys.into_iter().map(&mut row), whole)
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

/// Unix seconds, until 2106.
fn seconds(at: Time) -> u32 {
    u32::try_from(at.unix_s()).unwrap_or(u32::MAX)
}

impl Source {
    /// A word from each part, to have them all at hand.
    fn reach(&self) -> u64 {
        u64::from(self.told) ^ self.total_connections ^ self.connections.reach() ^ self.requests.reach()
    }

    fn enter(&mut self, now: Moment, totals: &SourceTotals, (connections, requests): (u64, u64)) {
        self.total_connections = totals.connections;
        self.total_requests = totals.requests;
        self.total_answer_bytes = totals.answer_bytes;
        self.first_seen = totals.first_seen;
        self.last_seen = totals.last_seen;
        self.connections.add(now, connections);
        self.requests.add(now, requests);
    }
}
