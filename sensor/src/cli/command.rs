//! The command line as clap sees it: names, flags, help and examples.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::replay::{ReplayFlags, TuneFlags};
use super::run::{DetachOptions, DoctorOptions, RunOptions};
use crate::control::protocol::{DEFAULT_SOCKET, SortKey};
use crate::control::route::{
    DEFAULT_CONNECTIONS, DEFAULT_RULES, DEFAULT_SOURCES, MOST_CONNECTIONS, MOST_RULES, MOST_SOURCES,
};
use crate::control::subject;
use crate::control::validate::RULE_KINDS;
use crate::exit::Code;

/// Finds distillation campaigns behind rotating proxies at the network card, and refuses them there.
#[derive(Debug, Parser)]
#[command(name = "sensor", version, max_term_width = 120, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[arg(long, global = true, value_name = "FILE", help = format!("Control socket of the daemon [default: {DEFAULT_SOCKET}]"))]
    pub socket: Option<PathBuf>,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What `sensor` can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Attach to an interface and watch it (dry run unless told to enforce)
    #[command(after_help = "Example:\n  sensor run --interface eth0 --service 8000 --service 443")]
    Run(RunOptions),
    /// Remove program, tables and rules from the kernel
    #[command(after_help = "Example:\n  sensor detach --interface eth0")]
    Detach(DetachOptions),
    /// Check this host: kernel, permissions, memory, interface, daemon; ends with the code of the first failure
    #[command(
        after_help = "Example:\n  sensor doctor --interface eth0\n\nEach check is ok, warn (the sensor runs, but \
                            worse than it could) or fail (it does not run), with what to do about it. Nothing is changed."
    )]
    Doctor(DoctorOptions),
    /// Check a configuration file without running
    #[command(after_help = "Example:\n  sensor check-config /etc/sensor/sensor.toml")]
    CheckConfig {
        /// Configuration file
        file: PathBuf,
    },
    /// Mode, traffic, campaigns, losses and warnings at a glance
    #[command(after_help = "Example:\n  sensor status --json | jq .mode")]
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Sources with the most traffic
    #[command(after_help = "Example:\n  sensor sources --sort connections --limit 50")]
    Sources(SourcesFlags),
    /// Campaigns under alarm, and why
    #[command(after_help = "Example:\n  sensor campaigns --all --json")]
    Campaigns {
        /// Closed ones too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Hand a campaign on, or say what it was
    #[command(
        after_help = "Example:\n  sensor campaign export 7 > campaign-7.md\n  sensor campaign dismiss 7 --note 'our new partner'"
    )]
    Campaign {
        #[command(subcommand)]
        verb: CampaignVerb,
    },
    /// Rules in the kernel, with their hits and expiry
    #[command(after_help = "Example:\n  sensor rules --kind deny")]
    Rules {
        /// Only rules of this kind
        #[arg(long, value_parser = RULE_KINDS)]
        kind: Option<String>,
        /// Most rules to print
        #[arg(long, short = 'n', default_value_t = DEFAULT_RULES, value_parser = rule_count)]
        limit: usize,
        /// All of them
        #[arg(long, conflicts_with = "limit")]
        all: bool,
        #[command(flatten)]
        output: Output,
    },
    /// What is decided about an address, a prefix or a campaign, and why
    #[command(after_help = "Example:\n  sensor explain 203.0.113.7")]
    Explain {
        /// Address, prefix or campaign number
        #[arg(value_parser = subject_text)]
        subject: String,
        #[command(flatten)]
        output: Output,
    },
    /// Evidence on the latest connections, as it arrives
    #[command(
        after_help = "Example:\n  sensor connections --limit 50\n  sensor connections --source 203.0.113.0/24 --json"
    )]
    Connections(ConnectionsFlags),
    /// Write the evidence that arrives to a file for calibration: no addresses, no payload
    #[command(
        after_help = "Example:\n  sensor capture --seconds 3600 --out calibration.jsonl\n\nOne JSON object a line: what was \
                      measured on each connection. Ends early on Ctrl-C; what arrived is kept."
    )]
    Capture(CaptureFlags),
    /// Never refuse a prefix, whatever the detectors say
    #[command(
        after_help = "Example:\n  sensor allow 198.51.100.0/24 --note 'office' --ttl 30d\n  sensor allow --file offices.txt"
    )]
    Allow(AllowFlags),
    /// Take back what `allow` did
    #[command(after_help = "Example:\n  sensor disallow 198.51.100.0/24")]
    Disallow {
        /// Address or prefix
        #[arg(value_parser = prefix_text)]
        prefix: String,
    },
    /// Refuse a prefix for a time
    #[command(
        after_help = "Example:\n  sensor block 203.0.113.0/24 --ttl 2h --reason 'abuse report 4711'\n  sensor block --file list.txt --ttl 1d --skip-bad"
    )]
    Block(BlockFlags),
    /// Take back a refusal, the operator's or a detector's
    #[command(after_help = "Example:\n  sensor unblock 203.0.113.0/24\n  sensor unblock --file list.txt")]
    Unblock(UnblockFlags),
    /// Change a tunable in the running daemon
    #[command(after_help = "Example:\n  sensor set relay_gap_ms 30\n\nNames, ranges and units: sensor get")]
    Set {
        /// Name of the tunable
        name: String,
        /// Its new value
        value: u64,
    },
    /// Tunables in force, with defaults, ranges and meaning
    #[command(after_help = "Example:\n  sensor get relay_gap_ms")]
    Get {
        /// Only this tunable, with its meaning
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Run a capture through the packet path, or recorded evidence through the engine
    #[command(after_help = "Example:\n  sensor replay live.pcap --port 8000\n  \
                      sensor replay live.pcap --json | jq 'select(.path == \"relayed\")'\n  \
                      sensor replay --events events.jsonl\n\nReads pcap and pcapng (`tcpdump -w live.pcap`) and event files \
                      (docs/events.md); needs no daemon and no privileges. A capture that breaks off is shown up to there, and \
                      ends with code 1.")]
    Replay(ReplayFlags),
    /// Try thresholds against recorded evidence, and recommend one
    #[command(after_help = "Example:\n  sensor tune --replay events.jsonl --try rotation_alarm=10,14,18")]
    Tune(TuneFlags),
    /// Read the configuration file again; a bad one is refused and the old one stays
    #[command(after_help = "Example:\n  sensor check-config /etc/sensor/sensor.toml && sensor reload")]
    Reload,
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  sensor completions bash > /etc/bash_completion.d/sensor")]
    Completions { shell: Shell },
}

/// What can be done with one campaign.
#[derive(Debug, Subcommand)]
pub enum CampaignVerb {
    /// Print a report that stands for itself, for abuse desks and counsel; addresses are cut to networks
    #[command(after_help = "Example:\n  sensor campaign export 7 --format json --unmasked > campaign-7.json")]
    Export {
        /// Number of the campaign
        id: u64,
        /// Markdown with plots, or JSON
        #[arg(long, value_enum, default_value_t)]
        format: ReportFormat,
        /// With the addresses of its sources
        #[arg(long)]
        unmasked: bool,
        /// The same as `--format json`
        #[arg(long, conflicts_with = "format")]
        json: bool,
    },
    /// Say that it was an attack: nothing of it is ever learned as normal
    #[command(after_help = "Example:\n  sensor campaign confirm 7 --note 'matches the abuse report of Monday'")]
    Confirm(JudgeFlags),
    /// Say that it was ordinary traffic: its rules go, and it is normal from now on
    #[command(after_help = "Example:\n  sensor campaign dismiss 7 --note 'our new partner'")]
    Dismiss(JudgeFlags),
}

/// Form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    #[default]
    Md,
    Json,
}

/// Flags of `sensor campaign confirm` and `dismiss`.
#[derive(Debug, Args)]
pub struct JudgeFlags {
    /// Number of the campaign
    pub id: u64,
    /// Why, for those who read its history later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub note: String,
    #[command(flatten)]
    pub output: Output,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `sensor connections`.
#[derive(Debug, Args)]
pub struct ConnectionsFlags {
    /// Most connections to print
    #[arg(long, short = 'n', default_value_t = DEFAULT_CONNECTIONS, value_parser = connection_count)]
    pub limit: usize,
    /// Only clients in this prefix
    #[arg(long, value_name = "PREFIX", value_parser = prefix_text)]
    pub source: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

/// Flags of `sensor capture`.
#[derive(Clone, Debug, Args)]
pub struct CaptureFlags {
    /// How long to listen
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub seconds: u64,
    /// File to write; one that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Flags of `sensor sources`.
#[derive(Debug, Args)]
pub struct SourcesFlags {
    /// Most sources to print
    #[arg(long, short = 'n', default_value_t = DEFAULT_SOURCES, value_parser = source_count)]
    pub limit: usize,
    /// Greatest first, by this
    #[arg(long, value_enum, default_value_t)]
    pub sort: SortKey,
    /// Only sources of this tier
    #[arg(long, value_name = "NAME")]
    pub tier: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

/// Flags of `sensor allow`.
#[derive(Debug, Args)]
pub struct AllowFlags {
    /// Address or prefix
    #[arg(value_parser = prefix_text, required_unless_present = "file", conflicts_with = "file")]
    pub prefix: Option<String>,
    /// How long, for example 12h or 30d; without it until taken back
    #[arg(long, value_name = "DURATION", value_parser = super::duration::parse, conflicts_with = "remove")]
    pub ttl: Option<Duration>,
    /// Why, for those who read the rules later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, conflicts_with = "remove")]
    pub note: String,
    /// Take it back, like `sensor disallow`
    #[arg(long, conflicts_with = "file")]
    pub remove: bool,
    #[command(flatten)]
    pub list: ListFlags,
    #[command(flatten)]
    pub output: Output,
}

/// Flags of `sensor unblock`.
#[derive(Debug, Args)]
pub struct UnblockFlags {
    /// Address or prefix
    #[arg(value_parser = prefix_text, required_unless_present = "file", conflicts_with = "file")]
    pub prefix: Option<String>,
    #[command(flatten)]
    pub list: ListFlags,
    #[command(flatten)]
    pub output: Output,
}

/// Flags of verbs that take a list of prefixes.
#[derive(Debug, Args)]
pub struct ListFlags {
    /// All prefixes of a file, one a line, `#` begins a comment; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Leave out lines that are bad; without it nothing is done if any is
    #[arg(long, conflicts_with = "prefix")]
    pub skip_bad: bool,
}

/// Flags of `sensor block`.
#[derive(Debug, Args)]
pub struct BlockFlags {
    /// Address or prefix
    #[arg(value_parser = prefix_text, required_unless_present = "file", conflicts_with = "file")]
    pub prefix: Option<String>,
    /// How long, for example 90s, 10m, 2h or 1d
    #[arg(long, value_name = "DURATION", value_parser = super::duration::parse, default_value = "1h")]
    pub ttl: Duration,
    /// Why, for those who read the rules later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Even if it covers your own session or the default gateway
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub list: ListFlags,
    #[command(flatten)]
    pub output: Output,
}

/// The whole command, exit codes in its help.
#[must_use]
pub fn command() -> clap::Command {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in Code::ALL {
        text.push_str(&format!("  {}  {meaning}\n", code.number()));
    }
    text.push_str("\nExample:\n  sensor run --interface eth0 --service 8000    (in another terminal:) sensor status");
    Cli::command().after_help(text)
}

fn prefix_text(text: &str) -> Result<String, String> {
    subject::prefix(text).map(|prefix| prefix.to_string()).map_err(|error| error.to_string())
}

fn subject_text(text: &str) -> Result<String, String> {
    subject::subject(text).map(|subject| subject.to_string()).map_err(|error| error.to_string())
}

fn source_count(text: &str) -> Result<usize, String> {
    count(text, MOST_SOURCES)
}

fn connection_count(text: &str) -> Result<usize, String> {
    count(text, MOST_CONNECTIONS)
}

fn rule_count(text: &str) -> Result<usize, String> {
    count(text, MOST_RULES)
}

fn count(text: &str, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(format!("give a number from 1 to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_help_has_an_example_and_the_first_one_the_exit_codes() {
        let mut whole = command();
        let top = whole.render_long_help().to_string();
        for code in 0..=6 {
            assert!(top.contains(&format!("\n  {code}  ")), "exit code {code} is missing in:\n{top}");
        }
        for verb in whole.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Example:\n  sensor "), "no example in:\n{help}");
            for part in verb.get_subcommands_mut().filter(|part| part.get_name() != "help") {
                let help = part.render_long_help().to_string();
                assert!(help.contains("Example:\n  sensor "), "no example in:\n{help}");
            }
        }
    }
}
