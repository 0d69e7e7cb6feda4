//! What the engine wants: rules as values, and the difference to what is installed.

use std::collections::BTreeMap;
use std::fmt;

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

/// Rules by subject.
pub type Rules = BTreeMap<Subject, Rule>;

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

/// The steps that turn `installed` into `desired`, in an order that never refuses an allowed prefix: allow rules go in
/// first and out last.
#[must_use]
pub fn difference(desired: &Rules, installed: &Rules) -> Vec<Action> {
    let mut actions = Vec::new();
    for (subject, rule) in desired {
        if installed.get(subject) != Some(rule) {
            actions.push(Action::Install(*subject, rule.clone()));
        }
    }
    for subject in installed.keys().rev() {
        if !desired.contains_key(subject) {
            actions.push(Action::Remove(*subject));
        }
    }
    actions
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
