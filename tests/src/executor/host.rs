//! The packet path over plain memory, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use sensor::host::{Bytes, Memory, Moment};
use sensor_common::address::{Address, Prefix};
use sensor_common::filter::{Probe, Trie};
use sensor_common::path::{Verdict, judge};
use sensor_common::rule::Reference;

use super::rules::{Rules, tier_marks};
use super::{Executor, List, Observation, RelativeNs, World, arrays, network_entries};

/// When virtual time starts, nanoseconds: late enough that no rule of a test begins before 0.
const START_NS: u64 = 1_000_000_000_000_000;
/// No two frames come at the same time, nanoseconds.
const FRAME_NS: u64 = 1_000;

/// The packet path on the host, in virtual time.
pub struct Host {
    memory: Memory,
    rules: Rules,
    now_ns: u64,
    lag_ns: u64,
    /// The latest frame's verdict.
    pub verdict: Verdict,
}

impl Host {
    /// In the default world.
    #[must_use]
    pub fn new() -> Self {
        Self::within(&World::default())
    }

    /// In this world.
    #[must_use]
    pub fn within(world: &World) -> Self {
        let memory = Memory::new(world.settings, &world.services, &world.limits);
        let mut host = Self { memory, rules: Rules::default(), now_ns: START_NS, lag_ns: 0, verdict: Verdict::Pass };
        host.fill(world);
        host
    }

    /// Lets the event ring take so many more records.
    pub fn set_event_room(&mut self, records: usize) {
        self.memory.room.set(records);
    }

    /// From here on the clock of the timer tick is so far behind.
    pub fn set_clock_lag(&mut self, lag: Duration) {
        self.lag_ns = u64::try_from(lag.as_nanos()).expect("a tick is short");
    }

    /// Whether the filter in front of this trie lets the address through.
    #[must_use]
    pub fn may_be_in(&self, trie: Trie, address: &Address) -> bool {
        Probe::new(address.key(), self.memory.settings.seed).may_be_in(trie, &self.memory)
    }

    /// How often tries of rules were asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.memory.asked.get()
    }

    /// The rules, networks and tiers of a world, in memory that is as new.
    fn fill(&mut self, world: &World) {
        for (list, prefix, ends) in world.rules() {
            let place = self.rules.fresh();
            self.add_rule(list, &prefix, place, ends);
        }
        for (prefix, tier) in &world.tiers {
            self.memory.tiered.insert(*prefix, *tier);
            self.memory.mark(&tier_marks(prefix, world.settings.seed));
        }
        for terms in &world.classes {
            let rule = terms.rule(|relative| self.at(relative));
            self.memory.classes.put(terms.key, rule);
        }
        let entries = network_entries(world, |relative| self.at(relative));
        for (index, bucket) in entries {
            self.memory.networks.all()[index] = bucket;
        }
    }

    fn trie(&mut self, list: List) -> &mut BTreeMap<Prefix, Reference> {
        match list {
            List::Allow => self.memory.allowed(),
            List::Deny => self.memory.denied(),
        }
    }

    fn at(&self, relative: RelativeNs) -> u64 {
        self.now_ns.saturating_add_signed(relative)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn install(&mut self, world: &World) {
        *self = Self::within(world);
    }

    fn run(&mut self, after: Duration, frame: &[u8]) -> bool {
        let after = u64::try_from(after.as_nanos()).expect("tests last less than centuries");
        self.now_ns = self.now_ns.saturating_add(after).saturating_add(FRAME_NS);
        self.verdict = judge(&Bytes::new(frame), &self.memory, &Moment { now_ns: self.now_ns, lag_ns: self.lag_ns });
        matches!(self.verdict, Verdict::Drop(_))
    }

    fn observe(&mut self) -> Observation {
        let memory = &mut self.memory;
        let hits = memory.hits.get_mut().clone();
        let hits_of = |place: u32| hits.iter().filter(|((_, of), _)| *of == place).map(|(_, hits)| hits).sum();
        Observation {
            counters: memory.counters.get_mut().iter().filter(|(_, n)| **n > 0).map(|(c, n)| (*c, *n)).collect(),
            sources: arrays::sources(memory.traffic.all(), memory.sources.all()),
            networks: arrays::networks(memory.networks.all()),
            attempts: arrays::attempts(memory.half_open.all()),
            connections: arrays::connections(memory.connections.all()),
            allow: self.rules.hits(List::Allow, hits_of),
            deny: self.rules.hits(List::Deny, hits_of),
            classes: memory.classes.copy(),
            events: std::mem::take(memory.events.get_mut()),
        }
    }

    fn set_cpu(&mut self, cpu: u32) {
        self.memory.cpu.set(cpu);
    }

    fn add_rule(&mut self, list: List, prefix: &Prefix, place: u32, ends: Option<RelativeNs>) {
        let expires_ns = ends.map_or(u64::MAX, |ends| self.at(ends));
        let entry = self.rules.enter(list, prefix, place, expires_ns, self.memory.settings.seed);
        self.memory.write_rule(place, entry.rule);
        self.memory.mark(&entry.marks);
        self.trie(list).insert(*prefix, entry.reference);
    }

    fn remove_rule(&mut self, list: List, prefix: &Prefix) {
        let (place, free) = self.rules.leave(list, prefix);
        self.trie(list).remove(prefix);
        self.memory.write_rule(place, free);
    }
}
