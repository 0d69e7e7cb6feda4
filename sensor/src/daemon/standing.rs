//! Rules that stand whatever the detectors say: the configuration's, the operator's, and the daemon's own protection of
//! the way in.
//!
//! A subject has one rule: the protection's before the configuration's before the operator's. A change costs what it
//! changes, however many rules stand.

use std::collections::{BTreeMap, BTreeSet};

use sensor_common::address::{Address, Prefix};

use super::protect::Survey;
use crate::control::protocol::Refusal;
use crate::engine::cover::Cover;
use crate::engine::plan::{Origin, Rule, Rules, Subject};
use crate::engine::time::{Span, Time};
use crate::store::standing::{StandingKey, StandingRow, StandingRows};

/// How long a peer stays protected after its last session was seen: time to come back after a broken line.
const PEER_KEPT: Span = Span::seconds(3_600);

/// Shortest prefixes that `block` takes without force, as people count them.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 19;

/// Rules of the operator that one look ends at most; the kernel has ended them on time.
const EXPIRED_MAX: usize = 4_096;

/// Rows that one batch for the store holds at most.
const ROWS_MAX: usize = 8_192;

/// Allow rules in the way of a block that are named at most.
const NAMED_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct Standing {
    config: BTreeSet<Prefix>,
    /// Why, and when it was last seen to be so.
    protected: BTreeMap<Address, (String, Time)>,
    /// This host's own addresses: nothing to allow, but nothing to block either.
    own: Vec<(Address, String)>,
    operator: BTreeMap<Subject, Rule>,
    by_expiry: BTreeSet<(Time, Subject)>,
    merged: Rules,
    /// What the configuration or an operator allows.
    allowed: Cover,
    /// Rules of the operator that the store does not know yet.
    unsaved: BTreeSet<Subject>,
}

impl Standing {
    /// The configuration's rules and the stored ones of the operator.
    #[must_use]
    pub fn new(config: &[Prefix], stored: Vec<StandingRow>, now: Time) -> Self {
        let mut standing = Self::default();
        for row in stored {
            let prefix = Prefix { bits: row.bits, address: Address { octets: row.address } };
            let subject = if row.allow { Subject::Allow(prefix) } else { Subject::Deny(prefix) };
            if row.expires.is_none_or(|at| at > now) {
                standing.put(subject, row.expires, row.reason);
            }
        }
        standing.unsaved.clear();
        standing.configure(config);
        standing
    }

    /// All of them.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.merged
    }

    /// The operator's rules, for the store.
    #[must_use]
    pub fn rows(&self) -> Vec<StandingRow> {
        self.operator.iter().filter_map(|(subject, rule)| row(subject, rule)).collect()
    }

    /// Whether the store does not know all of the operator's rules.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Some of what the store does not know yet; with `whole` the table is begun anew.
    pub fn changes(&mut self, whole: bool) -> StandingRows {
        if whole {
            self.unsaved = self.operator.keys().copied().collect();
        }
        let mut rows = StandingRows { whole, ..StandingRows::default() };
        for _ in 0..ROWS_MAX {
            let Some(subject) = self.unsaved.pop_first() else { break };
            match self.operator.get(&subject) {
                Some(rule) => rows.put.extend(row(&subject, rule)),
                None => rows.gone.extend(row_key(&subject)),
            }
        }
        rows
    }

    /// Drops the operator's rules whose time is over; of very many some later.
    pub fn expire(&mut self, now: Time) {
        for _ in 0..EXPIRED_MAX {
            match self.by_expiry.first() {
                Some((expires, subject)) if *expires <= now => {
                    let subject = *subject;
                    self.take(&subject);
                }
                _ => return,
            }
        }
    }

    /// Enters an operator's rule; whether there was none.
    pub fn put(&mut self, subject: Subject, expires: Option<Time>, reason: String) -> bool {
        let rule = Rule { origin: Origin::Operator, expires, newer_than: None, reason, campaign: None };
        let before = self.operator.insert(subject, rule);
        self.forget_expiry(&subject, before.as_ref());
        self.by_expiry.extend(expires.map(|at| (at, subject)));
        self.changed(&subject);
        before.is_none()
    }

    /// Takes an operator's rule out; whether there was one.
    pub fn take(&mut self, subject: &Subject) -> bool {
        let Some(before) = self.operator.remove(subject) else { return false };
        self.forget_expiry(subject, Some(&before));
        self.changed(subject);
        true
    }

    fn forget_expiry(&mut self, subject: &Subject, rule: Option<&Rule>) {
        if let Some(at) = rule.and_then(|rule| rule.expires) {
            self.by_expiry.remove(&(at, *subject));
        }
    }

    fn changed(&mut self, subject: &Subject) {
        self.unsaved.insert(*subject);
        self.merge(subject);
    }

    /// Takes the configuration's allow list anew.
    pub fn configure(&mut self, allow: &[Prefix]) {
        let before = std::mem::replace(&mut self.config, allow.iter().copied().collect());
        let differing: Vec<Prefix> = before.symmetric_difference(&self.config).copied().collect();
        for prefix in differing {
            self.merge(&Subject::Allow(prefix));
        }
    }

    /// Takes a fresh look at who must be able to reach this host.
    pub fn protect(&mut self, now: Time, survey: Survey) {
        let Survey { peers, own } = survey;
        self.own = own;
        let mut differing: Vec<Address> = peers.keys().copied().collect();
        for (address, why) in peers {
            self.protected.insert(address, (why, now));
        }
        let is_over = |seen: Time| now.since(seen) >= PEER_KEPT;
        differing.extend(self.protected.iter().filter(|(_, (_, seen))| is_over(*seen)).map(|(address, _)| *address));
        self.protected.retain(|_, (_, seen)| !is_over(*seen));
        for address in differing {
            self.merge(&Subject::Allow(address.host_prefix()));
        }
    }

    /// Whether a prefix may be blocked; with `force`, guards become warnings.
    ///
    /// # Errors
    /// `refused`, naming what it would hit.
    pub fn guard(&self, prefix: &Prefix, force: bool) -> Result<Vec<String>, Refusal> {
        let mut warnings = Vec::new();
        let mut hold = |error: String, hint: &str| {
            if !force {
                return Err(Refusal::new("refused", error, hint));
            }
            warnings.push(error);
            Ok(())
        };
        let forced = "check the prefix; --force blocks it all the same, and allow rules go on to win inside it";
        let protected = self.protected.iter().map(|(address, (why, _))| (address, why));
        for (address, why) in protected.chain(self.own.iter().map(|(address, why)| (address, why))) {
            if prefix.contains(address) {
                hold(format!("{prefix} covers {address}, {why}"), forced)?;
            }
        }
        for allowed in self.allowed.touching(prefix).take(NAMED_MAX) {
            let whose = if self.config.contains(&allowed) { "the configuration" } else { "an operator" };
            hold(
                format!("{prefix} touches {allowed}, which {whose} allows: allow rules win"),
                "take the allow rule away first (`sensor disallow`, or the configuration's `allow`)",
            )?;
        }
        let (ip, length) = prefix.parts();
        let shortest = if ip.is_ipv4() { SHORTEST_V4 } else { SHORTEST_V6 };
        if length < shortest {
            hold(format!("{prefix} is a large part of the internet: shorter than /{shortest}"), forced)?;
        }
        Ok(warnings)
    }

    /// Settles which rule a subject has.
    fn merge(&mut self, subject: &Subject) {
        let rule = self.foremost(subject);
        if let Subject::Allow(prefix) = subject {
            match &rule {
                Some(rule) if rule.origin != Origin::Protected => self.allowed.insert(prefix),
                _ => self.allowed.remove(prefix),
            }
        }
        match rule {
            Some(rule) if self.merged.get(subject) == Some(&rule) => {}
            Some(rule) => {
                self.merged.insert(*subject, rule);
            }
            None => {
                self.merged.remove(subject);
            }
        }
    }

    fn foremost(&self, subject: &Subject) -> Option<Rule> {
        let without_end = |origin, reason: &str| {
            let reason = reason.to_owned();
            Some(Rule { origin, expires: None, newer_than: None, reason, campaign: None })
        };
        if let Subject::Allow(prefix) = subject {
            let peer = self.protected.get(&prefix.address).filter(|_| *prefix == prefix.address.host_prefix());
            if let Some((why, _)) = peer {
                return without_end(Origin::Protected, why);
            }
            if self.config.contains(prefix) {
                return without_end(Origin::Config, "allowed by the configuration");
            }
        }
        self.operator.get(subject).cloned()
    }
}

fn row_key(subject: &Subject) -> Option<StandingKey> {
    let (allow, prefix) = match subject {
        Subject::Allow(prefix) => (true, prefix),
        Subject::Deny(prefix) => (false, prefix),
        Subject::Class(_) => return None,
    };
    Some(StandingKey { allow, address: prefix.address.octets, bits: prefix.bits })
}

fn row(subject: &Subject, rule: &Rule) -> Option<StandingRow> {
    let StandingKey { allow, address, bits } = row_key(subject)?;
    Some(StandingRow { allow, address, bits, expires: rule.expires, reason: rule.reason.clone() })
}

/// Whether two prefixes have an address in common.
#[must_use]
pub fn overlaps(a: &Prefix, b: &Prefix) -> bool {
    if a.bits <= b.bits { a.contains(&b.address) } else { b.contains(&a.address) }
}
