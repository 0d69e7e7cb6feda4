//! Campaigns as the control plane shows them: answers, reports, and their histories in sentences.

use sensor_common::address::Address;
use sensor_common::event::protocol;

use super::campaign::{Campaign, Point, Sampled, Stance, Verdict};
use super::fixed::{NAT, WHOLE_PPM};
use super::time::Time;
use super::{Engine, harm, source_prefix, words};
use crate::control::protocol as control;

impl Engine {
    /// A campaign's history, in sentences: why it was raised, what it took, what could be refused, what was done.
    #[must_use]
    pub fn explain_campaign(&self, id: u64) -> Option<Vec<String>> {
        let campaign = self.campaigns.get(&id)?;
        let mut lines = vec![campaign.why()];
        lines.extend(
            campaign.corroborations.iter().map(|other| format!("Also found by {}: {}.", other.detector, other.finding)),
        );
        lines.push(self.taken_words(campaign));
        lines.push(format!(
            "An estimated {} of what its class rule would refuse is attack; {} innocent connections expected in ten \
             minutes.",
            words::percent(campaign.weight.attack_share_ppm),
            words::millionths(campaign.weight.innocents_millionths),
        ));
        if campaign.closed.is_none() {
            lines.extend(self.proposal_words(campaign));
        }
        lines.extend(self.effect_words(campaign));
        lines.extend(campaign.deeds.iter().cloned());
        if campaign.denied > 0 {
            lines.push(format!("{} refused by address so far.", words::count(campaign.denied, "source")));
        }
        lines.extend(campaign.trail.iter().map(point_words));
        Some(lines)
    }

    fn taken_words(&self, campaign: &Campaign) -> String {
        let (tokens, cost) = harm::estimate(campaign.taken, &self.tunables);
        let bytes = match campaign.taken.bytes {
            0 => "their bytes are not counted".to_owned(),
            bytes => format!("{bytes} bytes"),
        };
        let share = super::fixed::share_ppm(campaign.taken.answers, campaign.taken_by_all.answers);
        format!(
            "Since it was raised about {} of its own took {} ({bytes}), {} of all answers of that time: an estimated \
             {tokens} tokens, worth {}.{:02} at the price set (tunables token_bytes, answer_tokens, token_price).",
            words::count(campaign.sources.count(), "source"),
            words::count(campaign.taken.answers, "answer"),
            words::percent(share),
            cost / 100,
            cost % 100,
        )
    }

    fn proposal_words(&self, campaign: &Campaign) -> impl Iterator<Item = String> {
        campaign.proposals(self.now.unwrap_or_default()).into_iter().map(|proposal| {
            format!(
                "To refuse {}: reaches {} of its connections of the last ten minutes, {} innocent ones expected ({} per \
                 million accepted).",
                proposal.scope.words(),
                words::percent(proposal.coverage_ppm),
                words::millionths(proposal.innocents_millionths),
                proposal.innocent_ppm,
            )
        })
    }

    /// What a rule was expected to do, beside what it did.
    fn effect_words(&self, campaign: &Campaign) -> Option<String> {
        (campaign.stance == Stance::Enforced).then(|| {
            let (relayed, direct) = campaign.own(self.now.unwrap_or_default());
            format!(
                "Its class rule has matched {} so far; within the last ten minutes its own networks made {relayed} relayed \
                 connections, which it is for, and {direct} direct ones, which it lets pass.",
                words::count(campaign.refused, "connection"),
            )
        })
    }

    /// Everything about a campaign, to be handed on; without the rules in force. Masked, addresses are cut to their
    /// networks.
    #[must_use]
    pub fn report(&self, id: u64, unmasked: bool, now: Time) -> Option<control::Report> {
        let campaign = self.campaigns.get(&id)?;
        let member = |sampled: &Sampled| {
            let source = Address { octets: sampled.source };
            control::Member {
                source: if unmasked { source_prefix(&source).to_string() } else { network_words(sampled.source) },
                first_seen_unix_s: sampled.at.unix_s(),
                relayed: sampled.relayed,
            }
        };
        Some(control::Report {
            generated_at_unix_s: now.unix_s(),
            sensor_version: env!("CARGO_PKG_VERSION").to_owned(),
            masked: !unmasked,
            campaign: self.campaign_answer(campaign),
            lines: self.explain_campaign(id).unwrap_or_default(),
            history: campaign.trail.iter().map(moment).collect(),
            members: campaign.sample.iter().map(member).collect(),
            rules: Vec::new(),
        })
    }

    pub(super) fn campaign_answer(&self, campaign: &Campaign) -> control::Campaign {
        let mut actions = campaign.deeds.clone();
        if campaign.denied > 0 {
            actions.push(format!("{} refused by address so far", words::count(campaign.denied, "source")));
        }
        control::Campaign {
            id: campaign.id,
            state: if campaign.closed.is_some() { "closed" } else { "open" }.to_owned(),
            detector: campaign.detector.clone(),
            service: campaign.cohort.service,
            protocol: protocol::name(campaign.protocol).to_owned(),
            fingerprint: match campaign.cohort.is_whole_service() {
                true => "any".to_owned(),
                false => format!("{:016x}", campaign.cohort.fingerprint),
            },
            onset_unix_s: campaign.onset.unix_s(),
            opened_at_unix_s: campaign.opened.unix_s(),
            closed_at_unix_s: campaign.closed.map(Time::unix_s),
            score: campaign.score as f64 / NAT as f64,
            first_seen_networks: campaign.relayed.saturating_add(campaign.direct),
            relayed_networks: campaign.relayed,
            expected_share: share(campaign.normal_ppm),
            attack_share: share(campaign.weight.attack_share_ppm),
            expected_innocent_ppm: campaign.weight.innocent_ppm as f64,
            connections: campaign.connections,
            refused: campaign.refused,
            why: campaign.why(),
            actions,
            sample_networks: campaign.networks.iter().map(|octets| network_words(*octets)).collect(),
            corroborations: campaign.corroborations.iter().map(|c| format!("{}: {}", c.detector, c.finding)).collect(),
            verdict: campaign.verdict.map(|verdict| {
                match verdict {
                    Verdict::Confirmed => "confirmed",
                    Verdict::Dismissed => "dismissed",
                }
                .to_owned()
            }),
            damage: self.damage(campaign),
            proposals: self.proposals(campaign),
        }
    }

    fn damage(&self, campaign: &Campaign) -> control::Damage {
        let (tokens, cost) = harm::estimate(campaign.taken, &self.tunables);
        control::Damage {
            sources: campaign.sources.count(),
            answers: campaign.taken.answers,
            answer_bytes: campaign.taken.bytes,
            answer_share: campaign.taken.answers as f64 / campaign.taken_by_all.answers.max(1) as f64,
            estimated_tokens: tokens,
            estimated_cost: cost as f64 / 100.0,
        }
    }

    fn proposals(&self, campaign: &Campaign) -> Vec<control::Proposal> {
        if campaign.closed.is_some() {
            return Vec::new();
        }
        let weighed = campaign.proposals(self.now.unwrap_or_default());
        let answer = weighed.map(|proposal| control::Proposal {
            scope: proposal.scope.name().to_owned(),
            refuses: proposal.scope.words().to_owned(),
            coverage: share(proposal.coverage_ppm),
            expected_innocents: share(proposal.innocents_millionths),
            expected_innocent_ppm: proposal.innocent_ppm as f64,
        });
        answer.into()
    }
}

fn share(millionths: u64) -> f64 {
    millionths as f64 / WHOLE_PPM as f64
}

fn point_words(point: &Point) -> String {
    format!(
        "{} evidence {}, {} relayed and {} direct networks, {} refused",
        words::clock(point.at),
        words::nats(point.score),
        point.relayed,
        point.direct,
        words::count(point.refused, "connection"),
    )
}

fn moment(point: &Point) -> control::Moment {
    control::Moment {
        at_unix_s: point.at.unix_s(),
        score: point.score as f64 / NAT as f64,
        relayed_networks: point.relayed,
        direct_networks: point.direct,
        refused: point.refused,
        answers: point.answers,
    }
}

fn network_words(octets: [u8; 16]) -> String {
    let address = Address { octets };
    let length = if address.is_v4() { 24 } else { 48 };
    format!("{}/{length}", address.network())
}
