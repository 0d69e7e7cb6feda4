//! `cargo xtask lab`: builds the sensor and the lab and runs one of the lab's own commands as root.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::privilege;
use crate::setup;
use crate::test::build;
use crate::workspace::Workspace;

/// Run a command of the lab (network namespaces, model server, clients, relays) as root
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask lab -- --help")]
pub(crate) struct Args {
    /// Command of the lab and its flags
    #[arg(last = true, required = true)]
    arguments: Vec<OsString>,
}

/// Runs the verb; does not come back when the lab starts.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let programs = prepare(&workspace)?;
    become_lab(&workspace, &programs, &args.arguments)
}

/// The two programs of a lab run, in release profile.
pub(crate) struct Programs {
    pub(crate) sensor: PathBuf,
    lab: PathBuf,
}

/// Sets up and builds; cargo shows its own progress.
pub(crate) fn prepare(workspace: &Workspace) -> Result<Programs> {
    privilege::expect_root("the lab")?;
    setup::ensure(workspace)?;
    eprintln!("building the sensor and the lab (release)");
    let built = build::programs(workspace, &["--release", "-p", "sensor", "-p", build::LAB_PACKAGE])?;
    let find = |name: &str| built.get(name).cloned().with_context(|| format!("the build made no program {name}"));
    Ok(Programs { sensor: find("sensor")?, lab: find("sensor-lab")? })
}

/// Replaces this process by the lab, so that signals and the exit code are the lab's own.
pub(crate) fn become_lab(workspace: &Workspace, programs: &Programs, arguments: &[OsString]) -> Result<ExitCode> {
    let mut variables = privilege::variables(workspace)?;
    variables.push(("SENSOR_BIN".into(), programs.sensor.clone().into()));
    let mut command = privilege::as_root(programs.lab.as_os_str(), &variables);
    let error = command.args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", programs.lab.display()))
}
