//! The result as a whole, and how a terminal shows it.

use std::collections::BTreeMap;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use console::style;
use serde::Serialize;

use super::daemon::Footprint;
use super::figure::{Row, median};
use super::machine::Machine;
use super::serve::Served;
use super::target::Verdict;

/// What `--json` writes.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// One row for each case, subject and way.
    pub rows: Vec<Row>,
    /// The promises' figures by key; null if something they need was skipped.
    pub ratios: BTreeMap<&'static str, Option<f64>>,
    /// The same with what they must be.
    pub targets: BTreeMap<&'static str, Verdict>,
    /// What the daemon takes.
    pub daemon: Option<Footprint>,
    /// What a real server loses.
    pub served: Vec<Served>,
    /// What could not be measured, and why.
    pub skipped: BTreeMap<String, String>,
}

/// The figures of one case and subject, side by side.
pub struct Line<'a> {
    /// Case.
    pub case: &'a str,
    /// Subject and its rules.
    pub subject: String,
    /// Its rows by way.
    pub rows: Vec<&'a Row>,
}

impl Line<'_> {
    /// The row of a way.
    pub fn way(&self, way: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.parameters.way == way).copied()
    }

    /// Nanoseconds by test_run.
    pub fn run(&self) -> String {
        number(self.way("test_run").and_then(|row| row.ns_per_packet))
    }

    /// Nanoseconds above the floor by test_run.
    pub fn over(&self) -> String {
        number(self.way("test_run").and_then(|row| row.over_floor_ns))
    }

    /// Rate over a veth, one core.
    pub fn live(&self) -> String {
        let row = self.way("live").or_else(|| self.way("live, attached"));
        rate(row.and_then(|row| row.mpps))
    }

    /// Rate over a veth, two cores.
    pub fn two(&self) -> String {
        rate(self.way("live, two cores").and_then(|row| row.mpps))
    }

    /// The largest spread of its rows.
    pub fn spread(&self) -> String {
        let most = self.rows.iter().filter_map(|row| row.spread).max_by(f64::total_cmp);
        most.map_or_else(|| "–".to_owned(), |spread| format!("{spread:.2}"))
    }
}

/// Heads of the columns that go with a [`Line`].
pub const HEADS: [&str; 7] = ["case", "subject", "test_run ns", "over floor ns", "live Mpps", "2 cores Mpps", "spread"];

fn number(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.1}"))
}

fn rate(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.2}"))
}

/// A ratio as people read it.
pub fn shown(figure: Option<f64>) -> String {
    match figure {
        Some(figure) if figure.abs() < 0.1 => format!("{figure:.4}"),
        Some(figure) => format!("{figure:.2}"),
        None => "–".to_owned(),
    }
}

impl Report {
    /// Rows side by side, in the order of the cases.
    pub fn lines(&self) -> Vec<Line<'_>> {
        let mut lines: Vec<Line<'_>> = Vec::new();
        for row in &self.rows {
            let subject = match row.parameters.rules {
                Some(rules) if rules != "none" => format!("{}, {rules}", row.subject),
                _ => row.subject.clone(),
            };
            match lines.iter_mut().find(|line| line.case == row.case && line.subject == subject) {
                Some(line) => line.rows.push(row),
                None => lines.push(Line { case: &row.case, subject, rows: vec![row] }),
            }
        }
        lines
    }

    /// Server, program, whether flooded, then medians of requests per second and both latencies, and errors.
    pub fn served_lines(&self) -> Vec<[String; 7]> {
        let mut keys: Vec<(&str, &str, bool)> = Vec::new();
        for row in &self.served {
            let key = (row.server, row.program, row.flood_per_s > 0);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.sort_by_key(|(server, _, flooded)| (*server, *flooded));
        let line = |(server, program, flooded): (&str, &str, bool)| {
            let rows: Vec<&Served> = self
                .served
                .iter()
                .filter(|row| (row.server, row.program, row.flood_per_s > 0) == (server, program, flooded))
                .collect();
            let middle = |of: fn(&Served) -> f64| median(&rows.iter().map(|row| of(row)).collect::<Vec<_>>());
            [
                server.to_owned(),
                program.to_owned(),
                middle(|row| f64::from(row.flood_per_s)).map_or_else(String::new, |rate| format!("{rate:.0}")),
                middle(|row| row.requests_per_s).map_or_else(String::new, |rate| format!("{rate:.0}")),
                rate(middle(|row| row.p50_ms)),
                rate(middle(|row| row.p99_ms)),
                rows.iter().map(|row| row.errors).sum::<u64>().to_string(),
            ]
        };
        keys.into_iter().map(line).collect()
    }

    /// Prints tables and verdicts.
    pub fn print(&self) {
        let mut table = table(&HEADS);
        for line in self.lines() {
            let cells = [
                line.case.to_owned(),
                line.subject.clone(),
                line.run(),
                line.over(),
                line.live(),
                line.two(),
                line.spread(),
            ];
            table.add_row(cells);
        }
        println!("{table}");
        if !self.served.is_empty() {
            let mut served = super::report::table(&SERVED_HEADS);
            self.served_lines().into_iter().for_each(|line| {
                served.add_row(line);
            });
            println!("{served}");
        }
        if let Some(daemon) = &self.daemon {
            println!("daemon: {}", daemon_line(daemon));
        }
        let mut verdicts = super::report::table(&["ratio", "value", "of one repetition", "target", ""]);
        for target in &super::target::TARGETS {
            let verdict = &self.targets[target.key];
            let range = verdict.range.map(|(low, high)| format!("{} to {}", shown(Some(low)), shown(Some(high))));
            let word = match verdict.met {
                Some(true) => style("met").green().to_string(),
                Some(false) => style("missed").red().bold().to_string(),
                None => style("not measured").yellow().to_string(),
            };
            let (value, bound) = (shown(verdict.value), verdict.target.to_string());
            verdicts.add_row([target.key.to_owned(), value, range.unwrap_or_default(), bound, word]);
        }
        println!("{verdicts}");
        for (what, why) in &self.skipped {
            println!("{} {what}: {why}", style("SKIPPED").yellow().bold());
        }
        let Machine { kernel, cpu, commit, repetitions, steal_ratio, .. } = &self.machine;
        println!(
            "kernel {kernel}, {cpu}, commit {commit}, {repetitions} repetitions, {:.1} % stolen",
            steal_ratio * 1e2
        );
    }
}

/// Heads of [`Report::served_lines`].
pub const SERVED_HEADS: [&str; 7] = ["server", "program", "spoofed SYN/s", "requests/s", "p50 ms", "p99 ms", "errors"];

/// The daemon's figures in a sentence.
pub fn daemon_line(daemon: &Footprint) -> String {
    let maps: u64 = daemon.map_bytes.values().sum();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    format!(
        "{} sources tracked, {} active: tick {} ms, snapshot {} ms ({} ms if only those moved), maps {:.1} MB, resident {:.1} MB",
        daemon.sources_tracked,
        daemon.sources_active,
        rate(median(&daemon.tick_ms)),
        rate(median(&daemon.snapshot_ms)),
        rate(median(&daemon.snapshot_active_ms)),
        megabytes(maps),
        megabytes(daemon.rss_bytes)
    )
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(heads.to_vec());
    for index in 2..heads.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
