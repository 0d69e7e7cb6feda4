//! The demo.
use std::process::ExitCode;
/// Options.
#[derive(Debug, clap::Args)]
pub struct DemoOptions {}
/// Runs.
pub fn run(_: &DemoOptions) -> anyhow::Result<ExitCode> { Ok(ExitCode::SUCCESS) }
