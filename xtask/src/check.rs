//! `cargo xtask check`: format, lints, documentation and house rules. Changes nothing.

mod tidy;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::command;
use crate::setup;
use crate::workspace::Workspace;

/// Check format, lints, documentation and house rules
#[derive(clap::Args)]
#[command(
    long_about = "Checks format, lints, documentation and house rules, and changes nothing.\n\
        Format and house rules go over the kernel crate too; lints and documentation over the host crates only, \
        since Debian's compiler for BPF brings no clippy.",
    after_help = "Example:\n  cargo xtask check && git push"
)]
pub(crate) struct Args {}

/// Runs the verb: every check, even after one failed.
pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    component("rustfmt", "fmt")?;
    component("clippy", "clippy")?;
    // The sensor's build script needs the BPF toolchain, under clippy too.
    setup::ensure(&workspace)?;
    let mut failed = Vec::new();
    let mut verdict = |name: &'static str, ok: bool| {
        eprintln!("check: {name}: {}", if ok { "passed" } else { "FAILED" });
        failed.extend((!ok).then_some(name));
    };
    verdict("format", cargo(&workspace, &["fmt", "--all", "--", "--check"])?);
    verdict("lints", cargo(&workspace, &["clippy", "--all-targets", "--", "-D", "warnings"])?);
    verdict("documentation", documentation(&workspace)?);
    verdict("house rules", tidy::check(&workspace.root)?);
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "check: failed: {}; `cargo fmt --all` mends the format, the rest says above what to do",
        failed.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<bool> {
    finish(workspace.cargo().args(arguments))
}

fn documentation(workspace: &Workspace) -> Result<bool> {
    let mut cargo = workspace.cargo();
    finish(cargo.args(["doc", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn finish(command: &mut Command) -> Result<bool> {
    let status = command.stdin(Stdio::null()).status();
    Ok(status.with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?.success())
}

/// A toolchain of rustup's minimal profile has neither; adding one replaces nothing.
fn component(name: &str, subcommand: &str) -> Result<()> {
    let answers = || command::output(Command::new("cargo").args([subcommand, "--version"])).is_ok_and(|(ok, _)| ok);
    if answers() {
        return Ok(());
    }
    eprintln!("check: adding {name} to the Rust toolchain: rustup component add {name}");
    let added = command::stdout(Command::new("rustup").args(["component", "add", name]));
    if added.is_err() || !answers() {
        bail!("`cargo {subcommand}` does not work: install it with `rustup component add {name}`");
    }
    Ok(())
}
