//! Tunables: thresholds that an operator may change while the sensor runs.
//!
//! One row declares name, unit, range, default and meaning. The row drives the configuration file, `sensor set` and
//! `sensor get`, validation and the reference page. Values are whole numbers; the unit says of what.

use std::fmt;

/// What is known about one tunable.
#[derive(Debug)]
pub struct Row {
    /// Name in the file's `[tunables]` table and on the command line.
    pub name: &'static str,
    pub unit: &'static str,
    /// Smallest and largest value taken.
    pub range: (u64, u64),
    pub default: u64,
    pub help: &'static str,
}

/// Why a tunable was not changed.
#[derive(Debug, PartialEq, Eq)]
pub enum TunableError {
    /// No tunable has this name; the nearest one that exists.
    Unknown { name: String, nearest: &'static str },
    /// The value lies outside the range.
    Range { row_name: &'static str, value: u64, low: u64, high: u64, unit: &'static str },
}

impl fmt::Display for TunableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, nearest } => {
                write!(f, "no tunable is called `{name}`; did you mean `{nearest}`? `sensor get` lists them all")
            }
            Self::Range { row_name, value, low, high, unit } => {
                write!(f, "{row_name} = {value} is out of range: give {low} to {high} {unit}")
            }
        }
    }
}

impl std::error::Error for TunableError {}

macro_rules! tunables {
    ($($field:ident = $default:literal, $low:literal..=$high:literal, $unit:literal, $help:literal;)*) => {
        /// The values in force.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Tunables { $(#[doc = $help] pub $field: u64,)* }

        /// Every tunable, in the order of the reference page.
        pub const ROWS: &[Row] = &[$(Row {
            name: stringify!($field), unit: $unit, range: ($low, $high), default: $default, help: $help,
        },)*];

        impl Default for Tunables {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Tunables {
            /// The value of a tunable; `None` if there is none of this name.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($field) => Some(self.$field),)*
                    _ => None,
                }
            }

            fn slot(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

tunables! {
    relay_gap_ms = 25, 5..=1000, "milliseconds",
        "A connection whose client answers the server's first flight this much later than its TCP acknowledges it counts as relayed.";
    relay_gap_rtt_percent = 25, 0..=200, "percent of the round trip",
        "For clients without TCP timestamps the relay gap must also exceed this share of the handshake's round trip.";
    novelty_days = 7, 1..=90, "days",
        "A network not seen for this long counts as first seen again.";
    learn_s = 259200, 1..=2592000, "seconds",
        "Calm traffic that must have been learned before rules are made automatically.";
    baseline_memory_s = 259200, 60..=2592000, "seconds",
        "Time constant with which a cohort's normal share of relayed first-seen networks forgets.";
    rotation_odds_factor = 4, 2..=100, "times",
        "Rise of the odds of a relayed first-seen network that the rotation detector looks for.";
    rotation_alarm = 14, 3..=100, "nats",
        "Evidence at which the rotation detector raises a campaign; one false alarm per e^value ticks and cohort, before guards.";
    rotation_networks_min = 12, 3..=100000, "networks",
        "Relayed first-seen networks that a cohort must have shown before a campaign is raised.";
    new_client_networks_min = 24, 8..=64, "networks",
        "Networks within a day that a new or rare client must have come from before a campaign is raised.";
    new_client_alarm = 10, 3..=100, "nats",
        "Evidence that a new or rare client was brought by networks that are new too, at which a campaign is raised.";
    lockstep_networks_min = 12, 4..=64, "networks",
        "Sampled networks of one client that must keep step over hours before a campaign is raised.";
    rotation_quiet_s = 1800, 5..=86400, "seconds",
        "A campaign without new relayed networks closes after this time.";
    class_rule_ttl_s = 3600, 5..=86400, "seconds",
        "Life of a class rule; renewed while the campaign goes on.";
    class_attack_percent = 95, 50..=100, "percent",
        "Estimated attack share of what a class rule would refuse, below which none is made.";
    source_rule_ttl_s = 3600, 5..=86400, "seconds",
        "Life of an automatic rule against one source; doubles at each return, up to a day.";
    collateral_budget_ppm = 10000, 0..=1000000, "per million accepted connections",
        "Innocent connections that automatic rules may be expected to refuse within ten minutes; beyond it no further rule is made.";
    heavy_source_ttl_s = 300, 5..=86400, "seconds",
        "Life of a rule against a source over its tier's limits.";
    token_bytes = 200, 1..=100000, "bytes per token",
        "Bytes of an answer that make a token, for estimates of what was taken: about 200 where tokens are streamed one by one, about 5 where answers come whole.";
    answer_tokens = 500, 1..=1000000, "tokens per answer",
        "Tokens of an answer, for the same estimates where the bytes of answers are not counted.";
    token_price = 1500, 0..=10000000, "hundredths of the currency per million tokens",
        "What a million tokens are worth, for the cost of a campaign.";
    events_per_s = 100000, 100..=10000000, "records per second and CPU",
        "Connection records that each CPU may send to the daemon; beyond it a fair sample is sent and the rest counted as shed.";
    sources_max = 200000, 1000..=2000000, "sources",
        "Sources whose windows the daemon keeps; the least recently seen is forgotten for a new one.";
    networks_max = 1000000, 1000..=10000000, "networks",
        "Networks whose first sight the daemon remembers; the least recently seen is forgotten for a new one.";
    cohorts_max = 4096, 16..=65536, "cohorts",
        "Cohorts the daemon follows; the least recently seen is forgotten for a new one.";
}

impl Tunables {
    /// Changes one tunable.
    ///
    /// # Errors
    /// If there is none of this name, or the value is out of its range; nothing changes then.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), TunableError> {
        let Some(row) = ROWS.iter().find(|row| row.name == name) else {
            return Err(TunableError::Unknown { name: name.to_owned(), nearest: nearest(name) });
        };
        let (low, high) = row.range;
        if !(low..=high).contains(&value) {
            return Err(TunableError::Range { row_name: row.name, value, low, high, unit: row.unit });
        }
        if let Some(slot) = self.slot(name) {
            *slot = value;
        }
        Ok(())
    }
}

/// The name that shares most letters, in order, with this one; the shortest of several.
fn nearest(name: &str) -> &'static str {
    let shared = |candidate: &str| {
        let mut rest = name.chars().peekable();
        candidate.chars().filter(|c| rest.next_if_eq(c).is_some()).count()
    };
    let score = |candidate: &&str| (shared(candidate), std::cmp::Reverse(candidate.len()));
    ROWS.iter().map(|row| row.name).max_by_key(score).unwrap_or_default()
}
