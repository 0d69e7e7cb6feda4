//! A campaign's report in Markdown: stands for itself, plots are drawn in it as SVG, and the numbers stand below them.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use super::number::{grouped, percent};
use crate::control::protocol::{Campaign, Damage, Moment, Proposal, Report};

/// Size of a plot, and of its margins.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 200.0;
const MARGIN: f64 = 40.0;

/// The report as text.
pub(super) fn markdown(report: &Report) -> String {
    let Report { generated_at_unix_s, sensor_version, masked, campaign, lines, history, members, rules } = report;
    let mut text = format!("# Campaign {} on port {}\n\n", campaign.id, campaign.service);
    let privacy = if *masked { "Addresses are cut to their networks." } else { "It holds addresses of clients." };
    let _ = writeln!(text, "Report of {} by sensor {sensor_version}. {privacy}\n", when(*generated_at_unix_s));
    summary(&mut text, campaign);
    heading(&mut text, "What was found");
    for line in lines.iter().take_while(|line| !line.contains(" UTC ")) {
        let _ = writeln!(text, "- {}", escaped(line));
    }
    proposals(&mut text, &campaign.proposals);
    heading(&mut text, "What was done");
    for action in &campaign.actions {
        let _ = writeln!(text, "- {}", escaped(action));
    }
    course(&mut text, history);
    heading(&mut text, "Some of its sources");
    let _ =
        writeln!(text, "| {} | first seen | over a relay |\n|---|---|---|", if *masked { "network" } else { "source" });
    for member in members {
        let relayed = if member.relayed { "yes" } else { "no" };
        let _ = writeln!(text, "| {} | {} | {relayed} |", member.source, when(member.first_seen_unix_s));
    }
    if !rules.is_empty() {
        heading(&mut text, "Rules in force");
        let _ = writeln!(text, "| kind | subject | hits | reason |\n|---|---|--:|---|");
        for rule in rules {
            let _ = writeln!(text, "| {} | {} | {} | {} |", rule.kind, rule.subject, rule.hits, escaped(&rule.reason));
        }
    }
    text
}

fn heading(text: &mut String, title: &str) {
    let _ = writeln!(text, "\n## {title}\n");
}

fn summary(text: &mut String, campaign: &Campaign) {
    let Damage { sources, answers, answer_bytes, answer_share, estimated_tokens, estimated_cost } = &campaign.damage;
    let bytes = if *answer_bytes == 0 { "not counted".to_owned() } else { grouped(*answer_bytes) };
    let rows = [
        ("state", campaign.state.clone()),
        ("operator's verdict", campaign.verdict.clone().unwrap_or_else(|| "none".to_owned())),
        ("detector", campaign.detector.clone()),
        ("client", format!("{} over {}", campaign.fingerprint, campaign.protocol)),
        ("began", when(campaign.onset_unix_s)),
        ("alarm", when(campaign.opened_at_unix_s)),
        ("closed", campaign.closed_at_unix_s.map_or_else(|| "not yet".to_owned(), when)),
        ("first-seen networks", grouped(campaign.first_seen_networks)),
        (
            "of these over a relay",
            format!("{} (normal: {})", grouped(campaign.relayed_networks), percent(campaign.expected_share)),
        ),
        ("sources, about", grouped(*sources)),
        ("connections", grouped(campaign.connections)),
        ("refused, or in dry run matched", grouped(campaign.refused)),
        ("answers taken", format!("{} ({} of all answers of that time)", grouped(*answers), percent(*answer_share))),
        ("bytes taken", bytes),
        ("tokens taken, estimated", grouped(*estimated_tokens)),
        ("worth, estimated", format!("{estimated_cost:.2}")),
    ];
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {} |", escaped(&value));
    }
}

fn proposals(text: &mut String, proposals: &[Proposal]) {
    if proposals.is_empty() {
        return;
    }
    heading(text, "What could be refused");
    text.push_str(
        "| scope | refuses | reaches | innocents in ten minutes | per million accepted |\n|---|---|--:|--:|--:|\n",
    );
    for Proposal { scope, refuses, coverage, expected_innocents, expected_innocent_ppm } in proposals {
        let reach = percent(*coverage);
        let _ =
            writeln!(text, "| {scope} | {refuses} | {reach} | {expected_innocents:.2} | {expected_innocent_ppm:.0} |");
    }
}

fn course(text: &mut String, history: &[Moment]) {
    heading(text, "Its course");
    let networks = |m: &Moment| (m.relayed_networks + m.direct_networks) as f64;
    plot(text, "Evidence, nats", history, |moment| moment.score);
    plot(text, "First-seen networks", history, networks);
    plot(text, "Connections refused", history, |moment| moment.refused as f64);
    text.push_str(
        "| time | evidence | relayed networks | direct networks | refused | answers |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for Moment { at_unix_s, score, relayed_networks, direct_networks, refused, answers } in history {
        let at = when(*at_unix_s);
        let _ =
            writeln!(text, "| {at} | {score:.1} | {relayed_networks} | {direct_networks} | {refused} | {answers} |");
    }
}

/// A line over time. Too few points, or nothing but zeros, are left to the table.
fn plot(text: &mut String, title: &str, history: &[Moment], value: impl Fn(&Moment) -> f64) {
    let most = history.iter().map(&value).fold(0.0, f64::max);
    let (Some(first), Some(last)) = (history.first(), history.last()) else { return };
    let seconds = last.at_unix_s.saturating_sub(first.at_unix_s) as f64;
    if seconds <= 0.0 || most <= 0.0 {
        return;
    }
    let (right, bottom) = (WIDTH - MARGIN, HEIGHT - MARGIN);
    let point = |moment: &Moment| {
        let x = MARGIN + (right - MARGIN) * (moment.at_unix_s.saturating_sub(first.at_unix_s) as f64 / seconds);
        let y = bottom - (bottom - MARGIN) * (value(moment) / most);
        format!("{x:.1},{y:.1}")
    };
    let points: Vec<String> = history.iter().map(point).collect();
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\"><title>{title}</title><rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/><text x=\"{MARGIN}\" y=\"20\">{title}, up to {most:.1}</text><path d=\"M{MARGIN} {MARGIN}V{bottom}H{right}\" \
         fill=\"none\" stroke=\"gray\"/><polyline points=\"{}\" fill=\"none\" stroke=\"#c0392b\" stroke-width=\"2\"/>\
         <text x=\"{MARGIN}\" y=\"{}\">{}</text><text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text></svg>\n",
        points.join(" "),
        HEIGHT - 20.0,
        when(first.at_unix_s),
        HEIGHT - 20.0,
        when(last.at_unix_s),
    );
}

/// `2026-11-22T14:00:00Z`.
fn when(unix_s: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_s.min(4_102_444_800))).to_string()
}

/// Text that neither ends a cell of a table nor begins a tag: reasons and notes are written by people.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('[', "\\[")
}

#[cfg(test)]
mod tests {
    use super::markdown;
    use crate::control::protocol::{Campaign, Member, Moment, Report};

    #[test]
    fn a_report_stands_for_itself_and_obeys_no_note() {
        let history =
            (0..5).map(|n| Moment { at_unix_s: 1_795_356_000 + n * 60, score: n as f64, ..Moment::default() });
        let actions = vec!["dismissed: | <script> [x](http://evil)".to_owned()];
        let member = Member { source: "203.0.113.0/24".to_owned(), first_seen_unix_s: 1_795_356_000, relayed: true };
        let text = markdown(&Report {
            masked: true,
            campaign: Campaign { id: 7, service: 443, actions, ..Campaign::default() },
            lines: vec!["431 networks".to_owned(), "14:02:09 UTC raised".to_owned()],
            history: history.collect(),
            members: vec![member],
            ..Report::default()
        });
        assert!(text.starts_with("# Campaign 7 on port 443\n"), "{text}");
        assert!(text.contains("- 431 networks\n") && !text.contains("- 14:02:09"), "{text}");
        assert!(text.contains("- dismissed: \\| &lt;script> \\[x](http://evil)"), "{text}");
        assert!(
            text.contains("<title>Evidence, nats</title>") && !text.contains("<title>Connections refused"),
            "{text}"
        );
        assert!(text.contains("| 203.0.113.0/24 | 2026-11-22T14:00:00Z | yes |"), "{text}");
        assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
    }
}
