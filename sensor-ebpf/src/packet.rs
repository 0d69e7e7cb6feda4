//! The frame at hand: the only place that reads packet memory.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use sensor_common::capacity::{HEADERS_END, SEGMENT_BYTES};
use sensor_common::stream::Buffer;
use sensor_common::tables::Frame;

/// One frame.
pub(crate) struct Packet {
    context: XdpContext,
}

impl Packet {
    pub(crate) const fn new(context: XdpContext) -> Self {
        Self { context }
    }

    /// Where the first buffer begins. Volatile: LLVM would load it before a call and pass it as a number, but only
    /// what is loaded from the context is a packet pointer to the verifier.
    #[inline(always)]
    fn start(&self) -> usize {
        // SAFETY: the context is valid for the whole run of the program.
        unsafe { (&raw const (*self.context.ctx).data).read_volatile() as usize }
    }

    /// Where the first buffer ends; volatile for the same reason.
    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: as above.
        unsafe { (&raw const (*self.context.ctx).data_end).read_volatile() as usize }
    }

    /// Copies `length` bytes from `offset` on into the buffer, over all fragments; whether the frame held them.
    #[inline(always)]
    pub(crate) fn copy(&self, offset: usize, length: usize, buffer: &mut Buffer) -> bool {
        if length == 0 || length > SEGMENT_BYTES {
            return false;
        }
        // One expression that every kernel since 6.1 understands as 1 to SEGMENT_BYTES; without the black box LLVM
        // drops the mask, because of the test above.
        let length = (core::hint::black_box(length as u32).wrapping_sub(1) & (SEGMENT_BYTES as u32 - 1)) + 1;
        // SAFETY: the buffer holds SEGMENT_BYTES bytes and `length` is at most that; the helper checks the frame.
        let status = unsafe {
            bpf_xdp_load_bytes(self.context.as_ptr().cast(), offset as u32, buffer.as_mut_ptr().cast(), length)
        };
        status == 0
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn first_len(&self) -> usize {
        self.end().wrapping_sub(self.start())
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the pointer is this program's own context.
        unsafe { bpf_xdp_get_buff_len(self.context.as_ptr().cast()) as usize }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > HEADERS_END {
            return None;
        }
        let start = self.start() + (offset & HEADERS_END);
        let end = start + N;
        // LLVM turns `start + 1 > end` into `start >= end`, from which the verifier learns nothing.
        let end = if N == 1 { core::hint::black_box(end) } else { end };
        if end > self.end() {
            return None;
        }
        // SAFETY: `start + N <= data_end` was checked above; every bit pattern is a valid [u8; N].
        Some(unsafe { (start as *const [u8; N]).read_unaligned() })
    }
}
