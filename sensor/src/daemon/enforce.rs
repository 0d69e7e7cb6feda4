//! Enforcement: the difference between the rules that should stand and those that do, carried out and written down.
//!
//! What stands is read from the kernel each time, so a rule that somebody else took out comes back by itself.

use sensor_common::address::Prefix;

use super::Daemon;
use crate::engine::plan::{Origin, Rule, Subject};
use crate::engine::time::Time;
use crate::kernel::{Kernel, Terms};

/// One rule to enter.
struct Install {
    subject: Subject,
    terms: Terms,
    /// Whether the kernel holds a rule on this subject already.
    stands: bool,
}

impl<K: Kernel> Daemon<K> {
    /// Makes the kernel hold the rules that should stand: allow rules first in and last out.
    pub(super) fn enforce(&mut self, now: Time) {
        self.installed = match self.kernel.rules() {
            Ok(rules) => rules,
            Err(error) => return self.note_kernel_error(&error),
        };
        self.count_drift();
        self.refused.retain(|subject, _| {
            self.standing.rules().contains_key(subject) || self.engine.rules().contains_key(subject)
        });
        for install in self.installs() {
            self.install(&install, now);
        }
        for subject in self.removals() {
            self.remove(subject);
        }
    }

    /// Every rule that should stand, allow rules first; an operator's rule hides a detector's on the same subject.
    pub(super) fn desired(&self) -> impl Iterator<Item = (&Subject, &Rule)> {
        let standing = self.standing.rules();
        let detected = self.engine.rules().iter();
        let detected =
            detected.filter(|(subject, _)| !standing.contains_key(subject) && !self.lifted.contains_key(subject));
        standing.iter().chain(detected)
    }

    fn is_desired(&self, subject: &Subject) -> bool {
        let detected = self.engine.rules().contains_key(subject) && !self.lifted.contains_key(subject);
        detected || self.standing.rules().contains_key(subject)
    }

    fn installs(&self) -> Vec<Install> {
        let missing = |(subject, rule): (&Subject, &Rule)| {
            let terms = self.terms(subject, rule);
            let stands = self.installed.get(subject);
            let differs = stands.is_none_or(|installed| installed.terms != terms);
            differs.then_some(Install { subject: *subject, terms, stands: stands.is_some() })
        };
        self.desired().filter_map(missing).collect()
    }

    fn removals(&self) -> Vec<Subject> {
        self.installed.keys().rev().filter(|subject| !self.is_desired(subject)).copied().collect()
    }

    /// The kernel's form of a rule's times.
    fn terms(&self, subject: &Subject, rule: &Rule) -> Terms {
        let end = |time: Option<Time>| time.map_or(u64::MAX, |time| self.clock.monotonic_ns(time));
        match subject {
            Subject::Allow(_) => Terms::default(),
            Subject::Deny(_) => Terms { expires_ns: end(rule.expires), newer_than_ns: 0 },
            Subject::Class(_) => Terms {
                expires_ns: end(rule.expires),
                newer_than_ns: rule.newer_than.map_or(0, |time| self.clock.monotonic_ns(time)),
            },
        }
    }

    /// Rules that this daemon installed and that are gone or changed.
    fn count_drift(&mut self) {
        for (subject, terms) in &self.believed {
            if self.installed.get(subject).is_some_and(|installed| installed.terms == *terms) {
                continue;
            }
            self.facts.drift = self.facts.drift.saturating_add(1);
            tracing::warn!(
                event = "rule_drifted",
                kind = subject.kind(),
                %subject,
                "a rule was changed or taken out of the kernel by somebody else",
            );
        }
        // Each case is counted once: from here on the kernel's word holds, until the rule is installed again.
        let installed = &self.installed;
        self.believed.retain(|subject, terms| installed.get(subject).is_some_and(|found| found.terms == *terms));
    }

    fn install(&mut self, install: &Install, now: Time) {
        let Install { subject, terms, stands } = install;
        let renewed = self.believed.contains_key(subject);
        match self.kernel.install(subject, *terms, *stands) {
            Ok(()) => {
                self.believed.insert(*subject, *terms);
                self.refused.remove(subject);
                let standing = self.installed.entry(*subject).or_default();
                standing.terms = *terms;
                self.write_installed(subject, renewed, now);
            }
            Err(error) => {
                if self.refused.insert(*subject, error.to_string()).is_none() {
                    tracing::error!(event = "rule_refused", kind = subject.kind(), %subject, "{error}");
                }
            }
        }
    }

    fn write_installed(&self, subject: &Subject, renewed: bool, now: Time) {
        let Some((_, rule)) = self.rule(subject) else { return };
        // A detector renews its rules all the time.
        if renewed && rule.origin == Origin::Detector {
            return;
        }
        tracing::info!(
            event = "rule_installed",
            kind = subject.kind(),
            %subject,
            origin = rule.origin.name(),
            campaign = rule.campaign,
            expires_in_s = rule.expires.map(|at| at.since(now).as_seconds()),
            enforced = self.config.enforce,
            "{}", rule.reason,
        );
    }

    fn remove(&mut self, subject: Subject) {
        match self.kernel.remove(&subject) {
            Ok(()) => {
                let hits = self.installed.remove(&subject).map_or(0, |installed| installed.hits);
                self.believed.remove(&subject);
                tracing::info!(event = "rule_removed", kind = subject.kind(), %subject, hits, "rule removed");
            }
            Err(error) => self.note_kernel_error(&error),
        }
    }

    /// The rule on a subject that should stand.
    pub(super) fn rule(&self, subject: &Subject) -> Option<(&Subject, &Rule)> {
        self.standing.rules().get_key_value(subject).or_else(|| {
            let detected = self.engine.rules().get_key_value(subject);
            detected.filter(|_| !self.lifted.contains_key(subject))
        })
    }

    /// Rules that should stand and have something to do with a prefix: they cover it, or lie in it.
    pub(super) fn rules_on(&self, prefix: &Prefix) -> Vec<(&Subject, &Rule)> {
        let touches = |subject: &Subject| match subject {
            Subject::Allow(other) | Subject::Deny(other) => super::standing::overlaps(other, prefix),
            Subject::Class(_) => false,
        };
        self.desired().filter(|(subject, _)| touches(subject)).collect()
    }
}
