//! The sensor's packet path with its tables on LRU hashes: what its own tables are measured against.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "the BPF target has no stable atomic add")]

#[path = "../../../../sensor-ebpf/src/clock.rs"]
mod clock;
mod maps;
#[path = "../../../../sensor-ebpf/src/packet.rs"]
mod packet;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use clock::Monotonic;
use maps::Maps;
use packet::Packet;
use sensor_common::path::{Verdict, judge};

/// `frags`: frames that span several buffers are accepted, so that jumbo frames need no special mode.
#[xdp(frags)]
fn lru(context: XdpContext) -> u32 {
    let Some(maps) = Maps::new() else { return xdp_action::XDP_PASS };
    match judge(&Packet::new(context), &maps, &Monotonic) {
        // Not understood is never hostile: the host's stack decides.
        Verdict::Pass | Verdict::WouldDrop(_) | Verdict::Unread(_) => xdp_action::XDP_PASS,
        Verdict::Drop(_) => xdp_action::XDP_DROP,
    }
}

/// `bpf_loop` and the load helpers are GPL-only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A loop, so that a panic which can be reached makes the verifier refuse the program.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
