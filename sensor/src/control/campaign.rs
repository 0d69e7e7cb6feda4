//! Campaigns as they are asked for and answered.

use serde::{Deserialize, Serialize};

use super::protocol::Rule;

/// What an operator says about a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// An attack: nothing of it is learned as normal.
    Confirm,
    /// Ordinary traffic: it is normal from now on, and its rules go.
    Dismiss,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    pub id: u64,
    /// `open` or `closed`.
    pub state: String,
    /// Which detector raised it.
    pub detector: String,
    pub service: u16,
    pub protocol: String,
    /// Seeded: comparable only within one installation.
    pub fingerprint: String,
    /// When the traffic began that raised it.
    pub onset_unix_s: u64,
    pub opened_at_unix_s: u64,
    pub closed_at_unix_s: Option<u64>,
    /// Evidence at the alarm, nats.
    pub score: f64,
    /// Networks first seen since the onset.
    pub first_seen_networks: u64,
    /// Of these, the relayed ones.
    pub relayed_networks: u64,
    /// Share of relayed ones that is normal for this cohort.
    pub expected_share: f64,
    /// Estimated share of attack among what the class rule matches.
    pub attack_share: f64,
    /// Innocent connections per million accepted ones that the rule is expected to refuse.
    pub expected_innocent_ppm: f64,
    pub connections: u64,
    pub refused: u64,
    /// Why it was raised, in words and numbers.
    pub why: String,
    /// What was done, in order.
    pub actions: Vec<String>,
    /// Some member networks, host part masked.
    pub sample_networks: Vec<String>,
    /// What other detectors found.
    #[serde(default)]
    pub corroborations: Vec<String>,
    /// `confirmed` or `dismissed`, if the operator said so.
    #[serde(default)]
    pub verdict: Option<String>,
    #[serde(default)]
    pub damage: Damage,
    /// What could be refused, narrowest first.
    #[serde(default)]
    pub proposals: Vec<Proposal>,
}

/// What a campaign's sources took since it was raised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Damage {
    /// Different sources, counted by a sketch: off by about 3 %.
    pub sources: u64,
    pub answers: u64,
    /// Bytes of answers that were acknowledged; 0 where nobody counts them.
    pub answer_bytes: u64,
    /// Share of all answers of that time.
    pub answer_share: f64,
    /// From the bytes (tunable `token_bytes`), or without them from the answers (`answer_tokens`).
    pub estimated_tokens: u64,
    /// At `token_price` for a million tokens, in units of the currency.
    pub estimated_cost: f64,
}

/// Something that could be refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// `sources`, `conjunction` or `class`.
    pub scope: String,
    /// What it refuses, in words.
    pub refuses: String,
    /// Share of the campaign's own connections of the last ten minutes that it reaches.
    pub coverage: f64,
    /// Innocent connections that it is expected to refuse in ten minutes.
    pub expected_innocents: f64,
    /// The same per million accepted connections.
    pub expected_innocent_ppm: f64,
}

/// Everything about a campaign, to be handed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub generated_at_unix_s: u64,
    pub sensor_version: String,
    /// Addresses are cut to their networks.
    pub masked: bool,
    pub campaign: Campaign,
    /// What was found and done, in sentences.
    pub lines: Vec<String>,
    pub history: Vec<Moment>,
    /// Some of its sources, first come first.
    pub members: Vec<Member>,
    /// Rules in force.
    pub rules: Vec<Rule>,
}

/// A campaign at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    pub at_unix_s: u64,
    /// Nats.
    pub score: f64,
    pub relayed_networks: u64,
    pub direct_networks: u64,
    pub refused: u64,
    #[serde(default)]
    pub answers: u64,
}

/// One of a campaign's sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its address, or if masked its network.
    pub source: String,
    pub first_seen_unix_s: u64,
    pub relayed: bool,
}
