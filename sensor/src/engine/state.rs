//! What survives a restart: rows by table, and which of them changed since they were last written.
//!
//! Each table can be loaded without the others; what is missing is learned again, what contradicts itself is dropped.

use std::collections::BTreeSet;

use sensor_common::address::{Address, Prefix};
use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::bounded::Bounded;
use super::campaign::Campaign;
use super::cohort::{Cohort, CohortKey};
use super::deny::Offence;
use super::network::Network;
use super::plan::{Origin, Rule, Subject};
use super::source::Source;
use super::time::{Span, Time};
use super::window::{Length, Window};
use super::{END, Engine};

/// Changed keys kept apart; beyond it the whole table is written.
const CHANGED_MAX: usize = 1 << 18;

/// Keys of rows that changed.
#[derive(Clone, Debug)]
pub struct Changed<K> {
    keys: BTreeSet<K>,
    whole: bool,
}

impl<K> Default for Changed<K> {
    fn default() -> Self {
        Self { keys: BTreeSet::new(), whole: false }
    }
}

impl<K: Copy + Ord> Changed<K> {
    /// Notes that this row has to be written again, or deleted.
    pub fn note(&mut self, key: K) {
        if self.whole {
            return;
        }
        self.keys.insert(key);
        if self.keys.len() > CHANGED_MAX {
            self.keys.clear();
            self.whole = true;
        }
    }
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows<K, V> {
    /// To be written.
    pub put: Vec<(K, V)>,
    /// To be deleted.
    pub gone: Vec<K>,
    /// `put` is the whole table: whatever else is stored has to go.
    pub whole: bool,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { put: Vec::new(), gone: Vec::new(), whole: false }
    }
}

impl<K, V> Rows<K, V> {
    fn all(put: impl Iterator<Item = (K, V)>) -> Self {
        Self { put: put.collect(), gone: Vec::new(), whole: true }
    }
}

/// What a detector's rule is about, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKey {
    /// IPv6 or IPv4-mapped address, and significant bits of 128.
    Deny {
        address: [u8; 16],
        bits: u32,
    },
    Class(CohortKey),
}

/// A detector's rule, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    pub expires: Time,
    pub newer_than: Option<Time>,
    pub reason: String,
    pub campaign: Option<u64>,
}

/// What is not in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// The last tick.
    pub saved: Time,
    /// Calm traffic learned from.
    pub calm: Span,
    /// What is normal for all cohorts together.
    pub overall: Baseline,
    pub next_campaign: u64,
    /// Completed handshakes, and those that class rules matched, in the last ten minutes.
    pub completed: Window,
    pub matched: Window,
}

/// Everything, or what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub meta: Meta,
    /// By network address.
    pub networks: Rows<[u8; 16], Network>,
    /// By source address.
    pub sources: Rows<[u8; 16], Source>,
    pub offences: Rows<[u8; 16], Offence>,
    pub cohorts: Rows<CohortKey, Cohort>,
    pub campaigns: Rows<u64, Campaign>,
    pub rules: Rows<RuleKey, RuleRow>,
}

impl Engine {
    /// Everything that survives a restart.
    #[must_use]
    pub fn save(&self) -> State {
        State {
            meta: self.meta(),
            networks: Rows::all(self.networks.table.iter().map(|(k, v)| (k.octets, *v))),
            sources: Rows::all(self.sources.table.iter().map(|(k, v)| (k.octets, v.clone()))),
            offences: Rows::all(self.offences.iter().map(|(k, v)| (k.octets, *v))),
            cohorts: Rows::all(self.cohorts.table.iter().map(|(k, v)| (*k, v.clone()))),
            campaigns: Rows::all(self.campaigns.iter().map(|(k, v)| (*k, v.clone()))),
            rules: Rows::all(self.rules().iter().filter_map(|(k, v)| rule_row(k, v))),
        }
    }

    /// What changed since the last call, or since the start.
    pub fn changes(&mut self) -> State {
        let campaigns = std::mem::take(&mut self.changed_campaigns);
        let rules = std::mem::take(&mut self.ledger.changed);
        State {
            meta: self.meta(),
            networks: address_rows(&mut self.networks.changed, &self.networks.table),
            sources: address_rows(&mut self.sources.changed, &self.sources.table),
            offences: address_rows(&mut self.changed_offences, &self.offences),
            cohorts: rows(&mut self.cohorts.changed, &self.cohorts.table, |key| key),
            campaigns: if campaigns.whole {
                Rows::all(self.campaigns.iter().map(|(k, v)| (*k, v.clone())))
            } else {
                split(campaigns.keys.into_iter().map(|id| (id, self.campaigns.get(&id).cloned())))
            },
            rules: if rules.whole {
                Rows::all(self.rules().iter().filter_map(|(k, v)| rule_row(k, v)))
            } else {
                let row = |subject: Subject| {
                    let rule = self.ledger.get(&subject);
                    Some((rule_key(&subject)?, rule.and_then(|rule| Some(rule_row(&subject, rule)?.1))))
                };
                split(rules.keys.into_iter().filter_map(row))
            },
        }
    }

    /// Takes up what was saved, before the first tick. Rules whose time is over stay away, the others are in the next
    /// plan: nobody knows what the kernel still has. Time in which the daemon was down counts for no campaign's end.
    pub fn restore(&mut self, state: State, now: Time) {
        let now = now.min(END);
        let State { meta, networks, sources, offences, cohorts, campaigns, rules } = state;
        self.calm = meta.calm;
        self.overall = meta.overall.sane(now);
        self.next_campaign = self.next_campaign.max(meta.next_campaign);
        self.completed = meta.completed.sane(Length::TenMinutes, now);
        self.matched = meta.matched.sane(Length::TenMinutes, now);
        let mut networks = networks.put;
        networks.sort_by_key(|(address, network)| (network.last_seen, *address));
        for (octets, network) in networks {
            self.networks.restore(Address { octets }, network, now, super::cap(self.tunables.networks_max));
        }
        let mut sources = sources.put;
        sources.sort_by_key(|(address, source)| (source.last_seen, *address));
        for (octets, source) in sources {
            self.sources.restore(Address { octets }, source, now, super::cap(self.tunables.sources_max));
        }
        for (octets, offence) in offences.put {
            self.offend(Address { octets }, offence);
        }
        let mut cohorts = cohorts.put;
        cohorts.sort_by_key(|(key, cohort)| (cohort.last_sample, *key));
        for (key, cohort) in cohorts {
            self.cohorts.restore(key, cohort.sane(now), super::cap(self.tunables.cohorts_max));
        }
        let down = if meta.saved == Time(0) { Span(0) } else { now.since(meta.saved) };
        for (id, campaign) in campaigns.put {
            self.restore_campaign(id, campaign, down, now);
        }
        for (key, row) in rules.put {
            if let Some(subject) = subject(&key).filter(|_| row.expires > now) {
                let RuleRow { expires, newer_than, reason, campaign } = row;
                let expires = Some(expires);
                self.ledger.restore(subject, Rule { origin: Origin::Detector, expires, newer_than, reason, campaign });
            }
        }
        self.now = Some(now);
    }

    fn meta(&self) -> Meta {
        Meta {
            saved: self.now.unwrap_or_default(),
            calm: self.calm,
            overall: self.overall,
            next_campaign: self.next_campaign,
            completed: self.completed,
            matched: self.matched,
        }
    }

    fn restore_campaign(&mut self, id: u64, mut campaign: Campaign, down: Span, now: Time) {
        campaign.id = id;
        self.next_campaign = self.next_campaign.max(id.saturating_add(1));
        campaign.resume(down, now);
        if campaign.closed.is_none() {
            self.open.insert(id);
            let cap = super::cap(self.tunables.cohorts_max);
            self.cohorts.enter(campaign.cohort, cap).campaign = Some(id);
        }
        self.campaigns.insert(id, campaign);
    }
}

fn rows<K: Copy + Ord, R, V: Clone>(
    changed: &mut Changed<K>,
    table: &Bounded<K, V>,
    key: impl Fn(K) -> R,
) -> Rows<R, V> {
    let Changed { keys, whole } = std::mem::take(changed);
    if whole {
        return Rows::all(table.iter().map(|(k, v)| (key(*k), v.clone())));
    }
    split(keys.into_iter().map(|k| (key(k), table.get(&k).cloned())))
}

fn address_rows<V: Clone>(changed: &mut Changed<Address>, table: &Bounded<Address, V>) -> Rows<[u8; 16], V> {
    rows(changed, table, |address| address.octets)
}

fn split<K, V>(entries: impl Iterator<Item = (K, Option<V>)>) -> Rows<K, V> {
    let mut rows = Rows::default();
    for (key, value) in entries {
        match value {
            Some(value) => rows.put.push((key, value)),
            None => rows.gone.push(key),
        }
    }
    rows
}

fn rule_key(subject: &Subject) -> Option<RuleKey> {
    match subject {
        Subject::Deny(prefix) => Some(RuleKey::Deny { address: prefix.address.octets, bits: prefix.bits }),
        Subject::Class(key) => Some(RuleKey::Class(CohortKey { service: key.service, fingerprint: key.fingerprint })),
        // No detector allows anything.
        Subject::Allow(_) => None,
    }
}

fn subject(key: &RuleKey) -> Option<Subject> {
    match key {
        RuleKey::Deny { address, bits } if *bits <= 128 => {
            Some(Subject::Deny(Prefix { bits: *bits, address: Address { octets: *address } }))
        }
        RuleKey::Deny { .. } => None,
        RuleKey::Class(key) => Some(Subject::Class(key.class())),
    }
}

fn rule_row(subject: &Subject, rule: &Rule) -> Option<(RuleKey, RuleRow)> {
    let Rule { origin: _, expires, newer_than, reason, campaign } = rule;
    let row = RuleRow { expires: (*expires)?, newer_than: *newer_than, reason: reason.clone(), campaign: *campaign };
    Some((rule_key(subject)?, row))
}
