//! `sensor replay` and `sensor tune`: recordings in, what the sensor makes of them out. A capture goes through the packet
//! path, an event file through the engine. No daemon is needed, but for `tune --apply`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{ask, frames, output};
use crate::config::Config;
use crate::control::protocol::Request;
use crate::exit::{Code, Failure};
use crate::replay::Replay;
use crate::replay::evidence::Evidence;
use crate::replay::read::{Events, ReadError};
use crate::replay::report::Report;
use crate::replay::tune::Trial;
use crate::tunable::Tunables;

/// Flags of `sensor replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayFlags {
    /// Capture: pcap or pcapng
    #[arg(value_name = "FILE", required_unless_present = "events", conflicts_with_all = ["events", "config", "set"])]
    pub file: Option<PathBuf>,
    /// Watched TCP port, may be repeated; without it every port that a connection attempt of the capture goes to
    #[arg(long = "port", value_name = "PORT", conflicts_with = "events", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Event file: JSON lines, or CSV with a header; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    #[command(flatten)]
    pub basis: Basis,
    /// Print JSON: of a capture one object a line, of events the report
    #[arg(long)]
    pub json: bool,
}

/// Flags of `sensor tune`.
#[derive(Clone, Debug, Args)]
pub struct TuneFlags {
    /// Event file: JSON lines, or CSV with a header; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub replay: PathBuf,
    #[command(flatten)]
    pub basis: Basis,
    /// Values of a tunable to try, instead of the usual ones; may be repeated
    #[arg(long = "try", value_name = "NAME=V1,V2,...", value_parser = tried)]
    pub tried: Vec<(String, Vec<u64>)>,
    /// Nothing in the file is an attack: every alarm is false
    #[arg(long)]
    pub calm: bool,
    /// Change the tunable in the running daemon as recommended
    #[arg(long)]
    pub apply: bool,
    /// Print the advice as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which tunables hold.
#[derive(Clone, Debug, Args)]
pub struct Basis {
    /// Take the tunables of this configuration file, instead of the defaults
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Change a tunable for this run; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, u64)>,
}

fn setting(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE, as in learn_s=3600")?;
    let value = value.parse().map_err(|_| format!("`{value}` is no whole number"))?;
    let mut probe = Tunables::default();
    probe.set(name, value).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value))
}

fn tried(text: &str) -> Result<(String, Vec<u64>), String> {
    let (name, values) = text.split_once('=').ok_or("give NAME=V1,V2,..., as in rotation_alarm=10,14,18")?;
    let values: Result<Vec<u64>, String> =
        values.split(',').map(|v| setting(&format!("{name}={v}")).map(|s| s.1)).collect();
    Ok((name.to_owned(), values?))
}

impl Basis {
    fn tunables(&self) -> Result<Tunables, Failure> {
        let mut tunables = match &self.config {
            Some(path) => Config::read(path)?.tunables,
            None => Tunables::default(),
        };
        for (name, value) in &self.set {
            tunables.set(name, *value).map_err(|error| Failure::new(Code::Usage, error.to_string(), ""))?;
        }
        Ok(tunables)
    }
}

/// Carries out `sensor replay`.
///
/// # Errors
/// If the file cannot be read or a line is malformed: exit code 2, with its number.
pub fn replay(flags: &ReplayFlags) -> Result<(), Failure> {
    match (&flags.file, &flags.events) {
        (_, Some(events)) => replay_events(events, flags),
        (Some(capture), None) => frames::replay(capture, &flags.ports, flags.json),
        (None, None) => Err(Failure::new(Code::Usage, "nothing to replay", "name a capture, or --events FILE")),
    }
}

fn replay_events(events: &Path, flags: &ReplayFlags) -> Result<(), Failure> {
    let mut replay = Replay::new(&flags.basis.tunables()?);
    each(events, |evidence, line| replay.feed(&evidence).map(drop).map_err(|error| error.at_line(line)))?;
    replay.finish();
    let report = Report::of(&replay);
    output::print(&if flags.json { json(&report)? } else { report.text() })
}

/// Carries out `sensor tune`.
///
/// # Errors
/// As [`replay`]; with `--apply` as `sensor set`.
pub fn tune(flags: &TuneFlags, socket: &Path) -> Result<(), Failure> {
    let trial = Trial::new(&flags.basis.tunables()?, &flags.tried, flags.calm);
    let mut trial = trial.map_err(|error| Failure::new(Code::Usage, error.to_string(), ""))?;
    each(&flags.replay, |evidence, line| trial.feed(&evidence).map_err(|error| error.at_line(line)))?;
    let advice = trial.finish();
    output::print(&if flags.json { json(&advice)? } else { advice.text() })?;
    if let Some(change) = advice.recommended.filter(|_| flags.apply) {
        let said = format!("applied: {} = {}\n", change.name, change.value);
        ask::ask(socket, Request::Set { name: change.name, value: change.value })?;
        if !flags.json {
            output::print(&said)?;
        }
    }
    Ok(())
}

/// Reads a file event by event.
fn each(path: &Path, mut take: impl FnMut(Evidence, u64) -> Result<(), ReadError>) -> Result<(), Failure> {
    let hint = "docs/events.md describes the format";
    let failed = |error: String| Failure::new(Code::Usage, format!("{}: {error}", path.display()), hint);
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(1 << 16, File::open(path).map_err(|error| failed(error.to_string()))?))
    };
    let mut events = Events::new(reader).map_err(|error| failed(error.to_string()))?;
    while let Some(event) = events.next() {
        let event = event.map_err(|error| failed(error.to_string()))?;
        take(event, events.line()).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    let text =
        text.map_err(|error| Failure::new(Code::Runtime, format!("the report cannot be printed: {error}"), ""))?;
    Ok(text + "\n")
}
