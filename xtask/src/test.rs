//! `cargo xtask test`: sets up, builds, runs every test of every tier, and says what ran and what did not.
//! Test binaries run one after the other: those of the lab use the whole machine.

pub(crate) mod build;
mod libtest;
mod report;
mod run;

use std::collections::BTreeSet;
use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::privilege;
use crate::setup;
use crate::workspace::Workspace;

/// Build and run all tests, those of the kernel tiers too
#[derive(clap::Args)]
#[command(
    long_about = "Builds and runs all tests, those of the kernel tiers too; does its own set-up.\n\
        A test that cannot run here prints `SKIP tier: reason` and counts as skipped; name tiers in SENSOR_REQUIRE \
        (such as bpf,net) to make their skips failures. Tests of the lab need root and go through sudo when you are not.",
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --tier live -- one_request"
)]
pub(crate) struct Args {
    /// Only this tier: `unit`, `doc`, or the name of a test binary
    #[arg(long, value_name = "NAME")]
    tier: Option<String>,
    /// Only tests whose name holds one of these words
    #[arg(last = true)]
    filter: Vec<String>,
    /// Tiers whose skip is a failure, unless `SENSOR_REQUIRE` says otherwise.
    #[arg(skip)]
    required: String,
}

impl Args {
    /// Everything, with tiers that must not be skipped.
    pub(crate) fn requiring(tiers: &str) -> Self {
        Self { tier: None, filter: Vec::new(), required: tiers.to_owned() }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    if args.tier.as_deref() != Some("doc") {
        privilege::expect_root("the test suite")?;
    }
    setup::ensure(&workspace)?;
    eprintln!("building the tests");
    let programs = build::programs(&workspace, &[])?;
    let mut suites = build::suites(&workspace)?;
    if let Some(tier) = &args.tier {
        let known: BTreeSet<String> = suites.iter().map(|suite| suite.tier.clone()).collect();
        suites.retain(|suite| suite.tier == *tier);
        if suites.is_empty() {
            bail!("no tier {tier:?}; there are: {}", known.into_iter().collect::<Vec<_>>().join(", "));
        }
    }
    let required = env::var("SENSOR_REQUIRE").unwrap_or_else(|_| args.required.clone());
    let mut variables = privilege::variables(&workspace)?;
    variables.push(("SENSOR_REQUIRE".into(), required.clone().into()));
    for (name, variable) in [("sensor", "SENSOR_BIN"), ("sensor-lab", "SENSOR_LAB_BIN")] {
        variables.extend(programs.get(name).map(|program| (variable.into(), program.clone().into())));
    }
    let required: BTreeSet<&str> = required.split(',').map(str::trim).filter(|tier| !tier.is_empty()).collect();
    let mut lines = Vec::new();
    for suite in &suites {
        lines.push(run::suite(&workspace, suite, &variables, &args.filter, &required)?);
    }
    Ok(report::print(&lines))
}
