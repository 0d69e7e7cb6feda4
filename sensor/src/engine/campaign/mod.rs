//! Campaigns: a cohort under alarm, with its history.
//!
//! A campaign has a number, what raised it, what it did since, and what was done about it. It ends when its rotation
//! does: no relayed first-seen network has kept the evidence up, and few of its networks are still active.

mod part;

use std::collections::BTreeSet;

use sensor_common::address::Address;
use sensor_common::event::protocol;
use serde::{Deserialize, Serialize};

pub use self::part::{Corroboration, Point, Raised, Sampled, Sight, Stance, Verdict};
use super::bounded::Bounded;
use super::cohort::{CohortKey, Excursion, Tick};
use super::decide::Weight;
use super::distinct::Distinct;
use super::harm::Taken;
use super::proposal::{self, Own, Proposal};
use super::time::{Span, Time};
use super::window::{Length, Window};
use super::words;

/// Networks first seen this long before the onset belong to it: their handshake came before their evidence.
pub const MARGIN: Span = Span::seconds(60);

/// Networks whose activity is followed per campaign.
const MEMBERS_MAX: usize = 8_192;

/// Sources that wait to be refused, per campaign.
const CAUGHT_MAX: usize = 65_536;

/// Gaps, networks, deeds and points of history kept.
const GAPS_MAX: usize = 512;
const NETWORKS_MAX: usize = 16;
const DEEDS_MAX: usize = 64;
const TRAIL_MAX: usize = 120;
const SAMPLE_MAX: usize = 64;

/// One campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    pub id: u64,
    pub cohort: CohortKey,
    pub protocol: u8,
    /// Which detector raised it.
    pub detector: String,
    /// What that found, in words; empty for rotations, whose numbers are told as they are.
    #[serde(default)]
    pub finding: String,
    /// What other detectors found since.
    #[serde(default)]
    pub corroborations: Vec<Corroboration>,
    pub onset: Time,
    pub opened: Time,
    pub closed: Option<Time>,
    /// Networks first seen before this are not its own.
    pub newer_than: Time,
    /// The earlier campaign whose networks came back; their novelty is reckoned from its beginning.
    pub resumes: Option<u64>,
    /// Evidence at the alarm, millionths of a nat.
    pub score: i64,
    /// Normal share of relayed first-seen networks, parts per million.
    pub normal_ppm: u64,
    /// First-seen networks since the onset.
    pub relayed: u64,
    pub direct: u64,
    pub gaps_us: Vec<u32>,
    pub networks: Vec<[u8; 16]>,
    pub connections: u64,
    /// Sources of its own, counted by a sketch.
    #[serde(default)]
    pub sources: Distinct,
    /// Connections that the class rule matched, in dry run too.
    pub refused: u64,
    /// What its own sources took since it was raised, and what everyone did.
    #[serde(default)]
    pub taken: Taken,
    #[serde(default)]
    pub taken_by_all: Taken,
    /// What the operator said about it.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Some of its sources, first come first.
    #[serde(default)]
    pub sample: Vec<Sampled>,
    /// What each scope would do, as weighed last.
    #[serde(default)]
    pub accepted: u64,
    pub weight: Weight,
    pub stance: Stance,
    /// When the stance was last told.
    pub(super) last_said: Time,
    /// Sources refused by address.
    pub denied: u64,
    /// The table of such rules was full.
    pub(super) is_full: bool,
    pub deeds: Vec<String>,
    /// History, thinned out as it grows.
    pub trail: Vec<Point>,
    trail_step: Span,
    /// Latest relayed first-seen network that kept the evidence up.
    pub(super) last_new: Time,
    /// When it last looked like attack enough for a rule.
    pub(super) last_clear: Time,
    /// Connections of its own networks in the last ten minutes: over a relay, and direct.
    own_relayed: Window,
    own_direct: Window,
    /// Relayed ones of sources caught twice.
    #[serde(default)]
    own_again: Window,
    #[serde(skip)]
    members: Members,
    #[serde(skip)]
    pub(super) caught: BTreeSet<Address>,
}

/// When its networks were last active.
#[derive(Clone, Debug, Default)]
struct Members(Bounded<Address, Time>);

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().eq(other.0.iter())
    }
}

impl Eq for Members {}

impl Campaign {
    /// A campaign that is raised now.
    #[must_use]
    pub fn open(id: u64, cohort: CohortKey, protocol: u8, raised: Raised, excursion: &Excursion, now: Time) -> Self {
        let mut campaign = Self {
            id,
            cohort,
            protocol,
            detector: raised.detector.to_owned(),
            finding: raised.finding,
            corroborations: Vec::new(),
            onset: excursion.onset,
            opened: now,
            closed: None,
            newer_than: excursion.attack_began() - MARGIN,
            resumes: None,
            score: raised.score,
            normal_ppm: 0,
            relayed: excursion.relayed,
            direct: excursion.direct,
            gaps_us: excursion.gaps_us.clone(),
            networks: excursion.networks.iter().take(NETWORKS_MAX).copied().collect(),
            connections: excursion.relayed.saturating_add(excursion.direct),
            sources: Distinct::default(),
            refused: 0,
            taken: Taken::default(),
            taken_by_all: Taken::default(),
            verdict: None,
            sample: Vec::new(),
            accepted: 0,
            own_again: Window::default(),
            weight: Weight::default(),
            stance: Stance::Observed,
            last_said: Time(0),
            denied: 0,
            is_full: false,
            deeds: Vec::new(),
            trail: Vec::new(),
            trail_step: Span::seconds(10),
            last_new: now,
            last_clear: now,
            own_relayed: Window::default(),
            own_direct: Window::default(),
            members: Members::default(),
            caught: BTreeSet::new(),
        };
        for octets in &excursion.networks {
            campaign.members.0.insert(Address { octets: *octets }, now);
        }
        campaign.own_relayed.add(Length::TenMinutes, now, excursion.relayed);
        campaign.own_direct.add(Length::TenMinutes, now, excursion.direct);
        campaign
    }

    /// A connection of its cohort; whether its network is one of the campaign's own.
    pub fn see(&mut self, sight: &Sight) -> bool {
        self.connections = self.connections.saturating_add(1);
        self.refused = self.refused.saturating_add(u64::from(sight.matched));
        if sight.first_seen < self.newer_than {
            return false;
        }
        match sight.relayed {
            Some(true) => self.own_relayed.add(Length::TenMinutes, sight.at, 1),
            Some(false) => self.own_direct.add(Length::TenMinutes, sight.at, 1),
            None => {}
        }
        self.sources.note(sight.source.key());
        if sight.relayed == Some(true) {
            self.members.0.insert(sight.source.network(), sight.at);
            while self.members.0.shrink(MEMBERS_MAX).is_some() {}
        }
        if self.sample.len() < SAMPLE_MAX && self.sample.iter().all(|known| known.source != sight.source.octets) {
            let (source, relayed) = (sight.source.octets, sight.relayed == Some(true));
            self.sample.push(Sampled { source, at: sight.at, relayed });
        }
        if sight.caught {
            self.own_again.add(Length::TenMinutes, sight.at, 1);
        }
        if sight.caught && self.caught.len() < CAUGHT_MAX {
            self.caught.insert(sight.source);
        }
        true
    }

    /// Whether a source of its own networks belongs to it: whoever came over a relay, and everyone if it was not raised
    /// by relays.
    #[must_use]
    pub(super) fn claims(&self, relayed: Option<bool>) -> bool {
        relayed == Some(true) || !self.finding.is_empty()
    }

    /// What could be refused, and what each would cost.
    #[must_use]
    pub fn proposals(&self, now: Time) -> [Proposal; 3] {
        let (relayed, direct) = self.own(now);
        let again = self.own_again.sum(Length::TenMinutes, now);
        proposal::weigh(self.normal_ppm, Own { relayed, direct, again }, self.accepted)
    }

    /// A network that another host met: no source of its own is known here.
    pub(super) fn hear(&mut self, network: Address, first_seen: Time, relayed: bool, at: Time) {
        if first_seen < self.newer_than {
            return;
        }
        if relayed {
            self.own_relayed.add(Length::TenMinutes, at, 1);
            self.members.0.insert(network, at);
            while self.members.0.shrink(MEMBERS_MAX).is_some() {}
        } else {
            self.own_direct.add(Length::TenMinutes, at, 1);
        }
    }

    /// First-seen networks of one tick. `kept_up`: the evidence is still high after it.
    pub fn extend(&mut self, tick: &Tick, kept_up: bool, now: Time) {
        self.relayed = self.relayed.saturating_add(u64::from(tick.relayed));
        self.direct = self.direct.saturating_add(u64::from(tick.direct));
        self.gaps_us.extend(tick.gaps_us.iter().take(GAPS_MAX.saturating_sub(self.gaps_us.len())));
        self.networks.extend(tick.networks.iter().take(NETWORKS_MAX.saturating_sub(self.networks.len())));
        if tick.relayed > 0 && kept_up {
            self.last_new = now;
        }
    }

    /// A detector's claim while it is open: its own keeps it open, another's is noted once. Whether it is news.
    pub(super) fn corroborate(&mut self, raised: &Raised, now: Time) -> bool {
        if self.detector == raised.detector {
            if !raised.finding.is_empty() && !self.finding.is_empty() {
                self.finding.clone_from(&raised.finding);
                self.last_new = now;
            }
            return false;
        }
        let known = self.corroborations.iter_mut().find(|known| known.detector == raised.detector);
        if let Some(known) = known {
            (known.finding, known.at) = (raised.finding.clone(), now);
            return false;
        }
        let (detector, finding) = (raised.detector.to_owned(), raised.finding.clone());
        self.corroborations.push(Corroboration { detector, at: now, finding });
        true
    }

    /// Takes a stored campaign up again after the daemon was down for so long. Its networks have to show themselves
    /// anew, so its quiet time begins anew.
    pub(super) fn resume(&mut self, down: Span, now: Time) {
        self.last_new = now;
        self.last_clear = (self.last_clear + down).min(now);
        self.onset = self.onset.min(now);
        self.newer_than = self.newer_than.min(self.onset);
        self.own_relayed = self.own_relayed.sane(Length::TenMinutes, now);
        self.own_direct = self.own_direct.sane(Length::TenMinutes, now);
        self.own_again = self.own_again.sane(Length::TenMinutes, now);
        self.sample.truncate(SAMPLE_MAX);
        self.trail_step = self.trail_step.max(Span::seconds(10));
        self.trail.truncate(TRAIL_MAX - 1);
    }

    /// Ends it, and lets go of what only an open campaign needs.
    pub(super) fn close(&mut self, now: Time) {
        self.closed = Some(now);
        self.caught = BTreeSet::new();
        self.members = Members::default();
    }

    /// Its networks as far as they are known: those followed, and the sampled ones.
    pub(super) fn members(&self) -> Vec<Address> {
        let sampled = self.sample.iter().map(|sampled| sampled.source).chain(self.networks.iter().copied());
        let followed = self.members.0.iter().map(|(network, _)| *network);
        followed.chain(sampled.map(|octets| Address { octets })).collect()
    }

    /// How many of its networks connected over a relay within `quiet`, counted up to `enough`.
    #[must_use]
    pub fn active(&self, now: Time, quiet: Span, enough: usize) -> usize {
        self.members.0.recent().take_while(|(_, at)| now.since(**at) < quiet).take(enough).count()
    }

    /// Connections of its own networks in the last ten minutes: over a relay, direct.
    #[must_use]
    pub fn own(&self, now: Time) -> (u64, u64) {
        (self.own_relayed.sum(Length::TenMinutes, now), self.own_direct.sum(Length::TenMinutes, now))
    }

    /// Notes what was done, for the operator.
    pub fn note(&mut self, now: Time, deed: &str) {
        if self.deeds.len() < DEEDS_MAX {
            self.deeds.push(format!("{} {deed}", words::clock(now)));
        }
    }

    /// Adds a point of history when one is due.
    pub fn mark(&mut self, now: Time, score: i64) {
        if self.trail.last().is_some_and(|last| now.since(last.at) < self.trail_step) {
            return;
        }
        let Self { relayed, direct, refused, taken, .. } = self;
        let point =
            Point { at: now, score, relayed: *relayed, direct: *direct, refused: *refused, answers: taken.answers };
        self.trail.push(point);
        if self.trail.len() >= TRAIL_MAX {
            let mut index = 0;
            self.trail.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.trail_step = Span(self.trail_step.0.saturating_mul(2));
        }
    }

    /// Why it was raised, in words and numbers as they are now.
    #[must_use]
    pub fn why(&self) -> String {
        if !self.finding.is_empty() {
            return self.finding.clone();
        }
        let networks = self.relayed.saturating_add(self.direct);
        let late = if self.protocol == protocol::TLS {
            "answered TLS {gap} (median) later than their TCP did"
        } else {
            "sent their first request {gap} (median) after their TCP was ready"
        };
        let client = match self.cohort.is_whole_service() {
            true => "many different clients".to_owned(),
            false => format!("client {:016x}", self.cohort.fingerprint),
        };
        format!(
            "{} first seen since {} used {client} on port {}; {} of them {}; normal for them is {}; \
             evidence {} at the alarm, by chance about once in e^{} ticks",
            words::count(networks, "network"),
            words::clock(self.onset),
            self.cohort.service,
            self.relayed,
            late.replace("{gap}", &words::milliseconds(self.median_gap_us())),
            words::percent(self.normal_ppm),
            words::nats(self.score),
            words::whole_nats(self.score),
        )
    }

    /// Median relay gap of the sampled networks, microseconds.
    #[must_use]
    pub fn median_gap_us(&self) -> u32 {
        let mut gaps = self.gaps_us.clone();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied().unwrap_or(0)
    }
}
