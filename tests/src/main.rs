//! `sensor-lab`: the lab's processes and the demo, one verb each.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sensor_tests::bench::{self, BenchOptions};
use sensor_tests::client::run_users;
use sensor_tests::demo::{self, DemoOptions};
use sensor_tests::evidence::{self, EvidenceOptions};
use sensor_tests::model::{Serve, api::Pace, serve};
use sensor_tests::{delay, lab, relay};

/// A lab of network namespaces for the sensor.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the main job: a hydra of relays beside benign users, found and stopped by the sensor.
    Demo(DemoOptions),
    /// Measure what the packet path costs, beside floors and peers.
    Bench(BenchOptions),
    /// Measure what the sensor says about connections against what happened.
    Evidence(EvidenceOptions),
    /// Remove what killed runs and kept labs left behind.
    Down,
    /// Run the model server.
    Serve {
        /// Folder for ca.pem and requests.jsonl.
        #[arg(long)]
        dir: PathBuf,
        /// Addresses to listen on; the lab's own when left out.
        #[arg(long)]
        address: Vec<IpAddr>,
        /// Milliseconds before the first token.
        #[arg(long, default_value_t = 80)]
        prefill_ms: u64,
        /// Milliseconds between tokens.
        #[arg(long, default_value_t = 15)]
        token_ms: u64,
    },
    /// Run relays (SOCKS5 and HTTP CONNECT), one for each exit address listed in a file.
    Relay {
        /// File with one address a line.
        exits: PathBuf,
        /// Port on which each relay listens.
        #[arg(long, default_value_t = lab::address::RELAY_PORT)]
        port: u16,
        /// File to create when all relays listen.
        #[arg(long)]
        ready: PathBuf,
    },
    /// Play direct users from a plan file (used by the demo).
    #[command(hide = true)]
    Users {
        /// The plan.
        plan: PathBuf,
    },
    /// Join namespaces by a delay line (used by the lab).
    #[command(hide = true)]
    Line {
        /// The plan.
        plan: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sensor-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.verb {
        Verb::Demo(options) => return demo::run(&options),
        Verb::Bench(options) => return bench::run(&options),
        Verb::Evidence(options) => return evidence::run(&options),
        Verb::Down => {
            let removed = lab::cleanup::take_down_leftovers()?;
            if removed.is_empty() {
                println!("nothing to remove");
            }
            for name in removed {
                println!("removed lab {name}");
            }
        }
        Verb::Serve { dir, address, prefill_ms, token_ms } => {
            let pace = Pace { prefill: Duration::from_millis(prefill_ms), token: Duration::from_millis(token_ms) };
            let mut options = Serve::in_lab(&dir, pace);
            if !address.is_empty() {
                options.addresses = address;
            }
            serve(&options)?;
        }
        Verb::Relay { exits, port, ready } => relay::run(&exits, port, &ready)?,
        Verb::Users { plan } => run_users(&plan)?,
        Verb::Line { plan } => delay::run(&plan)?,
    }
    Ok(ExitCode::SUCCESS)
}
