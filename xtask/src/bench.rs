//! `cargo xtask bench`: what a packet costs, beside floors and peers, in one run.
//! The lab measures and judges; this verb only prepares and hands over.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::lab;
use crate::workspace::Workspace;

/// The page whose figures are the benchmark's.
const PAGE: &str = "docs/performance.md";

/// Measure what the packet path, its daemon and a server behind it cost, beside floors and peers
#[derive(clap::Args)]
#[command(
    long_about = "Measures what a packet costs the sensor as shipped, by BPF_PROG_TEST_RUN and by live frames over veth, \
        beside a bare drop, xdp-filter, nftables and the same program on LRU hashes; its tick, snapshot and memory with \
        a million sources; and what nginx behind it loses. Peers that are not installed are skipped and named.",
    after_help = "Example:\n  cargo xtask bench --quick --case flood --json bench.json"
)]
pub(crate) struct Args {
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Two short repetitions instead of five
    #[arg(long)]
    quick: bool,
    /// Only cases whose name contains this; several are separated by commas
    #[arg(long, value_name = "FILTER")]
    case: Option<String>,
    /// Number of repetitions
    #[arg(long, value_name = "COUNT")]
    repetitions: Option<u16>,
    /// Regenerate tables and plots of docs/performance.md
    #[arg(long)]
    docs: bool,
}

/// Runs the verb; does not come back when the benchmark starts.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let json = args.json.as_ref().map(|file| env::current_dir().map(|folder| folder.join(file))).transpose();
    let json = json.context("cannot tell the current folder, needed for --json")?;
    let workspace = Workspace::locate()?;
    let programs = lab::prepare(&workspace)?;
    let mut arguments: Vec<OsString> = vec!["bench".into(), "--sensor".into(), programs.sensor.clone().into()];
    let mut flag = |name: &str, value: Option<OsString>| {
        arguments.extend(value.map(|value| [name.into(), value]).into_iter().flatten());
    };
    flag("--json", json.map(PathBuf::into_os_string));
    flag("--case", args.case.clone().map(OsString::from));
    flag("--repetitions", args.repetitions.map(|count| count.to_string().into()));
    flag("--docs", args.docs.then(|| workspace.root.join(PAGE).into_os_string()));
    arguments.extend(args.quick.then(|| "--quick".into()));
    lab::become_lab(&workspace, &programs, &arguments)
}
