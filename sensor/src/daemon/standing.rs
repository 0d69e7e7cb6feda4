//! Rules that stand whatever the detectors say: the configuration's, the operator's, and the daemon's own protection of
//! the way in.

use std::collections::BTreeMap;

use sensor_common::address::{Address, Prefix};

use super::protect::Survey;
use crate::control::protocol::Refusal;
use crate::engine::plan::{Origin, Rule, Rules, Subject};
use crate::engine::time::{Span, Time};
use crate::store::standing::StandingRow;

/// How long a peer stays protected after its last session was seen: time to come back after a broken line.
const PEER_KEPT: Span = Span::seconds(3_600);

/// Shortest prefixes that `block` takes without force, as people count them.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 19;

/// See the module.
#[derive(Debug, Default)]
pub struct Standing {
    config: Vec<Prefix>,
    /// Why, and when it was last seen to be so.
    protected: BTreeMap<Address, (String, Time)>,
    /// This host's own addresses: nothing to allow, but nothing to block either.
    own: Vec<(Address, String)>,
    operator: Rules,
    merged: Rules,
}

impl Standing {
    /// The configuration's rules and the stored ones of the operator.
    #[must_use]
    pub fn new(config: &[Prefix], stored: Vec<StandingRow>, now: Time) -> Self {
        let mut standing = Self { config: config.to_vec(), ..Self::default() };
        for row in stored {
            let prefix = Prefix { bits: row.bits, address: Address { octets: row.address } };
            let subject = if row.allow { Subject::Allow(prefix) } else { Subject::Deny(prefix) };
            if row.expires.is_none_or(|at| at > now) {
                standing.operator.insert(subject, operators(row.expires, row.reason));
            }
        }
        standing.merge();
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
        let row = |(subject, rule): (&Subject, &Rule)| {
            let (allow, prefix) = match subject {
                Subject::Allow(prefix) => (true, prefix),
                Subject::Deny(prefix) => (false, prefix),
                Subject::Class(_) => return None,
            };
            let reason = rule.reason.clone();
            Some(StandingRow {
                allow,
                address: prefix.address.octets,
                bits: prefix.bits,
                expires: rule.expires,
                reason,
            })
        };
        self.operator.iter().filter_map(row).collect()
    }

    /// Drops the operator's rules whose time is over; whether there were any.
    pub fn expire(&mut self, now: Time) -> bool {
        let before = self.operator.len();
        self.operator.retain(|_, rule| rule.expires.is_none_or(|at| at > now));
        let expired = self.operator.len() != before;
        if expired {
            self.merge();
        }
        expired
    }

    /// Enters an operator's rule.
    pub fn put(&mut self, subject: Subject, expires: Option<Time>, reason: String) {
        self.operator.insert(subject, operators(expires, reason));
        self.merge();
    }

    /// Takes an operator's rule out; whether there was one.
    pub fn take(&mut self, subject: &Subject) -> bool {
        let known = self.operator.remove(subject).is_some();
        self.merge();
        known
    }

    /// Takes the configuration's allow list anew.
    pub fn configure(&mut self, allow: &[Prefix]) {
        self.config = allow.to_vec();
        self.merge();
    }

    /// Takes a fresh look at who must be able to reach this host.
    pub fn protect(&mut self, now: Time, survey: Survey) {
        let Survey { peers, own } = survey;
        self.own = own;
        for (address, why) in peers {
            self.protected.insert(address, (why, now));
        }
        self.protected.retain(|_, (_, seen)| now.since(*seen) < PEER_KEPT);
        self.merge();
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
        for (address, (why, _)) in &self.protected {
            if prefix.contains(address) {
                hold(format!("{prefix} covers {address}, {why}"), forced)?;
            }
        }
        for (address, why) in &self.own {
            if prefix.contains(address) {
                hold(format!("{prefix} covers {address}, {why}"), forced)?;
            }
        }
        for (subject, rule) in &self.merged {
            if let Subject::Allow(allowed) = subject
                && rule.origin != Origin::Protected
                && overlaps(allowed, prefix)
            {
                let whose = if rule.origin == Origin::Config { "the configuration" } else { "an operator" };
                hold(
                    format!("{prefix} touches {allowed}, which {whose} allows: allow rules win"),
                    "take the allow rule away first (`sensor disallow`, or the configuration's `allow`)",
                )?;
            }
        }
        let (ip, length) = prefix.parts();
        let shortest = if ip.is_ipv4() { SHORTEST_V4 } else { SHORTEST_V6 };
        if length < shortest {
            hold(format!("{prefix} is a large part of the internet: shorter than /{shortest}"), forced)?;
        }
        Ok(warnings)
    }

    fn merge(&mut self) {
        self.merged = self.operator.clone();
        let rule = |origin, reason: &str| Rule {
            origin,
            expires: None,
            newer_than: None,
            reason: reason.to_owned(),
            campaign: None,
        };
        for prefix in &self.config {
            self.merged.insert(Subject::Allow(*prefix), rule(Origin::Config, "allowed by the configuration"));
        }
        for (address, (why, _)) in &self.protected {
            self.merged.insert(Subject::Allow(address.host_prefix()), rule(Origin::Protected, why));
        }
    }
}

fn operators(expires: Option<Time>, reason: String) -> Rule {
    Rule { origin: Origin::Operator, expires, newer_than: None, reason, campaign: None }
}

/// Whether two prefixes have an address in common.
#[must_use]
pub fn overlaps(a: &Prefix, b: &Prefix) -> bool {
    if a.bits <= b.bits { a.contains(&b.address) } else { b.contains(&a.address) }
}
