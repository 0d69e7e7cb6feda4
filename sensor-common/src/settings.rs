//! Settings the daemon writes and every packet reads: the kernel's side of the tunables.

use crate::plain;

plain! {
    /// The one element of the settings map. An all-zero value watches and enforces nothing.
    pub struct Settings {
        /// Secret of this installation; seeds fingerprints, so that nobody can aim for a collision.
        pub seed: u64,
        /// [`crate::ABI_VERSION`] of whoever wrote the maps.
        pub abi_version: u32,
        /// 1: verdicts are carried out. 0: dry run; they are counted and the frame passes.
        pub enforce: u32,
        /// Relay gap at and above which a connection counts as relayed, microseconds.
        pub relay_gap_us: u32,
        /// Without sender timestamps the gap must also exceed this share of the handshake's round trip, percent.
        pub relay_gap_rtt_percent: u32,
    }
}
