//! The kernel's clock.

use aya_ebpf::helpers::bpf_ktime_get_ns;

/// CLOCK_MONOTONIC, nanoseconds.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_ns() }
}
