//! The latest connection records, kept for those who ask: `sensor connections`, `sensor capture`, `sensor explain`.

use std::collections::VecDeque;

use sensor_common::address::{Address, Prefix};
use sensor_common::event::ConnectionEvent;

use super::Daemon;
use crate::control::protocol::{Answer, Refusal};
use crate::control::subject;
use crate::evidence::{Evidence, Recent};
use crate::fingerprint::{self, ClassNames, Naming};
use crate::kernel::Kernel;

/// Records kept.
const RECORDS: usize = 32_768;
/// Classes that are named.
const CLASSES: usize = 65_536;
/// Connections of one source that `explain` tells about.
const TOLD: usize = 3;

/// What came last, and what its classes are called.
#[derive(Debug)]
pub(super) struct Latest {
    records: VecDeque<ConnectionEvent>,
    /// Records that came, those that are not kept any more included.
    count: u64,
    names: ClassNames,
}

impl Default for Latest {
    fn default() -> Self {
        Self { records: VecDeque::new(), count: 0, names: ClassNames::new(CLASSES) }
    }
}

impl Latest {
    /// Keeps a record; the oldest gives way.
    pub(super) fn keep(&mut self, event: &ConnectionEvent) {
        if self.records.len() >= RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(*event);
        self.count = self.count.saturating_add(1);
    }

    /// Records with their places, the first kept one first.
    fn placed(&self) -> impl DoubleEndedIterator<Item = (u64, &ConnectionEvent)> + ExactSizeIterator {
        let first = self.first();
        self.records.iter().enumerate().map(move |(index, event)| (first.saturating_add(index as u64), event))
    }

    /// The place of the first record that is kept.
    fn first(&self) -> u64 {
        self.count.saturating_sub(self.records.len() as u64)
    }
}

impl<K: Kernel> Daemon<K> {
    /// Takes up a sampled ClientHello: what the kernel's class is called. `stream` is the beginning of the client's
    /// bytes.
    ///
    /// # Errors
    /// If there is no complete hello in it.
    pub fn name_class(&mut self, class: u64, stream: &[u8]) -> Result<Naming, fingerprint::Unread> {
        let ja4 = fingerprint::ja4(stream)?;
        Ok(self.latest.names.sample(class, &ja4))
    }

    pub(super) fn connections(
        &self,
        limit: usize,
        after: Option<u64>,
        source: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let within = source.map(subject::prefix).transpose();
        let within = within.map_err(|error| Refusal::new("invalid", error.to_string(), ""))?;
        let matches = |event: &ConnectionEvent| within.is_none_or(|prefix: Prefix| prefix.contains(&event.client));
        let Some(after) = after else {
            let mut found: Vec<&ConnectionEvent> =
                self.latest.records.iter().rev().filter(|event| matches(event)).take(limit).collect();
            found.reverse();
            let connections = found.into_iter().map(|event| self.evidence(event)).collect();
            return Ok(Answer::Connections(Recent { connections, next: self.latest.count, missed: 0 }));
        };
        let missed = self.latest.first().saturating_sub(after);
        let from = after.max(self.latest.first());
        let skipped = usize::try_from(from.saturating_sub(self.latest.first())).unwrap_or(usize::MAX);
        let mut next = from.min(self.latest.count);
        let mut connections = Vec::new();
        for (place, event) in self.latest.placed().skip(skipped) {
            if connections.len() >= limit {
                break;
            }
            next = place.saturating_add(1);
            if matches(event) {
                connections.push(self.evidence(event));
            }
        }
        Ok(Answer::Connections(Recent { connections, next, missed }))
    }

    fn evidence(&self, event: &ConnectionEvent) -> Evidence {
        let wall_us = |ns| self.clock.time(ns).0 / 1_000;
        Evidence {
            ja4: self.latest.names.name(event.fingerprint).map(str::to_owned),
            ..Evidence::of_event(event, wall_us)
        }
    }

    /// The evidence on the latest connections of a source, in words; the latest first.
    pub(super) fn explain_connections(&self, source: &Address) -> Vec<String> {
        let own = self.latest.records.iter().rev().filter(|event| event.client.source() == *source);
        own.take(TOLD).map(|event| self.evidence(event).sentence()).collect()
    }
}
