//! The kernel's monotonic clock and the engine's time: anchored to each other once, at start.

use nix::time::{ClockId, clock_gettime};

use crate::engine::time::Time;

/// Translates between the kernel's monotonic nanoseconds and [`Time`].
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// [`Time`] minus monotonic time, nanoseconds.
    offset_ns: u64,
}

impl Clock {
    /// Anchors the monotonic clock to the wall clock as they stand.
    #[must_use]
    pub fn anchored() -> Self {
        Self::at(read(ClockId::CLOCK_REALTIME), read(ClockId::CLOCK_MONOTONIC))
    }

    /// The clock by which it was `unix_ns` when the monotonic clock read `monotonic_ns`.
    #[must_use]
    pub const fn at(unix_ns: u64, monotonic_ns: u64) -> Self {
        Self { offset_ns: unix_ns.saturating_sub(monotonic_ns) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.time(read(ClockId::CLOCK_MONOTONIC))
    }

    /// The moment of a monotonic reading.
    #[must_use]
    pub const fn time(&self, monotonic_ns: u64) -> Time {
        Time(monotonic_ns.saturating_add(self.offset_ns))
    }

    /// The monotonic reading at a moment; 0 for moments before the machine came up.
    #[must_use]
    pub const fn monotonic_ns(&self, time: Time) -> u64 {
        time.0.saturating_sub(self.offset_ns)
    }
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).expect("both clocks exist on every Linux");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::engine::time::Time;

    #[test]
    fn times_go_there_and_back() {
        let clock = Clock::at(1_700_000_000_000_000_000, 5_000_000_000);
        assert_eq!(clock.time(5_000_000_000), Time(1_700_000_000_000_000_000));
        assert_eq!(clock.monotonic_ns(clock.time(77)), 77);
    }

    #[test]
    fn a_moment_before_the_machine_came_up_is_zero() {
        let clock = Clock::at(1_700_000_000_000_000_000, 5_000_000_000);
        assert_eq!(clock.monotonic_ns(Time(1_600_000_000_000_000_000)), 0);
    }
}
