//! Which rule has which place in the rule table: the little of a rule book that tests need.

use std::collections::{BTreeMap, BTreeSet};

use sensor_common::address::Prefix;
use sensor_common::filter::{Trie, marks};
use sensor_common::rule::{Reference, Rule, kind};

/// A list of prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    Allow,
    Deny,
}

impl List {
    const fn kind(self) -> u32 {
        match self {
            Self::Allow => kind::ALLOW,
            Self::Deny => kind::DENY,
        }
    }

    const fn trie(self) -> Trie {
        match self {
            Self::Allow => Trie::Allow,
            Self::Deny => Trie::Deny,
        }
    }
}

/// The rules in force, and the generations of places.
#[derive(Debug, Default)]
pub(super) struct Rules {
    places: BTreeMap<(List, Prefix), Reference>,
    taken: BTreeSet<u32>,
    generations: BTreeMap<u32, u32>,
}

/// What is to be written for a new rule.
pub(super) struct Entry {
    pub(super) reference: Reference,
    pub(super) rule: Rule,
    /// Words of the filter, and the bits to set in each.
    pub(super) marks: Vec<(u32, u64)>,
}

impl Rules {
    /// Gives the place to a rule.
    pub(super) fn enter(&mut self, list: List, prefix: &Prefix, place: u32, expires_ns: u64, seed: u64) -> Entry {
        assert!(place != 0, "place 0 is never used");
        assert!(self.taken.insert(place), "place {place} is taken");
        let generation = *self.generations.entry(place).and_modify(|generation| *generation += 1).or_insert(1);
        let reference = Reference { index: place, generation };
        self.places.insert((list, *prefix), reference);
        let mut bits = Vec::new();
        marks(list.trie(), prefix, seed, |word, mask| bits.push((word, mask)));
        let rule = Rule { expires_ns, generation, kind: Rule::kind_on(prefix, list.kind()) };
        Entry { reference, rule, marks: bits }
    }

    /// Takes a rule's place back, and what is to be written there.
    pub(super) fn leave(&mut self, list: List, prefix: &Prefix) -> (u32, Rule) {
        let former = self.places.remove(&(list, *prefix)).expect("the rule is in force");
        self.taken.remove(&former.index);
        (former.index, Rule { expires_ns: 0, generation: former.generation, kind: kind::NONE })
    }

    /// A place that was never used.
    pub(super) fn fresh(&self) -> u32 {
        self.generations.keys().next_back().map_or(1, |place| place + 1)
    }

    /// Places that were used.
    pub(super) fn used(&self) -> impl Iterator<Item = u32> {
        self.generations.keys().copied()
    }

    /// A list's rules in force, with how often each was hit.
    pub(super) fn hits(&self, list: List, hits: impl Fn(u32) -> u64) -> BTreeMap<Prefix, u64> {
        let of_list = self.places.iter().filter(|((of, _), _)| *of == list);
        of_list.map(|((_, prefix), reference)| (*prefix, hits(reference.index))).collect()
    }
}

/// The marks of a prefix that belongs to a tier.
pub(super) fn tier_marks(prefix: &Prefix, seed: u64) -> Vec<(u32, u64)> {
    let mut bits = Vec::new();
    marks(Trie::Tier, prefix, seed, |word, mask| bits.push((word, mask)));
    bits
}
