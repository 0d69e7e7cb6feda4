//! `sensor-eval`: runs the evaluation and prints what came of it. `cargo xtask eval` builds and calls it.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sensor::tunable::Tunables;
use sensor_eval::assumption::{Assumptions, ROWS};
use sensor_eval::evaluate::{self, Results, Work};
use sensor_eval::run::{FIRST_HELD_OUT, Settings, check_seeds};
use sensor_eval::scenario::Scenario;
use sensor_eval::sheet::{self, Sheet};
use sensor_eval::summary::Summary;
use sensor_eval::trace::{Part, Trace};
use sensor_eval::{page, plot, record, suite, tick};
use serde_json::json;

/// Days of calm before every scenario.
const PAST_DAYS: u64 = 5;

/// Measures detection on labelled traffic: benign and attack suites, baselines, sensitivity, the adaptive adversary
#[derive(Parser)]
#[command(name = "sensor-eval", version, after_help = "Example:\n  sensor-eval --quick --json summary.json")]
struct Args {
    /// A few scenarios, one seed, no sensitivity and no adaptive adversary
    #[arg(long)]
    quick: bool,
    /// Only this scenario; may be repeated
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Print the names of the scenarios
    #[arg(long)]
    list: bool,
    /// Number of seeds [default: 5, 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// First seed: from 1000 on for reporting, below for --tuning
    #[arg(long, value_name = "SEED")]
    first_seed: Option<u64>,
    /// Use the seeds and the days of a recording that are for choosing thresholds; the docs are never written from them
    #[arg(long, conflicts_with = "docs")]
    tuning: bool,
    /// Take tenants' arrivals from a CSV file, plain or gzip: `time,client`, an Azure or a ServeGen trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Change an assumption about the world
    #[arg(long, value_name = "NAME=VALUE")]
    assume: Vec<String>,
    /// Change a tunable of the engine
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Days of calm before every scenario
    #[arg(long, value_name = "DAYS", default_value_t = PAST_DAYS, value_parser = clap::value_parser!(u64).range(1..=30))]
    past_days: u64,
    /// Also write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write tables and plots into detection.md in this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "scenario", "set", "assume", "trace"])]
    docs: Option<PathBuf>,
    /// Write one scenario down as an event file, JSON lines or (.csv) CSV, instead of running it
    #[arg(long, value_name = "FILE", requires = "scenario", conflicts_with = "docs")]
    write_events: Option<PathBuf>,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sensor-eval: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let part = if args.tuning { Part::Tune } else { Part::HeldOut };
    let settings = settings(args, part)?;
    if args.list {
        for scenario in suite::every(&settings.assumptions) {
            println!("{:<20} {}", scenario.name, scenario.summary);
        }
        return Ok(());
    }
    let first = args.first_seed.unwrap_or(if args.tuning { 1 } else { FIRST_HELD_OUT });
    let count = args.seeds.unwrap_or(if args.quick { 1 } else { 5 });
    let seeds: Vec<u64> = (first..first.saturating_add(count)).collect();
    check_seeds(&seeds, part)?;
    let scenarios = chosen(args, &settings)?;
    if let Some(path) = &args.write_events {
        let [scenario] = scenarios.as_slice() else { bail!("an event file holds one scenario: give --scenario once") };
        let events = record::write(&settings, scenario, first, path)?;
        let file = path.display();
        eprintln!("{events} events of {} in {file}; next: sensor replay --events {file}", scenario.name);
        return Ok(());
    }
    let is_whole = !args.quick && args.scenario.is_empty();
    let threads = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let work = Work { seeds, scenarios, sensitivity: is_whole, adaptive: is_whole, threads };
    let bar = progress(evaluate::steps(&work, &settings));
    let results = evaluate::run(&work, &settings, &|what| {
        bar.set_message(what.to_owned());
        bar.inc(1);
    });
    bar.finish_and_clear();
    let summary = Summary::of(&results, &work.seeds, tick::measure(&settings.tunables));
    publish(args, &settings, &work, &results, &summary)
}

fn settings(args: &Args, part: Part) -> Result<Settings> {
    let mut assumptions = Assumptions::default();
    for text in &args.assume {
        assumptions.set(text)?;
    }
    let mut tunables = Tunables::default();
    for text in &args.set {
        let (name, value) = text.split_once('=').context("--set: give NAME=VALUE, as in rotation_alarm=18")?;
        tunables.set(name, value.parse().with_context(|| format!("--set {text}: the value is no whole number"))?)?;
    }
    let trace = args.trace.as_ref().map(|path| Trace::read(path, part)).transpose()?.map(Arc::new);
    let past_s = args.past_days * 86_400;
    Ok(Settings { assumptions: Arc::new(assumptions), tunables, trace, past_s, rivals: true })
}

fn chosen(args: &Args, settings: &Settings) -> Result<Vec<Scenario>> {
    if args.scenario.is_empty() {
        let all = if args.quick { suite::quick } else { suite::every };
        return Ok(all(&settings.assumptions));
    }
    let every = suite::every(&settings.assumptions);
    let find = |name: &String| {
        let found = every.iter().find(|scenario| scenario.name == *name).cloned();
        found.with_context(|| format!("no scenario is called `{name}`; --list names them"))
    };
    args.scenario.iter().map(find).collect()
}

fn progress(steps: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed} {msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn publish(args: &Args, settings: &Settings, work: &Work, results: &Results, summary: &Summary) -> Result<()> {
    let every = suite::every(&settings.assumptions);
    let sheets = [
        sheet::summary(summary),
        sheet::benign(results, &work.scenarios),
        sheet::attacks(results, &work.scenarios),
        sheet::rivals(results),
        sheet::sensitivity(results),
        sheet::undetected(results, &every),
    ];
    for sheet in sheets.iter().filter(|sheet| !sheet.rows.is_empty()) {
        println!("{}\n\n{}\n", sheet.name, sheet.terminal());
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report(settings, work, &sheets, summary))?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(folder) = &args.docs {
        let mut written: Vec<Sheet> = sheets.to_vec();
        written.push(sheet::assumptions(&settings.assumptions));
        page::write(&folder.join("detection.md"), &written)?;
        plot::alarm(results, &folder.join("detection-alarm.svg"))?;
        plot::served(results, &folder.join("detection-served.svg"))?;
    }
    Ok(())
}

fn report(settings: &Settings, work: &Work, sheets: &[Sheet], summary: &Summary) -> serde_json::Value {
    let assumed: serde_json::Map<String, serde_json::Value> = ROWS
        .iter()
        .zip(settings.assumptions.values())
        .map(|(row, value)| (row.name.to_owned(), json!(value)))
        .collect();
    let tables: serde_json::Map<String, serde_json::Value> =
        sheets.iter().map(|sheet| (sheet.name.to_owned(), json!({ "head": sheet.head, "rows": sheet.rows }))).collect();
    json!({ "version": 1, "summary": summary, "seeds": work.seeds, "assumptions": assumed, "tables": tables })
}
