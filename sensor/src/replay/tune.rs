//! Candidate thresholds against recorded evidence: all of them in one pass, side by side, and which one to take.
//!
//! A recommendation needs truth: labels in the file, or the word that nothing in it was an attack. It never trades false
//! alarms or refused innocents for speed, and keeps what stands unless something is clearly better.

use std::fmt::Write;

use serde::Serialize;

use super::evidence::Evidence;
use super::report::Truth;
use super::{OrderError, Replay};
use crate::cli::duration::short;
use crate::control::protocol::VERSION;
use crate::engine::time::Span;
use crate::tunable::{TunableError, Tunables};

/// Candidates at most: each has an engine of its own.
pub const CANDIDATES_MAX: usize = 32;

/// Values tried where none are named: each alone, the others as they stand.
const TRIED: [(&str, &[u64]); 4] = [
    ("rotation_alarm", &[8, 10, 12, 18, 24]),
    ("relay_gap_ms", &[15, 35, 50]),
    ("rotation_networks_min", &[6, 24]),
    ("rotation_odds_factor", &[3, 8]),
];

/// An alarm has to come this much earlier (percent of the time) to be worth a change.
const WORTH_PERCENT: u64 = 20;

/// A recording must be this long to show that more sensitive thresholds stay quiet.
const LONG: Span = Span::seconds(7 * 86_400);

/// More refused innocents than this per million are too many for a recommendation.
const INNOCENT_PPM_MAX: f64 = 50.0;

/// One change of a tunable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub name: String,
    pub value: u64,
}

/// One candidate and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `None`: the values that stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    pub campaigns: u64,
    pub class_rules: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
}

/// The answer of `sensor tune --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Advice {
    pub version: u32,
    pub events: u64,
    pub rows: Vec<Row>,
    /// What to change; `None`: nothing.
    pub recommended: Option<Change>,
    pub reason: String,
}

/// Candidates under way.
#[derive(Debug)]
pub struct Trial {
    candidates: Vec<(Option<Change>, Replay)>,
    is_calm: bool,
}

impl Trial {
    /// Candidates around the values that stand. `tried`: names with the values to try, instead of the usual ones;
    /// `is_calm`: nothing in the file is an attack.
    ///
    /// # Errors
    /// If a tunable is unknown or a value out of its range.
    pub fn new(standing: &Tunables, tried: &[(String, Vec<u64>)], is_calm: bool) -> Result<Self, TunableError> {
        let usual = || TRIED.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec())).collect::<Vec<_>>();
        let tried = if tried.is_empty() { usual() } else { tried.to_vec() };
        let mut candidates = vec![(None, Replay::new(standing))];
        for (name, values) in tried {
            for value in values {
                let mut tunables = standing.clone();
                tunables.set(&name, value)?;
                if tunables != *standing && candidates.len() < CANDIDATES_MAX {
                    candidates.push((Some(Change { name: name.clone(), value }), Replay::new(&tunables)));
                }
            }
        }
        Ok(Self { candidates, is_calm })
    }

    /// Takes one event.
    ///
    /// # Errors
    /// If its time contradicts that of the events before.
    pub fn feed(&mut self, evidence: &Evidence) -> Result<(), OrderError> {
        for (_, replay) in &mut self.candidates {
            replay.feed(evidence)?;
        }
        Ok(())
    }

    /// What came of it.
    #[must_use]
    pub fn finish(mut self) -> Advice {
        let rows: Vec<Row> = self
            .candidates
            .iter_mut()
            .map(|(change, replay)| {
                replay.finish();
                let campaigns = replay.verdicts.len() as u64;
                let refused: u64 = replay.labels.values().map(|tally| tally.class + tally.denied).sum();
                let calm = Truth {
                    true_campaigns: 0,
                    false_campaigns: campaigns,
                    alarm_after_s: None,
                    attack_connections: 0,
                    attack_served: None,
                    ordinary_refused_ppm: refused as f64 * 1e6 / replay.events.max(1) as f64,
                };
                let truth = if self.is_calm { Some(calm) } else { Truth::of(replay) };
                Row { change: change.clone(), campaigns, class_rules: replay.class_rules, truth }
            })
            .collect();
        let events = self.candidates.first().map_or(0, |(_, replay)| replay.events);
        let (first, last) = self.candidates.first().and_then(|(_, replay)| replay.span()).unwrap_or_default();
        let (recommended, reason) = recommend(&rows, last.since(first));
        Advice { version: VERSION, events, rows, recommended, reason }
    }
}

/// What to change and why, or why nothing.
fn recommend(rows: &[Row], span: Span) -> (Option<Change>, String) {
    let Some((standing, others)) = rows.split_first() else { return (None, "nothing was tried".to_owned()) };
    let Some(now) = standing.truth else {
        return (
            None,
            "nothing: the file has no labels, so nobody knows which alarms are true; label the campaign's connections \
             `attack`, or say --calm if there is none"
                .to_owned(),
        );
    };
    let is_harmless = |truth: &Truth| {
        truth.false_campaigns <= now.false_campaigns
            && truth.ordinary_refused_ppm <= now.ordinary_refused_ppm.max(INNOCENT_PPM_MAX)
    };
    let quieter = |row: &&Row| {
        let Some(truth) = row.truth else { return false };
        truth.false_campaigns < now.false_campaigns && (now.alarm_after_s.is_none() || truth.alarm_after_s.is_some())
    };
    if now.false_campaigns > 0
        && let Some(best) = others.iter().filter(quieter).min_by_key(|row| key(row))
    {
        let truth = best.truth.unwrap_or(now);
        let reason = format!("{} false campaigns instead of {}", truth.false_campaigns, now.false_campaigns);
        return (best.change.clone(), reason);
    }
    if now.attack_connections == 0 {
        return (None, format!("nothing: no campaign is in the file, and {} alarms is the least", now.false_campaigns));
    }
    let harmless = others.iter().filter(|row| row.truth.is_some_and(|t| is_harmless(&t) && t.alarm_after_s.is_some()));
    let Some(best) = harmless.min_by_key(|row| key(row)) else {
        return (None, "nothing: no candidate finds the campaign without more harm".to_owned());
    };
    let (before, after) = (now.alarm_after_s, best.truth.and_then(|truth| truth.alarm_after_s).unwrap_or(u64::MAX));
    let is_faster = before.is_none_or(|before| after.saturating_mul(100) <= before.saturating_mul(100 - WORTH_PERCENT));
    if is_faster && span < LONG {
        let change = best.change.as_ref().map(|c| format!("{} = {}", c.name, c.value)).unwrap_or_default();
        return (
            None,
            format!(
                "nothing yet: {change} finds the campaign after {}, but {} of recording are too short to show that it \
                 stays quiet; {} are needed",
                short(after),
                short(span.as_seconds()),
                short(LONG.as_seconds()),
            ),
        );
    }
    match before {
        None => (best.change.clone(), format!("it finds the campaign after {}, what stands does not", short(after))),
        Some(before) if is_faster => {
            let reason = format!(
                "it finds the campaign after {} instead of {}, with no more false campaigns or refused innocents",
                short(after),
                short(before)
            );
            (best.change.clone(), reason)
        }
        Some(before) => (
            None,
            format!("nothing: what stands finds the campaign after {}; no candidate is clearly better", short(before)),
        ),
    }
}

fn key(row: &Row) -> (u64, u64, u64) {
    row.truth.map_or((u64::MAX, 0, 0), |truth| {
        let ppm = truth.ordinary_refused_ppm.max(0.0) as u64;
        (truth.false_campaigns, truth.alarm_after_s.unwrap_or(u64::MAX), ppm)
    })
}

impl Advice {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let head = ["candidate", "campaigns", "false", "alarm after", "served", "innocents ppm"];
        let [a, b, c, d, e, f] = head;
        let _ = writeln!(text, "{a:<30}{b:>10}{c:>7}{d:>13}{e:>9}{f:>15}");
        for Row { change, campaigns, truth, .. } in &self.rows {
            let name = change.as_ref().map_or("as it stands".to_owned(), |c| format!("{} = {}", c.name, c.value));
            let (mut wrong, mut after, mut served, mut ppm) =
                ("?".to_owned(), "?".to_owned(), "?".to_owned(), "?".to_owned());
            if let Some(truth) = truth {
                wrong = truth.false_campaigns.to_string();
                after = match truth.attack_connections {
                    0 => "-".to_owned(),
                    _ => truth.alarm_after_s.map_or("missed".to_owned(), short),
                };
                served = truth.attack_served.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0));
                ppm = format!("{:.1}", truth.ordinary_refused_ppm);
            }
            let _ = writeln!(text, "{name:<30}{campaigns:>10}{wrong:>7}{after:>13}{served:>9}{ppm:>15}");
        }
        let what = self.recommended.as_ref().map(|c| format!("sensor set {} {}: ", c.name, c.value));
        let _ = writeln!(text, "recommended: {}{}", what.unwrap_or_default(), self.reason);
        text
    }
}
