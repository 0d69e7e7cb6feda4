//! TCP (RFC 9293) and the one option the evidence needs: timestamps (RFC 7323).

use super::Reject;
use super::ip::Packet;
use crate::tables::Frame;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_TIMESTAMP: u8 = 8;
/// Bytes of a timestamp option.
const TIMESTAMP_BYTES: usize = 10;
/// Options that are looked at before giving up: 40 bytes hold no more that mean anything.
const OPTIONS: usize = 20;

/// The facts of one TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    pub client_port: u16,
    pub server_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    /// Where the options begin and end in the frame.
    pub options: usize,
    /// Where the payload begins in the frame.
    pub payload: usize,
    /// Bytes of payload.
    pub length: usize,
}

impl Tcp {
    #[must_use]
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.flags & (SYN | ACK | RST) == SYN
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
pub(super) fn parse<F: Frame>(frame: &F, packet: &Packet) -> Result<Tcp, Reject> {
    let header = frame.read::<20>(packet.payload).ok_or(Reject::Truncated)?;
    let header_length = usize::from(header[12] >> 4) * 4;
    let payload = packet.payload + header_length;
    if header_length < 20 || payload > packet.end {
        return Err(Reject::Header);
    }
    Ok(Tcp {
        client_port: u16::from_be_bytes([header[0], header[1]]),
        server_port: u16::from_be_bytes([header[2], header[3]]),
        seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        flags: header[13],
        options: packet.payload + 20,
        payload,
        length: packet.end - payload,
    })
}

#[inline(always)]
pub(super) fn udp_port<F: Frame>(frame: &F, offset: usize) -> Result<u16, Reject> {
    let header = frame.read::<8>(offset).ok_or(Reject::Truncated)?;
    Ok(u16::from_be_bytes([header[2], header[3]]))
}

/// The sender's timestamp (TSval), if the segment carries one. Its unit is the sender's business: 1 ms on Linux.
#[inline(always)]
pub fn timestamp<F: Frame>(frame: &F, tcp: &Tcp) -> Option<u32> {
    // What nearly everybody sends: two NOPs, then the option.
    if let Some([OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMP, 10, a, b, c, d]) = frame.read::<8>(tcp.options)
        && tcp.options + 12 <= tcp.payload
    {
        return Some(u32::from_be_bytes([a, b, c, d]));
    }
    let mut offset = tcp.options;
    for _ in 0..OPTIONS {
        if offset >= tcp.payload {
            return None;
        }
        let [kind] = frame.read::<1>(offset)?;
        if kind == OPTION_END {
            return None;
        }
        if kind == OPTION_NOP {
            offset += 1;
            continue;
        }
        let [length] = frame.read::<1>(offset + 1)?;
        let length = usize::from(length);
        if kind == OPTION_TIMESTAMP && length == TIMESTAMP_BYTES && offset + length <= tcp.payload {
            return frame.read::<4>(offset + 2).map(u32::from_be_bytes);
        }
        if length < 2 {
            return None;
        }
        offset += length;
    }
    None
}
