//! Answers that are tables.

use std::io::IsTerminal;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::number::{ago, bytes, grouped};
use crate::cli::duration;
use crate::cli::style::{Paint, Tone};
use crate::control::protocol::{Rule, Source, Tunable};

/// A table without lines; on a terminal it fits the width, elsewhere a row is always one line.
pub(super) fn table(header: &[&str], numbers: std::ops::Range<usize>, paint: Paint) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let wide = !std::io::stdout().is_terminal();
    table.set_content_arrangement(if wide { ContentArrangement::Disabled } else { ContentArrangement::Dynamic });
    if !paint.coloured {
        table.force_no_tty();
    }
    let header = header.iter().map(|name| comfy_table::Cell::new(name).add_attribute(comfy_table::Attribute::Bold));
    table.set_header(header.collect::<Vec<_>>());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

pub(super) fn text(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

pub(super) fn sources(sources: &[Source], total: usize, paint: Paint) -> String {
    if sources.is_empty() {
        return "no source has been seen\n".to_owned();
    }
    let header = [
        "SOURCE",
        "TIER",
        "REQUESTS",
        "1M",
        "10M",
        "1D",
        "CONNS",
        "1M",
        "10M",
        "1D",
        "PACKETS",
        "BYTES",
        "DROPPED",
        "RELAYED",
        "LAST SEEN",
    ];
    let mut table = table(&header, 2..15, paint);
    for source in sources {
        table.add_row([
            source.source.clone(),
            source.tier.clone(),
            grouped(source.requests),
            grouped(source.requests_1m),
            grouped(source.requests_10m),
            grouped(source.requests_1d),
            grouped(source.connections),
            grouped(source.connections_1m),
            grouped(source.connections_10m),
            grouped(source.connections_1d),
            grouped(source.packets),
            bytes(source.bytes as f64),
            grouped(source.dropped),
            format!("{}/{}", source.gap_flagged, source.gap_samples),
            ago(source.last_seen_unix_s),
        ]);
    }
    let shown = format!("{} of {} sources", grouped(sources.len() as u64), grouped(total as u64));
    format!("{}{}\n", text(&table), paint.text(Tone::Faint, &shown))
}

pub(super) fn all_rules(rules: &[Rule], total: usize, paint: Paint) -> String {
    let mut text = self::rules(rules, paint);
    if rules.len() < total {
        let (shown, total) = (grouped(rules.len() as u64), grouped(total as u64));
        let note = format!("{shown} of {total} rules (--limit and --all show more)");
        text.push_str(&paint.text(Tone::Faint, &note));
        text.push('\n');
    }
    text
}

pub(super) fn rules(rules: &[Rule], paint: Paint) -> String {
    if rules.is_empty() {
        return "no rule is installed\n".to_owned();
    }
    let mut table = table(&["KIND", "SUBJECT", "HITS", "EXPIRES", "ORIGIN", "CAMPAIGN", "REASON"], 2..4, paint);
    for rule in rules {
        table.add_row([
            rule.kind.clone(),
            rule.subject.clone(),
            grouped(rule.hits),
            rule.expires_in_s.map_or("never".to_owned(), |s| format!("in {}", duration::short(s))),
            rule.origin.clone(),
            rule.campaign.map_or("-".to_owned(), |id| format!("#{id}")),
            rule.reason.clone(),
        ]);
    }
    text(&table)
}

pub(super) fn tunables(tunables: &[Tunable], paint: Paint) -> String {
    if let [one] = tunables {
        let Tunable { name, value, default, low, high, unit, help } = one;
        return format!("{name} = {value} {unit}\n{help}\ndefault {default}, range {low} to {high}\n");
    }
    let mut table = table(&["NAME", "VALUE", "DEFAULT", "RANGE", "UNIT", "MEANING"], 1..4, paint);
    for tunable in tunables {
        // A changed value stands out without colour too.
        let mark = if tunable.value == tunable.default { "" } else { "*" };
        table.add_row([
            tunable.name.clone(),
            format!("{mark}{}", tunable.value),
            tunable.default.to_string(),
            format!("{}..{}", tunable.low, tunable.high),
            tunable.unit.clone(),
            tunable.help.clone(),
        ]);
    }
    text(&table)
}
