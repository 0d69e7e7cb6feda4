//! Verbs that ask the daemon: from flags to a request, from an answer to standard output.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap_complete::Shell;

use super::command::{
    AllowFlags, BlockFlags, CampaignVerb, CaptureFlags, Cli, ConnectionsFlags, JudgeFlags, Output, ReportFormat,
    SourcesFlags, UnblockFlags, Verb,
};
use super::replay::{ReplayFlags, TuneFlags};
use super::run::{DetachOptions, DoctorOptions, RunOptions};
use super::{output, render};
use crate::cli::style::Paint;
use crate::control::bulk::MOST_BYTES;
use crate::control::client::{self, CallError};
use crate::control::protocol::{Answer, Bulk, Deed, Refusal, Request, Verdict, Versioned};
use crate::control::route::MOST_RULES;
use crate::control::validate;
use crate::exit::{Code, Failure};

/// What a verb comes down to.
#[derive(Debug)]
pub enum Task {
    /// Ask the daemon, print its answer.
    Ask(Request, Output),
    /// Read a list, `-` from standard input, hand it over, print what became of it.
    List(PathBuf, Bulk, Output),
    /// Ask for all rules of a kind, page by page.
    AllRules(Option<String>, Output),
    Run(RunOptions),
    Detach(DetachOptions),
    Doctor(DoctorOptions),
    CheckConfig(PathBuf),
    Capture(CaptureFlags),
    Replay(ReplayFlags),
    Completions(Shell),
    Tune(TuneFlags),
}

/// What to do for a command line.
#[must_use]
pub fn task(cli: Cli) -> Task {
    let plain = Output { json: false };
    let (request, output) = match cli.verb {
        Verb::Run(options) => return Task::Run(options),
        Verb::Detach(options) => return Task::Detach(options),
        Verb::Doctor(options) => return Task::Doctor(options),
        Verb::CheckConfig { file } => return Task::CheckConfig(file),
        Verb::Connections(ConnectionsFlags { limit, source, output }) => {
            (Request::Connections { limit, after: None, source }, output)
        }
        Verb::Capture(flags) => return Task::Capture(flags),
        Verb::Replay(flags) => return Task::Replay(flags),
        Verb::Tune(flags) => return Task::Tune(flags),
        Verb::Completions { shell } => return Task::Completions(shell),
        Verb::Status { output } => (Request::Status, output),
        Verb::Sources(SourcesFlags { limit, sort, tier, output }) => (Request::Sources { limit, sort, tier }, output),
        Verb::Campaigns { all, output } => (Request::Campaigns { all }, output),
        Verb::Campaign { verb } => return campaign(verb),
        Verb::Rules { kind, all: true, output, .. } => return Task::AllRules(kind, output),
        Verb::Rules { kind, limit, all: false, output } => (Request::Rules { kind, limit, offset: 0 }, output),
        Verb::Explain { subject, output } => (Request::Explain { subject }, output),
        Verb::Allow(flags) => return allow(flags),
        Verb::Disallow { prefix } => (Request::Disallow { prefix }, plain),
        Verb::Block(flags) => return block(flags),
        Verb::Unblock(UnblockFlags { prefix, list, output }) => match list.file {
            Some(file) => return Task::List(file, bulk(Deed::Unblock, list.skip_bad), output),
            None => (Request::Unblock { prefix: prefix.unwrap_or_default() }, output),
        },
        Verb::Set { name, value } => (Request::Set { name, value }, plain),
        Verb::Get { name, output } => (Request::Get { name }, output),
        Verb::Reload => (Request::Reload, plain),
    };
    Task::Ask(request, output)
}

fn campaign(verb: CampaignVerb) -> Task {
    let judge = |verdict, JudgeFlags { id, note, output }| Task::Ask(Request::Judge { id, verdict, note }, output);
    match verb {
        CampaignVerb::Export { id, format, unmasked, json } => {
            let json = json || format == ReportFormat::Json;
            Task::Ask(Request::Report { id, unmasked }, Output { json })
        }
        CampaignVerb::Confirm(flags) => judge(Verdict::Confirm, flags),
        CampaignVerb::Dismiss(flags) => judge(Verdict::Dismiss, flags),
    }
}

fn allow(flags: AllowFlags) -> Task {
    let AllowFlags { prefix, ttl, note, remove, list, output } = flags;
    let ttl_s = ttl.map(|ttl| ttl.as_secs());
    if let Some(file) = list.file {
        return Task::List(file, Bulk { reason: note, ttl_s, ..bulk(Deed::Allow, list.skip_bad) }, output);
    }
    // The command line has one or the other.
    let prefix = prefix.unwrap_or_default();
    let request = if remove { Request::Disallow { prefix } } else { Request::Allow { prefix, note, ttl_s } };
    Task::Ask(request, output)
}

fn block(flags: BlockFlags) -> Task {
    let BlockFlags { prefix, ttl, reason, force, list, output } = flags;
    let ttl_s = ttl.as_secs();
    if let Some(file) = list.file {
        let list = Bulk { reason, ttl_s: Some(ttl_s), force, ..bulk(Deed::Block, list.skip_bad) };
        return Task::List(file, list, output);
    }
    Task::Ask(Request::Block { prefix: prefix.unwrap_or_default(), reason, ttl_s, force }, output)
}

fn bulk(deed: Deed, skip_bad: bool) -> Bulk {
    let (lines, reason) = (String::new(), String::new());
    Bulk { deed, lines, first_line: 1, reason, ttl_s: None, force: false, skip_bad, check: false }
}

/// Reads a list and has it carried out.
///
/// # Errors
/// If the file cannot be read, if a line is bad and bad ones are not to be skipped, or as [`run`].
pub fn list(socket: &Path, file: &Path, list: Bulk, form: Output) -> Result<(), Failure> {
    let mut lines = String::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(MOST_BYTES as u64 + 1).read_to_string(&mut lines)
    } else {
        File::open(file).and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_string(&mut lines))
    };
    read.map_err(|error| {
        let hint = "give a text file with one prefix a line, or `-` for standard input";
        Failure::new(Code::Usage, format!("{} cannot be read: {error}", file.display()), hint)
    })?;
    run(socket, Request::Bulk(Bulk { lines, ..list }), form)
}

/// Asks for all rules, page by page, and prints them as one answer.
///
/// # Errors
/// As [`run`].
pub fn all_rules(socket: &Path, kind: Option<&str>, form: Output) -> Result<(), Failure> {
    let mut all = Vec::new();
    loop {
        let request = Request::Rules { kind: kind.map(str::to_owned), limit: MOST_RULES, offset: all.len() };
        let answer = ask(socket, request)?;
        let Answer::Rules { rules, total } = answer.answer else { return print(&answer, form) };
        let is_last = rules.len() < MOST_RULES;
        all.extend(rules);
        if is_last {
            let total = total.max(all.len());
            return print(&Versioned { version: answer.version, answer: Answer::Rules { rules: all, total } }, form);
        }
    }
}

/// Asks the daemon and prints what it answers.
///
/// # Errors
/// If the request is wrong (before anybody is asked), if nobody answers, or if the daemon refuses.
pub fn run(socket: &Path, request: Request, form: Output) -> Result<(), Failure> {
    print(&ask(socket, request)?, form)
}

/// Asks the daemon.
///
/// # Errors
/// As [`run`].
pub fn ask(socket: &Path, request: Request) -> Result<Versioned, Failure> {
    let request = validate::request(request).map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Runtime, format!("the runtime cannot start: {error}"), ""))?;
    runtime.block_on(client::call(socket, &request)).map_err(|error| explain(socket, error))
}

fn print(answer: &Versioned, form: Output) -> Result<(), Failure> {
    if form.json {
        let mut text = serde_json::to_string_pretty(answer)
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

pub(super) fn explain(socket: &Path, error: CallError) -> Failure {
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
