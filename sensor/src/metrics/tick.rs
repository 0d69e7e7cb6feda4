//! What the daemon tells the metrics once a tick. Plain numbers: no address, prefix or fingerprint can get in.

/// One tick's facts. Totals may restart from zero at any time; the metrics never go backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tick<'a> {
    /// The kernel's counters, indexed by [`sensor_common::counter::Counter::index`], summed over CPUs.
    pub counters: &'a [u64],
    /// How full every bounded table is.
    pub tables: Tables,
    /// Sources forgotten for new ones, total.
    pub sources_evicted: u64,
    /// Memory of the kernel's tables.
    pub kernel_memory_bytes: u64,
    /// Most memory that the daemon's totals of the traffic table may take.
    pub mirror_memory_bytes: u64,
    pub campaigns: Campaigns,
    /// Rules in the kernel.
    pub rules: Rules,
    /// How long the tick's work took, seconds.
    pub tick_s: f64,
    /// Whether the program runs in the driver; otherwise in the kernel's common path.
    pub native: bool,
    /// Whether native mode was asked for and not to be had.
    pub native_fallback: bool,
    /// Whether verdicts are carried out.
    pub enforcing: bool,
    /// Whether configuration or command line ask for it.
    pub enforce_configured: bool,
    /// Calm traffic learned so far, seconds.
    pub learning_calm_s: u64,
    /// Calm traffic wanted before automatic rules, seconds.
    pub learning_needed_s: u64,
    /// When the configuration in force was read, seconds since 1970.
    pub config_loaded_at_unix_s: u64,
    /// Configurations refused at reload, total.
    pub config_failures: u64,
    /// Differences between wanted and installed rules that the daemon did not make itself and repaired, total.
    pub drift_repaired: u64,
    /// Failed writes to the store, total.
    pub store_errors: u64,
}

/// Entries of a table, and how many it can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    pub entries: u64,
    pub capacity: u64,
}

/// Bounded tables: the kernel's first, then the engine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Sources whose frames are counted.
    pub sources: Fill,
    /// Sources with a completed handshake.
    pub records: Fill,
    pub connections: Fill,
    /// Connection attempts.
    pub attempts: Fill,
    pub networks: Fill,
    pub allow: Fill,
    pub deny: Fill,
    pub classes: Fill,
    pub tiered: Fill,
    /// Sources whose windows the engine keeps.
    pub engine_sources: Fill,
    /// Networks whose first sight the engine remembers.
    pub engine_networks: Fill,
    /// Cohorts the engine follows.
    pub engine_cohorts: Fill,
}

/// Campaigns the daemon knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Campaigns {
    pub open: u64,
    /// Closed ones that are still remembered.
    pub closed: u64,
    /// Raised by this daemon, total.
    pub opened: u64,
}

/// Rules in the kernel, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub allow: u64,
    pub deny: u64,
    pub class: u64,
}
