//! Looks at the sensor through its command line, as an operator would, and notices what is new.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::tally::unix_now;
use crate::lab::Lab;
use crate::lab::sensor::Sensor;

/// Seconds between two lines about refused addresses.
const DENIED_EVERY_S: f64 = 6.0;

/// What the demo reads of `sensor status --json`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Status {
    pub(crate) sensor_version: String,
    pub(crate) xdp_mode: String,
    pub(crate) mode: String,
    pub(crate) frames: u64,
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) sources_tracked: u64,
    pub(crate) networks_known: u64,
    pub(crate) rules: BTreeMap<String, u64>,
}

/// What the demo reads of a campaign.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Campaign {
    pub(crate) id: u64,
    pub(crate) state: String,
    pub(crate) service: u16,
    pub(crate) fingerprint: String,
    pub(crate) score: f64,
    pub(crate) first_seen_networks: u64,
    pub(crate) relayed_networks: u64,
    pub(crate) expected_share: f64,
    pub(crate) refused: u64,
    pub(crate) why: String,
}

/// What the demo reads of a rule.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rule {
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) origin: String,
    pub(crate) reason: String,
    pub(crate) expires_in_s: Option<u64>,
    pub(crate) hits: u64,
}

/// The sensor's state over the run.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    status: Status,
    before: Status,
    rates: (f64, f64),
    looked_at: f64,
    campaigns: Vec<Campaign>,
    /// Rules that detectors made, by kind and subject; hits are the highest seen.
    rules: BTreeMap<(String, String), Rule>,
    alarm_at: Option<f64>,
    rule_at: Option<f64>,
    watching: bool,
    /// Refused addresses that were not told yet.
    denied: Vec<String>,
    denied_told_at: f64,
}

impl Watch {
    /// Remembers the counters from before the traffic.
    pub(crate) fn begin(&mut self, lab: &Lab, sensor: &Sensor) -> Result<()> {
        self.status = read(&sensor.ask(lab, &["status"])?, "status")?;
        self.before = self.status.clone();
        self.looked_at = unix_now();
        self.watching = true;
        Ok(())
    }

    /// Asks for everything once; returns sentences about alarms and rules that were not there before.
    pub(crate) fn look(&mut self, lab: &Lab, sensor: &Sensor) -> Result<Vec<String>> {
        let mut news = Vec::new();
        let campaigns: Vec<Campaign> = read(&sensor.ask(lab, &["campaigns", "--all"])?["campaigns"], "campaigns")?;
        let now = unix_now();
        for campaign in &campaigns {
            if !self.campaigns.iter().any(|known| known.id == campaign.id) {
                self.alarm_at.get_or_insert(now);
                news.push(format!("ALARM  campaign {} on port {}: {}", campaign.id, campaign.service, campaign.why));
            }
        }
        self.campaigns = campaigns;
        let rules: Vec<Rule> = read(&sensor.ask(lab, &["rules", "--all"])?["rules"], "rules")?;
        self.note_rules(rules, &mut news);
        let status: Status = read(&sensor.ask(lab, &["status"])?, "status")?;
        self.measure(&status);
        self.status = status;
        Ok(news)
    }

    /// Class rules are told at once and in full, refused addresses a few seconds' worth in one line.
    fn note_rules(&mut self, rules: Vec<Rule>, news: &mut Vec<String>) {
        let now = unix_now();
        for rule in rules.into_iter().filter(|rule| rule.origin == "detector") {
            let key = (rule.kind.clone(), rule.subject.clone());
            if !self.rules.contains_key(&key) {
                self.rule_at.get_or_insert(now);
                if rule.kind == "deny" {
                    self.denied.push(rule.subject.clone());
                } else {
                    let life = rule.expires_in_s.map_or("without end".to_owned(), |left| format!("for {left} s"));
                    news.push(format!("RULE   {} {} {life}: {}", rule.kind, rule.subject, rule.reason));
                }
            }
            let known = self.rules.entry(key).or_insert_with(|| rule.clone());
            known.hits = known.hits.max(rule.hits);
        }
        if !self.denied.is_empty() && now - self.denied_told_at >= DENIED_EVERY_S {
            let reason = self.rules.get(&("deny".to_owned(), self.denied[0].clone())).map_or("", |rule| &rule.reason);
            news.push(format!("RULE   deny {}: {reason}", self.denied.join(", ")));
            self.denied.clear();
            self.denied_told_at = now;
        }
    }

    /// Smoothed connections and requests a second.
    #[expect(clippy::cast_precision_loss, reason = "counts of one run, far below 2^52")]
    fn measure(&mut self, fresh: &Status) {
        let now = unix_now();
        let seconds = (now - self.looked_at).max(0.1);
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        let smooth = |old: f64, new: f64| old + (new - old) * 0.2;
        self.rates = (
            smooth(self.rates.0, rate(fresh.connections, self.status.connections)),
            smooth(self.rates.1, rate(fresh.requests, self.status.requests)),
        );
        self.looked_at = now;
    }

    pub(crate) fn watching(&self) -> bool {
        self.watching
    }

    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// Connections and requests a second, smoothed.
    pub(crate) fn rates(&self) -> (f64, f64) {
        self.rates
    }

    pub(crate) fn campaigns(&self) -> &[Campaign] {
        &self.campaigns
    }

    /// Rules that detectors made during the run.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// When the first campaign was seen, Unix seconds.
    pub(crate) fn alarm_at(&self) -> Option<f64> {
        self.alarm_at
    }

    /// When the first rule of a detector was seen, Unix seconds.
    pub(crate) fn rule_at(&self) -> Option<f64> {
        self.rule_at
    }

    /// Frames that the sensor counted since the start of the traffic.
    pub(crate) fn frames(&self) -> u64 {
        self.status.frames.saturating_sub(self.before.frames)
    }
}

fn read<T: DeserializeOwned>(value: &serde_json::Value, what: &str) -> Result<T> {
    T::deserialize(value).with_context(|| format!("`sensor {what} --json` has another shape than documented: {value}"))
}
