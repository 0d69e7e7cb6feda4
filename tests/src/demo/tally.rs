//! Counts what clients report: by label and kind, and before and after the first rule.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::client::plan::{Event, Outcome};

/// Requests of one kind of client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Requests that ended, either way.
    pub sent: u64,
    /// Complete answers.
    pub served: u64,
    /// Everything else.
    pub refused: u64,
}

impl Count {
    fn add(&mut self, outcome: Outcome) {
        self.sent += 1;
        match outcome {
            Outcome::Served => self.served += 1,
            Outcome::Refused => self.refused += 1,
        }
    }
}

/// All events of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    events: Vec<Event>,
}

impl Tally {
    pub(crate) fn add(&mut self, events: Vec<Event>) {
        self.events.extend(events);
    }

    /// Requests with this label that began at or after a Unix time.
    pub(crate) fn count(&self, label: &str, since: f64) -> Count {
        let mut count = Count::default();
        for event in self.events.iter().filter(|event| event.label == label && event.at >= since) {
            count.add(event.outcome);
        }
        count
    }

    /// Requests with this label by kind of client.
    pub(crate) fn by_kind(&self, label: &str) -> BTreeMap<String, Count> {
        let mut kinds: BTreeMap<String, Count> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.label == label) {
            kinds.entry(event.kind.clone()).or_default().add(event.outcome);
        }
        kinds
    }

    /// Why requests with this label were refused, by word.
    pub(crate) fn errors(&self, label: &str) -> BTreeMap<String, u64> {
        let mut errors = BTreeMap::new();
        for error in self.events.iter().filter(|event| event.label == label).filter_map(|event| event.error.as_ref()) {
            *errors.entry(error.clone()).or_default() += 1;
        }
        errors
    }

    /// When the first request with this label began.
    pub(crate) fn first(&self, label: &str) -> Option<f64> {
        self.events.iter().filter(|event| event.label == label).map(|event| event.at).min_by(f64::total_cmp)
    }

    /// Distinct addresses that requests with this label came from.
    pub(crate) fn addresses(&self, label: &str) -> usize {
        let mut seen: Vec<_> =
            self.events.iter().filter(|event| event.label == label).map(|event| event.from).collect();
        seen.sort();
        seen.dedup();
        seen.len()
    }
}

pub(crate) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
