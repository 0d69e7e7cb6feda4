//! Baselines that refuse addresses: a limit for each, and a list of those that took part.

use sensor::engine::time::Time;

use super::Outcome;
use crate::table::Table;
use crate::traffic::Event;

/// Requests that a source may make within a minute.
const PER_MINUTE: u32 = 60;

/// An address stays on the list for so long, nanoseconds.
const LISTED_NS: u64 = 86_400 * 1_000_000_000;

/// Gap that says relay, microseconds.
const LATE_US: u32 = 25_000;

const MINUTE_NS: u64 = 60_000_000_000;

/// A limit per source.
#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    /// The minute at hand, and requests in it.
    sources: Table<(u64, u32)>,
    pub(super) outcome: Outcome,
}

impl Limit {
    pub(super) fn connect(&mut self, event: &Event) {
        let minute = event.at_ns / MINUTE_NS;
        let (of, requests) = self.sources.entry(event.client.key()).or_default();
        if *of != minute {
            (*of, *requests) = (minute, 0);
        }
        *requests += 1;
        let is_refused = *requests > PER_MINUTE;
        if is_refused && self.outcome.alarms_s.last().is_none_or(|last| event.at_ns / 1_000_000_000 >= last + 1_800) {
            self.outcome.alarms_s.push(event.at_ns / 1_000_000_000);
        }
        count(&mut self.outcome, event, is_refused);
    }
}

/// Addresses that came over a relay from a network first seen since the engine's alarm.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockList {
    listed: Table<u64>,
    pub(super) outcome: Outcome,
}

impl BlockList {
    pub(super) fn connect(&mut self, event: &Event, first_seen: Time, at: Time, found_s: Option<u64>) {
        let Some(found_s) = found_s else { return };
        if self.outcome.alarms_s.is_empty() {
            self.outcome.alarms_s.push(found_s);
        }
        let key = event.client.key();
        let is_refused = self.listed.get(&key).is_some_and(|until| *until > event.at_ns);
        let found = crate::site::START + sensor::engine::time::Span::seconds(found_s);
        let is_new = first_seen >= found && at >= found;
        if !is_refused && is_new && event.gap_us.is_some_and(|gap| gap > LATE_US) {
            self.listed.insert(key, event.at_ns + LISTED_NS);
        }
        count(&mut self.outcome, event, is_refused);
    }
}

fn count(outcome: &mut Outcome, event: &Event, is_refused: bool) {
    if event.class.is_attack() {
        outcome.attack_refused += u64::from(is_refused);
        outcome.attack_after += u64::from(!outcome.alarms_s.is_empty());
    } else {
        outcome.benign_refused += u64::from(is_refused);
    }
}
