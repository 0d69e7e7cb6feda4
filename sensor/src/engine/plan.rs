//! What the engine wants: rules as values, and the steps from those of the last tick.

use std::collections::{BTreeMap, VecDeque, vec_deque};
use std::fmt;
use std::ops::Deref;

use sensor_common::address::Prefix;
use sensor_common::rule::ClassKey;
use serde::{Deserialize, Serialize};

use super::time::Time;

/// What a rule is about. The kernel holds at most one rule per subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A prefix that nothing may refuse.
    Allow(Prefix),
    /// A prefix whose frames are refused.
    Deny(Prefix),
    /// A cohort whose relayed new networks are refused.
    Class(ClassKey),
}

/// Who wanted a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `sensor allow` or `sensor block`.
    Operator,
    /// The configuration file.
    Config,
    /// The daemon itself: the operator's own peers, the default gateway.
    Protected,
    /// A detector.
    Detector,
}

/// A rule as it should stand in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub origin: Origin,
    /// From when on the rule no longer holds; `None` for allow rules without end.
    pub expires: Option<Time>,
    /// For class rules: networks first seen before this are never refused.
    pub newer_than: Option<Time>,
    /// Why, in words.
    pub reason: String,
    /// The campaign it belongs to.
    pub campaign: Option<u64>,
}

/// Changes that are kept for readers who follow them.
const LOG_MAX: usize = 1 << 18;

/// Rules by subject, and which subjects changed: who follows them looks at these alone.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    by_subject: BTreeMap<Subject, Rule>,
    kinds: Kinds,
    /// Subjects that changed, latest last.
    log: VecDeque<Subject>,
    /// Changes before the log's first.
    forgotten: u64,
}

/// How far a reader has followed some [`Rules`]; the default is their beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u64);

/// How many rules there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    pub allow: usize,
    pub deny: usize,
    pub class: usize,
}

impl Rules {
    /// No rule.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters or replaces a rule; gives the one it replaces.
    pub fn insert(&mut self, subject: Subject, rule: Rule) -> Option<Rule> {
        let before = self.by_subject.insert(subject, rule);
        *self.kinds.of(&subject) += usize::from(before.is_none());
        self.note(subject);
        before
    }

    /// Takes a rule out.
    pub fn remove(&mut self, subject: &Subject) -> Option<Rule> {
        let before = self.by_subject.remove(subject)?;
        *self.kinds.of(subject) -= 1;
        self.note(*subject);
        Some(before)
    }

    /// Keeps the rules of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Subject, &Rule) -> bool) {
        let gone: Vec<Subject> = self.iter().filter(|(subject, rule)| !keep(subject, rule)).map(|(s, _)| *s).collect();
        for subject in gone {
            self.remove(&subject);
        }
    }

    /// How many there are of each kind.
    #[must_use]
    pub const fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Where the changes stand now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.forgotten + self.log.len() as u64)
    }

    /// The subjects that changed since a mark of these same rules, some of them several times. `None`: so many that the
    /// first are forgotten, and all rules have to be looked at.
    #[must_use]
    pub fn since(&self, Mark(mark): Mark) -> Option<vec_deque::Iter<'_, Subject>> {
        let known = usize::try_from(mark.checked_sub(self.forgotten)?).ok()?;
        (known <= self.log.len()).then(|| self.log.range(known..))
    }

    fn note(&mut self, subject: Subject) {
        if self.log.len() == LOG_MAX {
            self.log.drain(..LOG_MAX / 2);
            self.forgotten += LOG_MAX as u64 / 2;
        }
        self.log.push_back(subject);
    }
}

impl Kinds {
    /// The number of rules of a subject's kind.
    pub const fn of(&mut self, subject: &Subject) -> &mut usize {
        match subject {
            Subject::Allow(_) => &mut self.allow,
            Subject::Deny(_) => &mut self.deny,
            Subject::Class(_) => &mut self.class,
        }
    }
}

impl Deref for Rules {
    type Target = BTreeMap<Subject, Rule>;

    fn deref(&self) -> &Self::Target {
        &self.by_subject
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.by_subject == other.by_subject
    }
}

impl Eq for Rules {}

impl<const N: usize> From<[(Subject, Rule); N]> for Rules {
    fn from(rules: [(Subject, Rule); N]) -> Self {
        rules.into_iter().collect()
    }
}

impl FromIterator<(Subject, Rule)> for Rules {
    fn from_iter<I: IntoIterator<Item = (Subject, Rule)>>(rules: I) -> Self {
        let mut collected = Self::new();
        for (subject, rule) in rules {
            collected.insert(subject, rule);
        }
        collected
    }
}

/// One step from the installed rules to the desired ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Enter the rule, or replace the one that stands there.
    Install(Subject, Rule),
    Remove(Subject),
}

/// Ordered steps. Allow rules come first, so that nothing protected is refused in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// What happened, in words, for the journal: alarms, campaigns opened and closed, guards that held back.
    pub notices: Vec<Notice>,
}

/// Something the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Short fixed word for machines: `campaign_opened`, `campaign_closed`, `heavy_source`, `held_back`, ...
    pub kind: &'static str,
    pub campaign: Option<u64>,
    pub text: String,
}

impl Origin {
    /// Its name in output and journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Config => "config",
            Self::Protected => "protected",
            Self::Detector => "detector",
        }
    }
}

impl Subject {
    /// `allow`, `deny` or `class`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Deny(_) => "deny",
            Self::Class(_) => "class",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(prefix) | Self::Deny(prefix) => prefix.fmt(f),
            Self::Class(key) => write!(f, "port {} fingerprint {:016x}", key.service, key.fingerprint),
        }
    }
}
