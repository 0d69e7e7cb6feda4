//! The whole evaluation: which scenarios run for which seeds, on as many threads as asked for.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::run::{Outcomes, Pasts, Settings};
use crate::scenario::{Attack, Benign, Scenario};
use crate::suite;

/// Bisections of the adaptive adversary: the rate is found to within 8 %.
const STEPS: u32 = 7;

/// An adaptive adversary's campaign lasts this long, seconds.
const PATIENCE_S: u64 = 3 * 86_400;

/// What is run.
#[derive(Clone, Debug)]
pub struct Work {
    pub seeds: Vec<u64>,
    pub scenarios: Vec<Scenario>,
    /// Whether the sensitivity to assumptions is shown.
    pub sensitivity: bool,
    /// Whether the adaptive adversary tries its luck.
    pub adaptive: bool,
    pub threads: usize,
}

/// One row of the sensitivity table and its outcomes by scenario.
#[derive(Clone, Debug)]
pub struct Variant {
    pub assumption: &'static str,
    pub value: f64,
    pub outcomes: Vec<Outcomes>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub outcomes: Vec<Outcomes>,
    pub variants: Vec<Variant>,
    /// Highest rate that stayed unseen by shape of campaign, requests a day, one for each seed.
    pub undetected: BTreeMap<String, Vec<Option<f64>>>,
    /// Simulated days in a second of one processor, by seed.
    pub days_per_s: Vec<f64>,
}

/// Shapes that the adaptive adversary slows down.
#[must_use]
pub fn shapes(work: &Work, settings: &Settings) -> Vec<(String, Attack)> {
    if !work.adaptive {
        return Vec::new();
    }
    let names =
        ["hydra-5pct", "rare-client", "sticky-30m", "browsers-10", "gap-50", "gap-30", "gap-0", "v6-one", "h3-mimic"];
    let every = suite::attacks(&settings.assumptions);
    let shape = |name: &str| {
        let scenario = every.iter().find(|scenario| scenario.name == name)?;
        let attack = scenario.attack.clone()?;
        Some((name.to_owned(), Attack { length_s: PATIENCE_S, ..attack }))
    };
    names.into_iter().filter_map(shape).collect()
}

/// Scenarios of the sensitivity table, for one value of an assumption.
fn varied(settings: &Settings) -> Vec<(&'static str, f64, Vec<Scenario>)> {
    let every = suite::every(&settings.assumptions);
    let chosen = |name: &str| every.iter().find(|scenario| scenario.name == name).cloned();
    let attacks: Vec<Scenario> = ["hydra-5pct", "hydra-1pct", "browsers-3"].into_iter().filter_map(chosen).collect();
    let mut rows = Vec::new();
    for visible in [0.85, 0.5, 0.3, 0.0] {
        let with = |scenario: &Scenario| {
            let attack = scenario.attack.clone().map(|attack| Attack { gap_visible: Some(visible), ..attack });
            Scenario { attack, ..scenario.clone() }
        };
        rows.push(("gap_visible", visible, attacks.iter().map(with).collect()));
    }
    for wrong in [0.02, 0.08, 0.15] {
        let with = |scenario: &Scenario| Scenario {
            benign: Benign { gap_false: Some(wrong), ..scenario.benign.clone() },
            ..scenario.clone()
        };
        let calm = chosen("all").into_iter();
        rows.push(("gap_false", wrong, attacks.iter().cloned().chain(calm).map(|scenario| with(&scenario)).collect()));
    }
    rows
}

/// Steps of the progress bar.
#[must_use]
pub fn steps(work: &Work, settings: &Settings) -> usize {
    let variants = if work.sensitivity { varied(settings).iter().map(|(_, _, s)| s.len()).sum() } else { 0 };
    work.seeds.len() * (work.scenarios.len() + variants + shapes(work, settings).len())
}

/// Runs all of it; `done` is told of each step.
pub fn run(work: &Work, settings: &Settings, done: &(impl Fn(&str) + Sync)) -> Results {
    let next = AtomicUsize::new(0);
    let found: Mutex<BTreeMap<u64, Results>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..work.threads.clamp(1, work.seeds.len().max(1)) {
            scope.spawn(|| {
                while let Some(seed) = work.seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let results = seeded(*seed, work, settings, done);
                    found.lock().expect("no thread dies with it").insert(*seed, results);
                }
            });
        }
    });
    let mut all = Results::default();
    // In the order of the seeds, whichever thread was first.
    for (_, results) in found.into_inner().expect("all threads have ended") {
        all.outcomes.extend(results.outcomes);
        all.days_per_s.extend(results.days_per_s);
        for (shape, rates) in results.undetected {
            all.undetected.entry(shape).or_default().extend(rates);
        }
        for variant in results.variants {
            let same = |v: &&mut Variant| v.assumption == variant.assumption && v.value == variant.value;
            match all.variants.iter_mut().find(same) {
                Some(known) => known.outcomes.extend(variant.outcomes),
                None => all.variants.push(variant),
            }
        }
    }
    all
}

fn seeded(seed: u64, work: &Work, settings: &Settings, done: &(impl Fn(&str) + Sync)) -> Results {
    let mut results = Results::default();
    let mut pasts = Pasts::new(settings, seed);
    for scenario in &work.scenarios {
        done(&scenario.name);
        results.outcomes.push(pasts.run(scenario));
    }
    results.days_per_s.push(pasts.cost.days_per_s());
    for (shape, attack) in shapes(work, settings) {
        done(&format!("adaptive {shape}"));
        let rate = pasts.max_undetected_per_day(&attack, STEPS);
        results.undetected.entry(shape).or_default().push(rate);
    }
    if work.sensitivity {
        for (assumption, value, scenarios) in varied(settings) {
            let mut outcomes = Vec::new();
            for scenario in &scenarios {
                done(&format!("{assumption} {value}"));
                outcomes.push(pasts.run(scenario));
            }
            results.variants.push(Variant { assumption, value, outcomes });
        }
    }
    results
}
