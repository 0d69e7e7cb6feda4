//! The tables of docs/evidence.md, and what in them misses its mark.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Report, requests};

const BEGIN: &str = "<!-- evidence: begin -->\n";
const END: &str = "<!-- evidence: end -->";

/// All tables.
pub(super) fn tables(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "| protocol | counted | true | error | at most | worst run |\n|---|---|---|---|---|---|");
    let sums = requests::sums(&report.request_rows);
    for (protocol, most) in requests::PROTOCOLS {
        let Some((counted, served)) = sums.get(protocol) else { continue };
        let mine = report.request_rows.iter().filter(|row| row.protocol == *protocol);
        let worst = mine.max_by(|a, b| error(a.counted, a.served).total_cmp(&error(b.counted, b.served)));
        let worst = worst.map_or(String::new(), |row| {
            format!("{} to {}: {}/{}", row.client.name(), row.server.name(), row.counted, row.served)
        });
        let error = error(*counted, *served);
        let _ = writeln!(text, "| {protocol} | {counted} | {served} | {error:.1} % | {most:.0} % | {worst} |");
    }
    let _ = writeln!(text, "| quic | - | - | unknown | | UDP is not read |\n");
    let _ = writeln!(text, "| path | client | connections | samples | flagged |\n|---|---|---|---|---|");
    for row in &report.gap_rows {
        let share = 100.0 * row.flagged as f64 / row.samples.max(1) as f64;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} ({share:.1} %) |",
            row.path, row.client, row.connections, row.samples, row.flagged
        );
    }
    if let Some(ja4) = report.ja4 {
        let _ = writeln!(text, "\nJA4: {} of {} expected values.", ja4.passed, ja4.total);
    }
    text
}

/// What misses the error that is asked of it, in words.
pub(super) fn misses(report: &Report) -> Vec<String> {
    let sums = requests::sums(&report.request_rows);
    let mut misses = Vec::new();
    for (protocol, most) in requests::PROTOCOLS {
        let Some((counted, served)) = sums.get(protocol) else { continue };
        if *served == 0 || error(*counted, *served) > *most {
            misses.push(format!(
                "{protocol}: {counted} requests counted, {served} served; at most {most} % may be amiss"
            ));
        }
    }
    misses
}

/// Percent by which a count is off.
fn error(counted: u64, served: u64) -> f64 {
    100.0 * counted.abs_diff(served) as f64 / served.max(1) as f64
}

/// Puts the tables between the file's markers.
pub(super) fn replace(file: &Path, tables: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.with_context(|| format!("{} has no markers for the tables", file.display()))?;
    std::fs::write(file, format!("{head}{BEGIN}{tables}{END}{tail}"))
        .with_context(|| format!("write {}", file.display()))
}
