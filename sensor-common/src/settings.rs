//! Settings the daemon writes and every packet reads: the kernel's side of the tunables.

use crate::plain;

plain! {
    /// The one element of the settings map. An all-zero value watches and enforces nothing.
    pub struct Settings {
        /// Secret of this installation; seeds fingerprints and tables, so that nobody can aim for a collision.
        pub seed: u64,
        /// [`crate::ABI_VERSION`] of whoever wrote the maps.
        pub abi_version: u32,
        /// 1: verdicts are carried out. 0: dry run; they are counted and the frame passes.
        pub enforce: u32,
        /// Relay gap at and above which a connection counts as relayed, microseconds.
        pub relay_gap_us: u32,
        /// Without sender timestamps the gap must also exceed this share of the handshake's round trip, percent.
        pub relay_gap_rtt_percent: u32,
        /// Connection records that each CPU may write per second; beyond it a fair share of them is.
        pub events_per_s: u32,
        pub reserved: u32,
        /// How large the tables are.
        pub sizes: Sizes,
    }

    /// Sizes of the tables, fixed while they stand. Each is a power of two.
    pub struct Sizes {
        /// CPUs' own parts of [`crate::traffic`] and of the half-open connections. CPU `n` has part `n % regions`.
        pub regions: u32,
        /// Buckets of traffic in one region.
        pub traffic: u32,
        /// Buckets of half-open connections in one region.
        pub half_open: u32,
        /// Buckets of sources.
        pub sources: u32,
        /// Buckets of networks.
        pub networks: u32,
        /// Buckets of connections.
        pub connections: u32,
    }
}

impl Sizes {
    /// Number of elements of each array: one that is too small makes places unreachable, never memory unsafe.
    #[must_use]
    pub const fn elements(&self) -> Elements {
        Elements {
            traffic: self.regions.saturating_mul(self.traffic),
            half_open: self.regions.saturating_mul(self.half_open),
            sources: self.sources,
            networks: self.networks,
            connections: self.connections,
            hits: self.regions.saturating_mul(crate::capacity::RULES),
        }
    }
}

/// Elements of the arrays whose size is chosen at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements {
    pub traffic: u32,
    pub half_open: u32,
    pub sources: u32,
    pub networks: u32,
    pub connections: u32,
    pub hits: u32,
}
