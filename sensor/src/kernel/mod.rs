//! The kernel's side as the daemon sees it: tables to read, rules to enter and take out, records that arrive.
//!
//! Only this module and its children mention aya. Reading never changes the kernel; [`Kernel::install`],
//! [`Kernel::remove`], [`Kernel::configure`] and [`Kernel::remember`] are the only ways to.

pub mod clock;
pub mod fake;
pub mod probe;
pub mod size;
pub mod xdp;

mod batch;
mod book;
mod classes;
mod completed;
mod drift;
mod filter;
mod maps;
mod memory;
mod mirror;
mod pin;
mod refusal;
mod ring;
mod shared;
mod source;
mod trie;
mod usage;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;

use sensor_common::address::{Address, Prefix};
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::rule::TierLimit;
use sensor_common::settings::Settings;
use sensor_common::stats::NetworkStats;

use crate::engine::plan::Subject;

pub use pin::{Detached, detach, pinned};
pub use ring::Ring;
pub use source::{Completed, SourceStats};
pub use usage::{TableUse, Usage};

/// What the packet path is told; the kernel's side of configuration and tunables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub settings: Settings,
    /// Watched TCP ports.
    pub services: Vec<u16>,
    /// Limits by tier, the default tier first.
    pub limits: Vec<TierLimit>,
    /// Prefixes with the number of their tier.
    pub tiered: Vec<(Prefix, u32)>,
}

/// The moments that bound a rule; monotonic nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// From when on the rule no longer holds. Allow rules do not expire in the kernel: the daemon takes them out.
    pub expires_ns: u64,
    /// For class rules: networks first seen before this are never refused.
    pub newer_than_ns: u64,
}

/// A rule as the kernel holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    pub terms: Terms,
    /// Frames (class rules: connections) it matched since it was entered, in dry run too.
    pub hits: u64,
    /// For class rules: connections of the cohort that it let through.
    pub passed: u64,
}

/// Sums of the per-CPU counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters(Vec<u64>);

/// How the program hangs on the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub interface: String,
    pub mode: XdpMode,
    /// Why native mode was not to be had, if it was tried.
    pub fallback: Option<String>,
    /// Whether tables of an earlier run were taken over.
    pub reused: bool,
    /// What the operator should know about how it went.
    pub warnings: Vec<String>,
}

/// Where in the receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network stack: works everywhere, costs more per frame.
    Generic,
}

impl XdpMode {
    /// `native` or `generic`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// Something the kernel refused after the start.
#[derive(Debug)]
pub struct KernelError {
    /// What was tried.
    pub doing: String,
    pub cause: String,
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.cause)
    }
}

impl std::error::Error for KernelError {}

impl KernelError {
    pub(crate) fn new(doing: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { doing: doing.into(), cause: cause.to_string() }
    }
}

/// Some rules, and the subject behind which the next ones stand.
pub type RulesPart = (Vec<(Subject, Installed)>, Option<Subject>);

/// The tables of the packet path.
///
/// # Errors
/// Every method fails only if the kernel refuses a map operation; nothing of the call can be relied on then.
pub trait Kernel: Send {
    /// Writes settings, services and tiers. Connections and counts go on. The sizes of the tables are the kernel's own.
    fn configure(&mut self, wanted: &Wanted) -> Result<(), KernelError>;

    /// The seed that fingerprints are made with and tables are filled by; 0 if none was ever written.
    fn seed(&mut self) -> Result<u64, KernelError>;

    fn counters(&mut self) -> Result<Counters, KernelError>;

    /// Looks at all sources, and gives those with a completed handshake whose record changed since the last call, in no
    /// order; some may come twice. To be called about once a second: counters wrap.
    fn sources(&mut self, now_ns: u64) -> Result<Vec<Completed>, KernelError>;

    /// Visits every source, spoofed ones too, in no order. A sample: sources may come and go while it is taken.
    fn each_source(&mut self, now_ns: u64, visit: &mut dyn FnMut(Address, &SourceStats)) -> Result<(), KernelError>;

    /// One source.
    fn source(&mut self, source: &Address, now_ns: u64) -> Result<Option<SourceStats>, KernelError>;

    /// How full the tables were at the latest [`Kernel::sources`]; some of it is up to ten calls old.
    fn usage(&self) -> Usage;

    /// Enters networks known from earlier; those that the kernel has seen since keep the earlier first sight. To be
    /// called before the program is attached.
    fn remember(&mut self, networks: &[(Address, NetworkStats)]) -> Result<(), KernelError>;

    /// Every rule that stands in the kernel: the terms it has there, whoever wrote them. A rule that somebody else took
    /// out or entered is noticed by [`Kernel::tend`].
    fn rules(&mut self) -> Result<BTreeMap<Subject, Installed>, KernelError>;

    /// A part of [`Kernel::rules`], in its order: up to about `most` rules behind a subject, and where the next part
    /// begins; `None`: that was the last one.
    fn rules_after(&mut self, after: Option<&Subject>, most: usize) -> Result<RulesPart, KernelError> {
        let behind = |subject: &Subject| after.is_none_or(|after| subject > after);
        let rules: Vec<_> = self.rules()?.into_iter().filter(|(subject, _)| behind(subject)).take(most).collect();
        let next = rules.last().filter(|_| rules.len() == most).map(|(subject, _)| *subject);
        Ok((rules, next))
    }

    /// Upkeep, to be called about once a second: a bounded look at a part of the tables of rules. Within ten seconds,
    /// and one more for every 4,096 rules, all of them were looked at: what is not whole is taken out, and missing in
    /// [`Kernel::rules`] from then on.
    fn tend(&mut self, now_ns: u64) -> Result<(), KernelError>;

    /// Enters a rule. If one stands there already (`stands`: the caller knows of it), its terms are changed and its hits
    /// kept.
    fn install(&mut self, subject: &Subject, terms: Terms, stands: bool) -> Result<(), KernelError>;

    /// Takes a rule out; nothing happens if there is none.
    fn remove(&mut self, subject: &Subject) -> Result<(), KernelError>;
}

/// Where connection records come from.
pub trait Records: Send {
    /// Waits for the next records; never an empty list. Dropping the future loses none.
    fn next(&mut self) -> impl Future<Output = io::Result<Vec<ConnectionEvent>>> + Send;
}

impl Counters {
    /// Sums in the order of [`Counter::ALL`].
    #[must_use]
    pub fn new(sums: Vec<u64>) -> Self {
        Self(sums)
    }

    /// One counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter.index() as usize).copied().unwrap_or(0)
    }

    /// All of them, indexed by [`Counter::index`].
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self(vec![0; Counter::COUNT as usize])
    }
}
