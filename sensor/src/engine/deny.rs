//! Rules against single sources: those caught twice in a campaign, and those over a limit of their tier.
//!
//! Only the source itself is refused, an IPv4 address or an IPv6 /64, never its network; never one that an allow rule
//! touches, never one that showed a direct connection. Each rule ends by itself; who comes back is refused for longer.

use sensor_common::address::Address;
use serde::{Deserialize, Serialize};

use super::campaign::Campaign;
use super::plan::{Notice, Origin, Rule, Subject};
use super::source::HeavySource;
use super::time::{Span, Time};
use super::{Engine, source_prefix, words};

/// Longest life of a rule against a source.
const SOURCE_TTL_MAX: Span = Span::seconds(86_400);

/// Sources whose earlier refusals are remembered.
pub(super) const OFFENCES_MAX: usize = 65_536;

/// Heavy sources named one by one per tick; the rest is summed up.
const NAMED_MAX: usize = 8;

/// Sources refused by address per campaign and tick at most; the others wait for the next tick.
const DENIED_PER_TICK: usize = 4_096;

/// Earlier refusals of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offence {
    pub times: u32,
    /// When the last one ended.
    pub until: Time,
}

impl Engine {
    /// Refuses the sources that were caught twice.
    pub(super) fn deny_caught(&mut self, campaign: &mut Campaign, now: Time, notices: &mut Vec<Notice>) {
        let base = Span::seconds(self.tunables.source_rule_ttl_s);
        let mut denied = 0;
        for _ in 0..DENIED_PER_TICK {
            let Some(source) = campaign.caught.pop_first() else { break };
            let subject = Subject::Deny(source_prefix(&source));
            let is_caught = self.tallies.get(&source).is_some_and(|tally| tally.is_caught(campaign.cohort));
            if !is_caught || self.ledger.is_taken(&subject) {
                continue;
            }
            let times = self.earlier_refusals(&source, now);
            let known = self.ledger.get(&subject).and_then(|rule| rule.expires);
            let ttl = doubled(base, if known.is_some() { times.saturating_sub(1) } else { times });
            if known.is_some_and(|expires| expires > now + Span(ttl.0 / 2)) {
                continue;
            }
            let rule = Rule {
                origin: Origin::Detector,
                expires: Some(now + ttl),
                newer_than: None,
                reason: format!(
                    "campaign {}: every connection of this source came over a relay, from a network first seen since \
                     its onset",
                    campaign.id
                ),
                campaign: Some(campaign.id),
            };
            if !self.ledger.put(subject, rule) {
                self.note_full(campaign, now, notices);
                break;
            }
            let times = if known.is_some() { times.max(1) } else { times.saturating_add(1) };
            self.offend(source, Offence { times, until: now + ttl });
            denied += u64::from(known.is_none());
        }
        if denied > 0 {
            campaign.denied = campaign.denied.saturating_add(denied);
            let text = format!("{} caught twice over a relay refused by address", words::count(denied, "source"));
            notices.push(Notice { kind: "sources_denied", campaign: Some(campaign.id), text });
        }
    }

    /// How often a source was refused before; forgotten after the time that makes a network new again.
    fn earlier_refusals(&self, source: &Address, now: Time) -> u32 {
        let memory = Span::seconds(self.tunables.novelty_days.saturating_mul(86_400));
        self.offences.get(source).filter(|offence| now.since(offence.until) < memory).map_or(0, |offence| offence.times)
    }

    fn note_full(&mut self, campaign: &mut Campaign, now: Time, notices: &mut Vec<Notice>) {
        campaign.caught.clear();
        if campaign.is_full {
            return;
        }
        campaign.is_full = true;
        let text = "no more sources are refused by address: the detectors' share of the deny table is full; the class \
                    rule goes on"
            .to_owned();
        campaign.note(now, &text);
        notices.push(Notice { kind: "held_back", campaign: Some(campaign.id), text });
    }

    pub(super) fn offend(&mut self, source: Address, offence: Offence) {
        self.offences.insert(source, offence);
        self.changed_offences.note(source);
        while let Some((gone, _)) = self.offences.shrink(OFFENCES_MAX) {
            self.changed_offences.note(gone);
        }
    }

    /// Gives up rules against sources that have shown a direct connection since.
    pub(super) fn clear_sources(&mut self, now: Time, notices: &mut Vec<Notice>) {
        for source in std::mem::take(&mut self.cleared) {
            let subject = Subject::Deny(source_prefix(&source));
            let Some(id) = self.ledger.get(&subject).and_then(|rule| rule.campaign) else { continue };
            self.ledger.withdraw(&subject);
            let text = format!("{source} is let in again: it connected directly, not over a relay");
            if let Some(campaign) = self.campaigns.get_mut(&id) {
                campaign.note(now, "a source let in again: it connected directly");
            }
            notices.push(Notice { kind: "source_cleared", campaign: Some(id), text });
        }
    }

    /// Refuses sources over a limit of their tier for a while.
    pub(super) fn refuse_heavy(&mut self, now: Time, heavy: Vec<HeavySource>, notices: &mut Vec<Notice>) {
        let ttl = Span::seconds(self.tunables.heavy_source_ttl_s);
        let mut unnamed = 0_u64;
        let mut named = 0;
        for HeavySource { source, tier, exceeded } in heavy {
            let subject = Subject::Deny(source_prefix(&source));
            let known = self.ledger.get(&subject).and_then(|rule| rule.expires);
            if known.is_some_and(|expires| expires > now + Span(ttl.0 / 2)) {
                continue;
            }
            let tier = self.tiers.all().get(tier).map_or("", |tier| tier.name.as_str());
            let reason = format!(
                "{} {} in {}: tier `{tier}` allows {}",
                exceeded.count,
                exceeded.what,
                exceeded.length.words(),
                exceeded.limit
            );
            let text = format!("{source}: {reason}");
            let rule =
                Rule { origin: Origin::Detector, expires: Some(now + ttl), newer_than: None, reason, campaign: None };
            if !self.ledger.put(subject, rule) || known.is_some() {
                continue;
            }
            if named < NAMED_MAX {
                named += 1;
                notices.push(Notice { kind: "heavy_source", campaign: None, text });
            } else {
                unnamed += 1;
            }
        }
        if unnamed > 0 {
            let text = format!("{} more over a limit of their tier", words::count(unnamed, "source"));
            notices.push(Notice { kind: "heavy_source", campaign: None, text });
        }
    }
}

/// The life of a rule against a source that was refused so often before.
fn doubled(base: Span, times: u32) -> Span {
    let factor = 1_u64.checked_shl(times).unwrap_or(u64::MAX);
    Span(base.0.saturating_mul(factor)).min(SOURCE_TTL_MAX.max(base))
}
