//! One tick: what came in is weighed, in a fixed order.

use sensor_common::address::Address;

use super::baseline::{CEILING_PPM, FLOOR_PPM};
use super::campaign::{Campaign, Raised};
use super::cohort::{Cohort, CohortKey, Excursion};
use super::detect::Detector;
use super::detect::rotation::{Risen, Rotation};
use super::plan::{Notice, Plan, Rules};
use super::record::Snapshot;
use super::season;
use super::time::{Span, Time};
use super::window::Length;
use super::{END, Engine, cap};

/// A tick counts as this long at most for learning: time in which nobody looked teaches nothing.
const TICK_MAX: Span = Span::seconds(10);

/// Without a record for this long there is no traffic to learn from.
const SILENCE: Span = Span::seconds(600);

/// Evidence of a cohort that showed nothing for this long is given up.
const STALE: Span = Span::seconds(86_400);

/// Closed campaigns remembered.
const CLOSED_MAX: usize = 256;

impl Engine {
    /// One tick. `standing` are the rules of the operator, the configuration and the daemon itself, which the
    /// detectors' rules give way to. The plan's actions turn the detectors' rules of the last tick into those of this
    /// one; standing rules are never part of them.
    pub fn step(&mut self, now: Time, snapshot: &Snapshot, standing: &Rules) -> Plan {
        let now = now.min(END).max(self.now.unwrap_or_default());
        let mut notices = Vec::new();
        self.hour_odds_ppm = self.season.odds_ppm(now);
        self.ledger.respect(standing);
        self.ledger.expire(now);
        self.count_completed(now, snapshot);
        let heavy = self.sources.update(now, snapshot, &self.tiers, cap(self.tunables.sources_max));
        self.book_taken(now);
        self.detect_rotation(now, &mut notices);
        self.detect_spread(now, &mut notices);
        self.learn(now);
        self.clear_sources(now, &mut notices);
        self.decide_campaigns(now, &mut notices);
        self.refuse_heavy(now, heavy, &mut notices);
        self.forget_campaigns();
        self.now = Some(now);
        Plan { actions: self.ledger.take_actions(), notices }
    }

    fn count_completed(&mut self, now: Time, snapshot: &Snapshot) {
        let fresh = match self.total_connections {
            None => 0,
            Some(before) if snapshot.connections < before => snapshot.connections,
            Some(before) => snapshot.connections - before,
        };
        self.total_connections = Some(snapshot.connections);
        self.completed.add(Length::TenMinutes, now, fresh);
    }

    /// Connections accepted in the last ten minutes: completed, and not matched by a class rule.
    pub(super) fn accepted(&self, now: Time) -> u64 {
        let matched = self.matched.sum(Length::TenMinutes, now);
        self.completed.sum(Length::TenMinutes, now).saturating_sub(matched)
    }

    pub(super) fn memory(&self) -> Span {
        Span::seconds(self.tunables.baseline_memory_s)
    }

    /// The normal share of relayed first-seen networks of a cohort, parts per million.
    pub(super) fn normal_ppm(&self, key: &CohortKey, now: Time) -> u64 {
        let overall = self.overall.overall_ppm(now, self.memory());
        let cohort = self.cohorts.get(key);
        let own = |cohort: &Cohort| {
            let share_ppm = cohort.baseline.share_ppm(overall, now, self.memory());
            season::adjust(share_ppm, self.hour_odds_ppm).clamp(FLOOR_PPM, CEILING_PPM).max(cohort.mixture_ppm)
        };
        cohort.map_or(overall, own)
    }

    /// Tests every cohort that had samples; single clients before their service as a whole.
    fn detect_rotation(&mut self, now: Time, notices: &mut Vec<Notice>) {
        let (whole, named): (Vec<_>, Vec<_>) =
            self.cohorts.take_active().into_iter().partition(|key| key.is_whole_service());
        for key in named.into_iter().chain(whole) {
            self.detect_in(key, now, notices);
        }
    }

    fn detect_in(&mut self, key: CohortKey, now: Time, notices: &mut Vec<Notice>) {
        let rotation = Rotation::new(&self.tunables);
        let (memory, has_learned) = (self.memory(), self.has_learned());
        let Some(cohort) = self.cohorts.change(&key) else { return };
        let tick = std::mem::take(&mut cohort.tick);
        if tick.is_empty() {
            return;
        }
        if now.since(cohort.last_sample) > STALE {
            cohort.excursion = Default::default();
        }
        cohort.last_sample = now;
        if key.is_whole_service() {
            // The mix of clients changes from tick to tick; each brings what is normal for it.
            cohort.mixture_ppm = tick.mixture_ppm();
        }
        let normal_ppm = self.normal_ppm(&key, now);
        let Some(cohort) = self.cohorts.change(&key) else { return };
        let risen = rotation.judge(&mut cohort.excursion, (&tick, normal_ppm));
        let (score, relayed) = (cohort.excursion.score, cohort.excursion.relayed);
        if let Some(id) = cohort.campaign {
            if let Some(Risen { score }) = risen {
                let finding = rotation.finding(&cohort.excursion, normal_ppm);
                self.corroborate(id, &Raised { detector: Rotation::NAME, score, finding }, now, notices);
            }
            if let Some(campaign) = self.campaigns.get_mut(&id) {
                campaign.extend(&tick, score > rotation.unrest(true), now);
            }
            return;
        }
        if !tick.returned {
            // Networks of an earlier campaign are never taken as normal.
            cohort.baseline.wait(tick.relayed, tick.direct);
        }
        if let Some(risen) = risen {
            cohort.baseline.forget_waiting();
            // One client that stands for most of it has, or will have, a campaign of its own.
            if !key.is_whole_service() || self.cohorts.most_relayed(key.service) < relayed.div_ceil(2) {
                let excursion = self.cohorts.get(&key).map(|cohort| cohort.excursion.clone()).unwrap_or_default();
                let raised = Raised { detector: Rotation::NAME, score: risen.score, finding: String::new() };
                self.open_campaign(key, raised, &excursion, now, notices);
            }
            return;
        }
        if score > rotation.unrest(has_learned) {
            return;
        }
        let Some(learned) = cohort.baseline.learn(score == 0, now, memory) else { return };
        if !has_learned {
            // What was just taken as normal is no evidence any more.
            cohort.excursion = Default::default();
        }
        if !key.is_whole_service() {
            self.overall.add(learned, now, memory);
            self.season.learn(learned, now);
        }
    }

    pub(super) fn open_campaign(
        &mut self,
        key: CohortKey,
        raised: Raised,
        excursion: &Excursion,
        now: Time,
        notices: &mut Vec<Notice>,
    ) {
        let id = self.next_campaign;
        let normal_ppm = self.normal_ppm(&key, now);
        let Some(cohort) = self.cohorts.change(&key) else { return };
        cohort.campaign = Some(id);
        cohort.baseline.forget_waiting();
        let mut campaign = Campaign::open(id, key, cohort.protocol, raised, excursion, now);
        campaign.normal_ppm = normal_ppm;
        if excursion.returned
            && let Some(earlier) = self.campaigns.values().rev().find(|c| c.cohort == key)
        {
            campaign.resumes = Some(earlier.id);
            campaign.newer_than = campaign.newer_than.min(earlier.newer_than);
        }
        if campaign.detector == Rotation::NAME {
            for octets in &excursion.networks {
                self.networks.suspect(&Address { octets: *octets }, true);
            }
        }
        campaign.note(now, "raised");
        notices.push(Notice { kind: "campaign_opened", campaign: Some(id), text: campaign.why() });
        self.campaigns.insert(id, campaign);
        self.open.insert(id);
        if !key.is_whole_service()
            && let Some(whole) = self.cohorts.change(&key.whole_service())
            && whole.campaign.is_none()
        {
            // Its share of the service's evidence is accounted for.
            whole.account_for_campaign();
        }
        self.next_campaign = id.saturating_add(1);
    }

    /// Counts calm time: somebody looked, there was traffic, and no campaign was open.
    fn learn(&mut self, now: Time) {
        let Some(before) = self.now else { return };
        let has_traffic = self.last_record.is_some_and(|at| now.since(at) <= SILENCE);
        if self.open.is_empty() && has_traffic {
            self.calm = Span(self.calm.0.saturating_add(now.since(before).min(TICK_MAX).0));
        }
        if self.learned_at.is_none() && self.has_learned() {
            self.learned_at = Some(now);
        }
    }

    /// Whether enough calm traffic was learned for automatic rules.
    pub(super) fn has_learned(&self) -> bool {
        self.calm >= Span::seconds(self.tunables.learn_s)
    }

    fn forget_campaigns(&mut self) {
        while self.campaigns.len() - self.open.len() > CLOSED_MAX {
            let Some(id) = self.campaigns.keys().find(|id| !self.open.contains(id)).copied() else { return };
            self.campaigns.remove(&id);
            self.changed_campaigns.note(id);
        }
    }
}
