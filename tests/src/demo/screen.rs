//! What the demo shows: on a terminal one block that updates in place, elsewhere plain lines. No colour with NO_COLOR.

use std::time::{Duration, Instant};

use console::{Term, measure_text_width, style, truncate_str};

use super::summary::Summary;
use super::tally::Tally;
use super::watch::{Campaign, Watch};

/// Between two status lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where the demo speaks.
#[derive(Debug)]
pub struct Screen {
    term: Option<Term>,
    /// Height of the block on the terminal.
    block: usize,
    start: Instant,
    last_line: Option<Instant>,
}

impl Screen {
    /// Standard output: a live block on a terminal, plain lines elsewhere.
    pub fn of_stdout() -> Self {
        Self { term: Some(Term::stdout()), block: 0, start: Instant::now(), last_line: None }
    }

    /// Says nothing, for tests.
    pub fn silent() -> Self {
        Self { term: None, block: 0, start: Instant::now(), last_line: None }
    }

    /// A sentence that stays.
    pub(crate) fn say(&mut self, text: &str) {
        self.clear();
        let Some(term) = &self.term else { return };
        let mark = format!("{:>4} s ", self.start.elapsed().as_secs());
        let coloured = match text.split_whitespace().next() {
            Some("ALARM") => style(text).red().bold().to_string(),
            Some("RULE") => style(text).yellow().to_string(),
            _ => text.to_owned(),
        };
        let _ = term.write_line(&format!("{} {coloured}", style(mark).dim()));
    }

    /// The state of things: the block, or now and then a line.
    pub(crate) fn show(&mut self, watch: &Watch, tally: &Tally, phase: &str, left: Duration) {
        let Some(term) = self.term.clone() else { return };
        let rows = rows(watch, tally);
        let head = format!("{phase}, {} s left", left.as_secs());
        if !term.features().is_attended() {
            if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
                self.last_line = Some(Instant::now());
                let all: Vec<String> = rows.iter().map(|(name, text)| format!("{name}: {text}")).collect();
                self.say(&format!("{head} | {}", all.join(" | ")));
            }
            return;
        }
        self.clear();
        let width = usize::from(term.size().1).max(40);
        let mut lines = vec![style(format!("── {head} ")).cyan().to_string()];
        lines.extend(rows.iter().map(|(name, text)| format!("  {} {text}", style(format!("{name:<9}")).bold())));
        for line in &lines {
            let _ = term.write_line(&truncate_str(line, width - 1, "…"));
        }
        self.block = lines.len();
    }

    /// The end.
    pub(crate) fn summary(&mut self, summary: &Summary) {
        self.clear();
        let Some(term) = &self.term else { return };
        let mut lines = vec![String::new(), style("Summary").bold().to_string()];
        lines.extend(figures(summary).iter().map(|(name, text)| {
            let gap = 28_usize.saturating_sub(measure_text_width(name));
            format!("  {name}{} {text}", " ".repeat(gap))
        }));
        lines.push(String::new());
        if summary.passed {
            lines.push(style(praise(summary)).green().bold().to_string());
        } else {
            lines.extend(
                summary.failures.iter().map(|failure| style(format!("FAILED: {failure}")).red().bold().to_string()),
            );
        }
        lines.extend(summary.around.iter().map(|around| format!("\n{around}")));
        for line in lines {
            let _ = term.write_line(&line);
        }
    }

    fn clear(&mut self) {
        if let Some(term) = &self.term
            && self.block > 0
        {
            let _ = term.clear_last_lines(self.block);
        }
        self.block = 0;
    }
}

fn rows(watch: &Watch, tally: &Tally) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if watch.watching() {
        let status = watch.status();
        let (connections, requests) = watch.rates();
        rows.push((
            "traffic",
            format!("{connections:.1} connections/s, {requests:.1} requests/s, {} packets", watch.frames()),
        ));
        rows.push(("networks", format!("{} known, {} sources tracked", status.networks_known, status.sources_tracked)));
        if watch.campaigns().is_empty() {
            rows.push(("campaign", "none".to_owned()));
        }
        rows.extend(watch.campaigns().iter().map(|campaign| ("campaign", in_brief(campaign))));
        let mut rules: Vec<String> = status.rules.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let dropped: u64 = status.dropped.values().sum();
        rules.push(format!("{dropped} packets dropped"));
        rows.push(("rules", rules.join(", ")));
    }
    for label in ["attack", "crowd", "benign"] {
        let all = tally.count(label, f64::MIN);
        if all.sent == 0 {
            continue;
        }
        let mut text = format!("{} sent, {} served, {} refused", all.sent, all.served, all.refused);
        if let (Some(rule), "attack") = (watch.rule_at(), label) {
            let after = tally.count(label, rule);
            text.push_str(&format!("; since the rule {} sent, {} served", after.sent, after.served));
        }
        rows.push((label, text));
    }
    rows
}

fn in_brief(campaign: &Campaign) -> String {
    let Campaign { id, state, service, fingerprint, score, relayed_networks: relayed, refused, .. } = campaign;
    format!(
        "{id} {state}, port {service}, fingerprint {fingerprint:.12}: {relayed} of {} new networks relayed \
         ({:.1} % is normal), evidence {score:.1}, {refused} refused",
        campaign.first_seen_networks,
        campaign.expected_share * 100.0,
    )
}

fn figures(summary: &Summary) -> Vec<(&'static str, String)> {
    let seconds =
        |value: Option<f64>| value.map_or("never".to_owned(), |value| format!("{value:.1} s after the first request"));
    let mut rows = Vec::new();
    if !summary.scenario.ends_with("without_sensor") {
        rows.push(("alarm", seconds(summary.alarm_after_s)));
        rows.push(("rule", seconds(summary.rule_after_s)));
    }
    if summary.attack_sent > 0 {
        rows.push(("attack, whole run", format!("{} of {} served", summary.attack_served, summary.attack_sent)));
    }
    if let Some(share) = summary.served_share_after_rule {
        let (served, sent) = (summary.attack_served_after_rule, summary.attack_sent_after_rule);
        rows.push(("attack, since the rule", format!("{served} of {sent} served ({:.1} %)", share * 100.0)));
    }
    if summary.crowd.sent > 0 {
        rows.push(("flash crowd", format!("{} of {} refused", summary.crowd.refused, summary.crowd.sent)));
    }
    rows.push(("benign", format!("{} of {} refused", summary.benign_refused, summary.benign_sent)));
    let kinds: Vec<String> =
        summary.benign_by_kind.iter().map(|(kind, count)| format!("{kind} {}", count.sent)).collect();
    rows.push(("benign, by client", kinds.join(", ")));
    if !summary.xdp_mode.is_empty() {
        rows.push((
            "packets to the server",
            format!("{} sent, {} counted", summary.packets_sent, summary.packets_counted),
        ));
        rows.push(("XDP", format!("{} mode, kernel {}", summary.xdp_mode, summary.kernel)));
    }
    let (denied, others): (Vec<&String>, Vec<&String>) =
        summary.rules.iter().partition(|rule| rule.starts_with("deny "));
    rows.extend(others.into_iter().map(|rule| ("rule made", rule.clone())));
    if !denied.is_empty() {
        rows.push(("addresses refused", denied.len().to_string()));
    }
    rows
}

fn praise(summary: &Summary) -> &'static str {
    match summary.scenario.as_str() {
        "hydra" => "The campaign was found and stopped, and no benign client was harmed.",
        "flash_crowd" => "The flash crowd was served, and the sensor kept silent.",
        _ => "Without a sensor everybody was served.",
    }
}
