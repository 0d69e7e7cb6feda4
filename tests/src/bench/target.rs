//! The ratios that the project promises, how each follows from the samples, and what it must be.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::Way::{Attached, Live, LiveTwo, Run};
use super::figure::{Samples, median};
use super::subject::Rules::{Addresses100k, Beside, Hits, None as NoRules, Prefixes100k};
use super::subject::Subject::{self, Floor, Lru, NftMeter, Sensor, XdpFilterAddress, XdpFilterAddresses};

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Bound {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }

    /// The worse of two figures.
    fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Self::AtLeast(_) => a.min(b),
            Self::AtMost(_) => a.max(b),
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

/// Figures that are not nanoseconds per frame, by the key of their ratio; one for each time they were taken.
pub type Taken = BTreeMap<&'static str, Vec<f64>>;

/// One promise.
pub struct Target {
    /// Its key in the result.
    pub key: &'static str,
    /// What it must be.
    pub bound: Bound,
    /// What it says.
    pub meaning: &'static str,
    /// Alternatives of which the worst counts; each a list by repetition. None: it is taken from elsewhere.
    figures: fn(&Samples) -> Vec<Vec<f64>>,
}

/// A ratio with its verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The figure; none if something it needs was skipped.
    pub value: Option<f64>,
    /// What it must be.
    pub target: Bound,
    /// Whether it is.
    pub met: Option<bool>,
    /// Smallest and largest of one repetition.
    pub range: Option<(f64, f64)>,
    /// What it says.
    pub meaning: &'static str,
}

const CLEAN: Subject = Sensor(NoRules);

/// How many times faster `ours` is than `theirs`, both of one case and way.
fn times(samples: &Samples, case: &str, way: super::case::Way, ours: Subject, theirs: Subject) -> Vec<f64> {
    samples.paired((case, case), (theirs, ours), (way, way), |theirs, ours| theirs / ours)
}

/// What a frame costs in one case by what it costs in another, by test_run.
fn costs(samples: &Samples, cases: (&'static str, &'static str), subjects: (Subject, Subject)) -> Vec<f64> {
    samples.paired(cases, subjects, (Run, Run), |first, second| first / second)
}

const fn target(
    key: &'static str,
    bound: Bound,
    meaning: &'static str,
    figures: fn(&Samples) -> Vec<Vec<f64>>,
) -> Target {
    Target { key, bound, meaning, figures }
}

const fn elsewhere(_: &Samples) -> Vec<Vec<f64>> {
    Vec::new()
}

/// Every promise, in the order of the result.
pub const TARGETS: [Target; 13] = [
    target(
        "deny_vs_xdp_filter",
        Bound::AtLeast(0.85),
        "rate of a denied source by xdp-filter's, which denies by address; the worse of 1 and 8,192 sources",
        |s| {
            let many = times(s, "deny_8k", Attached, Sensor(Hits), XdpFilterAddresses);
            vec![times(s, "deny_1", Attached, Sensor(Hits), XdpFilterAddress), many]
        },
    ),
    target(
        "deny_vs_nft_meter",
        Bound::AtLeast(8.0),
        "rate of 1 M denied sources by that of nftables' meter with 1 M sources",
        |s| {
            let cases = ("flood_1m", "deny_prefix_1m");
            vec![s.paired(cases, (NftMeter, Sensor(Hits)), (Live, Attached), |theirs, ours| theirs / ours)]
        },
    ),
    target(
        "flood_vs_nft_meter",
        Bound::AtLeast(5.0),
        "rate of a SYN flood from 1 M sources by that of nftables' meter",
        |s| vec![times(s, "flood_1m", Live, CLEAN, NftMeter)],
    ),
    target("flood_vs_floor", Bound::AtLeast(0.3), "the same by that of a bare drop", |s| {
        vec![times(s, "flood_1m", Live, CLEAN, Floor)]
    }),
    target("flood_vs_lru", Bound::AtLeast(4.0), "the same by that of the same program on LRU hashes", |s| {
        vec![times(s, "flood_1m", Live, CLEAN, Lru)]
    }),
    target(
        "cores_2_vs_1",
        Bound::AtLeast(1.8),
        "rate of a flood on two cores by that on one; the worse of 1 and 1 M sources",
        |s| {
            let gain = |case| s.paired((case, case), (CLEAN, CLEAN), (Live, LiveTwo), |one, two| one / two);
            vec![gain("flood_1"), gain("flood_1m")]
        },
    ),
    target(
        "track_minus_floor_ns",
        Bound::AtMost(60.0),
        "an established segment, one source, by test_run: nanoseconds above a bare drop",
        |s| {
            let cases = ("established_1", "established_1");
            vec![s.paired(cases, (CLEAN, Floor), (Run, Run), |ours, floor| ours - floor)]
        },
    ),
    target(
        "sources_1m_vs_1",
        Bound::AtMost(1.5),
        "cost of an established segment from 1 M sources by that from one, by test_run",
        |s| vec![costs(s, ("established_1m", "established_1"), (CLEAN, CLEAN))],
    ),
    target(
        "rules_100k_vs_0",
        Bound::AtMost(1.15),
        "cost of a frame from 1 M unlisted sources with 100,000 rules by that with none, by test_run; the worse of addresses and /24s",
        |s| {
            let cases = ("unlisted_1m", "unlisted_1m");
            let by = |rules| costs(s, cases, (Sensor(rules), Sensor(Beside)));
            vec![by(Addresses100k), by(Prefixes100k)]
        },
    ),
    target(
        "heavy_count_error",
        Bound::AtMost(0.01),
        "largest relative error of 1,000 heavy sources (a tenth of all frames) among 1 M spoofed",
        elsewhere,
    ),
    target("snapshot_1m_ms", Bound::AtMost(5.0), "reading 1 M tracked sources, milliseconds", elsewhere),
    target(
        "tick_1m_ms",
        Bound::AtMost(25.0),
        "the daemon's tick with 1 M tracked and 131,072 active sources, milliseconds",
        elsewhere,
    ),
    target(
        "nginx_overhead",
        Bound::AtMost(0.03),
        "requests per second that nginx loses to the sensor, no attack",
        elsewhere,
    ),
];

impl Target {
    /// The verdict over a run.
    pub fn judge(&self, samples: &Samples, taken: &Taken) -> Verdict {
        let mut lists = (self.figures)(samples);
        lists.extend(taken.get(self.key).cloned());
        let middles: Option<Vec<f64>> = lists.iter().map(|list| median(list)).collect();
        let value = middles.unwrap_or_default().into_iter().reduce(|a, b| self.bound.worse(a, b));
        let all = lists.iter().flatten().copied();
        let range = all.clone().min_by(f64::total_cmp).zip(all.max_by(f64::total_cmp));
        Verdict {
            value,
            target: self.bound,
            met: value.map(|value| self.bound.is_met(value)),
            range: range.filter(|_| value.is_some()),
            meaning: self.meaning,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_alternative_counts_and_a_missing_one_voids_it() {
        let mut samples = Samples::default();
        let target = TARGETS.iter().find(|target| target.key == "cores_2_vs_1").expect("it is there");
        for (case, two) in [("flood_1", 50.0), ("flood_1m", 80.0)] {
            assert_eq!(target.judge(&samples, &Taken::new()).value, None);
            samples.take((case, CLEAN, Live), Ok(100.0));
            samples.take((case, CLEAN, LiveTwo), Ok(two));
        }
        let verdict = target.judge(&samples, &Taken::new());
        assert_eq!((verdict.value, verdict.met), (Some(1.25), Some(false)));
    }

    #[test]
    fn figures_from_elsewhere_are_taken() {
        let taken = Taken::from([("tick_1m_ms", vec![3.0, 1.0, 2.0])]);
        let target = TARGETS.iter().find(|target| target.key == "tick_1m_ms").expect("it is there");
        let verdict = target.judge(&Samples::default(), &taken);
        assert_eq!((verdict.value, verdict.met, verdict.range), (Some(2.0), Some(true), Some((1.0, 3.0))));
    }
}
