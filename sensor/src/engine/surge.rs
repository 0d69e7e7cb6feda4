//! What is seen without any relay gap: clients that spread, keep step, or fill ranges (D2, D3, D5).
//!
//! Looked for only after enough calm was learned: until then every network is new and nothing is known. What these
//! detectors raise is told and followed like any campaign, but fingerprint, novelty and number alone refuse nobody: a
//! rule is made only if the campaign's newcomers came over relays as well.

use sensor_common::address::Address;

use super::Engine;
use super::campaign::Raised;
use super::cohort::{Cohort, CohortKey, Excursion};
use super::detect::Detector;
use super::detect::lockstep::{InStep, Lockstep};
use super::detect::novel::{Novel, Surge};
use super::detect::range::{Filled, Ranges};
use super::network;
use super::plan::Notice;
use super::spread::{SLOT, Visit};
use super::time::{Span, Time};
use super::words;

/// A network first seen this long ago is established.
const ESTABLISHED: Span = Span::seconds(86_400);

/// A client is rare that made less than one in so many connections before yesterday.
const RARE: u64 = 1_000;

/// The share of established networks among those that come to a client, before anything was learned; and what that
/// guess is worth in networks.
const JOINS_PRIOR_PPM: u64 = 500_000;
const JOINS_PRIOR_WEIGHT: u64 = 50;

impl Engine {
    /// Enters one connection into its client's spread.
    pub(super) fn enter_spread(
        &mut self,
        key: CohortKey,
        source: Address,
        sight: &network::Sight,
        (relayed, at): (Option<bool>, Time),
    ) {
        if key.is_whole_service() {
            return;
        }
        self.volume.count(at);
        let established = self.is_established(sight.first_seen, at);
        let network = source.network();
        let visit = Visit { network, at, established, relayed };
        let Some(cohort) = self.cohorts.table.get_mut(&key) else { return };
        cohort.volume.count(at);
        let joined = cohort.spread.see(&visit, self.secret);
        // Before anything was learned every network is new, and what a new client brings is what is tested.
        let is_usual =
            self.learned_at.is_some_and(|learned| cohort.first_seen < learned || cohort.volume.before(at) > 0);
        let is_calm = cohort.campaign.is_none() && is_usual;
        if joined.is_some() || at.since(cohort.spread.looked) >= SLOT {
            self.spreading.insert(key);
        }
        if let Some(established) = joined.filter(|_| is_calm) {
            self.joins.add(u32::from(established), u32::from(!established), at, self.memory());
        }
        if !established && self.ranges.see(key, &source, at) {
            self.filled.push((key, at));
        }
    }

    /// Whether a network first seen then counts as known: for a day, or since the sensor learned.
    pub(super) fn is_established(&self, first_seen: Time, at: Time) -> bool {
        at.since(first_seen) >= ESTABLISHED || self.learned_at.is_some_and(|learned| first_seen < learned)
    }

    /// Tests every client that somebody new came to, and those whose networks have filled.
    pub(super) fn detect_spread(&mut self, now: Time, notices: &mut Vec<Notice>) {
        let (spreading, filled) = (std::mem::take(&mut self.spreading), std::mem::take(&mut self.filled));
        let Some(learned_at) = self.learned_at.filter(|_| self.has_learned()) else {
            // Half the time of learning is spent on meeting everybody for the first time.
            if self.calm >= Span::seconds(self.tunables.learn_s / 2) {
                self.learn_filled(&filled);
            }
            return;
        };
        for key in spreading {
            self.detect_novel(key, learned_at, now, notices);
            self.detect_lockstep(key, learned_at, now, notices);
        }
        self.detect_ranges(&filled, now, notices);
    }

    fn detect_novel(&mut self, key: CohortKey, learned_at: Time, now: Time, notices: &mut Vec<Notice>) {
        let usual_ppm = self.usual_established_ppm(now);
        let all_before = self.volume.before(now);
        let novelty = Span::seconds(self.tunables.novelty_days.saturating_mul(86_400));
        let Some(cohort) = self.cohorts.table.get_mut(&key).filter(|cohort| !cohort.accepted) else { return };
        let is_new = cohort.first_seen >= learned_at && now.since(cohort.first_seen) < novelty;
        let is_rare = cohort.volume.before(now).saturating_mul(RARE) < all_before;
        if !(is_new || is_rare) {
            return;
        }
        let Some(surge) = Novel::new(&self.tunables).judge(&mut cohort.spread, (now, usual_ppm)) else { return };
        let Surge { score, networks, established, evenness_ppm } = surge;
        let rarity = if is_new { "never seen here before" } else { "hardly seen here before" };
        let text = format!(
            "client {:016x} on port {}, {rarity}, came from {} within a day, {established} of which were known; of \
             networks that come to a client {} are usually known; its connections are spread evenly ({} of the greatest \
             entropy); evidence {}",
            key.fingerprint,
            key.service,
            words::at_least(networks, "network"),
            words::percent(usual_ppm),
            words::percent(evenness_ppm),
            words::nats(score),
        );
        self.raise(key, Raised { detector: Novel::NAME, score, finding: text }, now, notices);
    }

    fn detect_lockstep(&mut self, key: CohortKey, learned_at: Time, now: Time, notices: &mut Vec<Notice>) {
        let Some(cohort) = self.cohorts.table.get_mut(&key).filter(|cohort| !cohort.accepted) else { return };
        let found = Lockstep::new(&self.tunables).judge(&mut cohort.spread, (now, learned_at));
        let Some(InStep { networks, sticky, active_slots, starts, agreement_ppm, evenness_ppm }) = found else {
            return;
        };
        let text = format!(
            "{} that were not known before kept step with client {:016x} on port {}: of {sticky} sampled ones that stay \
             they were active in the same {active_slots} tens of minutes with {starts} beginnings (agreement {} at \
             least), and as often each (evenness {})",
            words::at_least(networks, "network"),
            key.fingerprint,
            key.service,
            words::percent(agreement_ppm),
            words::percent(evenness_ppm),
        );
        self.raise(key, Raised { detector: Lockstep::NAME, score: 0, finding: text }, now, notices);
    }

    fn detect_ranges(&mut self, filled: &[(CohortKey, Time)], now: Time, notices: &mut Vec<Notice>) {
        let ranges = Ranges::new(&self.tunables);
        for (key, at) in filled {
            let Some(cohort) = self.cohorts.change(key).filter(|cohort| !cohort.accepted) else { continue };
            let Some(Filled { score, networks, since, usual_millis_per_day }) = ranges.judge(&mut cohort.filling, *at)
            else {
                if cohort.campaign.is_none() && cohort.filling.score < ranges.unrest() {
                    cohort.filling.learn(*at, Span::seconds(self.tunables.baseline_memory_s));
                }
                continue;
            };
            let text = format!(
                "{} that were not known before have filled with eight or more active addresses of client {:016x} on \
                 port {} each since {}; normal are {} a day; evidence {}",
                words::count(networks, "network"),
                key.fingerprint,
                key.service,
                words::clock(since),
                words::thousandths(usual_millis_per_day),
                words::nats(score),
            );
            self.raise(*key, Raised { detector: Ranges::NAME, score, finding: text }, now, notices);
        }
    }

    fn learn_filled(&mut self, filled: &[(CohortKey, Time)]) {
        let memory = self.memory();
        for (key, at) in filled {
            if let Some(cohort) = self.cohorts.change(key) {
                cohort.filling.learn(*at, memory);
            }
        }
    }

    /// The usual share of established networks among those that come to a client, parts per million.
    fn usual_established_ppm(&self, now: Time) -> u64 {
        self.joins.share_ppm((JOINS_PRIOR_PPM, JOINS_PRIOR_WEIGHT), now, self.memory())
    }

    /// Opens a campaign on what a detector found, or adds it to the one that is open.
    fn raise(&mut self, key: CohortKey, raised: Raised, now: Time, notices: &mut Vec<Notice>) {
        let Some(cohort) = self.cohorts.get(&key) else { return };
        let whole = self.cohorts.get(&key.whole_service()).and_then(|whole| whole.campaign);
        let Some(id) = cohort.campaign.or(whole) else {
            let excursion = newcomers(cohort, now);
            self.open_campaign(key, raised, &excursion, now, notices);
            return;
        };
        self.corroborate(id, &raised, now, notices);
    }

    /// Adds what another detector found to an open campaign, or keeps it open if it is its own.
    pub(super) fn corroborate(&mut self, id: u64, raised: &Raised, now: Time, notices: &mut Vec<Notice>) {
        let Some(campaign) = self.campaigns.get_mut(&id) else { return };
        if campaign.corroborate(raised, now) {
            let text = format!("also found by {}: {}", raised.detector, raised.finding);
            campaign.note(now, &format!("also found by {}", raised.detector));
            notices.push(Notice { kind: "corroborated", campaign: Some(id), text });
        }
    }
}

/// The members of a client that were not known before, as the evidence that a campaign begins with.
fn newcomers(cohort: &Cohort, now: Time) -> Excursion {
    let mut members: Vec<_> = cohort.spread.members(now).filter(|member| !member.established).collect();
    members.sort_unstable_by_key(|member| (member.joined, member.network));
    let relayed = members.iter().filter(|member| member.relayed > 0 && member.direct == 0).count() as u64;
    Excursion {
        score: 0,
        onset: members.first().map_or(now, |member| member.joined),
        relayed,
        direct: members.len() as u64 - relayed,
        gaps_us: Vec::new(),
        networks: members.iter().map(|member| member.network.octets).collect(),
        times: members.iter().map(|member| member.joined).collect(),
        returned: false,
    }
}
