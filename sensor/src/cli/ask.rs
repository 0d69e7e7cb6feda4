//! Verbs that ask the daemon: from flags to a request, from an answer to standard output.

use std::path::{Path, PathBuf};

use clap_complete::Shell;

use super::command::{AllowFlags, BlockFlags, Cli, Output, SourcesFlags, Verb};
use super::run::{DetachOptions, RunOptions};
use super::{output, render};
use crate::cli::style::Paint;
use crate::control::client::{self, CallError};
use crate::control::protocol::{Refusal, Request};
use crate::control::validate;
use crate::exit::{Code, Failure};

/// What a verb comes down to.
#[derive(Debug)]
pub enum Task {
    /// Ask the daemon, print its answer.
    Ask(Request, Output),
    Run(RunOptions),
    Detach(DetachOptions),
    CheckConfig(PathBuf),
    Completions(Shell),
}

/// What to do for a command line.
#[must_use]
pub fn task(cli: Cli) -> Task {
    let plain = Output { json: false };
    let (request, output) = match cli.verb {
        Verb::Run(options) => return Task::Run(options),
        Verb::Detach(options) => return Task::Detach(options),
        Verb::CheckConfig { file } => return Task::CheckConfig(file),
        Verb::Completions { shell } => return Task::Completions(shell),
        Verb::Status { output } => (Request::Status, output),
        Verb::Sources(SourcesFlags { limit, sort, tier, output }) => (Request::Sources { limit, sort, tier }, output),
        Verb::Campaigns { all, output } => (Request::Campaigns { all }, output),
        Verb::Rules { kind, output } => (Request::Rules { kind }, output),
        Verb::Explain { subject, output } => (Request::Explain { subject }, output),
        Verb::Allow(AllowFlags { prefix, remove: true, .. }) => (Request::Disallow { prefix }, plain),
        Verb::Allow(AllowFlags { prefix, ttl, note, remove: false }) => {
            (Request::Allow { prefix, note, ttl_s: ttl.map(|ttl| ttl.as_secs()) }, plain)
        }
        Verb::Disallow { prefix } => (Request::Disallow { prefix }, plain),
        Verb::Block(BlockFlags { prefix, ttl, reason, force }) => {
            (Request::Block { prefix, reason, ttl_s: ttl.as_secs(), force }, plain)
        }
        Verb::Unblock { prefix } => (Request::Unblock { prefix }, plain),
        Verb::Set { name, value } => (Request::Set { name, value }, plain),
        Verb::Get { name, output } => (Request::Get { name }, output),
        Verb::Reload => (Request::Reload, plain),
    };
    Task::Ask(request, output)
}

/// Asks the daemon and prints what it answers.
///
/// # Errors
/// If the request is wrong (before anybody is asked), if nobody answers, or if the daemon refuses.
pub fn run(socket: &Path, request: Request, form: Output) -> Result<(), Failure> {
    let request = validate::request(request).map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Runtime, format!("the runtime cannot start: {error}"), ""))?;
    let answer = runtime.block_on(client::call(socket, &request)).map_err(|error| explain(socket, error))?;
    if form.json {
        let mut text = serde_json::to_string_pretty(&answer)
            .map_err(|error| Failure::new(Code::Runtime, format!("the answer cannot be printed: {error}"), ""))?;
        text.push('\n');
        return output::print(&text);
    }
    output::print(&render::answer(&answer.answer, Paint::for_stdout()))
}

fn refused(refusal: Refusal) -> Failure {
    let exit = if refusal.code == "invalid" { Code::Usage } else { Code::Runtime };
    Failure::new(exit, refusal.error, refusal.hint)
}

fn explain(socket: &Path, error: CallError) -> Failure {
    let at = socket.display();
    match error {
        CallError::Unreachable(error) => Failure::new(
            Code::Unreachable,
            format!("no daemon answers on {at}: {error}"),
            "is it running? start it with `sensor run`, or name its socket with --socket",
        ),
        CallError::Denied(error) => Failure::new(
            Code::Unreachable,
            format!("permission to use {at} is denied: {error}"),
            "run as root or as a member of the socket's group",
        ),
        CallError::Refused(refusal) => refused(refusal),
        CallError::Strange(error) => Failure::new(
            Code::Runtime,
            format!("what answers on {at} cannot be understood: {error}"),
            "are daemon and command of the same release? look at the daemon's log",
        ),
    }
}
