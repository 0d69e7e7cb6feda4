//! From campaigns to class rules.
//!
//! Ladder: observe; refuse the class while the guards let it; refuse the sources that were caught twice. What no guard
//! can tell apart from ordinary traffic is left alone, and the operator is told with numbers.

use sensor_common::address::Prefix;

use super::campaign::{Campaign, Stance, Verdict};
use super::cohort::RECENT;
use super::decay::UNIT;
use super::decide::{Guard, Hold, Weight};
use super::fixed::{WHOLE_PPM, share_ppm};
use super::plan::{Notice, Origin, Rule, Subject};
use super::time::{Span, Time};
use super::{Engine, words};

/// A campaign that did not look like attack enough for a rule for this long is taken as normal.
const MIXED_MAX: Span = Span::seconds(86_400);

/// Least time between two reasons for holding back that are told.
const NEWS_MIN: Span = Span::seconds(60);

impl Engine {
    /// Decides about every open campaign, oldest first.
    pub(super) fn decide_campaigns(&mut self, now: Time, notices: &mut Vec<Notice>) {
        let accepted = self.accepted(now);
        let mut budget_ppm = self.tunables.collateral_budget_ppm;
        for id in self.open.clone() {
            let Some(mut campaign) = self.campaigns.remove(&id) else { continue };
            self.changed_campaigns.note(id);
            let score = self.cohorts.get(&campaign.cohort).map_or(0, |c| c.excursion.score);
            campaign.mark(now, score);
            if self.is_over(&campaign, now) {
                self.close_campaign(&mut campaign, now, notices);
            } else {
                self.weigh(&mut campaign, accepted, now);
                let is_open_to_doubt = campaign.verdict != Some(Verdict::Confirmed);
                if is_open_to_doubt && now.since(campaign.last_clear) >= MIXED_MAX {
                    self.take_as_normal(&mut campaign, now, notices);
                    self.campaigns.insert(id, campaign);
                    continue;
                }
                let hold = self.hold(&campaign, budget_ppm);
                self.enforce(&mut campaign, hold, budget_ppm, now, notices);
                if self.ledger.get(&Subject::Class(campaign.cohort.class())).is_some() {
                    budget_ppm = budget_ppm.saturating_sub(campaign.weight.innocent_ppm);
                }
            }
            self.campaigns.insert(id, campaign);
        }
    }

    /// Whether the rotation has ended: nothing new, and few of its networks at work, those refused by address
    /// included: they send no records, but the kernel counts what their rules meet ([`Engine::knock`]).
    fn is_over(&self, campaign: &Campaign, now: Time) -> bool {
        let quiet = Span::seconds(self.tunables.rotation_quiet_s);
        if now.since(campaign.last_new) < quiet {
            return false;
        }
        let needed = usize::try_from(self.tunables.rotation_networks_min).unwrap_or(usize::MAX);
        let active = campaign.active(now, quiet, needed);
        let knocks = |(prefix, knocked): &(&Prefix, Option<Time>)| {
            let seen = self.sources.get(&prefix.address).map(|source| source.last_seen);
            seen.max(*knocked).is_some_and(|at| now.since(at) < quiet)
        };
        let refused = self.ledger.denied_by(campaign.id).filter(knocks);
        active + refused.take(needed.saturating_sub(active)).count() < needed
    }

    fn weigh(&self, campaign: &mut Campaign, accepted: u64, now: Time) {
        campaign.normal_ppm = self.normal_ppm(&campaign.cohort, now);
        let recent = self.cohorts.get(&campaign.cohort).map_or((0, 0), |c| c.recent.at(now, RECENT));
        let (own_relayed, own_direct) = campaign.own(now);
        campaign.accepted = accepted;
        campaign.weight = Weight::new(campaign.normal_ppm, recent, own_direct, accepted);
        if campaign.resumes.is_some() {
            // Its own networks are not all first seen lately, so its connections must look like attack too.
            let connections = (own_relayed.saturating_mul(UNIT), own_direct.saturating_mul(UNIT));
            let among = Weight::new(campaign.normal_ppm, connections, own_direct, accepted);
            campaign.weight.attack_share_ppm = campaign.weight.attack_share_ppm.min(among.attack_share_ppm);
        }
        if campaign.weight.attack_share_ppm >= self.guard(0).attack_share_min_ppm {
            campaign.last_clear = now;
        }
    }

    fn guard(&self, budget_ppm: u64) -> Guard {
        Guard {
            learned: self.has_learned(),
            attack_share_min_ppm: self.tunables.class_attack_percent.saturating_mul(WHOLE_PPM / 100),
            budget_ppm,
        }
    }

    fn hold(&self, campaign: &Campaign, budget_ppm: u64) -> Option<Hold> {
        self.guard(budget_ppm).hold(&campaign.weight)
    }

    pub(super) fn close_campaign(&mut self, campaign: &mut Campaign, now: Time, notices: &mut Vec<Notice>) {
        campaign.close(now);
        campaign.note(now, "closed");
        self.open.remove(&campaign.id);
        if let Some(cohort) = self.cohorts.change(&campaign.cohort) {
            cohort.campaign = None;
            cohort.excursion = Default::default();
        }
        let text = format!(
            "no new relayed network since {}; over after {} with {} and {} refused; its rules run out by themselves",
            words::clock(campaign.last_new),
            words::span(now.since(campaign.onset)),
            words::count(campaign.relayed, "relayed network"),
            words::count(campaign.refused, "connection"),
        );
        notices.push(Notice { kind: "campaign_closed", campaign: Some(campaign.id), text });
    }

    /// Ends a campaign that went on for long without ever looking like attack enough for a rule: a new habit of
    /// ordinary clients, or an attack so mixed that nothing can be done here. Its share is normal from now on.
    fn take_as_normal(&mut self, campaign: &mut Campaign, now: Time, notices: &mut Vec<Notice>) {
        let memory = Span::seconds(self.tunables.baseline_memory_s);
        let counts = [campaign.relayed, campaign.direct].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        if let Some(cohort) = self.cohorts.change(&campaign.cohort) {
            cohort.baseline.add(counts.into(), now, memory);
            cohort.accepted |= !campaign.finding.is_empty();
        }
        let share = share_ppm(campaign.relayed, campaign.relayed.saturating_add(campaign.direct));
        let text = format!(
            "for {} no more than an estimated {} of it was attack, too little for a rule; its relayed share of {} is \
             taken as normal from now on",
            words::span(MIXED_MAX),
            words::percent(campaign.weight.attack_share_ppm),
            words::percent(share),
        );
        notices.push(Notice { kind: "taken_as_normal", campaign: Some(campaign.id), text: text.clone() });
        campaign.note(now, &text);
        self.close_campaign(campaign, now, notices);
    }

    /// Makes, renews or withdraws the campaign's rules.
    fn enforce(
        &mut self,
        campaign: &mut Campaign,
        hold: Option<Hold>,
        budget_ppm: u64,
        now: Time,
        notices: &mut Vec<Notice>,
    ) {
        let subject = Subject::Class(campaign.cohort.class());
        let mut stance = match hold {
            Some(hold) => Stance::Held(hold),
            None if campaign.cohort.fingerprint == 0 => Stance::Held(Hold::Unnamed),
            None if self.put_class(campaign, subject, now) => Stance::Enforced,
            None => Stance::Held(Hold::Taken),
        };
        if hold.is_some() && self.ledger.get(&subject).is_some() {
            if self.guard(budget_ppm).must_withdraw(&campaign.weight) {
                self.ledger.withdraw(&subject);
                campaign.note(now, "class rule withdrawn");
            } else if campaign.stance == Stance::Enforced && matches!(hold, Some(Hold::Budget | Hold::Mixed)) {
                // A rule in force and on the edge runs out without a word for every step over it.
                stance = Stance::Enforced;
            }
        }
        // From one reason to hold back to another and back again is no news every second.
        let is_wavering = matches!((campaign.stance, stance), (Stance::Held(_), Stance::Held(_)))
            && now.since(campaign.last_said) < NEWS_MIN;
        if stance != campaign.stance && !is_wavering {
            campaign.stance = stance;
            campaign.last_said = now;
            let (kind, text) = match stance {
                Stance::Observed => return,
                Stance::Enforced => ("class_rule", self.class_words(campaign)),
                Stance::Held(hold) => ("held_back", self.hold_words(campaign, hold, budget_ppm)),
            };
            campaign.note(now, &text);
            notices.push(Notice { kind, campaign: Some(campaign.id), text });
        }
        if hold.is_none() {
            self.deny_caught(campaign, now, notices);
        }
    }

    /// Enters or renews the class rule; whether one stands.
    fn put_class(&mut self, campaign: &Campaign, subject: Subject, now: Time) -> bool {
        let ttl = Span::seconds(self.tunables.class_rule_ttl_s);
        if let Some(expires) = self.ledger.get(&subject).and_then(|rule| rule.expires)
            && !is_due(expires, ttl, now)
        {
            return true;
        }
        let rule = Rule {
            origin: Origin::Detector,
            expires: Some(now + ttl),
            newer_than: Some(campaign.newer_than),
            reason: format!("campaign {}: relayed connections from networks first seen since its onset", campaign.id),
            campaign: Some(campaign.id),
        };
        self.ledger.put(subject, rule)
    }

    fn class_words(&self, campaign: &Campaign) -> String {
        let Weight { attack_share_ppm, innocents_millionths, innocent_ppm } = campaign.weight;
        format!(
            "relayed connections of this client from networks first seen since {} are refused: an estimated {} of them \
             are attack; {} innocent connections expected in ten minutes, {innocent_ppm} per million accepted",
            words::clock(campaign.newer_than),
            words::percent(attack_share_ppm),
            words::millionths(innocents_millionths),
        )
    }

    fn hold_words(&self, campaign: &Campaign, hold: Hold, budget_ppm: u64) -> String {
        let Weight { attack_share_ppm, innocents_millionths, innocent_ppm } = campaign.weight;
        match hold {
            Hold::Learning => format!(
                "no rule is made: {} of {} s of calm traffic have been learned (tunable learn_s)",
                self.calm.as_seconds(),
                self.tunables.learn_s
            ),
            Hold::Unnamed => "no class rule is made: the connections do not show which client they come from; sources \
                              caught twice are refused by address"
                .to_owned(),
            Hold::Mixed => format!(
                "no rule is made: an estimated {} of what it would refuse is attack, {} % are needed (tunable \
                 class_attack_percent)",
                words::percent(attack_share_ppm),
                self.tunables.class_attack_percent
            ),
            Hold::Budget => format!(
                "no rule is made: it would refuse an estimated {} innocent connections in ten minutes, {innocent_ppm} \
                 per million accepted; the budget leaves {budget_ppm} (tunable collateral_budget_ppm)",
                words::millionths(innocents_millionths),
            ),
            Hold::Taken => {
                "no class rule is made: a rule of the operator holds this class, or the table is full".to_owned()
            }
        }
    }
}

/// Whether a rule that ends then has to be renewed, or was made for a longer life than is set now.
fn is_due(expires: Time, ttl: Span, now: Time) -> bool {
    expires <= now + Span(ttl.0 / 2) || expires > now + ttl
}
