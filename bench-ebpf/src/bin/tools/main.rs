//! What the harness itself needs in the kernel: floors to compare with, the generator of live frames, and the ways to
//! feed a program that is in the kernel already. Judges nothing.
#![no_std]
#![no_main]

mod write;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use bench_ebpf::Pattern;

/// Set by the harness before loading: the verifier removes what a pattern does not use.
#[unsafe(no_mangle)]
static PATTERN: Pattern = Pattern {
    seed: 0,
    base: 0,
    sources: 0,
    heavy_sources: 0,
    heavy_base: 0,
    heavy_share: 0,
    family: 0,
    order: 0,
    port: 0,
    tcp: 0,
    sequence: 0,
    step: 0,
    ip_sum: 0,
    tcp_sum: 0,
};

/// Number of the next frame.
#[map]
static NEXT: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The program under test.
#[map]
static JUMP: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The lower bound of every receiver.
#[xdp(frags)]
fn floor(_: XdpContext) -> u32 {
    XDP_DROP
}

/// The lower bound of a receiver that looks at the frame.
#[xdp(frags)]
fn parse(context: XdpContext) -> u32 {
    write::look(&context)
}

/// Where frames go that must reach the host.
#[xdp(frags)]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Writes a frame and sends it out of the interface it pretends to have come from.
#[xdp(frags)]
fn generator(context: XdpContext) -> u32 {
    write::write(&context);
    XDP_TX
}

/// Writes a frame and hands it to the program under test.
#[xdp(frags)]
fn shuffle(context: XdpContext) -> u32 {
    write::write(&context);
    jump(&context)
}

/// As `shuffle`, for a program that takes no fragments.
#[xdp]
fn shuffle_linear(context: XdpContext) -> u32 {
    write::write(&context);
    jump(&context)
}

/// Asks the program under test, and drops what it passes: every receiver counts, then drops.
#[xdp(frags)]
fn ending(context: XdpContext) -> u32 {
    match ask(&context) {
        XDP_PASS => XDP_DROP,
        other => other,
    }
}

#[inline(always)]
fn jump(context: &XdpContext) -> u32 {
    // SAFETY: the context is this program's own.
    unsafe { JUMP.tail_call(context, 0) };
    // Reached only if the array is empty: the harness checks the return value.
    aya_ebpf::bindings::xdp_action::XDP_ABORTED
}

/// A frame of its own: a tail call replaces only that, and its end returns to the caller.
#[inline(never)]
fn ask(context: &XdpContext) -> u32 {
    jump(context)
}

/// The array of programs is GPL-only no more than the rest; the programs it calls are.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A loop, so that a panic which can be reached makes the verifier refuse the program.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
