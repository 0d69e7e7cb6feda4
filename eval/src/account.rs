//! What happened, by label: connections offered, served and refused, campaigns true and false, rules, denials.

use std::collections::{BTreeMap, BTreeSet};

use sensor_common::address::Address;

use crate::traffic::Class;
use sensor::replay::path::Fate;

/// Connections of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub offered: u64,
    pub served: u64,
    pub refused_by_class: u64,
    pub refused_by_source: u64,
    /// Of the refused: by sources first seen a day before at least.
    pub refused_established: u64,
    /// Of the served: those that a quota would refuse, and of these those of such sources.
    pub quota: u64,
    pub quota_established: u64,
}

impl Tally {
    /// Connections refused by the engine's rules.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused_by_class + self.refused_by_source
    }

    fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.served += other.served;
        self.refused_by_class += other.refused_by_class;
        self.refused_by_source += other.refused_by_source;
        self.refused_established += other.refused_established;
        self.quota += other.quota;
        self.quota_established += other.quota_established;
    }
}

/// One campaign that the engine raised.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// Seconds since the beginning.
    pub at_s: u64,
    /// Most of the networks in it are the campaign's.
    pub is_true: bool,
    pub detector: String,
    /// Fingerprint of the cohort; 0: the service as a whole.
    pub fingerprint: u64,
    pub why: String,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub classes: BTreeMap<Class, Tally>,
    /// The attack's connections after the first rule against it.
    pub after_rule: Tally,
    pub alarms: Vec<Alarm>,
    /// When the first class rule was made, seconds since the beginning, and how many of each kind were made.
    pub first_rule_s: Option<u64>,
    pub class_rules: u64,
    pub denials: u64,
    /// Denied sources, and those of them that are exits of the campaign.
    pub denied: BTreeSet<Address>,
    pub denied_exits: BTreeSet<Address>,
    /// Innocent connections that class rules were expected to refuse.
    pub expected_innocents: f64,
    /// Benign sources that met a refusal.
    pub touched: BTreeSet<Address>,
}

impl Account {
    /// Enters one connection.
    pub fn enter(&mut self, class: Class, client: &Address, fate: Fate, is_established: bool, quota: bool) {
        let refused = fate != Fate::Served;
        let tally = Tally {
            offered: 1,
            served: u64::from(!refused),
            refused_by_class: u64::from(fate == Fate::Class),
            refused_by_source: u64::from(fate == Fate::Denied),
            refused_established: u64::from(refused && is_established),
            quota: u64::from(quota),
            quota_established: u64::from(quota && is_established),
        };
        self.classes.entry(class).or_default().add(&tally);
        if class.is_attack() && self.first_rule_s.is_some() {
            self.after_rule.add(&tally);
        }
        if refused && !class.is_attack() {
            self.touched.insert(client.source());
        }
    }

    /// All that is not the campaign.
    #[must_use]
    pub fn benign(&self) -> Tally {
        let mut sum = Tally::default();
        for (_, tally) in self.classes.iter().filter(|(class, _)| !class.is_attack()) {
            sum.add(tally);
        }
        sum
    }

    /// The campaign.
    #[must_use]
    pub fn attack(&self) -> Tally {
        self.classes.get(&Class::Attack).copied().unwrap_or_default()
    }

    /// The first alarm about the campaign, seconds since the beginning.
    #[must_use]
    pub fn found_s(&self) -> Option<u64> {
        self.alarms.iter().find(|alarm| alarm.is_true).map(|alarm| alarm.at_s)
    }

    /// Campaigns raised about nothing.
    #[must_use]
    pub fn false_alarms(&self) -> usize {
        self.alarms.iter().filter(|alarm| !alarm.is_true).count()
    }

    /// Share of denied sources that are the campaign's; `None` if none was denied.
    #[must_use]
    pub fn source_precision(&self) -> Option<f64> {
        let denied = self.denied.len();
        (denied > 0).then(|| self.denied_exits.len() as f64 / denied as f64)
    }

    /// Share of the attack that was served after the first rule; `None` without a rule.
    #[must_use]
    pub fn served_after_rule(&self) -> Option<f64> {
        let Tally { offered, served, .. } = self.after_rule;
        (offered > 0).then(|| served as f64 / offered as f64)
    }

    /// The same with the modelled quota.
    #[must_use]
    pub fn served_after_rule_quota(&self) -> Option<f64> {
        let Tally { offered, served, quota, .. } = self.after_rule;
        (offered > 0).then(|| served.saturating_sub(quota) as f64 / offered as f64)
    }
}

/// `part` of `whole` per million; 0 of nothing.
#[must_use]
pub fn ppm(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 1e6 }
}
