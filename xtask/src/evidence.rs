//! `cargo xtask evidence`: what the sensor says about each connection, against real servers, clients and relays.
//! The lab measures; this verb only prepares and hands over.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::lab;
use crate::workspace::Workspace;

/// Measure request counts and relay gaps against real servers, clients and relays
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask evidence --quick --json evidence.json")]
pub(crate) struct Args {
    /// Fewer requests and connections: a few minutes
    #[arg(long)]
    quick: bool,
    /// Also write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables into docs/evidence.md
    #[arg(long)]
    docs: bool,
    /// Only this part: requests or gap
    #[arg(long, value_name = "PART")]
    only: Option<String>,
}

/// Runs the verb; does not come back when the lab starts.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let json = args.json.as_ref().map(|file| env::current_dir().map(|folder| folder.join(file))).transpose();
    let json = json.context("cannot tell the current folder, needed for --json")?;
    let workspace = Workspace::locate()?;
    let programs = lab::prepare(&workspace)?;
    let mut arguments: Vec<OsString> = vec!["evidence".into(), "--sensor".into(), programs.sensor.clone().into()];
    arguments.extend(args.quick.then(|| "--quick".into()));
    let docs = args.docs.then(|| workspace.root.join("docs/evidence.md"));
    for (flag, value) in [
        ("--json", json.map(PathBuf::into_os_string)),
        ("--docs", docs.map(PathBuf::into_os_string)),
        ("--only", args.only.clone().map(OsString::from)),
    ] {
        arguments.extend(value.map(|value| [flag.into(), value]).into_iter().flatten());
    }
    lab::become_lab(&workspace, &programs, &arguments)
}
