//! The `sensor` command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::FromArgMatches;
use sensor::cli::ask::{self, Task};
use sensor::cli::capture;
use sensor::cli::command::{Cli, command};
use sensor::cli::output;
use sensor::cli::render;
use sensor::cli::replay;
use sensor::cli::run::{DoctorOptions, RunOptions};
use sensor::cli::style::Paint;
use sensor::config::Config;
use sensor::control::protocol::DEFAULT_SOCKET;
use sensor::daemon;
use sensor::doctor::{Facts, Report};
use sensor::exit::{Code, Failure};

fn main() -> ExitCode {
    let cli = match command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too: clap knows which stream and which code.
            let _ = error.print();
            return ended(if error.use_stderr() { Code::Usage } else { Code::Done });
        }
    };
    match carry_out(cli) {
        Ok(code) => ended(code),
        Err(failure) => {
            eprintln!("sensor: {failure}");
            ended(failure.code)
        }
    }
}

fn ended(code: Code) -> ExitCode {
    ExitCode::from(code.number())
}

fn carry_out(cli: Cli) -> Result<Code, Failure> {
    let given = cli.socket.clone();
    let socket = given.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
    match ask::task(cli) {
        Task::Ask(request, form) => ask::run(&socket, request, form),
        Task::List(file, list, form) => ask::list(&socket, &file, list, form),
        Task::AllRules(kind, form) => ask::all_rules(&socket, kind.as_deref(), form),
        Task::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "sensor", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
        Task::Run(options) => daemon::run::run(&RunOptions { socket: given, ..options }),
        Task::Detach(options) => output::print(&daemon::run::detach(&options)?),
        Task::Doctor(options) => return doctor(&DoctorOptions { socket: given, ..options }),
        Task::Capture(flags) => capture::run(&socket, &flags),
        Task::Replay(flags) => replay::replay(&flags),
        Task::Tune(flags) => replay::tune(&flags, &socket),
        Task::CheckConfig(file) => {
            Config::read(&file)?;
            output::print(&format!("{} is valid\n", file.display()))
        }
    }?;
    Ok(Code::Done)
}

fn doctor(options: &DoctorOptions) -> Result<Code, Failure> {
    let report = Report::of(&Facts::read(options));
    let text = if options.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::new(Code::Runtime, format!("the checks cannot be printed: {error}"), ""))?;
        json + "\n"
    } else {
        render::doctor(&report, Paint::for_stdout())
    };
    output::print(&text)?;
    Ok(report.code())
}
