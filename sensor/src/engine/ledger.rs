//! The detectors' rules in force: what expires, what stands in the operator's way, and what changed in this tick.
//!
//! The operator's rules win without exception: a subject that a standing rule holds belongs to that rule, and a prefix
//! that touches an allowed one is never denied.

use std::collections::{BTreeMap, BTreeSet};

use sensor_common::address::{Address, Prefix};
use sensor_common::capacity;

use super::cover::Cover;
use super::plan::{Action, Mark, Rule, Rules, Subject};
use super::state::Changed;
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
    /// Denied sources by the campaign that they were caught in.
    by_campaign: BTreeSet<(u64, Subject)>,
    denied: Cover,
    /// When frames last met a denied source's rule, where somebody tells.
    knocks: BTreeMap<Subject, Time>,
    /// Subjects touched in this tick, and whether they were in force before it.
    touched: BTreeMap<Subject, bool>,
    changed: Changed<Subject>,
    /// Subjects of standing rules, and how far their changes were followed.
    standing: BTreeSet<Subject>,
    followed: Mark,
    allowed: Cover,
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
        let kinds = self.rules.kinds();
        match subject {
            Subject::Class(_) => kinds.class < CLASS_MAX,
            Subject::Allow(_) | Subject::Deny(_) => kinds.deny < DENY_MAX,
        }
    }

    /// Whether a standing rule keeps the detectors' hands off: it holds this very subject, or allows some of it.
    #[must_use]
    pub fn is_taken(&self, subject: &Subject) -> bool {
        if self.standing.contains(subject) {
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
        self.allowed.touches(prefix)
    }

    /// The sources that a campaign had denied, with their last sign of life at the rule.
    pub fn denied_by(&self, campaign: u64) -> impl Iterator<Item = (&Prefix, Option<Time>)> {
        let first = Subject::Allow(Prefix { bits: 0, address: Address { octets: [0; 16] } });
        let own = self.by_campaign.range((campaign, first)..).take_while(move |(id, _)| *id == campaign);
        own.filter_map(|(_, subject)| match subject {
            Subject::Deny(prefix) => Some((prefix, self.knocks.get(subject).copied())),
            Subject::Allow(_) | Subject::Class(_) => None,
        })
    }

    /// Notes that frames met a rule.
    pub fn knock(&mut self, subject: &Subject, at: Time) {
        if matches!(subject, Subject::Deny(_)) && self.rules.contains_key(subject) {
            self.knocks.insert(*subject, at);
        }
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
            self.knocks.remove(subject);
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

    /// Learns which rules stand, and gives way to them. Looks at what changed only: it has to be the same value each
    /// time, or one with the same past.
    pub fn respect(&mut self, standing: &Rules) {
        let changed: BTreeSet<Subject> = match standing.since(self.followed) {
            Some(changed) => changed.copied().collect(),
            None => standing.keys().chain(&self.standing).copied().collect(),
        };
        self.followed = standing.mark();
        for subject in changed {
            if standing.contains_key(&subject) {
                self.give_way(&subject);
            } else {
                self.standing.remove(&subject);
                if let Subject::Allow(prefix) = &subject {
                    self.allowed.remove(prefix);
                }
            }
        }
        debug_assert!(standing.keys().eq(self.standing.iter()), "standing rules of another past");
    }

    fn give_way(&mut self, subject: &Subject) {
        self.standing.insert(*subject);
        self.withdraw(subject);
        if let Subject::Allow(prefix) = subject {
            self.allowed.insert(prefix);
            let denied: Vec<Prefix> = self.denied.touching(prefix).collect();
            for prefix in denied {
                self.withdraw(&Subject::Deny(prefix));
            }
        }
    }

    /// Rules to be stored again, and whether their table is to be written anew.
    pub(super) fn take_changed(&mut self) -> (Vec<Subject>, bool) {
        self.changed.take(|| self.rules.keys().copied().collect())
    }

    /// The steps of this tick. A subject that has become a standing rule's is left alone: taking it out now would take
    /// out the operator's rule.
    pub fn take_actions(&mut self) -> Vec<Action> {
        let touched = std::mem::take(&mut self.touched);
        let step = |(subject, before): (Subject, bool)| match self.rules.get(&subject) {
            Some(rule) => Some(Action::Install(subject, rule.clone())),
            None if before && !self.standing.contains(&subject) => Some(Action::Remove(subject)),
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
        self.by_expiry.insert((rule.expires.unwrap_or(Time(u64::MAX)), subject));
        self.by_campaign.extend(rule.campaign.map(|id| (id, subject)));
        if let Subject::Deny(prefix) = &subject {
            self.denied.insert(prefix);
        }
        self.rules.insert(subject, rule);
        self.changed.note(subject);
    }

    fn take(&mut self, subject: &Subject) -> bool {
        let Some(rule) = self.rules.remove(subject) else { return false };
        self.by_expiry.remove(&(rule.expires.unwrap_or(Time(u64::MAX)), *subject));
        if let Some(id) = rule.campaign {
            self.by_campaign.remove(&(id, *subject));
        }
        if let Subject::Deny(prefix) = subject {
            self.denied.remove(prefix);
        }
        self.changed.note(*subject);
        true
    }
}
