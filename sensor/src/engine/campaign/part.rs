//! What a campaign is made of: its stance, its history, what detectors and operator said, what one connection means.

use sensor_common::address::Address;
use serde::{Deserialize, Serialize};

use crate::engine::decide::Hold;
use crate::engine::time::Time;

/// Where the decision about a class rule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// Nothing decided yet.
    #[default]
    Observed,
    /// A guard holds back.
    Held(Hold),
    /// A class rule is in force.
    Enforced,
}

/// What a detector claims about a cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    pub detector: &'static str,
    /// Millionths of a nat; 0 where the detector has none.
    pub score: i64,
    /// In words; may be empty for rotations.
    pub finding: String,
}

/// What another detector found about an open campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corroboration {
    pub detector: String,
    pub at: Time,
    pub finding: String,
}

/// What the operator said about a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// An attack: nothing of it is ever learned as normal.
    Confirmed,
    /// Ordinary traffic: what it looks like is normal from then on.
    Dismissed,
}

/// One of a campaign's sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    pub source: [u8; 16],
    /// Its first connection that the campaign counts as its own.
    pub at: Time,
    pub relayed: bool,
}

/// The campaign at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    pub at: Time,
    pub score: i64,
    pub relayed: u64,
    pub direct: u64,
    pub refused: u64,
    /// Answers that its sources took since it was raised.
    #[serde(default)]
    pub answers: u64,
}

/// What one connection means to a campaign.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    pub at: Time,
    pub source: Address,
    /// When its network was first seen.
    pub first_seen: Time,
    /// Its gap says relay; `None` without a sample.
    pub relayed: Option<bool>,
    /// Every sample of the source, and two at least, came over a relay.
    pub caught: bool,
    /// A class rule matched it.
    pub matched: bool,
}
