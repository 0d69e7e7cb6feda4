//! Cohorts: connections of one service that share a fingerprint.
//!
//! A cohort carries what is normal for it, what its first-seen networks did lately, and the excursion of its evidence
//! since that last left zero. Fingerprint 0 stands for the service as a whole: connections whose client is unknown, and
//! those of every cohort without a campaign of its own. It finds rotations that change their client with their address.

use std::collections::BTreeSet;

use sensor_common::rule::ClassKey;
use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::bounded::Bounded;
use super::decay::Fading;
use super::detect::range::Filling;
use super::fixed::{NAT, WHOLE_PPM};
use super::spread::Spread;
use super::state::Changed;
use super::time::{Span, Time};
use super::volume::Volume;

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
    /// Shape of the client software; 0: the service as a whole.
    pub fingerprint: u64,
}

/// The sample by which a first-seen network counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub network: [u8; 16],
    /// The relay gap, if it says relay.
    pub gap_us: Option<u32>,
    /// It is a network of an earlier campaign that came back.
    pub returned: bool,
    /// Normal share of relayed ones for its client, parts per million.
    pub normal_ppm: u64,
    pub at: Time,
}

impl CohortKey {
    /// The service as a whole.
    #[must_use]
    pub const fn whole_service(self) -> Self {
        Self { service: self.service, fingerprint: 0 }
    }

    #[must_use]
    pub const fn is_whole_service(self) -> bool {
        self.fingerprint == 0
    }

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
    /// Sum of what is normal for each one's client, parts per million.
    pub normal_ppm: u64,
    pub gaps_us: Vec<u32>,
    pub networks: Vec<[u8; 16]>,
    pub times: Vec<Time>,
    /// Among them are networks of an earlier campaign that came back.
    pub returned: bool,
}

impl Tick {
    /// Counts one first-seen network.
    pub fn add(&mut self, sample: &Sample) {
        let Sample { network, gap_us, returned, normal_ppm, at } = *sample;
        self.normal_ppm = self.normal_ppm.saturating_add(normal_ppm);
        let Some(gap_us) = gap_us else {
            self.direct = self.direct.saturating_add(1);
            return;
        };
        self.returned |= returned;
        self.first_relayed = if self.relayed == 0 { at } else { self.first_relayed.min(at) };
        self.relayed = self.relayed.saturating_add(1);
        if self.gaps_us.len() < SAMPLES {
            self.gaps_us.push(gap_us);
            self.networks.push(network);
            self.times.push(at);
        }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.relayed == 0 && self.direct == 0
    }

    /// Relayed share that is normal for this mix of clients, parts per million.
    #[must_use]
    pub fn mixture_ppm(&self) -> u64 {
        self.normal_ppm.checked_div(u64::from(self.relayed) + u64::from(self.direct)).unwrap_or(0)
    }
}

/// Evidence since it last left zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
#[serde(default)]
pub struct Cohort {
    /// See [`sensor_common::event::protocol`].
    pub protocol: u8,
    pub connections: u64,
    pub baseline: Baseline,
    /// Relayed and direct first-seen networks lately, memory [`RECENT`].
    pub recent: Fading,
    pub excursion: Excursion,
    /// For a whole service: what was normal for its mix of clients lately, parts per million.
    pub mixture_ppm: u64,
    pub last_sample: Time,
    pub first_seen: Time,
    /// The operator said that it is normal.
    pub accepted: bool,
    pub filling: Filling,
    pub volume: Volume,
    #[serde(skip)]
    pub spread: Spread,
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
        self.mixture_ppm = self.mixture_ppm.min(WHOLE_PPM / 2);
        self.excursion.onset = self.excursion.onset.min(now);
        self.last_sample = self.last_sample.min(now);
        self.campaign = None;
        self
    }
}

impl Cohort {
    /// Drops the evidence of a service whose campaign was found in one of its clients.
    pub(super) fn account_for_campaign(&mut self) {
        self.excursion = Excursion::default();
        self.recent = Fading::default();
        self.tick = Tick::default();
        self.baseline.forget_waiting();
    }
}

/// Bytes of one cohort in the table; one under alarm has some samples besides.
pub(super) const BYTES: usize = Bounded::<CohortKey, Cohort>::ENTRY_BYTES;

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
    /// An empty table with room for so many cohorts.
    #[must_use]
    pub fn with_room(cohorts: usize, secret: u64) -> Self {
        let changed = Changed::keyed(secret);
        Self { table: Bounded::with_room(cohorts, secret), changed, ..Self::default() }
    }

    /// The cohort, entered if need be; it becomes the most recent one.
    pub fn enter(&mut self, key: CohortKey, cap: usize) -> &mut Cohort {
        if !self.table.contains(&key) {
            self.table.insert(key, Cohort::default());
            self.shrink(cap);
        }
        self.table.touch(&key).expect("entered above")
    }

    /// Counts a first-seen network.
    pub fn sample(&mut self, key: CohortKey, sample: &Sample) {
        let Some(cohort) = self.table.get_mut(&key) else { return };
        cohort.tick.add(sample);
        let relayed = sample.gap_us.is_some();
        cohort.recent.add(u32::from(relayed), u32::from(!relayed), sample.at, RECENT);
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

    /// The most relayed networks that one client of a service has in its excursion.
    #[must_use]
    pub fn most_relayed(&self, service: u16) -> u64 {
        let of_service = self.table.recent().filter(|(key, _)| key.service == service && !key.is_whole_service());
        of_service.map(|(_, cohort)| cohort.excursion.relayed).max().unwrap_or(0)
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
