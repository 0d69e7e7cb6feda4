//! `sensor-lab evidence`: measures what the sensor says about each connection against what really happened, with
//! servers, clients and relays that others wrote. Refuses to judge campaigns: that is the demo's and the evaluation's.

mod gap;
mod job;
mod page;
mod proxy;
mod requests;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::lab::sensor::SensorOptions;
use crate::lab::{Distance, Lab, LabPlan};
use crate::live::Live;
use server::Kind;

/// Options of the evidence run.
#[derive(Clone, Debug, clap::Args)]
pub struct EvidenceOptions {
    /// A run of a few minutes: fewer requests and connections.
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables into this Markdown file, between its markers.
    #[arg(long, value_name = "FILE")]
    docs: Option<PathBuf>,
    /// Only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// The sensor's binary.
    #[arg(long, value_name = "FILE")]
    sensor: Option<PathBuf>,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Requests,
    Gap,
}

/// What `--json` writes.
#[derive(Debug, Serialize)]
struct Report {
    /// Requests counted per request served, by protocol; none where nothing was measured.
    requests: BTreeMap<&'static str, Option<f64>>,
    gap: Gap,
    ja4: Option<Conformance>,
    request_rows: Vec<requests::Row>,
    gap_rows: Vec<gap::Row>,
    /// What could not be measured, and why.
    skipped: Vec<String>,
    quick: bool,
}

#[derive(Debug, Serialize)]
struct Gap {
    /// Flagged share of samples, by client, and of `all`.
    direct_false_rate: BTreeMap<&'static str, f64>,
    /// Flagged share of samples, by relay, and of `all`.
    relay_hit_rate: BTreeMap<&'static str, f64>,
}

/// How many expected fingerprints come out right.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Conformance {
    pub passed: u64,
    pub total: u64,
}

/// The fingerprint's conformance: none until something in this workspace computes JA4 strings.
fn ja4() -> Option<Conformance> {
    None
}

/// Runs the verb. The exit code is 1 where a count misses the error that is asked of it.
///
/// # Errors
/// When the lab or the sensor does not start, or a file cannot be written.
pub fn run(options: &EvidenceOptions) -> Result<ExitCode> {
    let plan = LabPlan {
        users: gap::FIRST_ADDRESS + 3 * gap::DIRECT_ADDRESSES,
        relays: proxy::Relay::ALL.len() * gap::RELAY_ADDRESSES,
        distance: Some(Distance { user: 5.0..=60.0, exit: 2.0..=20.0, leg: 30.0..=120.0, jitter_ms: 1.0 }),
        ..LabPlan::small()
    };
    let lab = Lab::start(&plan)?;
    let mut sensor = match &options.sensor {
        Some(binary) => SensorOptions::of(binary.clone()),
        None => SensorOptions::built()?,
    };
    sensor.enforce = false;
    let server = Kind::Hyper.start(&lab)?;
    let mut live = Live::serving(lab, server, sensor)?;
    let mut skipped = Vec::new();
    let (count, connections) = if options.quick { (160, 4) } else { (480, 20) };
    let wanted = |part| options.only.is_none_or(|only| only == part);
    let mut request_rows = Vec::new();
    if wanted(Part::Requests) {
        request_rows = requests::measure(&mut live, count, &mut skipped)?;
    }
    let mut gap_rows = Vec::new();
    if wanted(Part::Gap) {
        gap_rows = gap::measure(&mut live, connections, &mut skipped)?;
    }
    let drops = live.lab.line_drops()?;
    if drops > 0 {
        skipped.push(format!("the delay line lost {drops} packets: the machine was too busy"));
    }
    skipped.sort();
    skipped.dedup();
    for line in &skipped {
        println!("SKIP evidence: {line}");
    }
    let report = report(request_rows, gap_rows, skipped, options.quick);
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report).context("write the figures as JSON")?;
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    let text = page::tables(&report);
    println!("{text}");
    if let Some(file) = &options.docs {
        page::replace(file, &text)?;
    }
    let misses = page::misses(&report);
    for miss in &misses {
        eprintln!("evidence: {miss}");
    }
    Ok(if misses.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(request_rows: Vec<requests::Row>, gap_rows: Vec<gap::Row>, skipped: Vec<String>, quick: bool) -> Report {
    let sums = requests::sums(&request_rows);
    let mut ratios: BTreeMap<_, _> = requests::PROTOCOLS.iter().map(|(protocol, _)| (*protocol, None)).collect();
    for (protocol, (counted, served)) in sums {
        ratios.insert(protocol, Some(counted as f64 / served.max(1) as f64));
    }
    // UDP is not read: unknown, and never a guess.
    ratios.insert("quic", None);
    let (direct, relayed): (Vec<&gap::Row>, Vec<_>) = gap_rows.iter().partition(|row| row.path == "direct");
    let gap =
        Gap { direct_false_rate: rates(&direct, |row| row.client), relay_hit_rate: rates(&relayed, |row| row.path) };
    Report { requests: ratios, gap, ja4: ja4(), request_rows, gap_rows, skipped, quick }
}

fn rates(rows: &[&gap::Row], name: impl Fn(&gap::Row) -> &'static str) -> BTreeMap<&'static str, f64> {
    let mut sums: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    for row in rows {
        for key in [name(row), "all"] {
            let sum = sums.entry(key).or_default();
            sum.0 += row.flagged;
            sum.1 += row.samples;
        }
    }
    sums.into_iter().filter(|(_, (_, n))| *n > 0).map(|(key, (k, n))| (key, k as f64 / n as f64)).collect()
}
