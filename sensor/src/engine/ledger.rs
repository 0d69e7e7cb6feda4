//! The detectors' rules in force: what expires, what stands in the operator's way, and what changed in this tick.
//!
//! The operator's rules win without exception: a subject that a standing rule holds belongs to that rule, and a prefix
//! that touches an allowed one is never denied.

use std::collections::{BTreeMap, BTreeSet};

use prefix_trie::PrefixMap;
use sensor_common::address::Prefix;
use sensor_common::capacity;

use super::plan::{Action, Rule, Rules, Subject};
use super::state::Changed;
use super::tier::key;
use super::time::Time;

/// Denied sources at most: half of the kernel's table, the rest is the operator's.
pub const DENY_MAX: usize = capacity::DENY as usize / 2;

/// Class rules at most.
pub const CLASS_MAX: usize = capacity::CLASSES as usize / 2;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    rules: Rules,
    by_expiry: BTreeSet<(Time, Subject)>,
    classes: usize,
    /// Subjects touched in this tick, and whether they were in force before it.
    touched: BTreeMap<Subject, bool>,
    pub(super) changed: Changed<Subject>,
    standing: Vec<Subject>,
    allowed: PrefixMap<(u128, u8), ()>,
    allowed_in_order: BTreeSet<(u128, u8)>,
}

impl Ledger {
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    #[must_use]
    pub fn get(&self, subject: &Subject) -> Option<&Rule> {
        self.rules.get(subject)
    }

    /// Whether a rule of this kind still fits.
    #[must_use]
    pub fn has_room(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Class(_) => self.classes < CLASS_MAX,
            Subject::Allow(_) | Subject::Deny(_) => self.rules.len() - self.classes < DENY_MAX,
        }
    }

    /// Whether a standing rule keeps the detectors' hands off: it holds this very subject, or allows some of it.
    #[must_use]
    pub fn is_taken(&self, subject: &Subject) -> bool {
        if self.standing.binary_search(subject).is_ok() {
            return true;
        }
        match subject {
            Subject::Deny(prefix) => self.is_allowed(prefix),
            Subject::Allow(_) | Subject::Class(_) => false,
        }
    }

    /// Whether an allow rule covers the prefix or some part of it.
    #[must_use]
    pub fn is_allowed(&self, prefix: &Prefix) -> bool {
        let (low, bits) = key(prefix);
        let rest = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
        self.allowed.get_lpm(&(low, bits)).is_some()
            || self.allowed_in_order.range((low, 0)..=(low | rest, 128)).any(|(_, length)| *length >= bits)
    }

    /// Enters or replaces a rule; false if a standing rule or the cap forbids it.
    pub fn put(&mut self, subject: Subject, rule: Rule) -> bool {
        let known = self.rules.contains_key(&subject);
        if self.is_taken(&subject) || !(known || self.has_room(&subject)) {
            return false;
        }
        self.take(&subject);
        self.touched.entry(subject).or_insert(known);
        self.enter(subject, rule);
        true
    }

    /// Takes a rule out; false if there was none.
    pub fn withdraw(&mut self, subject: &Subject) -> bool {
        let known = self.take(subject);
        if known {
            self.touched.entry(*subject).or_insert(true);
        }
        known
    }

    /// Drops the rules whose time is over.
    pub fn expire(&mut self, now: Time) {
        while let Some(&(expires, subject)) = self.by_expiry.first() {
            if expires > now {
                return;
            }
            self.withdraw(&subject);
        }
    }

    /// Learns which rules stand, and gives way to them.
    pub fn respect(&mut self, standing: &Rules) {
        if standing.keys().eq(self.standing.iter()) {
            return;
        }
        self.standing = standing.keys().copied().collect();
        let allowed = standing.keys().filter_map(|subject| match subject {
            Subject::Allow(prefix) => Some(key(prefix)),
            Subject::Deny(_) | Subject::Class(_) => None,
        });
        self.allowed_in_order = allowed.collect();
        self.allowed = self.allowed_in_order.iter().map(|prefix| (*prefix, ())).collect();
        let taken: Vec<Subject> = self.rules.keys().filter(|subject| self.is_taken(subject)).copied().collect();
        for subject in taken {
            self.withdraw(&subject);
        }
    }

    /// The steps of this tick. A subject that has become a standing rule's is left alone: taking it out now would take
    /// out the operator's rule.
    pub fn take_actions(&mut self) -> Vec<Action> {
        let touched = std::mem::take(&mut self.touched);
        let step = |(subject, before): (Subject, bool)| match self.rules.get(&subject) {
            Some(rule) => Some(Action::Install(subject, rule.clone())),
            None if before && self.standing.binary_search(&subject).is_err() => Some(Action::Remove(subject)),
            None => None,
        };
        touched.into_iter().filter_map(step).collect()
    }

    /// Enters a stored rule. It is installed again with the next actions: nobody knows what the kernel still has.
    pub(super) fn restore(&mut self, subject: Subject, rule: Rule) {
        if self.has_room(&subject) {
            self.take(&subject);
            self.touched.insert(subject, false);
            self.enter(subject, rule);
        }
    }

    fn enter(&mut self, subject: Subject, rule: Rule) {
        self.classes += usize::from(matches!(subject, Subject::Class(_)));
        self.by_expiry.insert((rule.expires.unwrap_or(Time(u64::MAX)), subject));
        self.rules.insert(subject, rule);
        self.changed.note(subject);
    }

    fn take(&mut self, subject: &Subject) -> bool {
        let Some(rule) = self.rules.remove(subject) else { return false };
        self.classes -= usize::from(matches!(subject, Subject::Class(_)));
        self.by_expiry.remove(&(rule.expires.unwrap_or(Time(u64::MAX)), *subject));
        self.changed.note(*subject);
        true
    }
}
