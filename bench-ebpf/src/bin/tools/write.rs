//! The frame at hand: the only place that reads and writes packet memory.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::programs::XdpContext;
use bench_ebpf::{Pattern, fold};

use crate::{NEXT, PATTERN};

const ETHERNET: usize = 14;
const V4_CHECKSUM: usize = ETHERNET + 10;
const V4_SOURCE: usize = ETHERNET + 12;
const V6_SOURCE: usize = ETHERNET + 8;
const TCP_SEQUENCE: usize = 4;
const TCP_CHECKSUM: usize = 16;

/// The pattern as the harness set it.
#[inline(always)]
fn pattern() -> Pattern {
    macro_rules! set {
        ($($field:ident),*) => {
            // SAFETY: a live static. Volatile, or the compiler would take the values it was built with.
            Pattern { $($field: unsafe { (&raw const PATTERN.$field).read_volatile() },)* }
        };
    }
    set!(
        seed,
        base,
        sources,
        heavy_sources,
        heavy_base,
        heavy_share,
        family,
        order,
        port,
        tcp,
        sequence,
        step,
        ip_sum,
        tcp_sum
    )
}

/// `N` bytes of the frame, if it holds them.
#[inline(always)]
fn bytes<const N: usize>(context: &XdpContext, offset: usize) -> Option<*mut [u8; N]> {
    let start = context.data() + offset;
    if start + N > context.data_end() { None } else { Some(start as *mut [u8; N]) }
}

#[inline(always)]
fn put<const N: usize>(context: &XdpContext, offset: usize, value: [u8; N]) -> Option<()> {
    let place = bytes(context, offset)?;
    // SAFETY: `bytes` checked the bounds; bytes have no alignment.
    unsafe { place.write_unaligned(value) };
    Some(())
}

/// Sum of an integer's 16-bit words.
#[inline(always)]
fn words(value: u64) -> u64 {
    (value & 0xffff) + (value >> 16 & 0xffff) + (value >> 32 & 0xffff) + (value >> 48)
}

/// Writes what the pattern says into the next frame.
#[inline(always)]
pub(crate) fn write(context: &XdpContext) {
    let pattern = pattern();
    if pattern.sources == 0 {
        return;
    }
    let Some(next) = NEXT.get_ptr_mut(0) else { return };
    // SAFETY: the cell belongs to this CPU.
    let n = unsafe { *next };
    // SAFETY: as above.
    unsafe { *next = n + 1 };
    let _ = change(context, &pattern, n);
}

#[inline(always)]
fn change(context: &XdpContext, pattern: &Pattern, n: u64) -> Option<()> {
    let draw = pattern.draw(n);
    let transport = if pattern.family == 6 {
        put(context, V6_SOURCE, draw.address.to_be_bytes())?;
        ETHERNET + 40
    } else {
        put(context, V4_SOURCE, (draw.address as u32).to_be_bytes())?;
        let sum = !fold(u64::from(pattern.ip_sum) + words(draw.address)) as u16;
        put(context, V4_CHECKSUM, sum.to_be_bytes())?;
        ETHERNET + 20
    };
    put(context, transport, draw.port.to_be_bytes())?;
    if pattern.tcp != 0 {
        put(context, transport + TCP_SEQUENCE, draw.sequence.to_be_bytes())?;
        let changed = words(draw.address) + u64::from(draw.port) + words(u64::from(draw.sequence));
        let sum = !fold(u64::from(pattern.tcp_sum) + changed) as u16;
        put(context, transport + TCP_CHECKSUM, sum.to_be_bytes())?;
    }
    Some(())
}

/// Reads the source, as the cheapest filter would.
#[inline(always)]
pub(crate) fn look(context: &XdpContext) -> u32 {
    let Some(kind) = bytes::<2>(context, 12) else { return XDP_ABORTED };
    let offset = match u16::from_be_bytes(read(kind)) {
        0x0800 => V4_SOURCE,
        0x86dd => V6_SOURCE,
        _ => return XDP_DROP,
    };
    match bytes::<4>(context, offset) {
        // A source that no pattern has.
        Some(source) if read(source) == [0xff; 4] => XDP_ABORTED,
        _ => XDP_DROP,
    }
}

#[inline(always)]
fn read<const N: usize>(place: *mut [u8; N]) -> [u8; N] {
    // SAFETY: `bytes` checked the bounds; bytes have no alignment.
    unsafe { place.read_unaligned() }
}
