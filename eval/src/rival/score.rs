//! Baselines that hold a score against a threshold, once a minute.

use std::collections::VecDeque;

use super::Threshold;
use crate::table::Table;
use crate::traffic::Event;

/// Memory of means, minutes.
const MEMORY: f64 = 1_440.0;

/// CUSUM of new sources per minute (Peng et al., Networking 2004): `S = max(0, S + x - (1 + slack) mean)`.
#[derive(Clone, Debug, Default)]
pub(super) struct NewSources {
    known: Table<()>,
    new: u32,
    mean: f64,
    sum: f64,
    pub(super) threshold: Threshold,
}

impl NewSources {
    /// Growth of the mean that is none of its business.
    const SLACK: f64 = 0.5;

    pub(super) fn connect(&mut self, event: &Event) {
        self.new += u32::from(self.known.insert(event.client.key(), ()).is_none());
    }

    pub(super) fn minute(&mut self, second: u64) {
        let new = f64::from(std::mem::take(&mut self.new));
        self.sum = (self.sum + new - (1.0 + Self::SLACK) * self.mean).max(0.0);
        self.mean += (new - self.mean) / MEMORY;
        if self.threshold.take(self.sum, second) {
            // The test begins anew.
            self.sum = 0.0;
        }
    }
}

/// Robust z of connections per minute: distance from the median of the last day in median absolute deviations.
#[derive(Clone, Debug, Default)]
pub(super) struct Volume {
    count: u32,
    last: VecDeque<u32>,
    /// Median and deviation, renewed every ten minutes.
    center: f64,
    spread: f64,
    pub(super) threshold: Threshold,
}

impl Volume {
    pub(super) const fn connect(&mut self) {
        self.count += 1;
    }

    pub(super) fn minute(&mut self, second: u64) {
        let count = std::mem::take(&mut self.count);
        if second.is_multiple_of(600) && !self.last.is_empty() {
            let mut sorted: Vec<f64> = self.last.iter().map(|c| f64::from(*c)).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            self.center = sorted[sorted.len() / 2];
            let mut away: Vec<f64> = sorted.iter().map(|c| (c - self.center).abs()).collect();
            away.sort_unstable_by(f64::total_cmp);
            self.spread = (away[away.len() / 2] * 1.4826).max(1.0);
        }
        if self.last.len() >= MEMORY as usize {
            self.last.pop_front();
            self.threshold.take((f64::from(count) - self.center) / self.spread, second);
        }
        self.last.push_back(count);
    }
}

/// MIDAS-F style (Bhatia et al., TKDD 2022): chi-square of this minute's count of a node, fingerprint or (fingerprint,
/// network), against its past, with the conditional merge. Counts are exact where the original has sketches.
#[derive(Clone, Debug, Default)]
pub(super) struct Midas {
    nodes: Table<Node>,
    touched: Vec<u64>,
    minutes: f64,
    pub(super) threshold: Threshold,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    now: f64,
    past: f64,
    score: f64,
}

impl Midas {
    /// Scores above this keep a minute from becoming past: the merge of MIDAS-F.
    const MERGE: f64 = 1_000.0;

    pub(super) fn connect(&mut self, event: &Event) {
        let network = sensor_common::address::network_key(event.client.key());
        for key in [event.fingerprint, sensor_common::hash::mix(network, event.fingerprint)] {
            let node = self.nodes.entry(key).or_default();
            if node.now == 0.0 {
                self.touched.push(key);
            }
            node.now += 1.0;
        }
    }

    pub(super) fn minute(&mut self, second: u64) {
        self.minutes += 1.0;
        let mut highest: f64 = 0.0;
        for key in self.touched.drain(..) {
            let Some(node) = self.nodes.get_mut(&key) else { continue };
            let age = self.minutes.max(2.0);
            let whole = node.past + node.now;
            let away = node.now - whole / age;
            node.score = if away > 0.0 { away * away * age * age / (whole * (age - 1.0)) } else { 0.0 };
            highest = highest.max(node.score);
            node.past += if node.score < Self::MERGE { node.now } else { node.past / (age - 1.0) };
            node.now = 0.0;
        }
        self.threshold.take(highest, second);
    }
}
