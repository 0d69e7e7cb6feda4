//! Requests and answers of the control socket. Answers are what `--json` prints: stable names, units at their ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use super::campaign::{Campaign, Damage, Member, Moment, Proposal, Report, Verdict};
use crate::evidence::Recent;

/// Version of the answers' shape: the `/v1` of every route and the `"version"` of every answer. Fields may be added
/// within a version; one that changes its meaning or goes away raises it.
pub const VERSION: u32 = 1;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/sensor/control.sock";

/// An answer as it is sent and printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versioned {
    /// [`VERSION`] of whoever answered.
    pub version: u32,
    #[serde(flatten)]
    pub answer: Answer,
}

/// What can be asked of a running sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    Status,
    Sources {
        limit: usize,
        sort: SortKey,
        tier: Option<String>,
    },
    Campaigns {
        all: bool,
    },
    /// Evidence on the latest connections.
    Connections {
        limit: usize,
        /// Only those that came behind this place; see [`Recent::next`].
        after: Option<u64>,
        /// Only those of clients in this prefix.
        source: Option<String>,
    },
    Rules {
        kind: Option<String>,
        limit: usize,
        /// Rules left out in front.
        offset: usize,
    },
    /// An address, a prefix or a campaign's number.
    Explain {
        subject: String,
    },
    /// Everything about a campaign, to be handed on.
    Report {
        id: u64,
        /// With the addresses of its sources.
        unmasked: bool,
    },
    /// What the operator says about a campaign.
    Judge {
        id: u64,
        verdict: Verdict,
        note: String,
    },
    Allow {
        prefix: String,
        note: String,
        ttl_s: Option<u64>,
    },
    Disallow {
        prefix: String,
    },
    Block {
        prefix: String,
        reason: String,
        ttl_s: u64,
        force: bool,
    },
    Unblock {
        prefix: String,
    },
    Bulk(Bulk),
    Get {
        name: Option<String>,
    },
    Set {
        name: String,
        value: u64,
    },
    Reload,
}

/// What is done with each prefix of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    Allow,
    Block,
    Unblock,
}

/// A list of prefixes, one a line; `#` begins a comment. Nothing is done if any line is bad, unless `skip_bad`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    pub deed: Deed,
    pub lines: String,
    /// Number of the first line, for what is told about lines.
    #[serde(default = "one")]
    pub first_line: usize,
    /// Why, for those who read the rules later.
    #[serde(default)]
    pub reason: String,
    /// Life of the rules; blocks have an hour unless told, allows have no end.
    #[serde(default)]
    pub ttl_s: Option<u64>,
    /// Block even what guards protect.
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub skip_bad: bool,
    /// Only say what would be done.
    #[serde(default)]
    pub check: bool,
}

const fn one() -> usize {
    1
}

/// A line of a list that nothing is done about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLine {
    pub line: usize,
    pub error: String,
}

/// What became of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkDone {
    pub deed: Deed,
    /// Prefixes in it, bad ones included.
    pub prefixes: usize,
    /// Rules that were entered or taken out anew; with `check`, that would be.
    pub applied: usize,
    /// Rules that were there already (their life is renewed), or not there to be taken out.
    pub unchanged: usize,
    pub bad: usize,
    /// The first of them.
    pub bad_lines: Vec<BadLine>,
    /// Rules that the kernel did not take; see `sensor rules`.
    pub refused: usize,
    /// Changes of rules that still wait to be made in the kernel, whoever asked for them.
    pub pending: usize,
    /// Rules of the kind that there is room for.
    pub room: usize,
    pub warnings: Vec<String>,
}

/// Order of `sensor sources`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum SortKey {
    #[default]
    Requests,
    Connections,
    Packets,
    Bytes,
    Dropped,
    LastSeen,
}

/// What a running sensor answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    // The order matters when answers are read: a variant must come before those whose fields are a part of its own.
    Status(Box<Status>),
    Explain(Box<Explanation>),
    Report(Box<Report>),
    Connections(Recent),
    Sources { sources: Vec<Source>, total: usize },
    Campaigns { campaigns: Vec<Campaign> },
    Rules { rules: Vec<Rule>, total: usize },
    Bulk(Box<BulkDone>),
    Tunables { tunables: Vec<Tunable> },
    Done { done: String, warnings: Vec<String> },
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// `invalid` (the request is wrong), `refused` (a guard held), `not_found`, or `failed` (the kernel said no).
    pub code: String,
    pub error: String,
    /// What to do next.
    pub hint: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Release of the daemon.
    pub sensor_version: String,
    pub pid: u32,
    pub ready: bool,
    pub started_at_unix_s: u64,
    pub uptime_s: u64,
    pub interface: String,
    /// `native` or `generic`.
    pub xdp_mode: String,
    /// Why native mode was not to be had, if it was asked for.
    pub fallback: Option<String>,
    /// `enforce` or `dry_run`.
    pub mode: String,
    pub services: Vec<u16>,
    pub frames: u64,
    pub bytes: u64,
    pub connections: u64,
    pub requests: u64,
    /// What the last tick saw.
    pub rates: Rates,
    /// Frames dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Frames that would have been dropped but for dry run, by reason.
    pub would_drop: BTreeMap<String, u64>,
    /// Frames passed because they were not understood, by reason.
    pub rejects: BTreeMap<String, u64>,
    /// Evidence given up, by reason.
    pub unknown: BTreeMap<String, u64>,
    /// Records and entries lost, by kind.
    pub lost: BTreeMap<String, u64>,
    pub sources_tracked: u64,
    pub sources_capacity: u64,
    pub sources_evicted: u64,
    /// Kernel tables whose size was chosen at the start: `sources` (places of those whose frames are counted),
    /// `records` (sources with a completed handshake), `connections`, `attempts`, `networks`.
    #[serde(default)]
    pub tables: BTreeMap<String, TableFill>,
    /// Memory of the kernel's tables.
    #[serde(default)]
    pub kernel_memory_bytes: u64,
    /// Most memory that the daemon's totals of sources may take.
    #[serde(default)]
    pub mirror_memory_bytes: u64,
    pub networks_known: u64,
    pub cohorts_followed: u64,
    pub events_received: u64,
    pub campaigns_open: u64,
    /// Installed rules, by kind.
    pub rules: BTreeMap<String, u64>,
    /// Changes of rules that wait for their turn to be made in the kernel.
    #[serde(default)]
    pub rules_pending: u64,
    pub learning: Learning,
    pub tick_ms: f64,
    pub config_path: Option<String>,
    pub config_loaded_at_unix_s: u64,
    pub config_error: Option<String>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
}

/// Places of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFill {
    pub used: u64,
    pub capacity: u64,
}

/// Traffic per second over the last tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    pub frames_per_s: f64,
    pub bytes_per_s: f64,
    pub connections_per_s: f64,
    pub requests_per_s: f64,
    /// Frames dropped, or in dry run those that would have been.
    pub refused_frames_per_s: f64,
}

/// How far the learning of calm traffic has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learning {
    pub calm_s: u64,
    pub needed_s: u64,
    /// Whether automatic rules may be made.
    pub complete: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub source: String,
    pub tier: String,
    pub packets: u64,
    pub bytes: u64,
    pub syns: u64,
    pub connections: u64,
    pub requests: u64,
    pub dropped: u64,
    pub gap_samples: u64,
    pub gap_flagged: u64,
    pub first_seen_unix_s: u64,
    pub last_seen_unix_s: u64,
    pub connections_1m: u64,
    pub connections_10m: u64,
    pub connections_1d: u64,
    pub requests_1m: u64,
    pub requests_10m: u64,
    pub requests_1d: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// `allow`, `deny` or `class`.
    pub kind: String,
    pub subject: String,
    pub origin: String,
    pub reason: String,
    pub campaign: Option<u64>,
    /// `None`: without end.
    pub expires_in_s: Option<u64>,
    /// Frames (class rules: connections) it matched, in dry run too.
    pub hits: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub subject: String,
    /// What is decided about it now: `passes`, `allowed`, `refused`, `would be refused`.
    pub verdict: String,
    /// Sentences, most important first.
    pub lines: Vec<String>,
    pub source: Option<Source>,
    pub rules: Vec<Rule>,
    pub campaigns: Vec<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunable {
    pub name: String,
    pub value: u64,
    pub default: u64,
    pub low: u64,
    pub high: u64,
    pub unit: String,
    pub help: String,
}

impl Refusal {
    /// A refusal: see [`Refusal::code`] for the codes.
    #[must_use]
    pub fn new(code: &str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: code.to_owned(), error: error.into(), hint: hint.into() }
    }
}
