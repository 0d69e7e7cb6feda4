//! `cargo xtask ci`: everything a change must pass, `check` then `test`, with no tier skipped.

use std::process::ExitCode;

use anyhow::Result;

use crate::check;
use crate::test;

/// Check and test, with kernel and network tiers required
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask ci\n\nSet SENSOR_REQUIRE to require other tiers, or to nothing for none."
)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    let checked = check::run(&check::Args {})?;
    if checked != ExitCode::SUCCESS {
        return Ok(checked);
    }
    test::run(&test::Args::requiring("bpf,net"))
}
