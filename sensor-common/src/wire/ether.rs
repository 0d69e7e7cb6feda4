//! Ethernet II with up to two VLAN tags (IEEE 802.1Q, 802.1ad).

use super::Reject;
use crate::tables::Frame;

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
/// Pre-standard service tag that switches still send.
const OLD_SERVICE_VLAN: u16 = 0x9100;

/// The payload's ethertype and offset.
#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F) -> Result<(u16, usize), Reject> {
    let mut ethertype = u16::from_be_bytes(frame.read(12).ok_or(Reject::Truncated)?);
    let mut offset = 14;
    for _ in 0..2 {
        if !is_vlan(ethertype) {
            return Ok((ethertype, offset));
        }
        // Tag control information, then the next ethertype.
        let [_, _, high, low] = frame.read::<4>(offset).ok_or(Reject::Truncated)?;
        ethertype = u16::from_be_bytes([high, low]);
        offset += 4;
    }
    if is_vlan(ethertype) { Err(Reject::Vlan) } else { Ok((ethertype, offset)) }
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN)
}
