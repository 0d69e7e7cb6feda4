//! What the engine shows: answers of the control plane. Here and in [`super::dossier`] alone floats are built.

use sensor_common::address::Address;

use super::{Engine, source_prefix};
use crate::control::protocol::{self as control, Learning};

/// Sizes and losses, for `status` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sources: u64,
    pub sources_evicted: u64,
    pub networks: u64,
    pub networks_evicted: u64,
    /// New networks followed for how they fill.
    pub ranges: u64,
    pub ranges_evicted: u64,
    pub cohorts: u64,
    pub cohorts_evicted: u64,
    /// Records taken in, those that came twice included.
    pub records: u64,
    pub records_repeated: u64,
    pub campaigns_open: u64,
    pub campaigns_closed: u64,
    /// Detectors' rules in force.
    pub class_rules: u64,
    pub deny_rules: u64,
}

impl Engine {
    /// Sizes and losses.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let kinds = self.rules().kinds();
        Counts {
            sources: self.sources.len() as u64,
            sources_evicted: self.sources.evicted(),
            networks: self.networks.len() as u64,
            networks_evicted: self.networks.evicted(),
            ranges: self.ranges.len() as u64,
            ranges_evicted: self.ranges.evicted(),
            cohorts: self.cohorts.len() as u64,
            cohorts_evicted: self.cohorts.evicted(),
            records: self.received,
            records_repeated: self.repeated,
            campaigns_open: self.open.len() as u64,
            campaigns_closed: (self.campaigns.len() - self.open.len()) as u64,
            class_rules: kinds.class as u64,
            deny_rules: kinds.deny as u64,
        }
    }

    /// How far the learning of calm traffic has come.
    #[must_use]
    pub fn learning(&self) -> Learning {
        Learning { calm_s: self.calm.as_seconds(), needed_s: self.tunables.learn_s, complete: self.has_learned() }
    }

    /// One campaign as the control plane shows it.
    #[must_use]
    pub fn campaign(&self, id: u64) -> Option<control::Campaign> {
        self.campaigns.get(&id).map(|campaign| self.campaign_answer(campaign))
    }

    /// Campaigns as the control plane shows them, newest first; closed ones only if asked for.
    #[must_use]
    pub fn campaign_answers(&self, all: bool) -> Vec<control::Campaign> {
        let shown = self.campaigns.values().rev().filter(|c| all || c.closed.is_none());
        shown.map(|campaign| self.campaign_answer(campaign)).collect()
    }

    /// What the engine knows about the source of an address: its tier and windows. The kernel's totals are left at 0.
    #[must_use]
    pub fn source(&self, address: &Address) -> control::Source {
        let source = address.source();
        let mut answer = control::Source {
            source: source_prefix(&source).to_string(),
            tier: self.tiers.of(&source).name.clone(),
            ..control::Source::default()
        };
        if let Some(known) = self.sources.get(&source) {
            let now = self.now.unwrap_or_default();
            [answer.connections_1m, answer.connections_10m, answer.connections_1d] = known.connections.sums(now);
            [answer.requests_1m, answer.requests_10m, answer.requests_1d] = known.requests.sums(now);
            answer.last_seen_unix_s = known.last_seen.unix_s();
        }
        if let Some(tally) = self.tallies.get(&source) {
            answer.gap_samples = u64::from(tally.samples);
            answer.gap_flagged = u64::from(tally.relayed);
        }
        answer
    }
}
