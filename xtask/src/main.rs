//! The project's chores: one verb per file, each a plain command with `--help`.
//! Nothing here is part of the product; the verbs only build, check, test and show it.

mod bench;
mod check;
mod ci;
mod command;
mod demo;
mod eval;
mod evidence;
mod fuzz;
mod lab;
mod privilege;
mod progress;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The project's chores", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Setup(setup::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Evidence(evidence::Args),
    Test(test::Args),
    Check(check::Args),
    Ci(ci::Args),
    Fuzz(fuzz::Args),
    Lab(lab::Args),
    Eval(eval::Args),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        // The chain of reasons and no backtrace: the reader is at a terminal, not in a debugger.
        eprintln!("xtask: error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    match Cli::parse().verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Evidence(args) => evidence::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Ci(args) => ci::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Lab(args) => lab::run(&args),
        Verb::Eval(args) => eval::run(&args),
    }
}
