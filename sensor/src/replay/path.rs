//! The packet path as far as the engine can tell: it keeps tables, makes records of evidence, and carries rules out.
//!
//! Thresholds and class rules hold by the same terms as in the kernel (`sensor_common`, `evidence`): a gap of the
//! threshold or more says relay; a class rule is about relayed connections from networks newer than it, if the first
//! flight was late too or the source was late before. Tables are as large as the engine's and forget as they do.

use sensor_common::address::{Address, network_key};
use sensor_common::event::{flag, protocol};
use sensor_common::rule::ClassKey;

use super::evidence::Evidence;
use crate::engine::bounded::Bounded;
use crate::engine::plan::{Action, Rule, Rules, Subject};
use crate::engine::record::{ConnectionRecord, Snapshot, SourceTotals};
use crate::engine::source_prefix;
use crate::engine::time::Time;
use crate::tunable::Tunables;

/// What became of a connection, or would if rules were enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Served,
    /// Refused before its first request, by a class rule.
    Class,
    /// Its source is refused.
    Denied,
}

#[derive(Clone, Copy, Debug, Default)]
struct Source {
    connections: u64,
    requests: u64,
    first_seen: Time,
    last_seen: Time,
    late: u32,
    /// It is in the next snapshot already.
    is_noted: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Path {
    enforce: bool,
    gap_us: u32,
    gap_rtt_percent: u64,
    networks_max: usize,
    sources_max: usize,
    networks: Bounded<u64, Time>,
    sources: Bounded<u64, Source>,
    changed: Vec<u64>,
    completed: u64,
    rules: Rules,
    /// Denials that connections met since the last tick.
    met: Vec<Subject>,
}

impl Path {
    /// An empty one. `enforce`: rules are carried out, not only counted.
    #[must_use]
    pub fn new(tunables: &Tunables, enforce: bool) -> Self {
        let cap = |most: u64| usize::try_from(most).unwrap_or(usize::MAX);
        Self {
            enforce,
            gap_us: u32::try_from(tunables.relay_gap_ms.saturating_mul(1_000)).unwrap_or(u32::MAX),
            gap_rtt_percent: tunables.relay_gap_rtt_percent,
            networks_max: cap(tunables.networks_max),
            sources_max: cap(tunables.sources_max),
            networks: Bounded::default(),
            sources: Bounded::default(),
            changed: Vec::new(),
            completed: 0,
            rules: Rules::new(),
            met: Vec::new(),
        }
    }

    /// One connection: what becomes of it, and the record that it sends.
    pub fn connect(&mut self, evidence: &Evidence) -> (Fate, Option<ConnectionRecord>) {
        let at = evidence.at;
        let key = evidence.client.key();
        let holds = |rule: &Rule| rule.expires.is_some_and(|expires| expires > at);
        let deny = Subject::Deny(source_prefix(&evidence.client.source()));
        let is_denied = self.rules.get(&deny).is_some_and(holds);
        if is_denied {
            self.met.push(deny);
            if self.enforce {
                return (Fate::Denied, None);
            }
        }
        let first_seen = self.network(network_key(key), at);
        self.completed += 1;
        let flags = self.flags(evidence);
        let is_late = flags & flag::GAP_FLAGGED != 0;
        let is_strong = evidence.protocol == protocol::TLS && flags & flag::HELLO_GAP_FLAGGED != 0;
        let class = self.rules.get(&Subject::Class(ClassKey::new(evidence.service, evidence.fingerprint)));
        let newer_than = class.filter(|rule| holds(rule)).and_then(|rule| rule.newer_than);
        let source = self.source(key, at);
        source.connections += 1;
        source.last_seen = source.last_seen.max(at);
        source.late += u32::from(is_late);
        let is_newer = newer_than.is_some_and(|newer| first_seen >= newer);
        let is_matched = is_newer && is_late && (is_strong || source.late >= 2) && evidence.fingerprint != 0;
        let is_refused = is_matched && self.enforce;
        if !is_refused {
            let source = self.source(key, at);
            source.requests += u64::from(evidence.requests);
        }
        let record = ConnectionRecord {
            at,
            client: evidence.client,
            service: evidence.service,
            protocol: evidence.protocol,
            fingerprint: evidence.fingerprint,
            rtt_us: evidence.rtt_us,
            hello_gap_us: evidence.hello_gap_us,
            flight_gap_us: evidence.flight_gap_us,
            flags: flags
                | if is_matched { flag::CLASS_MATCHED } else { 0 }
                | if is_refused { flag::REFUSED } else { 0 },
        };
        let fate = match (is_denied, is_matched) {
            (true, _) => Fate::Denied,
            (false, true) => Fate::Class,
            (false, false) => Fate::Served,
        };
        (fate, Some(record))
    }

    /// Flags as the kernel would set them.
    fn flags(&self, evidence: &Evidence) -> u32 {
        let share = u64::from(evidence.rtt_us) * self.gap_rtt_percent / 100;
        let by_rtt = if evidence.timestamps { 0 } else { u32::try_from(share).unwrap_or(u32::MAX) };
        let threshold_us = self.gap_us.max(by_rtt);
        let is_late = |gap: Option<u32>| gap.is_some_and(|gap| gap >= threshold_us);
        let gap = match evidence.protocol {
            protocol::TLS => evidence.flight_gap_us,
            protocol::HTTP1 => evidence.hello_gap_us,
            _ => None,
        };
        let on = |is_on: bool, bit: u32| if is_on { bit } else { 0 };
        flag::ESTABLISHED
            | on(evidence.timestamps, flag::TIMESTAMPS)
            | on(gap.is_some(), flag::GAP_SAMPLE)
            | on(is_late(gap), flag::GAP_FLAGGED)
            | on(is_late(evidence.hello_gap_us), flag::HELLO_GAP_FLAGGED)
    }

    /// When a network was first seen; entered if need be.
    fn network(&mut self, key: u64, at: Time) -> Time {
        if let Some(first_seen) = self.networks.touch(&key) {
            return *first_seen;
        }
        self.networks.insert(key, at);
        while self.networks.shrink(self.networks_max).is_some() {}
        at
    }

    fn source(&mut self, key: u64, at: Time) -> &mut Source {
        if !self.sources.contains(&key) {
            self.sources.insert(key, Source { first_seen: at, last_seen: at, ..Source::default() });
            while self.sources.shrink(self.sources_max).is_some() {}
        }
        let source = self.sources.touch(&key).expect("entered above, and the newest is never given up");
        if !source.is_noted {
            source.is_noted = true;
            self.changed.push(key);
        }
        source
    }

    /// What changed since the last snapshot.
    pub fn snapshot(&mut self) -> Snapshot {
        let mut sources = Vec::with_capacity(self.changed.len());
        for key in std::mem::take(&mut self.changed) {
            if let Some(source) = self.sources.get_mut(&key) {
                source.is_noted = false;
                let Source { connections, requests, first_seen, last_seen, .. } = *source;
                let source = Address::from_key(key);
                sources.push(SourceTotals { source, connections, requests, first_seen, last_seen, answer_bytes: 0 });
            }
        }
        Snapshot { sources, connections: self.completed }
    }

    /// Denials that were met since the last call.
    pub fn take_met(&mut self) -> Vec<Subject> {
        std::mem::take(&mut self.met)
    }

    /// When the network of a client was first seen; `None` if it never was.
    #[must_use]
    pub fn network_first_seen(&self, client: &Address) -> Option<Time> {
        self.networks.get(&network_key(client.key())).copied()
    }

    /// When the source of a client was first seen.
    #[must_use]
    pub fn source_first_seen(&self, client: &Address) -> Option<Time> {
        self.sources.get(&client.key()).map(|source| source.first_seen)
    }

    /// Carries out one step of a plan.
    pub fn carry_out(&mut self, action: &Action) {
        match action {
            Action::Install(subject, rule) => {
                self.rules.insert(*subject, rule.clone());
            }
            Action::Remove(subject) => {
                self.rules.remove(subject);
            }
        }
    }
}
