//! Enforcement: the rules that should stand are made those that do, in bounded steps, and it is written down.
//!
//! Both sides say what changed, so a tick costs what changed and not what stands. What the kernel holds is compared as a
//! whole from time to time: each second while rules are few, in parts and each some seconds later for every 4,096 of
//! them; so a rule that somebody else took out comes back by itself. Changes are carried out in slices, in this order:
//! allow rules enter; refusals that are over go; class rules enter; denied prefixes enter; allow rules go.

use std::collections::{BTreeMap, BTreeSet};

use sensor_common::address::Prefix;

use super::Daemon;
use super::look::Look;
use crate::engine::plan::{Kinds, Mark, Origin, Rule, Subject};
use crate::engine::time::Time;
use crate::kernel::{Installed, Kernel, Terms};

/// Changes in one slice: some milliseconds of system calls.
pub(super) const SLICE: usize = 2_048;

/// With more changes than this at once they are summed up in the log, not told one by one.
const LOUD_MAX: usize = 64;

/// What stands, and what has to be done about it.
#[derive(Debug, Default)]
pub(super) struct Enforcement {
    pub(super) stands: BTreeMap<Subject, Stands>,
    pub(super) kinds: Kinds,
    /// What is to be done, in the order in which it is.
    due: BTreeSet<(Step, Subject)>,
    /// Rules that the kernel does not take, and why.
    pub(super) refused: BTreeMap<Subject, String>,
    /// Detectors' rules that an operator took back, and until when they stay away.
    lifted: BTreeMap<Subject, Time>,
    lifted_ends: BTreeSet<(Time, Subject)>,
    /// How far the changes of standing and of detectors' rules were followed.
    standing: Mark,
    detected: Mark,
    pub(super) look: Look,
}

/// A rule in the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stands {
    /// As of the last look at the kernel or the last change made here.
    pub(super) rule: Installed,
    /// This daemon entered it; whatever differs from it was changed by somebody else.
    pub(super) is_own: bool,
    /// Number of the look that saw it last.
    pub(super) looked: u32,
}

/// One kind of change, in the order in which they are made: whoever is let in comes first, whoever is let go next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Allow,
    Release,
    Class,
    Deny,
    Disallow,
}

impl Step {
    const fn enter(subject: &Subject) -> Self {
        match subject {
            Subject::Allow(_) => Self::Allow,
            Subject::Deny(_) => Self::Deny,
            Subject::Class(_) => Self::Class,
        }
    }

    const fn leave(subject: &Subject) -> Self {
        match subject {
            Subject::Allow(_) => Self::Disallow,
            Subject::Deny(_) | Subject::Class(_) => Self::Release,
        }
    }
}

impl Enforcement {
    /// Changes that wait for their slice.
    pub(super) fn pending(&self) -> usize {
        self.due.len()
    }

    pub(super) fn get(&self, subject: &Subject) -> Option<&Installed> {
        self.stands.get(subject).map(|stands| &stands.rule)
    }

    /// Keeps a detector's rule away until then.
    pub(super) fn lift(&mut self, subject: Subject, until: Time) {
        self.unlift(&subject);
        self.lifted.insert(subject, until);
        self.lifted_ends.insert((until, subject));
    }

    pub(super) fn unlift(&mut self, subject: &Subject) {
        if let Some(until) = self.lifted.remove(subject) {
            self.lifted_ends.remove(&(until, *subject));
        }
    }

    pub(super) fn enter(&mut self, subject: Subject, stands: Stands) {
        if self.stands.insert(subject, stands).is_none() {
            *self.kinds.of(&subject) += 1;
        }
    }

    pub(super) fn leave(&mut self, subject: &Subject) -> Option<Stands> {
        let stands = self.stands.remove(subject)?;
        *self.kinds.of(subject) -= 1;
        Some(stands)
    }
}

impl<K: Kernel> Daemon<K> {
    /// One tick's part: follows what changed, looks at the kernel if that is due, and carries out one slice.
    pub(super) fn enforce(&mut self, now: Time) {
        if let Err(error) = self.look_at_rules(now) {
            return self.note_kernel_error(&error);
        }
        self.follow(now);
        self.carry_out_slice(SLICE, now);
    }

    /// Carries out everything, however long it takes: before the program is attached nobody waits.
    pub(super) fn enforce_all(&mut self, now: Time) {
        self.enforce(now);
        while self.has_backlog() && self.facts.kernel_error.is_none() {
            self.carry_out_slice(SLICE, now);
        }
    }

    /// Whether changes wait: [`Daemon::catch_up`] carries some of them out between two ticks.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.enforcement.pending() > 0
    }

    /// Carries out one slice of what waits.
    pub fn catch_up(&mut self, now: Time) {
        self.carry_out_slice(SLICE, now);
    }

    /// Carries out what has to be done about one subject, ahead of all that waits.
    pub(super) fn settle(&mut self, subject: &Subject, now: Time) {
        self.follow(now);
        self.consider(*subject);
        for step in [Step::enter(subject), Step::leave(subject)] {
            if self.enforcement.due.remove(&(step, *subject)) {
                self.change(step, *subject, true, now);
            }
        }
    }

    /// Every rule that should stand, allow rules first; an operator's rule hides a detector's on the same subject.
    pub(super) fn desired(&self) -> impl Iterator<Item = (&Subject, &Rule)> {
        let standing = self.standing.rules();
        let lifted = &self.enforcement.lifted;
        let detected = self.engine.rules().iter();
        let detected = detected.filter(|(subject, _)| !standing.contains_key(subject) && !lifted.contains_key(subject));
        standing.iter().chain(detected)
    }

    /// The rule on a subject that should stand.
    pub(super) fn rule(&self, subject: &Subject) -> Option<&Rule> {
        let detected = || self.engine.rules().get(subject).filter(|_| !self.enforcement.lifted.contains_key(subject));
        self.standing.rules().get(subject).or_else(detected)
    }

    /// Rules that should stand and have something to do with a prefix: they cover it, or lie in it.
    pub(super) fn rules_on(&self, prefix: &Prefix) -> Vec<(&Subject, &Rule)> {
        let touches = |subject: &Subject| match subject {
            Subject::Allow(other) | Subject::Deny(other) => super::standing::overlaps(other, prefix),
            Subject::Class(_) => false,
        };
        self.desired().filter(|(subject, _)| touches(subject)).collect()
    }

    /// Finds out what the changes on both sides ask for.
    pub(super) fn follow(&mut self, now: Time) {
        let standing = self.standing.rules();
        let detected = self.engine.rules();
        let changes = standing.since(self.enforcement.standing).zip(detected.since(self.enforcement.detected));
        let mut changed: Vec<Subject> = match changes {
            Some((operators, detectors)) => operators.chain(detectors).copied().collect(),
            None => standing.keys().chain(detected.keys()).chain(self.enforcement.stands.keys()).copied().collect(),
        };
        let marks = (standing.mark(), detected.mark());
        (self.enforcement.standing, self.enforcement.detected) = marks;
        while let Some(&(until, subject)) = self.enforcement.lifted_ends.first().filter(|(until, _)| *until <= now) {
            self.enforcement.lifted_ends.remove(&(until, subject));
            self.enforcement.lifted.remove(&subject);
            changed.push(subject);
        }
        for subject in changed {
            self.consider(subject);
        }
    }

    /// Puts down what has to be done about one subject, if anything.
    pub(super) fn consider(&mut self, subject: Subject) {
        let wanted = self.rule(&subject).map(|rule| self.terms(&subject, rule));
        let stands = self.enforcement.get(&subject).map(|installed| installed.terms);
        let (enter, leave) = ((Step::enter(&subject), subject), (Step::leave(&subject), subject));
        let due = &mut self.enforcement.due;
        due.remove(&enter);
        due.remove(&leave);
        match (wanted, stands) {
            (Some(wanted), stands) if stands != Some(wanted) => {
                due.insert(enter);
            }
            (None, Some(_)) => {
                due.insert(leave);
            }
            _ => {}
        }
        if wanted.is_none() {
            self.enforcement.refused.remove(&subject);
        }
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

    fn carry_out_slice(&mut self, most: usize, now: Time) {
        let all = self.enforcement.pending();
        let loud = all <= LOUD_MAX;
        for _ in 0..all.min(most) {
            let Some((step, subject)) = self.enforcement.due.pop_first() else { break };
            self.change(step, subject, loud, now);
        }
        if !loud {
            let (changed, left) = (all.min(most), self.enforcement.pending());
            let refused = self.enforcement.refused.len();
            tracing::info!(event = "rules_changed", changed, left, refused, "{changed} rules changed, {left} wait");
        }
    }

    fn change(&mut self, step: Step, subject: Subject, loud: bool, now: Time) {
        match step {
            Step::Allow | Step::Class | Step::Deny => self.install(subject, loud, now),
            Step::Release | Step::Disallow => self.remove(subject, loud),
        }
    }

    fn install(&mut self, subject: Subject, loud: bool, now: Time) {
        let Some(terms) = self.rule(&subject).map(|rule| self.terms(&subject, rule)) else { return };
        let before = self.enforcement.stands.get(&subject).copied();
        match self.kernel.install(&subject, terms, before.is_some()) {
            Ok(()) => {
                let old = before.unwrap_or_default();
                let stands = Stands { rule: Installed { terms, ..old.rule }, is_own: true, ..old };
                self.enforcement.enter(subject, stands);
                self.enforcement.look.note_change(subject);
                self.enforcement.refused.remove(&subject);
                if loud {
                    self.write_installed(&subject, old.is_own, now);
                }
            }
            Err(error) => {
                let is_news = self.enforcement.refused.insert(subject, error.to_string()).is_none();
                // The first one of many tells enough.
                if is_news && (loud || self.enforcement.refused.len() == 1) {
                    tracing::error!(event = "rule_refused", kind = subject.kind(), %subject, "{error}");
                }
            }
        }
    }

    fn write_installed(&self, subject: &Subject, renewed: bool, now: Time) {
        let Some(rule) = self.rule(subject) else { return };
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

    fn remove(&mut self, subject: Subject, loud: bool) {
        match self.kernel.remove(&subject) {
            Ok(()) => {
                self.enforcement.look.note_change(subject);
                let hits = self.enforcement.leave(&subject).map_or(0, |stands| stands.rule.hits);
                if loud {
                    tracing::info!(event = "rule_removed", kind = subject.kind(), %subject, hits, "rule removed");
                }
            }
            // The next look finds it still there.
            Err(error) => self.note_kernel_error(&error),
        }
    }
}
