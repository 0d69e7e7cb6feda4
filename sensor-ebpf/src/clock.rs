//! The kernel's clock, CLOCK_MONOTONIC.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use sensor_common::tables::Clock;

/// See the module.
pub(crate) struct Monotonic;

impl Clock for Monotonic {
    #[inline(always)]
    fn tick_ns(&self) -> u64 {
        // SAFETY: the helper takes no argument and has no precondition.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: as above.
        unsafe { bpf_ktime_get_ns() }
    }
}
