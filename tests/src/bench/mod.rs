//! The benchmark: what a packet costs the sensor as shipped, beside floors, peers and the same program on LRU hashes,
//! in one run; and what its daemon and a real server behind it pay. Every run is bounded in frames and time.

pub mod case;
mod daemon;
pub mod docs;
pub(crate) mod feeder;
pub mod figure;
mod lru;
mod machine;
mod measure;
mod memory;
mod peer;
mod plot;
mod progress;
pub mod report;
pub(crate) mod sensor;
pub mod serve;
mod subject;
pub mod target;
pub mod traffic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::lab::{Lab, LabPlan, sibling};
use case::{CASES, Case, Way};
use daemon::Footprint;
use figure::Samples;
use machine::{Clock, Machine, load, wait_quiet};
use measure::{Effort, measure};
pub use progress::Progress;
use report::Report;
use serve::Served;
use subject::{Arena, Subject};
use target::{TARGETS, Taken};

/// How long a repetition waits for a quiet machine.
const QUIET: Duration = Duration::from_secs(5);

/// Flags of `sensor-lab bench`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BenchOptions {
    /// The sensor to measure; SENSOR_BIN or the one built beside this program when left out.
    #[arg(long, value_name = "PATH")]
    pub sensor: Option<PathBuf>,
    /// Also write the result to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Two short repetitions instead of five.
    #[arg(long)]
    pub quick: bool,
    /// Only cases whose name contains this (`daemon` and `nginx` are cases too); several are separated by commas.
    #[arg(long, value_name = "FILTER")]
    pub case: Option<String>,
    /// Number of repetitions.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=50))]
    pub repetitions: Option<u16>,
    /// Regenerate tables and plots of this page.
    #[arg(long, value_name = "FILE")]
    pub docs: Option<PathBuf>,
    /// As little as makes every part work, for tests: the figures mean nothing.
    #[arg(long, hide = true)]
    pub tiny: bool,
}

impl BenchOptions {
    fn repetitions(&self) -> u16 {
        self.repetitions.unwrap_or(if self.tiny {
            1
        } else if self.quick {
            2
        } else {
            5
        })
    }

    fn effort(&self) -> Effort {
        if self.tiny {
            Effort::TINY
        } else if self.quick {
            Effort::QUICK
        } else {
            Effort::FULL
        }
    }

    /// Whether a case is asked for: by its whole name, or by a part that is no case's whole name.
    fn wants(&self, name: &str) -> bool {
        let meant = |part: &str| {
            let whole = CASES.iter().any(|case| case.name == part);
            if whole { name == part } else { name.contains(part) }
        };
        self.case.as_ref().is_none_or(|filter| filter.split(',').any(|part| meant(part.trim())))
    }
}

/// Runs the benchmark on the terminal.
///
/// # Errors
/// When the lab or the sensor cannot be set up, or a file cannot be written. A missed target is no error.
pub fn run(options: &BenchOptions) -> Result<ExitCode> {
    let report = play(options, &mut Progress::of_stderr())?;
    report.print();
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report).context("write the result")? + "\n";
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    if let Some(page) = &options.docs {
        docs::write(page, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures everything asked for; nothing is left behind.
///
/// # Errors
/// When the lab or the sensor cannot be set up.
pub fn play(options: &BenchOptions, progress: &mut Progress) -> Result<Report> {
    let binary = options.sensor.clone().map_or_else(binary, Ok)?;
    let cases: Vec<&Case> = CASES.iter().filter(|case| options.wants(case.name)).collect();
    let (with_daemon, with_server) = (options.wants("daemon"), options.wants("nginx"));
    if cases.is_empty() && !with_daemon && !with_server {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        bail!("no case is called so; there are {}, daemon and nginx", names.join(", "));
    }
    let mut machine = Machine::look(options.repetitions());
    let clock = Clock::now();
    progress.say("setting up the lab");
    let mut arena = Arena::new(Lab::start(&LabPlan::small())?, binary);
    let mut skipped = BTreeMap::new();
    let samples = measure_cases(&mut arena, &cases, options, progress, &mut machine)?;
    for (subject, why) in &arena.missing {
        skipped.insert(subject.to_string(), why.clone());
    }
    let mut taken = Taken::new();
    let mut footprint = None;
    if with_daemon {
        match measure_daemon(&mut arena, options, progress, &mut taken) {
            Ok(figures) => footprint = Some(figures),
            Err(error) => drop(skipped.insert("daemon".to_owned(), format!("{error:#}"))),
        }
    }
    let mut served = Vec::new();
    if with_server {
        match measure_server(&arena, options, progress) {
            Ok(rows) => served = rows,
            Err(error) => drop(skipped.insert("nginx".to_owned(), format!("{error:#}"))),
        }
        taken.insert("nginx_overhead", serve::overhead(&served));
    }
    progress.end();
    machine.steal_ratio = clock.stolen();
    machine.at_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let cells = cells(&cases);
    let targets: BTreeMap<_, _> = TARGETS.iter().map(|target| (target.key, target.judge(&samples, &taken))).collect();
    Ok(Report {
        machine,
        rows: cells.iter().map(|(case, subject, way)| samples.row(case, *subject, *way)).collect(),
        ratios: targets.iter().map(|(key, verdict)| (*key, verdict.value)).collect(),
        targets,
        daemon: footprint,
        served,
        skipped,
    })
}

fn binary() -> Result<PathBuf> {
    match std::env::var_os("SENSOR_BIN") {
        Some(path) => Ok(Path::new(&path).to_owned()),
        None => sibling("sensor"),
    }
}

/// Every cell of the table, in order.
fn cells<'a>(cases: &[&'a Case]) -> Vec<(&'a Case, Subject, Way)> {
    let of = |case: &'a Case| {
        let ways = case.ways.iter();
        ways.flat_map(move |way| case.subjects.iter().map(move |subject| (case, *subject, *way)))
    };
    cases.iter().flat_map(|case| of(case)).filter(|(_, subject, way)| is_possible(*subject, *way)).collect()
}

/// Only programs can be run.
const fn is_possible(subject: Subject, way: Way) -> bool {
    !matches!(way, Way::Run) || subject.is_program()
}

fn measure_cases(
    arena: &mut Arena,
    cases: &[&Case],
    options: &BenchOptions,
    progress: &mut Progress,
    machine: &mut Machine,
) -> Result<Samples> {
    let mut samples = Samples::default();
    let cells = cells(cases);
    for (_, subject, _) in &cells {
        progress.say(&format!("setting up {subject}"));
        arena.add(*subject)?;
    }
    let total = cells.len() * usize::from(options.repetitions());
    for repetition in 0..options.repetitions() {
        arena.only(&[])?;
        if !options.tiny {
            wait_quiet(QUIET);
        }
        machine.load.push(load());
        let mut order: Vec<usize> = (0..cells.len()).collect();
        if repetition % 2 == 1 {
            order.reverse();
        }
        for (done, index) in order.into_iter().enumerate() {
            let (case, subject, way) = cells[index];
            let cell = (case.name, subject, way);
            if let Some(why) = arena.missing.get(&subject) {
                samples.take(cell, Err(why.clone()));
                continue;
            }
            let done = usize::from(repetition) * cells.len() + done;
            progress.show(done, total, &format!("{}, {subject}, {}", case.name, way.name()));
            arena.only(&[subject])?;
            let figure = measure(arena, case, subject, way, repetition, options.effort());
            samples.take(cell, figure.map_err(|error| format!("{error:#}")));
        }
    }
    Ok(samples)
}

fn measure_daemon(
    arena: &mut Arena,
    options: &BenchOptions,
    progress: &mut Progress,
    taken: &mut Taken,
) -> Result<Footprint> {
    let (frames, ticks) = if options.tiny {
        (50_000, 1)
    } else if options.quick {
        (4_000_000, 4)
    } else {
        (10_000_000, 12)
    };
    progress.say("heavy sources among spoofed ones");
    let error = daemon::heavy_count_error(arena, frames, 0x5eed).context("heavy sources")?;
    taken.insert("heavy_count_error", vec![error]);
    progress.say("the daemon with a million sources");
    let footprint = daemon::footprint(arena, ticks, options.tiny).context("tick and snapshot")?;
    taken.insert("tick_1m_ms", footprint.tick_ms.clone());
    taken.insert("snapshot_1m_ms", footprint.snapshot_ms.clone());
    Ok(footprint)
}

fn measure_server(arena: &Arena, options: &BenchOptions, progress: &mut Progress) -> Result<Vec<Served>> {
    let seconds = if options.tiny || options.quick { 1 } else { 3 };
    let quiet = if options.tiny { Duration::ZERO } else { QUIET };
    serve::serve(arena, options.repetitions(), seconds, quiet, |what| progress.say(what))
}
