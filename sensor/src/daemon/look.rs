//! The look at the rules that the kernel holds: what others changed is put right, what their rules met is read.
//!
//! One look may take several ticks; what this daemon changes meanwhile is not held against the kernel.

use std::collections::{BTreeSet, btree_map};

use super::Daemon;
use super::enforce::Stands;
use crate::engine::plan::Subject;
use crate::engine::time::{Span, Time};
use crate::kernel::{Installed, Kernel, KernelError};

/// Rules compared in one tick.
const COMPARED_MAX: usize = 8_192;

/// For so many rules the next look waits a second longer.
const RULES_PER_S: usize = 4_096;

/// Differences told one by one in each look.
const TOLD_MAX: u64 = 8;

/// Where the look stands.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Counts the looks, from 1.
    number: u32,
    /// What the kernel held when this one began, and is not compared yet.
    rest: Option<btree_map::IntoIter<Subject, Installed>>,
    /// What was changed here since.
    changed: BTreeSet<Subject>,
    /// Rules met so far.
    met: usize,
    differences: u64,
    next: Time,
}

impl Look {
    /// Whether nothing is left to compare.
    #[cfg(test)]
    pub(super) const fn is_over(&self) -> bool {
        self.rest.is_none()
    }

    /// Notes that this daemon changed a rule: what the kernel held before is no difference.
    pub(super) fn note_change(&mut self, subject: Subject) {
        if self.rest.is_some() {
            self.changed.insert(subject);
        }
    }
}

impl<K: Kernel> Daemon<K> {
    /// Begins a look if one is due, and goes on with it.
    ///
    /// # Errors
    /// If the kernel does not show its rules.
    pub(super) fn look_at_rules(&mut self, now: Time) -> Result<(), KernelError> {
        let look = &mut self.enforcement.look;
        let mut rest = match look.rest.take() {
            Some(rest) => rest,
            None if now < look.next => return Ok(()),
            None => {
                let rules = self.kernel.rules()?;
                look.number = look.number.wrapping_add(1);
                look.next = now + Span::seconds(1 + (rules.len() / RULES_PER_S) as u64);
                (look.met, look.differences) = (0, 0);
                rules.into_iter()
            }
        };
        for (subject, found) in rest.by_ref().take(COMPARED_MAX) {
            self.compare(subject, found, now);
        }
        if rest.len() > 0 {
            self.enforcement.look.rest = Some(rest);
            return Ok(());
        }
        self.end_look();
        Ok(())
    }

    fn compare(&mut self, subject: Subject, found: Installed, now: Time) {
        let number = self.enforcement.look.number;
        let is_changed = self.enforcement.look.changed.contains(&subject);
        let Some(stands) = self.enforcement.stands.get_mut(&subject) else {
            if !is_changed {
                self.enforcement.look.met += 1;
                self.enforcement.enter(subject, Stands { rule: found, is_own: false, looked: number });
                self.consider(subject);
            }
            return;
        };
        stands.looked = number;
        self.enforcement.look.met += 1;
        let is_met = found.hits > stands.rule.hits;
        (stands.rule.hits, stands.rule.passed) = (found.hits, found.passed);
        let differs = stands.rule.terms != found.terms && !is_changed;
        if differs {
            stands.rule.terms = found.terms;
            if std::mem::take(&mut stands.is_own) {
                self.count_drift(&subject);
            }
            self.consider(subject);
        }
        if is_met {
            self.engine.knock(&subject, now);
        }
    }

    /// Finds the rules that are gone, and tries again those that the kernel refused.
    fn end_look(&mut self) {
        let changed = std::mem::take(&mut self.enforcement.look.changed);
        let number = self.enforcement.look.number;
        if self.enforcement.look.met < self.enforcement.stands.len() {
            let stands = self.enforcement.stands.iter();
            let gone = stands.filter(|(subject, stands)| stands.looked != number && !changed.contains(subject));
            let gone: Vec<Subject> = gone.map(|(subject, _)| *subject).collect();
            for subject in gone {
                if self.enforcement.leave(&subject).is_some_and(|stands| stands.is_own) {
                    self.count_drift(&subject);
                }
                self.consider(subject);
            }
        }
        let refused: Vec<Subject> = self.enforcement.refused.keys().copied().collect();
        for subject in refused {
            self.consider(subject);
        }
    }

    /// Counts a rule that this daemon entered and somebody else changed; once, from here on the kernel's word holds.
    fn count_drift(&mut self, subject: &Subject) {
        self.facts.drift = self.facts.drift.saturating_add(1);
        self.enforcement.look.differences += 1;
        if self.enforcement.look.differences <= TOLD_MAX {
            tracing::warn!(
                event = "rule_drifted",
                kind = subject.kind(),
                %subject,
                "a rule was changed or taken out of the kernel by somebody else",
            );
        }
    }
}
