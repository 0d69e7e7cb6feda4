//! What others would do, on the same connections: the baselines of the table.
//!
//! Those that compare a score with a threshold get the fairest one: a fifth above the highest score of the last two
//! calm days before the scenario.

mod score;
mod source;

use sensor::engine::time::Time;

use self::score::{Midas, NewSources, Volume};
use self::source::{BlockList, Limit};
use crate::traffic::Event;

/// An alarm is not raised again within this time, seconds.
const QUIET_S: u64 = 1_800;

/// Thresholds are this much above the highest calm score.
const MARGIN: f64 = 1.2;

/// What came of one baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// When it raised alarms, seconds since the beginning.
    pub alarms_s: Vec<u64>,
    pub benign_refused: u64,
    pub attack_refused: u64,
    /// The attack's connections since it first refused or raised anything.
    pub attack_after: u64,
}

/// A score for each minute, and the threshold that it is held against.
#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    highest: f64,
    limit: f64,
    pub(crate) outcome: Outcome,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { highest: 0.0, limit: f64::INFINITY, outcome: Outcome::default() }
    }
}

impl Threshold {
    /// Takes the score of a minute; whether it raised an alarm.
    pub(crate) fn take(&mut self, score: f64, second: u64) -> bool {
        self.highest = self.highest.max(score);
        let is_quiet = self.outcome.alarms_s.last().is_none_or(|last| second - last >= QUIET_S);
        let is_raised = score > self.limit && is_quiet;
        if is_raised {
            self.outcome.alarms_s.push(second);
        }
        is_raised
    }

    fn begin_calm(&mut self) {
        self.highest = 0.0;
    }

    fn settle(&mut self) {
        self.limit = (self.highest * MARGIN).max(1e-9);
        self.outcome = Outcome::default();
    }
}

/// All baselines.
#[derive(Clone, Debug, Default)]
pub struct Rivals {
    limit: Limit,
    block_list: BlockList,
    new_sources: NewSources,
    volume: Volume,
    midas: Midas,
    /// Connections of the attack so far.
    attack: u64,
}

impl Rivals {
    /// One connection. `first_seen`: of its network; `found_s`: when the engine found the campaign, if it did.
    pub fn connect(&mut self, event: &Event, first_seen: Time, at: Time, found_s: Option<u64>) {
        self.attack += u64::from(event.class.is_attack());
        self.limit.connect(event);
        self.block_list.connect(event, first_seen, at, found_s);
        self.new_sources.connect(event);
        self.volume.connect();
        self.midas.connect(event);
    }

    /// The end of a minute.
    pub fn minute(&mut self, second: u64) {
        self.new_sources.minute(second);
        self.volume.minute(second);
        self.midas.minute(second);
    }

    /// From here on scores are calm ones that thresholds are made of.
    pub fn begin_calm(&mut self) {
        self.new_sources.threshold.begin_calm();
        self.volume.threshold.begin_calm();
        self.midas.threshold.begin_calm();
    }

    /// The calm is over: thresholds are set, and accounts begin anew.
    pub fn settle(&mut self) {
        self.new_sources.threshold.settle();
        self.volume.threshold.settle();
        self.midas.threshold.settle();
        self.limit.outcome = Outcome::default();
        self.block_list.outcome = Outcome::default();
        self.attack = 0;
    }

    /// Each baseline's name and what came of it.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, &Outcome); 5] {
        [
            ("limit of 60 a minute per source", &self.limit.outcome),
            ("block list of addresses, 24 h", &self.block_list.outcome),
            ("CUSUM of new sources", &self.new_sources.threshold.outcome),
            ("robust z of volume", &self.volume.threshold.outcome),
            ("MIDAS-F style", &self.midas.threshold.outcome),
        ]
    }
}
