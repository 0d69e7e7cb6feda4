//! Cohorts: connections of one service that share a fingerprint.
//!
//! A cohort carries what is normal for it, what its first-seen networks did lately, and the excursion of its evidence
//! since that last left zero.

use std::collections::BTreeSet;

use sensor_common::rule::ClassKey;
use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::bounded::Bounded;
use super::decay::Fading;
use super::fixed::NAT;
use super::state::Changed;
use super::time::{Span, Time};

/// Memory of the counts that the attack share is estimated from.
pub const RECENT: Span = Span::seconds(1_200);

/// Gaps and networks that an excursion keeps as samples.
const SAMPLES: usize = 64;

/// No evidence is kept beyond this: ten times the highest alarm.
const SCORE_MAX: i64 = 1_000 * NAT;

/// Which cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CohortKey {
    /// Server port.
    pub service: u16,
    /// Shape of the client software; 0: unknown.
    pub fingerprint: u64,
}

impl CohortKey {
    /// The key of the cohort's class rule.
    #[must_use]
    pub const fn class(self) -> ClassKey {
        ClassKey::new(self.service, self.fingerprint)
    }
}

/// First-seen networks of one tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    pub relayed: u32,
    pub direct: u32,
    /// When the first relayed one came.
    pub first_relayed: Time,
    pub gaps_us: Vec<u32>,
    pub networks: Vec<[u8; 16]>,
    pub times: Vec<Time>,
    /// Among them are networks of an earlier campaign that came back.
    pub returned: bool,
}

impl Tick {
    /// Counts one first-seen network.
    pub fn add(&mut self, network: [u8; 16], gap_us: Option<u32>, at: Time) {
        let Some(gap_us) = gap_us else {
            self.direct = self.direct.saturating_add(1);
            return;
        };
        self.first_relayed = if self.relayed == 0 { at } else { self.first_relayed.min(at) };
        self.relayed = self.relayed.saturating_add(1);
        if self.gaps_us.len() < SAMPLES {
            self.gaps_us.push(gap_us);
            self.networks.push(network);
            self.times.push(at);
        }
    }
}

/// Evidence since it last left zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excursion {
    /// Millionths of a nat; 0: at rest.
    pub score: i64,
    /// When the evidence left zero.
    pub onset: Time,
    pub relayed: u64,
    pub direct: u64,
    pub gaps_us: Vec<u32>,
    pub networks: Vec<[u8; 16]>,
    /// When the first relayed ones came.
    pub times: Vec<Time>,
    /// Among them are networks of an earlier campaign that came back.
    pub returned: bool,
}

impl Excursion {
    /// From when on relayed networks are taken to belong to the attack. Evidence leaves zero with any one relayed
    /// network, also an ordinary one long before, so the first eighth of them is not relied on.
    #[must_use]
    pub fn attack_began(&self) -> Time {
        let ordinary = usize::try_from(self.relayed / 8).unwrap_or(usize::MAX);
        let at = self.times.get(ordinary.min(self.times.len().saturating_sub(1)));
        at.copied().unwrap_or(self.onset).max(self.onset)
    }

    /// Adds one tick to an excursion that goes on or begins.
    pub fn extend(&mut self, tick: &Tick) {
        if self.relayed + self.direct == 0 {
            self.onset = tick.first_relayed;
        }
        self.relayed = self.relayed.saturating_add(u64::from(tick.relayed));
        self.direct = self.direct.saturating_add(u64::from(tick.direct));
        let room = SAMPLES.saturating_sub(self.gaps_us.len());
        self.gaps_us.extend(tick.gaps_us.iter().take(room));
        let room = SAMPLES.saturating_sub(self.networks.len());
        self.networks.extend(tick.networks.iter().take(room));
        let room = SAMPLES.saturating_sub(self.times.len());
        self.times.extend(tick.times.iter().take(room));
        self.returned |= tick.returned;
    }
}

/// One cohort.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cohort {
    /// See [`sensor_common::event::protocol`].
    pub protocol: u8,
    pub connections: u64,
    pub baseline: Baseline,
    /// Relayed and direct first-seen networks lately, memory [`RECENT`].
    pub recent: Fading,
    pub excursion: Excursion,
    pub last_sample: Time,
    /// The open campaign, if there is one.
    pub campaign: Option<u64>,
    #[serde(skip)]
    pub tick: Tick,
}

impl Cohort {
    /// A stored cohort, held to what is possible; its campaign has to claim it again.
    #[must_use]
    pub(super) fn sane(mut self, now: Time) -> Self {
        self.baseline = self.baseline.sane(now);
        self.recent = self.recent.sane(now);
        self.excursion.score = self.excursion.score.clamp(0, SCORE_MAX);
        self.excursion.onset = self.excursion.onset.min(now);
        self.last_sample = self.last_sample.min(now);
        self.campaign = None;
        self
    }
}

/// All cohorts followed.
#[derive(Clone, Debug, Default)]
pub struct Cohorts {
    pub(super) table: Bounded<CohortKey, Cohort>,
    /// Cohorts with samples in this tick.
    active: BTreeSet<CohortKey>,
    pub(super) changed: Changed<CohortKey>,
    evicted: u64,
}

impl Cohorts {
    /// The cohort, entered if need be; it becomes the most recent one.
    pub fn enter(&mut self, key: CohortKey, cap: usize) -> &mut Cohort {
        if !self.table.contains(&key) {
            self.table.insert(key, Cohort::default());
            self.shrink(cap);
        }
        self.table.touch(&key).expect("entered above")
    }

    /// Counts a first-seen network; `gap_us` if it came over a relay.
    pub fn sample(&mut self, key: CohortKey, network: [u8; 16], gap_us: Option<u32>, returned: bool, at: Time) {
        let Some(cohort) = self.table.get_mut(&key) else { return };
        cohort.tick.returned |= returned && gap_us.is_some();
        cohort.tick.add(network, gap_us, at);
        cohort.recent.add(u32::from(gap_us.is_some()), u32::from(gap_us.is_none()), at, RECENT);
        self.active.insert(key);
        self.changed.note(key);
    }

    /// Takes the cohorts that had samples since the last call, in order.
    pub fn take_active(&mut self) -> BTreeSet<CohortKey> {
        std::mem::take(&mut self.active)
    }

    #[must_use]
    pub fn get(&self, key: &CohortKey) -> Option<&Cohort> {
        self.table.get(key)
    }

    /// The cohort, to be changed; its row will be stored again.
    pub fn change(&mut self, key: &CohortKey) -> Option<&mut Cohort> {
        self.changed.note(*key);
        self.table.get_mut(key)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Cohorts forgotten to make room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Enters a stored cohort, older ones first.
    pub(super) fn restore(&mut self, key: CohortKey, cohort: Cohort, cap: usize) {
        self.table.insert(key, cohort);
        self.shrink(cap);
    }

    /// Forgets the least recently seen cohorts beyond the cap; those under alarm stay.
    fn shrink(&mut self, cap: usize) {
        let mut spared = 0;
        while self.table.len() > cap && spared < self.table.len() {
            let Some((key, cohort)) = self.table.oldest() else { return };
            let key = *key;
            if cohort.campaign.is_some() {
                self.table.touch(&key);
                spared += 1;
                continue;
            }
            self.table.remove(&key);
            self.active.remove(&key);
            self.changed.note(key);
            self.evicted += 1;
        }
    }
}
