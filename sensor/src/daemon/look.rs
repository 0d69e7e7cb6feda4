//! The look at the rules that the kernel holds: what others changed is put right, what their rules met is read.
//!
//! One look may take several ticks; what this daemon changes meanwhile is not held against the kernel.

use std::collections::BTreeSet;

use super::Daemon;
use super::enforce::{SLICE, Stands};
use crate::engine::plan::Subject;
use crate::engine::time::{Span, Time};
use crate::kernel::{Installed, Kernel, KernelError};

/// Rules compared in one tick.
const COMPARED_MAX: usize = 4_096;

/// For so many rules the next look waits a second longer.
const RULES_PER_S: usize = 4_096;

/// Differences told one by one in each look.
const TOLD_MAX: u64 = 8;

/// Where the look stands.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Counts the looks, from 1.
    number: u32,
    is_going_on: bool,
    /// The subject that was compared last.
    after: Option<Subject>,
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
        !self.is_going_on
    }

    /// Notes that this daemon changed a rule: what the kernel held before is no difference.
    pub(super) fn note_change(&mut self, subject: Subject) {
        if self.is_going_on {
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
        // What is about to be changed is not worth comparing.
        let is_busy = self.enforcement.pending() > SLICE;
        let look = &mut self.enforcement.look;
        if !look.is_going_on {
            if now < look.next || is_busy {
                return Ok(());
            }
            look.number = look.number.wrapping_add(1);
            look.next = now + Span::seconds(1 + (self.enforcement.stands.len() / RULES_PER_S) as u64);
            (look.after, look.met, look.differences, look.is_going_on) = (None, 0, 0, true);
        }
        let (found, next) = self.kernel.rules_after(look.after.as_ref(), COMPARED_MAX)?;
        for (subject, found) in found {
            self.compare(subject, found, now);
        }
        self.enforcement.look.after = next;
        if next.is_none() {
            self.end_look();
        }
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
        self.enforcement.look.is_going_on = false;
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
