//! The kernel's clock, CLOCK_MONOTONIC.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use sensor_common::tables::Clock;

/// See the module.
pub(crate) struct Monotonic;

/// The time when a CPU first asked in a timer tick. Not pinned: holds nothing that outlives a tick.
#[map]
static TICK: PerCpuArray<Tick> = PerCpuArray::with_max_entries(1, 0);

struct Tick {
    jiffies: u64,
    now_ns: u64,
}

impl Clock for Monotonic {
    /// The tick counter is one load; the clock behind it is asked once a tick.
    #[inline(always)]
    fn tick_ns(&self) -> u64 {
        // SAFETY: the helper takes no argument and has no precondition.
        let jiffies = unsafe { bpf_jiffies64() };
        let Some(tick) = TICK.get_ptr_mut(0) else { return self.now_ns() };
        // SAFETY: the entry belongs to this CPU, and XDP programs of one CPU do not interrupt each other.
        let tick = unsafe { &mut *tick };
        if tick.jiffies != jiffies {
            tick.jiffies = jiffies;
            tick.now_ns = self.now_ns();
        }
        tick.now_ns
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper takes no argument and has no precondition.
        unsafe { bpf_ktime_get_ns() }
    }
}
