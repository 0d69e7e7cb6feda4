//! The packet path on the host: tables in plain memory, time as told. What the kernel runs on frames from a card runs
//! here on frames from a file; nothing is attached, and no clock is read.

mod memory;

pub use memory::{Bytes, Classes, Memory, Shared};

use sensor_common::tables::Clock;

/// What time it is for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic nanoseconds.
    pub now_ns: u64,
    /// How far the clock of the timer tick is behind, nanoseconds.
    pub lag_ns: u64,
}

impl Clock for Moment {
    fn tick_ns(&self) -> u64 {
        self.now_ns.saturating_sub(self.lag_ns)
    }

    fn attempt_ns(&self) -> u64 {
        self.now_ns
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }
}
