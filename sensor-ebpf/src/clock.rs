//! The kernel's clock, CLOCK_MONOTONIC.
//!
//! Asking it costs as much as everything else that is done for a frame. So it is asked where something is timed, and
//! otherwise once in a timer tick, whose number is one load.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use sensor_common::tables::Clock;

/// A CPU that has seen this many frames in a tick is busy: 64,000 a second where a tick is 4 ms.
const BUSY: u32 = 256;
/// For how many frames a busy CPU takes one time for all attempts.
const FRESH: u32 = 32;

/// See the module.
pub(crate) struct Monotonic;

/// What a CPU knows of the tick at hand. Not pinned: holds nothing that outlives it.
#[map]
static TICK: PerCpuArray<Tick> = PerCpuArray::with_max_entries(1, 0);

struct Tick {
    /// Its number.
    jiffies: u64,
    /// The time when it was last asked for.
    now_ns: u64,
    /// Frames since the tick began.
    frames: u32,
    /// Frames up to which the time counts as fresh.
    fresh_until: u32,
}

#[inline(always)]
fn tick() -> Option<&'static mut Tick> {
    // SAFETY: the entry belongs to this CPU, XDP programs of one CPU do not interrupt each other, and no two references
    // to it live at once.
    TICK.get_ptr_mut(0).map(|tick| unsafe { &mut *tick })
}

impl Clock for Monotonic {
    #[inline(always)]
    fn tick_ns(&self) -> u64 {
        let Some(tick) = tick() else { return self.now_ns() };
        // SAFETY: the helper takes no argument and has no precondition.
        let jiffies = unsafe { bpf_jiffies64() };
        if tick.jiffies != jiffies {
            *tick = Tick { jiffies, now_ns: self.now_ns(), frames: 0, fresh_until: BUSY };
        }
        tick.frames = tick.frames.wrapping_add(1);
        tick.now_ns
    }

    #[inline(always)]
    fn attempt_ns(&self) -> u64 {
        let Some(tick) = tick() else { return self.now_ns() };
        if tick.frames < BUSY {
            return self.now_ns();
        }
        if tick.frames >= tick.fresh_until {
            tick.now_ns = self.now_ns();
            tick.fresh_until = tick.frames.wrapping_add(FRESH);
        }
        tick.now_ns
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper takes no argument and has no precondition.
        unsafe { bpf_ktime_get_ns() }
    }
}
