//! `sensor status`: what an operator wants at a glance, the worst first.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::number::{bytes, grouped, rate};
use crate::cli::duration;
use crate::cli::style::{Paint, Tone};
use crate::control::protocol::Status;

/// The whole page.
pub(super) fn render(status: &Status, paint: Paint) -> String {
    let mut page = String::new();
    head(&mut page, status, paint);
    traffic(&mut page, status);
    enforcement(&mut page, status, paint);
    health(&mut page, status, paint);
    for warning in &status.warnings {
        line(&mut page, "warning", &paint.text(Tone::Warning, warning));
    }
    page
}

fn line(page: &mut String, name: &str, text: &str) {
    let _ = writeln!(page, "{name:<12}{text}");
}

fn head(page: &mut String, status: &Status, paint: Paint) {
    let mode = if status.mode == "enforce" {
        paint.text(Tone::Good, "ENFORCING: rules refuse traffic")
    } else {
        paint.text(Tone::Warning, "DRY RUN: nothing is refused, rules only count (`sensor run --enforce` acts)")
    };
    line(page, "mode", &mode);
    let state = if status.ready { "" } else { ", not ready yet" };
    let up = duration::short(status.uptime_s);
    line(page, "sensor", &format!("{}, process {}, up {up}{state}", status.sensor_version, status.pid));
    let attached = match &status.fallback {
        None => format!("{}, XDP {}", status.interface, status.xdp_mode),
        Some(why) => {
            let fallback = paint.text(Tone::Warning, &format!("FALLBACK to {}: {why}", status.xdp_mode));
            format!("{}, XDP {fallback}", status.interface)
        }
    };
    line(page, "interface", &attached);
    let services: Vec<String> = status.services.iter().map(u16::to_string).collect();
    let services = if services.is_empty() { "none: no port is watched".to_owned() } else { services.join(", ") };
    line(page, "services", &services);
}

fn traffic(page: &mut String, status: &Status) {
    let rates = &status.rates;
    let row = |now: String, total: String| format!("{now:>12}   {total} in all");
    line(page, "frames", &row(rate(rates.frames_per_s), grouped(status.frames)));
    line(page, "bytes", &row(format!("{}/s", bytes(rates.bytes_per_s)), bytes(status.bytes as f64)));
    line(page, "connections", &row(rate(rates.connections_per_s), grouped(status.connections)));
    line(page, "requests", &row(rate(rates.requests_per_s), grouped(status.requests)));
    let capacity = grouped(status.sources_capacity);
    let sources =
        format!("{} of {capacity}, {} evicted", grouped(status.sources_tracked), grouped(status.sources_evicted));
    line(page, "sources", &sources);
    let known = format!(
        "{} networks known, {} cohorts followed",
        grouped(status.networks_known),
        grouped(status.cohorts_followed)
    );
    line(page, "evidence", &format!("{} connection records, {known}", grouped(status.events_received)));
}

fn enforcement(page: &mut String, status: &Status, paint: Paint) {
    let campaigns = match status.campaigns_open {
        0 => paint.text(Tone::Good, "none open"),
        open => paint.text(Tone::Bad, &format!("{open} OPEN (`sensor campaigns` says why)")),
    };
    line(page, "campaigns", &campaigns);
    let pending = match status.rules_pending {
        0 => String::new(),
        pending => paint.text(Tone::Warning, &format!("; {} changes on their way into the kernel", grouped(pending))),
    };
    line(page, "rules", &format!("{}{pending}", counts(&status.rules, "none")));
    let now = format!(" (now {})", rate(status.rates.refused_frames_per_s));
    let dry = status.mode != "enforce";
    let dropped = counts(&status.dropped, "none");
    line(page, "refused", &format!("dropped frames: {dropped}{}", if dry { "" } else { &now }));
    if dry || status.would_drop.values().any(|count| *count > 0) {
        let matched = counts(&status.would_drop, "none");
        line(page, "in dry run", &format!("frames that would be dropped: {matched}{}", if dry { &now } else { "" }));
    }
    let learning = &status.learning;
    let progress = format!("{} of {} calm", duration::short(learning.calm_s), duration::short(learning.needed_s));
    let progress = if learning.complete {
        paint.text(Tone::Good, &format!("complete ({progress})"))
    } else {
        format!("{progress}; no automatic rules before that")
    };
    line(page, "learning", &progress);
}

fn health(page: &mut String, status: &Status, paint: Paint) {
    let lost = counts(&status.lost, "nothing");
    let tone = if lost == "nothing" { Tone::Good } else { Tone::Bad };
    line(page, "lost", &paint.text(tone, &lost));
    line(page, "not read", &format!("frames passed unread: {}", counts(&status.rejects, "none")));
    line(page, "no evidence", &format!("connections: {}", counts(&status.unknown, "none")));
    let fills = status.tables.iter();
    let fills = fills.map(|(name, fill)| format!("{name} {} of {}", grouped(fill.used), grouped(fill.capacity)));
    line(page, "tables", &fills.collect::<Vec<_>>().join(", "));
    let memory = format!(
        "kernel tables {}, running totals up to {}",
        bytes(status.kernel_memory_bytes as f64),
        bytes(status.mirror_memory_bytes as f64)
    );
    line(page, "memory", &memory);
    line(page, "tick", &format!("{:.1} ms", status.tick_ms));
    let path = status.config_path.as_deref().unwrap_or("no file, defaults");
    line(page, "config", path);
    if let Some(error) = &status.config_error {
        line(page, "", &paint.text(Tone::Bad, &format!("REJECTED, the former one is in force: {error}")));
    }
}

/// The counts that are not zero: `deny 12, class 3`.
fn counts(counts: &BTreeMap<String, u64>, none: &str) -> String {
    let shown: Vec<String> =
        counts.iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name} {}", grouped(*n))).collect();
    if shown.is_empty() { none.to_owned() } else { shown.join(", ") }
}
