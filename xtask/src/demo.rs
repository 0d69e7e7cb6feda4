//! `cargo xtask demo`: the main job end to end, in a lab of network namespaces.
//! The lab holds the scenario and the verdict; this verb only prepares and hands over.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::lab;
use crate::workspace::Workspace;

/// Show the sensor finding and stopping a proxy rotation, from set-up to summary
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask demo --json summary.json --seed 7")]
pub(crate) struct Args {
    /// Also write the summary to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seed of everything random in the lab
    #[arg(long)]
    seed: Option<u64>,
    /// Number of relays, each on an address of its own
    #[arg(long)]
    relays: Option<u32>,
    /// Length of the run in seconds
    #[arg(long, value_name = "SECS")]
    duration: Option<u64>,
    /// Leave the lab up afterwards, to look around
    #[arg(long)]
    keep: bool,
}

/// Runs the verb; does not come back when the demo starts.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let json = args.json.as_ref().map(|file| env::current_dir().map(|folder| folder.join(file))).transpose();
    let json = json.context("cannot tell the current folder, needed for --json")?;
    let workspace = Workspace::locate()?;
    let programs = lab::prepare(&workspace)?;
    let mut arguments: Vec<OsString> = vec!["demo".into(), "--sensor".into(), programs.sensor.clone().into()];
    let mut flag = |name: &str, value: Option<OsString>| {
        arguments.extend(value.map(|value| [name.into(), value]).into_iter().flatten());
    };
    flag("--json", json.map(PathBuf::into_os_string));
    flag("--seed", args.seed.map(|seed| seed.to_string().into()));
    flag("--relays", args.relays.map(|relays| relays.to_string().into()));
    flag("--duration", args.duration.map(|seconds| seconds.to_string().into()));
    arguments.extend(args.keep.then(|| "--keep".into()));
    lab::become_lab(&workspace, &programs, &arguments)
}
