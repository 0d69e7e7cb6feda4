//! Answers that are told rather than tabled: campaigns, explanations, acknowledgements.

use std::fmt::Write;

use super::list;
use super::number::{ago, grouped, percent};
use crate::cli::style::{Paint, Tone};
use crate::control::protocol::{BadLine, BulkDone, Campaign, Damage, Deed, Explanation};

pub(super) fn campaigns(campaigns: &[Campaign], paint: Paint) -> String {
    if campaigns.is_empty() {
        return "no campaign (`--all` shows closed ones too)\n".to_owned();
    }
    campaigns.iter().map(|one| campaign(one, paint)).collect::<Vec<_>>().join("\n")
}

fn campaign(campaign: &Campaign, paint: Paint) -> String {
    let mut text = String::new();
    let tone = if campaign.state == "open" { Tone::Bad } else { Tone::Faint };
    let state = paint.text(tone, &campaign.state.to_uppercase());
    let Campaign { id, detector, service, protocol, fingerprint, .. } = campaign;
    let _ = writeln!(
        text,
        "campaign #{id}  {state}  {detector} on port {service} ({protocol}), fingerprint {fingerprint}, score {:.1} nats",
        campaign.score
    );
    let closed = campaign.closed_at_unix_s.map_or(String::new(), |at| format!(", closed {}", ago(at)));
    let (onset, opened) = (ago(campaign.onset_unix_s), ago(campaign.opened_at_unix_s));
    let _ = writeln!(text, "  when      began {onset}, alarm {opened}{closed}");
    let _ = writeln!(
        text,
        "  networks  {} first seen, {} of them relayed; normal is {}",
        grouped(campaign.first_seen_networks),
        grouped(campaign.relayed_networks),
        percent(campaign.expected_share)
    );
    let _ = writeln!(
        text,
        "  refusal   {} of {} connections; a rule would hit {} attack and an expected {:.1} innocents per million",
        grouped(campaign.refused),
        grouped(campaign.connections),
        percent(campaign.attack_share),
        campaign.expected_innocent_ppm
    );
    let _ = writeln!(text, "  why       {}", campaign.why);
    let Damage { sources, answers, estimated_tokens, estimated_cost, .. } = &campaign.damage;
    if *answers > 0 {
        let _ = writeln!(
            text,
            "  taken     {} answers by about {} sources: an estimated {} tokens, worth {estimated_cost:.2}",
            grouped(*answers),
            grouped(*sources),
            grouped(*estimated_tokens)
        );
    }
    for other in &campaign.corroborations {
        let _ = writeln!(text, "  also      {other}");
    }
    if let Some(verdict) = &campaign.verdict {
        let _ = writeln!(text, "  verdict   {verdict} by the operator");
    }
    for action in &campaign.actions {
        let _ = writeln!(text, "  done      {action}");
    }
    if !campaign.sample_networks.is_empty() {
        let _ = writeln!(text, "  seen in   {}", campaign.sample_networks.join(", "));
    }
    text
}

pub(super) fn explanation(explanation: &Explanation, paint: Paint) -> String {
    let tone = match explanation.verdict.as_str() {
        "refused" => Tone::Bad,
        "would be refused" => Tone::Warning,
        _ => Tone::Good,
    };
    let mut text = format!("{}: {}\n", explanation.subject, paint.text(tone, &explanation.verdict));
    for line in &explanation.lines {
        let _ = writeln!(text, "  {line}");
    }
    if !explanation.campaigns.is_empty() {
        let numbers: Vec<String> = explanation.campaigns.iter().map(|id| format!("#{id}")).collect();
        let _ = writeln!(text, "  campaigns: {}", numbers.join(", "));
    }
    if let Some(source) = &explanation.source {
        let _ = write!(text, "\n{}", list::sources(std::slice::from_ref(source), 1, paint));
    }
    if !explanation.rules.is_empty() {
        let _ = write!(text, "\n{}", list::rules(&explanation.rules, paint));
    }
    text
}

pub(super) fn bulk(done: &BulkDone, paint: Paint) -> String {
    let n = |count: usize| grouped(count as u64);
    let (did, unchanged) = match done.deed {
        Deed::Allow => ("allowed", "were allowed already"),
        Deed::Block => ("blocked", "were blocked already, their time begins anew"),
        Deed::Unblock => ("no longer blocked", "were not blocked"),
    };
    let mut text = format!("{} prefixes {did}", n(done.applied));
    if done.unchanged > 0 {
        let _ = write!(text, ", {} {unchanged}", n(done.unchanged));
    }
    text.push('\n');
    let mut warn = |warning: String| {
        let _ = writeln!(text, "{}", paint.text(Tone::Warning, &format!("warning: {warning}")));
    };
    if done.bad > 0 {
        warn(format!("{} lines were bad and left out", n(done.bad)));
    }
    for BadLine { line, error } in &done.bad_lines {
        warn(format!("line {line}: {error}"));
    }
    if done.pending > 0 {
        warn(format!("{} changes are still on their way into the kernel (`sensor status`)", n(done.pending)));
    }
    if done.refused > 0 {
        warn(format!("{} rules are not taken by the kernel (`sensor status` says why)", n(done.refused)));
    }
    for warning in &done.warnings {
        warn(warning.clone());
    }
    text
}

pub(super) fn done(done: &str, warnings: &[String], paint: Paint) -> String {
    let mut text = format!("{done}\n");
    for warning in warnings {
        let _ = writeln!(text, "{}", paint.text(Tone::Warning, &format!("warning: {warning}")));
    }
    text
}
