//! Tables, once as data: the terminal and the documentation print the same rows.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{ContentArrangement, Table as Terminal, presets};

use crate::account::Account;
use crate::assumption::{Assumptions, ROWS};
use crate::evaluate::Results;
use crate::run::Outcomes;
use crate::scenario::Scenario;
use crate::stat::{Stat, Worst};
use crate::suite::hydra_name;
use crate::summary::{Summary, is_benign_suite, refused_ppm, refused_ppm_quota};

/// A table.
#[derive(Clone, Debug)]
pub struct Sheet {
    pub name: &'static str,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    fn new(name: &'static str, head: &[&str]) -> Self {
        Self { name, head: head.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new() }
    }

    /// For a terminal.
    #[must_use]
    pub fn terminal(&self) -> String {
        let mut table = Terminal::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.head);
        for row in &self.rows {
            table.add_row(row);
        }
        table.trim_fmt()
    }

    /// For a page.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|{}\n", self.head.join(" | "), "---|".repeat(self.head.len()));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

/// What is published, against what was aimed at.
#[must_use]
pub fn summary(summary: &Summary) -> Sheet {
    let mut sheet = Sheet::new("summary", &["measure", "median (worst)", "target"]);
    let mut row = |name: &str, stat: &Stat, decimals: usize, target: &str| {
        sheet.rows.push(vec![name.to_owned(), stat.words(decimals), target.to_owned()]);
    };
    row("false campaign alarms per 30 benign days", &summary.false_alarms_per_30d, 2, "<= 1");
    row("rules in the benign suite", &summary.rules_on_benign, 0, "");
    row("of these: launches, release, serverless, re-addressing, restart", &summary.rules_on_named_benign, 0, "0");
    row("minutes to alarm at 5 % of load", &summary.alarm_min_5pct, 1, "<= 10");
    row("minutes to alarm at 1 % of load", &summary.alarm_min_1pct, 1, "<= 60");
    row("minutes to alarm at 0.25 % of load", &summary.alarm_min_025pct, 1, "<= 300");
    row("precision of denied sources, 1 % of load and more", &summary.source_precision, 4, ">= 0.995");
    row("attack served after the rule, as shipped", &summary.served_after_rule, 3, "");
    row("attack served after the rule, with the modelled quota", &summary.served_after_rule_quota, 3, "<= 0.10");
    row("benign refused, ppm, as shipped", &summary.benign_refused_ppm_deny, 1, "<= 50");
    row("benign refused, ppm, with the modelled quota", &summary.benign_refused_ppm_quota, 1, "<= 300");
    row("connections of established sources refused", &summary.established_refused, 0, "0");
    row(
        "highest unseen rate, requests a day (hydra, popular SDK; 20 is the lowest tried)",
        &summary.max_undetected_per_day,
        0,
        "published",
    );
    row("simulated days per second of one core", &summary.simulated_days_per_s, 2, ">= 0.17");
    row("a tick with 1 M networks known, ms", &summary.tick_1m_ms, 1, "<= 50");
    sheet
}

fn grouped<'a>(results: &'a Results, scenarios: &'a [Scenario]) -> Vec<(&'a Scenario, Vec<&'a Outcomes>)> {
    let of = |scenario: &'a Scenario| results.outcomes.iter().filter(|o| o.scenario == scenario.name).collect();
    scenarios.iter().map(|scenario| (scenario, of(scenario))).collect()
}

/// The benign scenarios.
#[must_use]
pub fn benign(results: &Results, scenarios: &[Scenario]) -> Sheet {
    let head = ["scenario", "what happens", "false campaigns", "class rules", "sources denied", "refused ppm"];
    let mut sheet = Sheet::new("benign", &head);
    for (scenario, outcomes) in grouped(results, scenarios).into_iter().filter(|(s, _)| s.attack.is_none()) {
        let stat = |value: &dyn Fn(&Outcomes) -> f64| Stat::all(outcomes.iter().map(|o| value(o)), Worst::Highest);
        let counted = if is_benign_suite(&scenario.name) { "" } else { " (not counted)" };
        sheet.rows.push(vec![
            format!("{}{counted}", scenario.name),
            scenario.summary.clone(),
            stat(&|o| o.account.alarms.len() as f64).words(0),
            stat(&|o| o.account.class_rules as f64).words(0),
            stat(&|o| o.account.denied.len() as f64).words(0),
            stat(&refused_ppm).words(1),
        ]);
    }
    sheet
}

/// The attack scenarios.
#[must_use]
pub fn attacks(results: &Results, scenarios: &[Scenario]) -> Sheet {
    let head = [
        "scenario",
        "what happens",
        "alarm, min",
        "first rule, min",
        "served after rule",
        "with quota",
        "source precision",
        "refused ppm",
        "with quota",
        "established",
        "innocents expected / real",
    ];
    let mut sheet = Sheet::new("attacks", &head);
    for (scenario, outcomes) in grouped(results, scenarios).into_iter().filter(|(s, _)| s.attack.is_some()) {
        sheet.rows.push(attack_row(&scenario.name, &scenario.summary, &outcomes));
    }
    sheet
}

fn attack_row(name: &str, what: &str, outcomes: &[&Outcomes]) -> Vec<String> {
    let share = |value: fn(&Account) -> Option<f64>, worst| {
        let stat = Stat::of(outcomes.iter().map(|o| value(&o.account)), worst);
        if stat.median.is_none() && stat.worst.is_none() { "-".to_owned() } else { stat.words(3) }
    };
    vec![
        name.to_owned(),
        what.to_owned(),
        Stat::of(outcomes.iter().map(|o| o.alarm_min()), Worst::Highest).words(1),
        Stat::of(outcomes.iter().map(|o| o.rule_min()), Worst::Highest).words(1).replace("missed", "none"),
        share(Account::served_after_rule, Worst::Highest),
        share(Account::served_after_rule_quota, Worst::Highest),
        share(Account::source_precision, Worst::Lowest),
        Stat::all(outcomes.iter().map(|o| refused_ppm(o)), Worst::Highest).words(0),
        Stat::all(outcomes.iter().map(|o| refused_ppm_quota(o)), Worst::Highest).words(0),
        Stat::all(outcomes.iter().map(|o| o.account.benign().refused_established as f64), Worst::Highest).words(0),
        innocents(outcomes),
    ]
}

/// Innocent connections that class rules were expected to refuse, and did: medians.
fn innocents(outcomes: &[&Outcomes]) -> String {
    let median =
        |value: fn(&Account) -> f64| Stat::all(outcomes.iter().map(|o| value(&o.account)), Worst::Highest).median;
    let expected = median(|account| account.expected_innocents).unwrap_or(0.0);
    let real = median(|account| account.benign().refused_by_class as f64).unwrap_or(0.0);
    format!("{expected:.0} / {real:.0}")
}

/// The baselines beside the engine.
#[must_use]
pub fn rivals(results: &Results) -> Sheet {
    let head = [
        "method",
        "false alarms per 30 d",
        "alarm at 5 %, min",
        "at 1 %",
        "at 0.25 %",
        "attack served (5 %)",
        "benign refused ppm (5 %)",
    ];
    let mut sheet = Sheet::new("rivals", &head);
    let benign: Vec<&Outcomes> = results.outcomes.iter().filter(|o| is_benign_suite(&o.scenario)).collect();
    let days: f64 = benign.iter().map(|o| o.length_s as f64 / 86_400.0).sum();
    let per_30d =
        |alarms: usize| if days > 0.0 { format!("{:.1}", alarms as f64 * 30.0 / days) } else { "-".to_owned() };
    let at = |percent: f64| {
        let name = hydra_name(percent);
        results.outcomes.iter().filter(move |o| o.scenario == name)
    };
    let own = |percent| Stat::of(at(percent).map(Outcomes::alarm_min), Worst::Highest).words(1);
    let own_served = Stat::of(at(5.0).map(|o| o.account.served_after_rule()), Worst::Highest);
    sheet.rows.push(vec![
        "this engine, as shipped".to_owned(),
        per_30d(benign.iter().map(|o| o.account.alarms.len()).sum()),
        own(5.0),
        own(1.0),
        own(0.25),
        own_served.words(3),
        Stat::all(at(5.0).map(refused_ppm), Worst::Highest).words(0),
    ]);
    let names: Vec<&str> =
        results.outcomes.first().map(|o| o.rivals.iter().map(|(n, _)| *n).collect()).unwrap_or_default();
    for (index, name) in names.into_iter().enumerate() {
        let alarm = |percent: f64| {
            let minutes = |o: &Outcomes| {
                let began = o.attack_s?;
                let first = o.rivals[index].1.alarms_s.iter().find(|at| **at >= began)?;
                Some((first - began) as f64 / 60.0)
            };
            Stat::of(at(percent).map(minutes), Worst::Highest).words(1)
        };
        let served = |o: &Outcomes| {
            let (offered, refused) = (o.account.attack().offered, o.rivals[index].1.attack_refused);
            1.0 - refused as f64 / offered.max(1) as f64
        };
        let innocents =
            |o: &Outcomes| o.rivals[index].1.benign_refused as f64 * 1e6 / o.account.benign().offered.max(1) as f64;
        sheet.rows.push(vec![
            name.to_owned(),
            per_30d(benign.iter().map(|o| o.rivals[index].1.alarms_s.len()).sum()),
            alarm(5.0),
            alarm(1.0),
            alarm(0.25),
            Stat::all(at(5.0).map(served), Worst::Highest).words(3),
            Stat::all(at(5.0).map(innocents), Worst::Highest).words(0),
        ]);
    }
    sheet
}

/// What the assumptions that matter most do.
#[must_use]
pub fn sensitivity(results: &Results) -> Sheet {
    let head =
        ["assumption", "scenario", "alarm, min", "served after rule", "with quota", "refused ppm", "false campaigns"];
    let mut sheet = Sheet::new("sensitivity", &head);
    for variant in &results.variants {
        let mut by_name: BTreeMap<&str, Vec<&Outcomes>> = BTreeMap::new();
        for outcomes in &variant.outcomes {
            by_name.entry(&outcomes.scenario).or_default().push(outcomes);
        }
        for (name, outcomes) in by_name {
            let cells = attack_row("", "", &outcomes);
            let wrong = Stat::all(outcomes.iter().map(|o| o.account.false_alarms() as f64), Worst::Highest).words(0);
            let alarm = if outcomes[0].attack_s.is_some() { cells[2].clone() } else { "no attack".to_owned() };
            let [served, quota, refused] = [4, 5, 7].map(|n| cells[n].clone());
            let what = format!("{} = {}", variant.assumption, variant.value);
            sheet.rows.push(vec![what, name.to_owned(), alarm, served, quota, refused, wrong]);
        }
    }
    sheet
}

/// The adaptive adversary.
#[must_use]
pub fn undetected(results: &Results, scenarios: &[Scenario]) -> Sheet {
    let mut sheet = Sheet::new(
        "undetected",
        &["shape", "what happens", "highest unseen rate, requests a day (20 is the lowest tried)"],
    );
    for (shape, rates) in &results.undetected {
        let what = scenarios.iter().find(|s| s.name == *shape).map_or("", |s| s.summary.as_str());
        let stat = Stat::of(rates.iter().copied(), Worst::Highest);
        let words = stat.words(0).replace("missed", "never seen, up to 200,000");
        sheet.rows.push(vec![shape.clone(), what.to_owned(), words]);
    }
    sheet
}

/// Every assumption.
#[must_use]
pub fn assumptions(assumptions: &Assumptions) -> Sheet {
    let mut sheet = Sheet::new("assumptions", &["name", "value", "meaning", "where from"]);
    for (row, value) in ROWS.iter().zip(assumptions.values()) {
        sheet.rows.push(vec![format!("`{}`", row.name), value.to_string(), row.help.to_owned(), row.source.to_owned()]);
    }
    sheet
}
