//! Figures of a run: samples by repetition, and the rows made of them. Measures nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::{Case, Way};
use super::subject::{Rules, Subject};
use super::traffic::{Kind, Range};

/// The middle of some figures; the mean of the two in the middle of an even number of them.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len().is_multiple_of(2) { Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0) } else { Some(upper) }
}

/// Largest less smallest, by the median.
pub fn spread(figures: &[f64]) -> Option<f64> {
    let most = figures.iter().copied().max_by(f64::total_cmp)?;
    let least = figures.iter().copied().min_by(f64::total_cmp)?;
    Some((most - least) / median(figures)?)
}

/// What identifies a cell of the table.
pub type Cell = (&'static str, Subject, Way);

/// Nanoseconds per frame, in the order of repetitions. A repetition that failed has none.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    by_cell: BTreeMap<Cell, Vec<Option<f64>>>,
    reasons: BTreeMap<Cell, String>,
}

impl Samples {
    /// Takes a figure of the latest repetition, or why there is none.
    pub fn take(&mut self, cell: Cell, figure: Result<f64, String>) {
        let ok = figure.map_err(|reason| self.reasons.insert(cell, reason)).ok();
        self.by_cell.entry(cell).or_default().push(ok);
    }

    /// Figures of a cell by repetition.
    pub fn of(&self, case: &str, subject: Subject, way: Way) -> &[Option<f64>] {
        let found = self.by_cell.iter().find(|((name, who, how), _)| *name == case && *who == subject && *how == way);
        found.map_or(&[], |(_, figures)| figures)
    }

    /// The middle figure of a cell.
    pub fn median(&self, case: &str, subject: Subject, way: Way) -> Option<f64> {
        median(&self.of(case, subject, way).iter().copied().flatten().collect::<Vec<_>>())
    }

    /// A function of two cells' figures, repetition by repetition.
    pub fn paired(
        &self,
        case: (&str, &str),
        subject: (Subject, Subject),
        way: (Way, Way),
        by: fn(f64, f64) -> f64,
    ) -> Vec<f64> {
        let (first, second) = (self.of(case.0, subject.0, way.0), self.of(case.1, subject.1, way.1));
        first.iter().zip(second).filter_map(|(a, b)| Some(by((*a)?, (*b)?))).collect()
    }

    /// The row of a cell.
    pub fn row(&self, case: &Case, subject: Subject, way: Way) -> Row {
        let cell = (case.name, subject, way);
        let samples: Vec<f64> = self.of(case.name, subject, way).iter().copied().flatten().collect();
        let ns = median(&samples);
        let over =
            self.paired((case.name, case.name), (subject, Subject::Floor), (way, way), |ours, floor| ours - floor);
        Row {
            case: case.name.to_owned(),
            subject: subject.to_string(),
            parameters: Parameters::of(case, subject, way),
            ns_per_packet: ns,
            mpps: ns.map(|ns| 1_000.0 / ns),
            over_floor_ns: median(&over),
            spread: spread(&samples),
            samples_ns: samples,
            skipped: if ns.is_none() { self.reasons.get(&cell).cloned() } else { None },
        }
    }
}

/// One row of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the case.
    pub case: String,
    /// Who was measured.
    pub subject: String,
    /// How.
    pub parameters: Parameters,
    /// Median over repetitions, nanoseconds; with two cores, of both together.
    pub ns_per_packet: Option<f64>,
    /// Million packets per second.
    pub mpps: Option<f64>,
    /// Median of what it costs more than the floor in the same repetition, nanoseconds.
    pub over_floor_ns: Option<f64>,
    /// Largest less smallest sample, by the median.
    pub spread: Option<f64>,
    /// One figure for each repetition.
    pub samples_ns: Vec<f64>,
    /// Why there is none.
    pub skipped: Option<String>,
}

/// What a row was measured with.
#[derive(Clone, Debug, Serialize)]
pub struct Parameters {
    /// How: see [`Way`].
    pub way: &'static str,
    /// Cores that sent and received.
    pub cores: u32,
    /// Sources that sent.
    pub sources: u64,
    /// What each frame was.
    pub frame: &'static str,
    /// IP version.
    pub ip: u8,
    /// Rules and limits of the sensor.
    pub rules: Option<&'static str>,
}

impl Parameters {
    fn of(case: &Case, subject: Subject, way: Way) -> Self {
        let frame = match case.traffic.kind {
            Kind::Syn => "SYN",
            Kind::Ack => "ACK",
            Kind::Request => "HTTP request",
            Kind::Hello => "ClientHello",
            Kind::Fin => "FIN",
            Kind::Udp => "UDP",
        };
        let rules = if let Subject::Sensor(rules) = subject { Some(rules) } else { None };
        Self {
            way: way.name(),
            cores: way.cores(),
            sources: case.traffic.sources,
            frame,
            ip: if case.traffic.range == Range::V6 { 6 } else { 4 },
            rules: rules.map(Rules::name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Samples, Subject, Way, median, spread};

    #[test]
    fn middles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(spread(&[1.0, 2.0, 3.0]), Some(1.0));
    }

    #[test]
    fn pairs_are_of_one_repetition() {
        let mut samples = Samples::default();
        for (ours, floor) in [(Ok(10.0), Ok(5.0)), (Err("lost".to_owned()), Ok(1.0)), (Ok(30.0), Ok(10.0))] {
            samples.take(("a", Subject::Lru, Way::Run), ours);
            samples.take(("a", Subject::Floor, Way::Run), floor);
        }
        let pairs = samples.paired(("a", "a"), (Subject::Lru, Subject::Floor), (Way::Run, Way::Run), |a, b| a / b);
        assert_eq!(pairs, [2.0, 3.0]);
    }
}
