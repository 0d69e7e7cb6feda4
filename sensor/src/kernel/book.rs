//! The book of prefix rules: which rule stands at which place of the rule table, entered, renewed and taken out.
//!
//! Places are given first in, first out, and each use of one has a generation of its own, so that what the packet path
//! kept of a former rule means nothing any more. It keeps less than the whole generation: before a place's generations
//! come round, all that it kept is taken from it ([`Book::refresh`]). A rule is complete before its prefix is in the trie, and void before
//! its prefix leaves it: at no time does a frame meet half a rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use sensor_common::address::Prefix;
use sensor_common::capacity;
use sensor_common::filter::Trie;
use sensor_common::rule::{KEPT_GENERATIONS, Reference, Rule, kind};

use super::filter::Filter;
use super::shared::{Mapped, RuleCells, TrafficCells};
use super::trie::Tries;
use super::{Installed, KernelError, RulesPart, Terms};
use crate::engine::plan::Subject;

/// See the module.
pub(super) struct Book<T> {
    pub(super) tries: T,
    pub(super) terms: Mapped<RuleCells>,
    pub(super) hits: Mapped<AtomicU64>,
    pub(super) filter: Filter,
    pub(super) entries: BTreeMap<Subject, Entry>,
    /// Places nobody has, the one free for longest first.
    pub(super) free: VecDeque<u32>,
    /// Places nobody has, whose next generation looks to the packet path like one it may have kept.
    pub(super) worn: Vec<u32>,
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) reference: Reference,
    /// Number of the walk of the tries that met it last; or during which it was entered.
    pub(super) met: u64,
}

impl<T: Tries> Book<T> {
    /// Takes up what an earlier run left in tries and rule table; what does not fit together is taken out. The filter
    /// is complete, but not settled.
    pub(super) fn open(
        tries: T,
        terms: Mapped<RuleCells>,
        hits: Mapped<AtomicU64>,
        filter: Filter,
    ) -> Result<Self, KernelError> {
        let mut book =
            Self { tries, terms, hits, filter, entries: BTreeMap::new(), free: VecDeque::new(), worn: Vec::new() };
        let mut taken = BTreeSet::new();
        for trie in [Trie::Allow, Trie::Deny] {
            let mut from = None;
            loop {
                let (found, next) = book.tries.walk(trie, from.as_ref())?;
                for (prefix, reference) in found {
                    book.take_up(trie, prefix, reference, &mut taken)?;
                }
                if next.is_none() {
                    break;
                }
                from = next;
            }
        }
        for place in (1..capacity::RULES).filter(|place| !taken.contains(place)) {
            book.terms[place as usize].kind.store(kind::NONE, Ordering::Release);
            book.give_back(place);
        }
        Ok(book)
    }

    fn take_up(
        &mut self,
        trie: Trie,
        prefix: Prefix,
        reference: Reference,
        taken: &mut BTreeSet<u32>,
    ) -> Result<(), KernelError> {
        let subject = subject(trie, prefix);
        if self.entries.get(&subject).is_some_and(|entry| entry.reference == reference) {
            // The walk began again.
            return Ok(());
        }
        let stands = (1..capacity::RULES).contains(&reference.index)
            && self.is_complete(&subject, reference)
            && taken.insert(reference.index);
        if !stands {
            return self.tries.remove(trie, &prefix);
        }
        self.filter.enter(trie, &prefix);
        self.entries.insert(subject, Entry { reference, met: 0 });
        Ok(())
    }

    /// Whether the rule table has at this place a rule of this generation that does what the subject wants.
    pub(super) fn is_complete(&self, subject: &Subject, reference: Reference) -> bool {
        let cells = self.terms.get(reference.index as usize);
        cells.zip(parts(subject)).is_some_and(|(cells, (_, prefix, kind))| {
            cells.generation.load(Ordering::Relaxed) == reference.generation
                && cells.kind.load(Ordering::Relaxed) == Rule::kind_on(&prefix, kind)
        })
    }

    /// Enters a rule, or changes the terms of the one that stands. `walk`: the number of the walk going on.
    pub(super) fn install(&mut self, subject: &Subject, expires_ns: u64, walk: u64) -> Result<(), KernelError> {
        let Some((trie, prefix, kind)) = parts(subject) else { return Ok(()) };
        if let Some(Entry { reference, .. }) = self.entries.get(subject).copied() {
            if self.is_complete(subject, reference) {
                self.terms[reference.index as usize].expires_ns.store(expires_ns, Ordering::Release);
                return Ok(());
            }
            self.remove(subject)?;
        }
        let Some(place) = self.free.pop_front() else {
            return Err(KernelError::new(format!("enter {prefix}"), "the kernel's table is full"));
        };
        let cells = &self.terms[place as usize];
        let generation = cells.generation.load(Ordering::Relaxed).wrapping_add(1);
        // Nobody counts for a place that is void.
        self.counters(place).for_each(|hits| hits.store(0, Ordering::Relaxed));
        cells.expires_ns.store(expires_ns, Ordering::Release);
        cells.generation.store(generation, Ordering::Release);
        cells.kind.store(Rule::kind_on(&prefix, kind), Ordering::Release);
        self.filter.enter(trie, &prefix);
        let reference = Reference { index: place, generation };
        if let Err(error) = self.tries.insert(trie, &prefix, reference) {
            self.terms[place as usize].kind.store(kind::NONE, Ordering::Release);
            self.filter.leave(trie, &prefix);
            self.give_back(place);
            return Err(error);
        }
        self.entries.insert(*subject, Entry { reference, met: walk });
        Ok(())
    }

    /// Takes a rule out; nothing happens if there is none. If the trie does not let its prefix go, the rule is void all
    /// the same, and stays in the book to be tried again.
    pub(super) fn remove(&mut self, subject: &Subject) -> Result<(), KernelError> {
        let Some((trie, prefix, _)) = parts(subject) else { return Ok(()) };
        let Some(entry) = self.entries.get(subject) else { return Ok(()) };
        let place = entry.reference.index;
        self.terms[place as usize].kind.store(kind::NONE, Ordering::Release);
        self.tries.remove(trie, &prefix)?;
        self.entries.remove(subject);
        self.filter.leave(trie, &prefix);
        self.give_back(place);
        Ok(())
    }

    /// A place is nobody's: at once, or once what was kept of it is gone.
    fn give_back(&mut self, place: u32) {
        let next = self.terms[place as usize].generation.load(Ordering::Relaxed).wrapping_add(1);
        if next.is_multiple_of(KEPT_GENERATIONS) { self.worn.push(place) } else { self.free.push_back(place) }
    }

    /// Whether no place is left but worn ones: [`Book::refresh`] is due.
    pub(super) fn is_worn_out(&self) -> bool {
        self.free.is_empty() && !self.worn.is_empty()
    }

    /// Takes from the packet path all that it kept of rules: each source's next frame asks the tries. Worn places can be
    /// given away again. Due once in so many uses of every place that its cost, some milliseconds, does not matter.
    pub(super) fn refresh(&mut self, traffic: &[TrafficCells]) {
        let kept = traffic.iter().flat_map(|bucket| &bucket.rules);
        kept.filter(|kept| kept.load(Ordering::Relaxed) != 0).for_each(|kept| kept.store(0, Ordering::Relaxed));
        self.free.extend(self.worn.drain(..));
    }

    /// The counters of a place, one for each region.
    fn counters(&self, place: u32) -> impl Iterator<Item = &AtomicU64> {
        self.hits.iter().skip(place as usize).step_by(capacity::RULES as usize)
    }

    /// Every rule as the kernel has it. One that somebody made void is taken out.
    pub(super) fn rules(&mut self) -> Result<Vec<(Subject, Installed)>, KernelError> {
        let broken: Vec<Subject> = self
            .entries
            .iter()
            .filter(|(subject, entry)| !self.is_complete(subject, entry.reference))
            .map(|(subject, _)| *subject)
            .collect();
        broken.iter().try_for_each(|subject| self.remove(subject))?;
        Ok(self.entries.iter().map(|(subject, entry)| (*subject, self.installed(subject, entry))).collect())
    }

    /// Up to so many rules behind a subject, as the kernel has them, and the last subject looked at if there are more.
    pub(super) fn rules_after(&mut self, after: Option<&Subject>, most: usize) -> Result<RulesPart, KernelError> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after));
        let part: Vec<(Subject, Entry)> =
            self.entries.range((from, Bound::Unbounded)).take(most).map(|(s, entry)| (*s, *entry)).collect();
        let next = part.last().filter(|_| part.len() == most).map(|(subject, _)| *subject);
        let mut rules = Vec::with_capacity(part.len());
        for (subject, entry) in part {
            if self.is_complete(&subject, entry.reference) {
                rules.push((subject, self.installed(&subject, &entry)));
            } else {
                self.remove(&subject)?;
            }
        }
        Ok((rules, next))
    }

    fn installed(&self, subject: &Subject, entry: &Entry) -> Installed {
        let place = entry.reference.index;
        let terms = match subject {
            Subject::Deny(_) => {
                let expires_ns = self.terms[place as usize].expires_ns.load(Ordering::Relaxed);
                Terms { expires_ns, newer_than_ns: 0 }
            }
            // It says nothing but its prefix.
            Subject::Allow(_) | Subject::Class(_) => Terms::default(),
        };
        let hits = self.counters(place).map(|hits| hits.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        Installed { terms, hits, passed: 0 }
    }
}

/// Trie, prefix and kind of a prefix rule.
pub(super) fn parts(subject: &Subject) -> Option<(Trie, Prefix, u32)> {
    match subject {
        Subject::Allow(prefix) => Some((Trie::Allow, *prefix, kind::ALLOW)),
        Subject::Deny(prefix) => Some((Trie::Deny, *prefix, kind::DENY)),
        Subject::Class(_) => None,
    }
}

/// The subject of a prefix in a trie of rules.
pub(super) const fn subject(trie: Trie, prefix: Prefix) -> Subject {
    match trie {
        Trie::Allow => Subject::Allow(prefix),
        Trie::Deny | Trie::Tier => Subject::Deny(prefix),
    }
}

#[cfg(test)]
mod tests;
