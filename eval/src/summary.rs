//! The numbers that are published, as JSON and as the first table.

use serde::Serialize;

use crate::account::ppm;
use crate::evaluate::Results;
use crate::run::Outcomes;
use crate::stat::{Stat, Worst};
use crate::suite::hydra_name;

/// Benign scenarios that no rule may come of, by the beginning of their names.
const NO_RULES: [&str; 5] = ["b5-", "b7-", "b8-", "b9-", "b13-"];

/// Object `summary` of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Campaigns raised per 30 days of the benign suite B1 to B14.
    pub false_alarms_per_30d: Stat,
    /// Rules made in the benign suite, on classes and on sources.
    pub rules_on_benign: Stat,
    /// Of these: on launches, SDK release, serverless churn, home re-addressing, restart.
    pub rules_on_named_benign: Stat,
    pub alarm_min_5pct: Stat,
    pub alarm_min_1pct: Stat,
    pub alarm_min_025pct: Stat,
    /// Exits of the campaign among the sources denied, at 1 % of load and more.
    pub source_precision: Stat,
    /// Share of the attack served after the first rule, as the shipped engine's plans say; hydras of 1 to 50 %.
    pub served_after_rule: Stat,
    /// The same with the quota that is modelled beside the engine.
    pub served_after_rule_quota: Stat,
    /// Benign connections refused by the engine's rules during hydras, per million.
    pub benign_refused_ppm_deny: Stat,
    /// The same with the modelled quota.
    pub benign_refused_ppm_quota: Stat,
    /// Connections of established sources refused, all attack scenarios together.
    pub established_refused: Stat,
    pub simulated_days_per_s: Stat,
    pub tick_1m_ms: Stat,
    /// Highest rate of a hydra on the popular SDK that stays unseen for three days, requests a day.
    pub max_undetected_per_day: Stat,
}

/// Whether a scenario belongs to the benign suite that false alarms are counted in.
#[must_use]
pub fn is_benign_suite(name: &str) -> bool {
    name == "all" || name.starts_with('b') && !name.starts_with("browsers")
}

impl Summary {
    /// Of all results; `ticks_ms` as [`crate::tick::measure`] gives them.
    #[must_use]
    pub fn of(results: &Results, seeds: &[u64], ticks_ms: Vec<f64>) -> Self {
        let of_seed = |seed: u64| results.outcomes.iter().filter(move |outcomes| outcomes.seed == seed);
        let benign = |seed| of_seed(seed).filter(|o| is_benign_suite(&o.scenario));
        let hydras = || results.outcomes.iter().filter(|o| o.scenario.starts_with("hydra-"));
        let large = || {
            hydras()
                .filter(|o| ["hydra-1pct", "hydra-5pct", "hydra-10pct", "hydra-50pct"].contains(&o.scenario.as_str()))
        };
        let alarms = |percent: f64| {
            let name = hydra_name(percent);
            let of_rate = results.outcomes.iter().filter(|o| o.scenario == name);
            Stat::of(of_rate.map(Outcomes::alarm_min).collect::<Vec<_>>(), Worst::Highest)
        };
        let false_alarms = seeds.iter().map(|seed| {
            let days: f64 = benign(*seed).map(|o| o.length_s as f64 / 86_400.0).sum();
            let alarms: usize = benign(*seed).map(|o| o.account.alarms.len()).sum();
            (days > 0.0).then(|| alarms as f64 * 30.0 / days)
        });
        let rules = |named: bool| {
            seeds.iter().map(move |seed| {
                let counted = benign(*seed).filter(|o| !named || NO_RULES.iter().any(|n| o.scenario.starts_with(n)));
                counted.map(|o| (o.account.class_rules + o.account.denials) as f64).sum::<f64>()
            })
        };
        let attacks = |seed| of_seed(seed).filter(|o| o.attack_s.is_some());
        let precise = results.outcomes.iter().filter(|o| {
            !["hydra-0.1pct", "hydra-0.25pct", "hydra-0.5pct", "h1-1000-hosts"].contains(&o.scenario.as_str())
        });
        Self {
            false_alarms_per_30d: Stat::of(false_alarms, Worst::Highest),
            rules_on_benign: Stat::all(rules(false), Worst::Highest),
            rules_on_named_benign: Stat::all(rules(true), Worst::Highest),
            alarm_min_5pct: alarms(5.0),
            alarm_min_1pct: alarms(1.0),
            alarm_min_025pct: alarms(0.25),
            source_precision: Stat::all(
                precise.filter(|o| o.attack_s.is_some()).filter_map(|o| o.account.source_precision()),
                Worst::Lowest,
            ),
            served_after_rule: Stat::of(large().map(|o| o.account.served_after_rule()), Worst::Highest),
            served_after_rule_quota: Stat::of(large().map(|o| o.account.served_after_rule_quota()), Worst::Highest),
            benign_refused_ppm_deny: Stat::all(hydras().map(refused_ppm), Worst::Highest),
            benign_refused_ppm_quota: Stat::all(hydras().map(refused_ppm_quota), Worst::Highest),
            established_refused: Stat::all(
                seeds.iter().map(|seed| attacks(*seed).map(|o| o.account.benign().refused_established as f64).sum()),
                Worst::Highest,
            ),
            simulated_days_per_s: Stat::all(results.days_per_s.iter().copied(), Worst::Lowest),
            tick_1m_ms: Stat::all(ticks_ms, Worst::Highest),
            max_undetected_per_day: Stat::of(
                results.undetected.get("hydra-5pct").cloned().unwrap_or_default(),
                Worst::Highest,
            ),
        }
    }
}

/// Benign connections that the engine's rules refused, per million.
#[must_use]
pub fn refused_ppm(outcomes: &Outcomes) -> f64 {
    let benign = outcomes.account.benign();
    ppm(benign.refused(), benign.offered)
}

/// The same with the modelled quota.
#[must_use]
pub fn refused_ppm_quota(outcomes: &Outcomes) -> f64 {
    let benign = outcomes.account.benign();
    ppm(benign.refused() + benign.quota, benign.offered)
}
