//! Runs scenarios: one past for all that agree in it, then each scenario from a copy.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::time::{ClockId, clock_gettime};
use sensor::tunable::Tunables;

use crate::account::{Account, Tally};
use crate::assumption::Assumptions;
use crate::rival::{Outcome, Rivals};
use crate::scenario::{Attack, Benign, Scenario};
use crate::site::{Nobody, Site};
use crate::trace::{Part, Trace};
use crate::traffic::World;

/// Seeds below this are for tuning, from here on for reporting.
pub const FIRST_HELD_OUT: u64 = 1_000;

/// What holds for a whole evaluation.
#[derive(Clone, Debug)]
pub struct Settings {
    pub assumptions: Arc<Assumptions>,
    pub tunables: Tunables,
    pub trace: Option<Arc<Trace>>,
    /// Calm time before a scenario begins, seconds; whole days.
    pub past_s: u64,
    /// Whether baselines run beside the engine.
    pub rivals: bool,
}

/// What came of one scenario with one seed.
#[derive(Clone, Debug)]
pub struct Outcomes {
    pub scenario: String,
    pub seed: u64,
    pub account: Account,
    /// When the attack began, seconds since the beginning.
    pub attack_s: Option<u64>,
    /// Length of the scenario, seconds.
    pub length_s: u64,
    pub rivals: Vec<(&'static str, Outcome)>,
}

impl Outcomes {
    /// Minutes from the attack's beginning to the first alarm about it.
    #[must_use]
    pub fn alarm_min(&self) -> Option<f64> {
        Some((self.account.found_s()?.checked_sub(self.attack_s?)?) as f64 / 60.0)
    }

    /// Minutes from the attack's beginning to the first rule.
    #[must_use]
    pub fn rule_min(&self) -> Option<f64> {
        Some((self.account.first_rule_s?.checked_sub(self.attack_s?)?) as f64 / 60.0)
    }

    /// The attack and everything else.
    #[must_use]
    pub fn tallies(&self) -> (Tally, Tally) {
        (self.account.attack(), self.account.benign())
    }
}

/// Simulated time, and the processor time it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub simulated_s: u64,
    pub cpu: Duration,
}

impl Cost {
    /// Simulated days in a second of one processor.
    #[must_use]
    pub fn days_per_s(&self) -> f64 {
        self.simulated_s as f64 / 86_400.0 / self.cpu.as_secs_f64().max(1e-9)
    }
}

/// Holds seeds to the part of the data that they are for.
///
/// # Errors
/// If a seed belongs to the other part.
pub fn check_seeds(seeds: &[u64], part: Part) -> Result<()> {
    for seed in seeds {
        let belongs = if *seed < FIRST_HELD_OUT { Part::Tune } else { Part::HeldOut };
        if belongs != part {
            bail!(
                "seed {seed} is {}: what thresholds are chosen on is never what is reported; take seeds {}",
                if belongs == Part::Tune { "for tuning" } else { "held out" },
                if part == Part::Tune { "below 1000" } else { "from 1000 on" },
            );
        }
    }
    Ok(())
}

/// Pasts of one seed, each made once.
pub struct Pasts<'a> {
    settings: &'a Settings,
    seed: u64,
    made: Vec<(Benign, Site)>,
    pub cost: Cost,
}

impl<'a> Pasts<'a> {
    #[must_use]
    pub const fn new(settings: &'a Settings, seed: u64) -> Self {
        Self { settings, seed, made: Vec::new(), cost: Cost { simulated_s: 0, cpu: Duration::ZERO } }
    }

    /// A copy of the site on which a scenario's past has happened, about to begin with the scenario.
    pub fn site(&mut self, scenario: &Scenario) -> Site {
        let past = scenario.benign.past();
        let known = self.made.iter().position(|(made, _)| *made == past);
        let at = known.unwrap_or_else(|| {
            let site = self.make(&past);
            // One past is used by nearly all, the others by one scenario each.
            self.made.truncate(1);
            self.made.push((past, site));
            self.made.len() - 1
        });
        self.made[at].1.branch(scenario.clone())
    }

    fn make(&mut self, past: &Benign) -> Site {
        let Settings { assumptions, tunables, trace, past_s, rivals } = self.settings;
        let scenario = Scenario::benign("past", "", past.clone());
        let world = World::new(self.seed, Arc::clone(assumptions), scenario, trace.clone(), *past_s);
        let mut site = Site::new(world, tunables, true);
        site.rivals = rivals.then(Rivals::default);
        let before = processor_time();
        // Thresholds of the baselines come from the last two days, when most sources are known.
        site.run(past_s.saturating_sub(2 * 86_400), &mut Nobody);
        site.rivals.iter_mut().for_each(Rivals::begin_calm);
        site.run(*past_s, &mut Nobody);
        site.rivals.iter_mut().for_each(Rivals::settle);
        self.cost.cpu += processor_time().saturating_sub(before);
        self.cost.simulated_s += past_s;
        site
    }

    /// Runs one scenario to its end.
    pub fn run(&mut self, scenario: &Scenario) -> Outcomes {
        let mut site = self.site(scenario);
        let before = processor_time();
        site.run(self.settings.past_s + scenario.length_s, &mut Nobody);
        self.cost.cpu += processor_time().saturating_sub(before);
        self.cost.simulated_s += scenario.length_s;
        let rivals = site.rivals.take().unwrap_or_default();
        Outcomes {
            scenario: scenario.name.clone(),
            seed: self.seed,
            attack_s: scenario.attack.as_ref().map(|attack| self.settings.past_s + attack.after_s),
            length_s: scenario.length_s,
            account: site.account,
            rivals: rivals.outcomes().map(|(name, outcome)| (name, outcome.clone())).to_vec(),
        }
    }

    /// Whether a campaign of this shape is seen at all when it makes so many requests a day.
    fn is_seen(&mut self, attack: &Attack, per_day: f64) -> bool {
        let attack = Attack { per_s: per_day / 86_400.0, ..attack.clone() };
        let mut site = self.site(&Scenario::attack("adaptive", "", attack.clone()));
        let end_s = self.settings.past_s + attack.after_s + attack.length_s;
        let before = processor_time();
        while site.now_s() < end_s && site.account.found_s().is_none() {
            site.slot(&mut Nobody);
        }
        self.cost.cpu += processor_time().saturating_sub(before);
        self.cost.simulated_s += site.now_s() - self.settings.past_s;
        site.account.found_s().is_some()
    }

    /// The adversary who knows the thresholds: slows down until unseen for the campaign's whole length. Gives the
    /// highest rate that stayed unseen, requests a day; `None` if even the highest one tried does.
    pub fn max_undetected_per_day(&mut self, attack: &Attack, steps: u32) -> Option<f64> {
        let (mut unseen, mut seen) = (20.0, 200_000.0);
        if !self.is_seen(attack, seen) {
            return None;
        }
        for _ in 0..steps {
            let middle = f64::sqrt(unseen * seen);
            if self.is_seen(attack, middle) { seen = middle } else { unseen = middle }
        }
        Some(unseen)
    }
}

/// Processor time of this thread: what else runs on the machine does not count.
#[must_use]
pub fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).expect("every thread has this clock")
}
