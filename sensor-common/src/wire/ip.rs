//! IPv4 (RFC 791) and IPv6 with extension headers (RFC 8200), to one shape.

use super::Reject;
use super::Segment;
use crate::address::MAPPED;
use crate::tables::Frame;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// Extension headers that are followed before giving up.
const EXTENSIONS: usize = 6;

/// The transport protocol, its header's offset, and the packet's end: padding and trailers are beyond it.
type Transport = (u8, usize, usize);

#[inline(always)]
pub(super) fn parse<F: Frame>(
    frame: &F,
    ethertype: u16,
    offset: usize,
    segment: &mut Segment,
) -> Result<Transport, Reject> {
    match ethertype {
        IPV4 => parse_v4(frame, offset, segment),
        IPV6 => parse_v6(frame, offset, segment),
        _ => Err(Reject::Ethertype),
    }
}

#[inline(always)]
fn parse_v4<F: Frame>(frame: &F, offset: usize, segment: &mut Segment) -> Result<Transport, Reject> {
    let header = frame.read::<20>(offset).ok_or(Reject::Truncated)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_length < 20 || total < header_length {
        return Err(Reject::Header);
    }
    let end = offset + total;
    check_end(frame, end, segment)?;
    // More fragments, or an offset: ports and lengths cannot be trusted. The reserved bit and DF do not matter.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Err(Reject::Fragment);
    }
    segment.set_addresses(
        [0, MAPPED | u64::from(u32::from_be_bytes([header[12], header[13], header[14], header[15]]))],
        [0, MAPPED | u64::from(u32::from_be_bytes([header[16], header[17], header[18], header[19]]))],
    );
    Ok((header[9], offset + header_length, end))
}

#[inline(always)]
fn parse_v6<F: Frame>(frame: &F, offset: usize, segment: &mut Segment) -> Result<Transport, Reject> {
    let header = frame.read::<8>(offset).ok_or(Reject::Truncated)?;
    let client = halves(frame, offset + 8)?;
    let server = halves(frame, offset + 24)?;
    if header[0] >> 4 != 6 {
        return Err(Reject::Header);
    }
    let end = offset + 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    check_end(frame, end, segment)?;
    // Tables hold IPv4 addresses in this form: taken from the wire, it would speak for somebody else.
    if client[0] == 0 && client[1] >> 32 == MAPPED >> 32 {
        return Err(Reject::Header);
    }
    segment.set_addresses(client, server);
    let (protocol, payload) = match header[6] {
        protocol @ (TCP | UDP) => (protocol, offset + 40),
        next => skip_extensions(frame, next, offset + 40, segment)?,
    };
    if payload > end {
        return Err(Reject::Header);
    }
    Ok((protocol, payload, end))
}

/// Whether the frame holds all of the packet.
#[inline(always)]
fn check_end<F: Frame>(frame: &F, end: usize, segment: &mut Segment) -> Result<(), Reject> {
    if end <= frame.first_len() || reaches(frame, end, segment) { Ok(()) } else { Err(Reject::Truncated) }
}

/// Whether a frame of several buffers is that long; only these have to be asked.
#[inline(never)]
fn reaches<F: Frame>(frame: &F, end: usize, segment: &mut Segment) -> bool {
    let length = frame.len();
    segment.frame_bytes = length as u32;
    end <= length
}

/// The two halves of the address at an offset.
#[inline(always)]
fn halves<F: Frame>(frame: &F, offset: usize) -> Result<[u64; 2], Reject> {
    let high = frame.read::<8>(offset).ok_or(Reject::Truncated)?;
    let low = frame.read::<8>(offset + 8).ok_or(Reject::Truncated)?;
    Ok([u64::from_be_bytes(high), u64::from_be_bytes(low)])
}

/// The first header that is no extension header, and its offset.
#[inline(always)]
fn skip_extensions<F: Frame>(frame: &F, first: u8, start: usize, segment: &mut Segment) -> Result<(u8, usize), Reject> {
    segment.protocol = first;
    segment.payload = start as u32;
    walk_extensions(frame, segment)?;
    Ok((segment.protocol, segment.payload as usize))
}

/// Moves `protocol` and `payload` on to the first header that is no extension header. A function of its own: few frames
/// have any, and its loop would burden the others.
#[inline(never)]
fn walk_extensions<F: Frame>(frame: &F, segment: &mut Segment) -> Result<(), Reject> {
    let mut next = segment.protocol;
    let mut offset = segment.payload as usize;
    for _ in 0..EXTENSIONS {
        let unit = match next {
            HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HOST_IDENTITY | SHIM6 => 8,
            // RFC 4302 section 2.2: length in 4-byte units, minus 2.
            AUTHENTICATION => 4,
            FRAGMENT => return Err(Reject::Fragment),
            _ => {
                segment.protocol = next;
                segment.payload = offset as u32;
                return Ok(());
            }
        };
        let [following, length] = frame.read::<2>(offset).ok_or(Reject::Truncated)?;
        offset += if unit == 8 { usize::from(length) * 8 + 8 } else { usize::from(length) * 4 + 8 };
        next = following;
    }
    match next {
        HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HOST_IDENTITY | SHIM6 | AUTHENTICATION => {
            Err(Reject::Extension)
        }
        FRAGMENT => Err(Reject::Fragment),
        _ => {
            segment.protocol = next;
            segment.payload = offset as u32;
            Ok(())
        }
    }
}
