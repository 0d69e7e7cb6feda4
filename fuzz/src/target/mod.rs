//! The targets, one a file.

pub(crate) mod capture;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod datagram;
pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod list;
pub(crate) mod state;
pub(crate) mod stream;

use sensor::host::{Bytes, Memory, Moment};
use sensor_common::ABI_VERSION;
use sensor_common::path::{Verdict, judge};
use sensor_common::plain::Plain as _;
use sensor_common::settings::{Settings, Sizes};

/// Tables that fill up soon.
pub(crate) const SIZES: Sizes = Sizes { regions: 1, traffic: 4, half_open: 4, sources: 4, networks: 4, connections: 2 };
/// A watched port.
pub(crate) const PORT: u16 = 8_000;
/// When the first frame comes, monotonic nanoseconds.
const START_NS: u64 = 1_000_000_000_000;

/// The packet path on the host, and what time it is.
pub(crate) struct Host {
    pub(crate) memory: Memory,
    now_ns: u64,
}

impl Host {
    /// Nothing is known; verdicts are only counted.
    pub(crate) fn new() -> Self {
        let settings = Settings {
            seed: 0x5eed,
            abi_version: ABI_VERSION,
            relay_gap_us: 25_000,
            relay_gap_rtt_percent: 25,
            events_per_s: 1_000,
            sizes: SIZES,
            ..Settings::zeroed()
        };
        Self { memory: Memory::new(settings, &[PORT], &[]), now_ns: START_NS }
    }

    /// Runs a frame that comes so much later than the one before.
    pub(crate) fn run(&mut self, after_ns: u64, frame: &[u8], length: usize) {
        self.now_ns = self.now_ns.saturating_add(after_ns).saturating_add(1);
        let verdict = judge(&Bytes::cut(frame, length), &self.memory, &Moment { now_ns: self.now_ns, lag_ns: 0 });
        assert!(matches!(verdict, Verdict::Pass | Verdict::Unread(_)), "{verdict:?} without any rule");
    }
}

/// Splits an input into pieces: two bytes of length, then so many bytes, or what is left.
pub(crate) fn pieces(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        input = rest;
        Some(piece)
    })
}
