//! What survives a restart: rows by table, and which of them changed since they were last written.
//!
//! Each table can be loaded without the others; what is missing is learned again, what contradicts itself is dropped.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use sensor_common::address::{Address, Prefix};
use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::bounded::Bounded;
use super::campaign::Campaign;
use super::cohort::{Cohort, CohortKey};
use super::decay::Fading;
use super::deny::Offence;
use super::keyed::Key;
use super::network::Network;
use super::plan::{Origin, Rule, Subject};
use super::season::Season;
use super::source::Source;
use super::time::{Span, Time};
use super::volume::Volume;
use super::window::{Length, Window};
use super::{END, Engine};

/// Changed keys that wait at most; beyond it the whole table is written anew, as slowly.
const CHANGED_MAX: usize = 1 << 20;

/// Rows of one table that one call of [`Engine::changes`] gives at most: a tick is held up by none of them.
const ROWS_MAX: usize = 1 << 15;

/// Keys of rows that changed, in the order in which they did.
#[derive(Clone, Debug)]
pub struct Changed<K> {
    secret: u64,
    keys: VecDeque<K>,
    /// The same, to note each but once.
    noted: HashTable<K>,
    /// Keys that may wait.
    most: usize,
    whole: bool,
}

impl<K> Default for Changed<K> {
    fn default() -> Self {
        Self { secret: 0, keys: VecDeque::new(), noted: HashTable::new(), most: CHANGED_MAX, whole: false }
    }
}

impl<K: Key> Changed<K> {
    /// Nothing changed yet. `secret` keeps the keys' choosers from aiming.
    #[must_use]
    pub fn keyed(secret: u64) -> Self {
        Self { secret, ..Self::default() }
    }

    /// Notes that this row has to be written again, or deleted.
    pub fn note(&mut self, key: K) {
        self.enter(key);
        self.bound();
    }

    fn bound(&mut self) {
        if self.keys.len() > self.most {
            self.keys.clear();
            self.noted.clear();
            self.whole = true;
        }
    }

    /// Notes a row that is known not to have been noted since it was taken.
    pub(super) fn note_first(&mut self, key: K) {
        self.keys.push_back(key);
        self.bound();
    }

    fn enter(&mut self, key: K) {
        let (secret, hash) = (self.secret, key.hash(self.secret));
        let noted = self.noted.entry(hash, |known| *known == key, |known| known.hash(secret));
        if let Entry::Vacant(entry) = noted {
            entry.insert(key);
            self.keys.push_back(key);
        }
    }

    /// Takes some of the keys, in their own order, and whether the table is to be written anew. `all` are those of the
    /// table, asked for in that case.
    pub(super) fn take(&mut self, all: impl FnOnce() -> Vec<K>) -> (Vec<K>, bool) {
        let whole = std::mem::take(&mut self.whole);
        if whole {
            for key in all() {
                self.enter(key);
            }
            self.most = self.keys.len().saturating_add(CHANGED_MAX);
        }
        let mut taken: Vec<K> = self.keys.drain(..self.keys.len().min(ROWS_MAX)).collect();
        for key in &taken {
            if let Ok(entry) = self.noted.find_entry(key.hash(self.secret), |known| known == key) {
                entry.remove();
            }
        }
        taken.sort_unstable();
        taken.dedup();
        (taken, whole)
    }
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows<K, V> {
    /// To be written.
    pub put: Vec<(K, V)>,
    /// To be deleted.
    pub gone: Vec<K>,
    /// The table is written anew, beginning with `put`: whatever else is stored has to go. What is not in `put` follows
    /// with later changes.
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
    /// What is normal at each hour of the week.
    pub season: Season,
    /// When calm traffic enough was learned.
    pub learned_at: Option<Time>,
    /// Networks that came to a client: established ones, and others.
    pub joins: Fading,
    /// Connections of all clients.
    pub volume: Volume,
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

    /// What changed since the last call, or since the start; of each table at most 32,768 rows, the rest with the next
    /// calls.
    pub fn changes(&mut self) -> State {
        let (campaigns, all_campaigns) = self.changed_campaigns.take(|| self.campaigns.keys().copied().collect());
        let (rules, all_rules) = self.ledger.take_changed();
        let row = |subject: Subject| {
            let rule = self.ledger.get(&subject);
            Some((rule_key(&subject)?, rule.and_then(|rule| Some(rule_row(&subject, rule)?.1))))
        };
        State {
            meta: self.meta(),
            networks: address_rows(&mut self.networks.changed, &self.networks.table),
            sources: self.sources.changes(),
            offences: address_rows(&mut self.changed_offences, &self.offences),
            cohorts: rows(&mut self.cohorts.changed, &self.cohorts.table, |key| key),
            campaigns: split(campaigns.into_iter().map(|id| (id, self.campaigns.get(&id).cloned())), all_campaigns),
            rules: split(rules.into_iter().filter_map(row), all_rules),
        }
    }

    /// Takes up what was saved, before the first tick. Rules whose time is over stay away, the others are in the next
    /// plan: nobody knows what the kernel still has. Time in which the daemon was down counts for no campaign's end.
    pub fn restore(&mut self, state: State, now: Time) {
        let now = now.min(END);
        let State { meta, networks, sources, offences, cohorts, campaigns, rules } = state;
        self.calm = meta.calm;
        self.overall = meta.overall.sane(now);
        self.season = meta.season.sane(now);
        self.learned_at = meta.learned_at.map(|at| at.min(now));
        self.joins = meta.joins.sane(now);
        self.volume = meta.volume;
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
            season: self.season.clone(),
            learned_at: self.learned_at,
            joins: self.joins,
            volume: self.volume,
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

fn rows<K: Key, R, V: Clone + Default>(
    changed: &mut Changed<K>,
    table: &Bounded<K, V>,
    key: impl Fn(K) -> R,
) -> Rows<R, V> {
    let (keys, whole) = changed.take(|| table.recent().map(|(key, _)| *key).collect());
    split(keys.into_iter().map(|k| (key(k), table.get(&k).cloned())), whole)
}

fn address_rows<V: Clone + Default>(changed: &mut Changed<Address>, table: &Bounded<Address, V>) -> Rows<[u8; 16], V> {
    rows(changed, table, |address| address.octets)
}

pub(super) fn split<K, V>(entries: impl Iterator<Item = (K, Option<V>)>, whole: bool) -> Rows<K, V> {
    let mut rows = Rows { whole, ..Rows::default() };
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
