//! TCP (RFC 9293) and the one option the evidence needs: timestamps (RFC 7323).

use super::{Reject, Segment};
use crate::tables::Frame;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// How a timestamp option begins: two NOPs, kind 8, length 10.
const TIMESTAMP: [u8; 4] = [1, 1, 8, 10];
/// Bytes of the two NOPs and the option.
const TIMESTAMP_BYTES: u32 = 12;

impl Segment {
    /// A connection attempt.
    #[must_use]
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.flags & (SYN | ACK | RST) == SYN
    }

    /// An acknowledgement and nothing else.
    #[must_use]
    #[inline(always)]
    pub const fn is_bare_ack(&self) -> bool {
        self.flags & (SYN | FIN | RST | ACK) == ACK && self.length == 0
    }

    #[must_use]
    #[inline(always)]
    pub const fn has_syn(&self) -> bool {
        self.flags & SYN != 0
    }

    #[must_use]
    #[inline(always)]
    pub const fn has_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    #[must_use]
    #[inline(always)]
    pub const fn has_fin(&self) -> bool {
        self.flags & FIN != 0
    }

    #[must_use]
    #[inline(always)]
    pub const fn has_rst(&self) -> bool {
        self.flags & RST != 0
    }
}

#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F, offset: usize, end: usize, segment: &mut Segment) -> Result<(), Reject> {
    let header = frame.read::<20>(offset).ok_or(Reject::Truncated)?;
    let payload = offset + usize::from(header[12] >> 4) * 4;
    if payload < offset + 20 || payload > end {
        return Err(Reject::Header);
    }
    segment.tuple.ports = u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]]));
    segment.seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    segment.ack = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    segment.flags = header[13];
    segment.options = (offset + 20) as u32;
    segment.payload = payload as u32;
    segment.length = (end - payload) as u32;
    Ok(())
}

#[inline(always)]
pub(super) fn check_udp<F: Frame>(frame: &F, offset: usize, end: usize) -> Result<(), Reject> {
    frame.read::<8>(offset).ok_or(Reject::Truncated)?;
    if offset + 8 > end { Err(Reject::Header) } else { Ok(()) }
}

/// The sender's timestamp (TSval), if the segment carries one first among its options, behind two NOPs, as RFC 7323
/// appendix A advises and every common stack does on every segment but the SYN. Its unit is the sender's business:
/// 1 ms on Linux. Another order is read as "no timestamp", for which arrival times stand in.
#[inline(always)]
pub fn timestamp<F: Frame>(frame: &F, segment: &Segment) -> Option<u32> {
    if segment.options + TIMESTAMP_BYTES > segment.payload {
        return None;
    }
    let [a, b, c, d, value @ ..] = frame.read::<8>(segment.options as usize)?;
    if [a, b, c, d] == TIMESTAMP { Some(u32::from_be_bytes(value)) } else { None }
}
