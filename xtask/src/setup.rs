//! `cargo xtask setup`: everything the build, the tests and the demo need, without changing the system.
//! Missing programs are unpacked into `target/setup`; nothing is installed, replaced or removed, and no root is needed.

mod apt;
mod bpf;
mod choice;
mod debian;
mod findings;
mod linker;
mod lock;
mod probe;
mod tool;
mod toolchain;

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::workspace::Workspace;

/// Prepare everything: BPF toolchain and the programs that tests and the demo use
#[derive(clap::Args)]
#[command(
    long_about = "Prepares everything the build, the tests and the demo need, inside target/setup of this checkout.\n\
        Nothing is installed on, replaced on or removed from the system; running it again only checks.\n\
        Every other verb does this by itself.",
    after_help = "Example:\n  cargo xtask setup --json | jq .toolchain.kind"
)]
pub(crate) struct Args {
    /// Print what was found and made as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// What a finished set-up offers.
#[derive(Serialize)]
pub(crate) struct Ready {
    toolchain: toolchain::Toolchain,
    tools: Vec<tool::Installed>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let ready = ensure(&workspace)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&ready).context("cannot write the result as JSON")?);
    } else {
        eprintln!("setup: complete, put {} first on PATH to use the tools by hand", workspace.tools().display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that everything is there; quick when it is.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Ready> {
    let _lock = lock::take(&workspace.setup)?;
    let mut store = debian::Store::open(&workspace.setup)?;
    let toolchain = bpf::ensure(workspace, &mut store).context("no BPF toolchain")?;
    let tools = tool::ensure(workspace, &mut store)?;
    Ok(Ready { toolchain, tools })
}
