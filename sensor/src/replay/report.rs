//! What came of a replay, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::evidence::ATTACK;
use super::{Replay, Tally};
use crate::cli::duration::short;
use crate::control::protocol::{Campaign, Learning, VERSION};
use crate::engine::time::Time;

/// Notices of one kind and campaign that are printed for people; the rest is counted.
const SHOWN: usize = 3;

/// The answer of `sensor replay --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub version: u32,
    pub summary: Summary,
    pub notices: Vec<Notice>,
    pub campaigns: Vec<Campaign>,
    /// Connections by label, `""` for those without one: all, and what rules would refuse of them.
    pub labels: BTreeMap<String, Tally>,
}

/// The result in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub events: u64,
    pub first_unix_s: u64,
    pub last_unix_s: u64,
    pub learning: Learning,
    pub campaigns: u64,
    /// Rules made, renewals included, and rules in force at the end.
    pub class_rules_made: u64,
    pub source_rules_made: u64,
    pub class_rules: u64,
    pub source_rules: u64,
    /// Connections that rules would refuse.
    pub would_refuse: u64,
    /// What the labels say; absent if the file has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
}

/// The result held against the labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Truth {
    pub true_campaigns: u64,
    pub false_campaigns: u64,
    /// From the first connection of the attack to the first alarm about it.
    pub alarm_after_s: Option<u64>,
    pub attack_connections: u64,
    /// Share of the attack that no rule would refuse, from its beginning.
    pub attack_served: Option<f64>,
    /// Ordinary connections that rules would refuse, per million.
    pub ordinary_refused_ppm: f64,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Notice {
    pub at_unix_s: u64,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<u64>,
    pub text: String,
}

impl Truth {
    /// What the labels say about a replay; `None` if there are none.
    #[must_use]
    pub fn of(replay: &Replay) -> Option<Self> {
        if !replay.has_labels {
            return None;
        }
        let attack = replay.labels.get(ATTACK).copied().unwrap_or_default();
        let (mut ordinary, mut refused) = (0_u64, 0_u64);
        for (_, tally) in replay.labels.iter().filter(|(label, _)| *label != ATTACK) {
            ordinary += tally.connections;
            refused += tally.class + tally.denied;
        }
        let served = attack.connections - (attack.class + attack.denied).min(attack.connections);
        let found = replay.verdicts.iter().find(|verdict| verdict.is_true).map(|verdict| verdict.at);
        let count = |wanted| replay.verdicts.iter().filter(|verdict| verdict.is_true == wanted).count() as u64;
        Some(Self {
            true_campaigns: count(true),
            false_campaigns: count(false),
            alarm_after_s: found.zip(replay.attack_began).map(|(found, began)| found.since(began).as_seconds()),
            attack_connections: attack.connections,
            attack_served: (attack.connections > 0).then(|| served as f64 / attack.connections as f64),
            ordinary_refused_ppm: refused as f64 * 1e6 / ordinary.max(1) as f64,
        })
    }
}

impl Report {
    /// The report of a replay that is finished.
    #[must_use]
    pub fn of(replay: &Replay) -> Self {
        let (first, last) = replay.span().unwrap_or_default();
        let counts = replay.engine().counts();
        let summary = Summary {
            events: replay.events,
            first_unix_s: first.unix_s(),
            last_unix_s: last.unix_s(),
            learning: replay.engine().learning(),
            campaigns: replay.verdicts.len() as u64,
            class_rules_made: replay.class_rules,
            source_rules_made: replay.denials,
            class_rules: counts.class_rules,
            source_rules: counts.deny_rules,
            would_refuse: replay.labels.values().map(|tally| tally.class + tally.denied).sum(),
            truth: Truth::of(replay),
        };
        let notice = |(at, notice): &(Time, crate::engine::plan::Notice)| Notice {
            at_unix_s: at.unix_s(),
            kind: notice.kind,
            campaign: notice.campaign,
            text: notice.text.clone(),
        };
        Self {
            version: VERSION,
            summary,
            notices: replay.notices.iter().map(notice).collect(),
            campaigns: replay.engine().campaign_answers(true),
            labels: replay.labels.clone(),
        }
    }

    /// For people: what happened and when, then the sums.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let begin = self.summary.first_unix_s;
        let mut told: BTreeMap<(&str, Option<u64>), usize> = BTreeMap::new();
        for Notice { at_unix_s, kind, campaign, text: words } in &self.notices {
            let times = told.entry((kind, *campaign)).or_default();
            *times += 1;
            if *times <= SHOWN {
                let after = short(at_unix_s.saturating_sub(begin));
                let who = campaign.map(|id| format!(" #{id}")).unwrap_or_default();
                let _ = writeln!(text, "{after:>8}  {kind}{who}: {words}");
            }
        }
        for ((kind, campaign), times) in told.into_iter().filter(|(_, times)| *times > SHOWN) {
            let who = campaign.map(|id| format!(" #{id}")).unwrap_or_default();
            let _ = writeln!(text, "          {} more: {kind}{who} (--json has them)", times - SHOWN);
        }
        let Summary { events, last_unix_s, learning, campaigns, would_refuse, truth, .. } = &self.summary;
        let _ = writeln!(text, "{events} connections in {}", short(last_unix_s.saturating_sub(begin)));
        if !learning.complete {
            let _ = writeln!(
                text,
                "learned     {} of {} s of calm traffic: too little for rules (--set learn_s=... for a trial)",
                learning.calm_s, learning.needed_s
            );
        }
        let _ = writeln!(text, "campaigns   {campaigns}");
        let Summary { class_rules_made, source_rules_made, .. } = &self.summary;
        let _ = writeln!(
            text,
            "rules       {class_rules_made} on classes, {source_rules_made} on sources (renewals included); they would \
             refuse {would_refuse} connections"
        );
        if let Some(truth) = truth {
            text.push_str(&truth.text());
        }
        for (label, Tally { connections, class, denied }) in self.labels.iter().filter(|(label, _)| !label.is_empty()) {
            let _ = writeln!(text, "  {label:<16} {connections:>10} connections, {:>8} refused", class + denied);
        }
        text
    }
}

impl Truth {
    fn text(&self) -> String {
        let alarm = match (self.alarm_after_s, self.attack_connections) {
            (Some(s), _) => format!("found after {}", short(s)),
            (None, 0) => "none in the file".to_owned(),
            (None, _) => "MISSED".to_owned(),
        };
        let served = self.attack_served.map(|share| format!(", {:.1} % of it served", share * 100.0));
        format!(
            "attack      {alarm}{}\ntruth       {} true and {} false campaigns; {:.1} of a million ordinary \
             connections refused\n",
            served.unwrap_or_default(),
            self.true_campaigns,
            self.false_campaigns,
            self.ordinary_refused_ppm,
        )
    }
}
