//! What is normal for a cohort: the share of relayed ones among its first-seen networks.
//!
//! Fading counts over a Beta prior: a cohort of which nothing is known has the share of all cohorts together, and
//! that begins at one in fifty (the gap rule flags 1.5 % of direct connections, measured). Learned only while calm:
//! samples wait until the evidence has fallen back, and are dropped if it rises instead, so that the front of an
//! attack does not become normal (the conditional merge of MIDAS-F, Bhatia et al., TKDD 2022).

use serde::{Deserialize, Serialize};

use super::decay::{Fading, UNIT};
use super::time::{Span, Time};

/// Share before anything was learned.
const PRIOR_PPM: u64 = 20_000;

/// Networks that the prior is worth.
const PRIOR_WEIGHT: u64 = 50;

/// No cohort is taken to be cleaner, nor dirtier, than this.
pub(super) const FLOOR_PPM: u64 = 10_000;
pub(super) const CEILING_PPM: u64 = 500_000;

/// Samples that wait no longer if the evidence is low: otherwise a share that was always higher than the prior would
/// never be learned.
const PATIENCE: u32 = 32;

/// Learned counts of one cohort, or of all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    counts: Fading,
    /// Samples that wait to be learned.
    waiting_relayed: u32,
    waiting_direct: u32,
}

impl Baseline {
    /// The share of all cohorts together, parts per million.
    #[must_use]
    pub fn overall_ppm(&self, now: Time, memory: Span) -> u64 {
        self.share_ppm(PRIOR_PPM, now, memory)
    }

    /// The normal share, given that of all cohorts together; parts per million, 1 % to 50 %.
    #[must_use]
    pub fn share_ppm(&self, prior_ppm: u64, now: Time, memory: Span) -> u64 {
        self.counts.share_ppm((prior_ppm, PRIOR_WEIGHT), now, memory).clamp(FLOOR_PPM, CEILING_PPM)
    }

    /// Networks learned from, at `now`.
    #[must_use]
    pub fn networks(&self, now: Time, memory: Span) -> u64 {
        let (relayed, direct) = self.counts.at(now, memory);
        relayed.saturating_add(direct) / UNIT
    }

    /// Samples of one tick, to be learned later.
    pub fn wait(&mut self, relayed: u32, direct: u32) {
        self.waiting_relayed = self.waiting_relayed.saturating_add(relayed);
        self.waiting_direct = self.waiting_direct.saturating_add(direct);
    }

    /// Learns what waits: `at_rest` if the evidence has fallen back to nothing. Gives what was learned.
    pub fn learn(&mut self, at_rest: bool, now: Time, memory: Span) -> Option<(u32, u32)> {
        let waiting = self.waiting_relayed.saturating_add(self.waiting_direct);
        if waiting == 0 || !(at_rest || waiting >= PATIENCE) {
            return None;
        }
        let learned = (self.waiting_relayed, self.waiting_direct);
        self.add(learned, now, memory);
        self.forget_waiting();
        Some(learned)
    }

    /// Counts without condition: what another baseline learned.
    pub fn add(&mut self, (relayed, direct): (u32, u32), now: Time, memory: Span) {
        self.counts.add(relayed, direct, now, memory);
    }

    /// A stored baseline, held to what is possible.
    #[must_use]
    pub(super) fn sane(mut self, now: Time) -> Self {
        self.counts = self.counts.sane(now);
        self
    }

    /// Drops what waits: it belongs to a campaign.
    pub fn forget_waiting(&mut self) {
        (self.waiting_relayed, self.waiting_direct) = (0, 0);
    }
}
