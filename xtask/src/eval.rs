//! `cargo xtask eval`: detection quality in numbers. The evaluator is a program of its own; this verb builds it and
//! hands over.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::setup;
use crate::test::build;
use crate::workspace::Workspace;

/// Package and program of the evaluator.
const EVALUATOR: &str = "sensor-eval";

/// Measure detection on labelled traffic: benign and attack suites, baselines, sensitivity, adaptive adversary
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask eval --quick --json summary.json\n\nMore flags, after `--`: --list, --tuning, \
                  --assume NAME=VALUE, --set NAME=VALUE, --past-days DAYS, --jobs N (see `cargo xtask eval -- --help`)."
)]
pub(crate) struct Args {
    /// A few scenarios, one seed
    #[arg(long)]
    quick: bool,
    /// Only this scenario; may be repeated
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Number of seeds
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// First seed: from 1000 on, or below with --tuning
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Tenants' arrivals from a CSV file, plain or gzip
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Also write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one scenario down as an event file for `sensor replay`
    #[arg(long, value_name = "FILE")]
    write_events: Option<PathBuf>,
    /// Write tables and plots into docs/detection.md
    #[arg(long)]
    docs: bool,
    /// Further flags of the evaluator
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// Runs the verb; does not come back when the evaluation starts.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    // The engine's package carries the kernel object, so its build needs the BPF toolchain.
    setup::ensure(&workspace)?;
    eprintln!("building the evaluator (release)");
    let built = build::programs(&workspace, &["--release", "-p", EVALUATOR])?;
    let program = built.get(EVALUATOR).context("the build made no evaluator")?;
    let mut command = Command::new(program);
    let mut flag = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            command.arg(name).arg(value);
        }
    };
    args.scenario.iter().for_each(|name| flag("--scenario", Some(name.into())));
    flag("--seeds", args.seeds.map(|n| n.to_string().into()));
    flag("--first-seed", args.seed.map(|n| n.to_string().into()));
    flag("--trace", args.trace.clone().map(Into::into));
    flag("--json", args.json.clone().map(Into::into));
    flag("--write-events", args.write_events.clone().map(Into::into));
    flag("--docs", args.docs.then(|| workspace.root.join("docs").into()));
    command.args(args.quick.then_some("--quick")).args(&args.rest);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
