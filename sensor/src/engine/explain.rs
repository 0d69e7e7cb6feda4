//! Why a source passes or does not, in sentences.

use sensor_common::address::Address;

use super::campaign::Stance;
use super::plan::Subject;
use super::tier::Tier;
use super::time::Time;
use super::{Engine, source_prefix, words};

/// What the engine says about one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// A detector's rule refuses it.
    pub denied: bool,
    /// Sentences, most important first.
    pub lines: Vec<String>,
    /// Campaigns that have to do with it.
    pub campaigns: Vec<u64>,
}

impl Engine {
    /// Why the source of an address passes or does not: which rule, or why there is none; what was seen.
    #[must_use]
    pub fn explain(&self, address: &Address) -> Account {
        let now = self.now.unwrap_or_default();
        let source = address.source();
        let mut account = Account::default();
        self.explain_rule(&source, now, &mut account);
        self.explain_gaps(&source, &mut account);
        self.explain_windows(&source, now, &mut account);
        self.explain_network(&source, now, &mut account);
        account
    }

    fn explain_rule(&self, source: &Address, now: Time, account: &mut Account) {
        let subject = Subject::Deny(source_prefix(source));
        if let Some(rule) = self.ledger.get(&subject) {
            let left = rule.expires.map_or(0, |at| at.since(now).as_seconds());
            account.denied = true;
            account.campaigns.extend(rule.campaign);
            account.lines.push(format!("Refused by address for another {left} s: {}.", rule.reason));
            return;
        }
        if self.ledger.is_allowed(&source_prefix(source)) {
            account.lines.push("An allow rule covers it: nothing refuses it.".to_owned());
            return;
        }
        match self.offences.get(source) {
            Some(offence) if offence.until <= now => account.lines.push(format!(
                "No rule refuses it by address now; the last one ended at {} ({} so far).",
                words::clock(offence.until),
                words::count(u64::from(offence.times), "refusal"),
            )),
            _ => account.lines.push("No detector's rule refuses it by address.".to_owned()),
        }
    }

    fn explain_gaps(&self, source: &Address, account: &mut Account) {
        let Some(tally) = self.tallies.get(source) else {
            account.lines.push("It has completed no connection since the daemon began to watch.".to_owned());
            return;
        };
        account.lines.push(match (tally.samples, tally.relayed) {
            (0, _) => "None of its connections allowed a relay gap to be measured.".to_owned(),
            (samples, 0) => format!("{} measured, none came over a relay.", words::count(samples.into(), "connection")),
            (samples, relayed) if tally.direct() == 0 => {
                let what = words::count(samples.into(), "connection");
                format!("{what} measured, each came over a relay ({relayed} of {samples}).")
            }
            (samples, relayed) => format!(
                "{} measured, {relayed} of them over a relay: with direct ones among them it is never refused by address.",
                words::count(samples.into(), "connection"),
            ),
        });
        let cohort = tally.cohort();
        let campaign = |key| self.cohorts.get(&key).and_then(|cohort| cohort.campaign);
        let id = campaign(cohort).or_else(|| campaign(cohort.whole_service()));
        let Some(id) = id.filter(|_| tally.relayed > 0) else { return };
        let Some(campaign) = self.campaigns.get(&id) else { return };
        let first_seen = self.networks.get(&source.network()).map(|n| n.first_seen);
        let is_new = first_seen.is_some_and(|at| at >= campaign.newer_than);
        if !account.campaigns.contains(&id) {
            account.campaigns.push(id);
        }
        account.lines.push(match (is_new, campaign.stance) {
            (false, _) => {
                format!("Its client is under campaign {id}, but its network was known before that began: it passes.")
            }
            (true, Stance::Enforced) => format!(
                "Its client is under campaign {id} and its network was first seen since then: further relayed \
                 connections are refused before their first request."
            ),
            (true, Stance::Observed | Stance::Held(_)) => format!(
                "Its client is under campaign {id} and its network was first seen since then; no class rule stands, \
                 see `sensor explain {id}`."
            ),
        });
    }

    fn explain_windows(&self, source: &Address, now: Time, account: &mut Account) {
        let tier: &Tier = self.tiers.of(source);
        let Some(known) = self.sources.get(source) else {
            account.lines.push(format!("Tier `{}`; nothing was counted for it lately.", tier.name));
            return;
        };
        let (connections, requests) = (known.connections.sums(now), known.requests.sums(now));
        let row = |what: &str, counts: [u64; 3], limits: [u64; 3]| {
            let cell =
                |count: u64, limit: u64| if limit == 0 { count.to_string() } else { format!("{count} of {limit}") };
            let [minute, ten, day] = [0, 1, 2].map(|i| cell(counts[i], limits[i]));
            format!("{what} within a minute {minute}, ten minutes {ten}, a day {day}")
        };
        account.lines.push(format!(
            "Tier `{}`: {}; {}.",
            tier.name,
            row("connections", connections, tier.connection_limits()),
            row("requests", requests, tier.request_limits()),
        ));
    }

    fn explain_network(&self, source: &Address, now: Time, account: &mut Account) {
        let Some(network) = self.networks.get(&source.network()) else { return };
        account.lines.push(format!("Its network was first seen {} ago.", words::span(now.since(network.first_seen)),));
    }
}
