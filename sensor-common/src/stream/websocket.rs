//! WebSocket messages (RFC 6455) behind an HTTP/1 upgrade: counts turns.
//!
//! A turn is a client's data message that comes after the server has sent something since the turn before, so that a
//! message in parts, or an upload in many messages, counts once. Payload is passed over by its length.

use super::{Buffer, Step, byte};
use crate::connection::Connection;
use crate::stream::Records;

/// Places in the header: behind the two fixed bytes the length of 2 bytes, that of 8, then the mask.
const LENGTH_2: u8 = 2;
const LENGTH_8: u8 = 4;
const MASK: u8 = 12;
const MASK_END: u8 = 15;

/// The first byte's bits that say what a frame is.
const OPCODE: u8 = 0x0f;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// Begins with the first byte behind the head that asked for the upgrade.
#[inline(always)]
pub(super) fn begin(connection: &mut Connection, first: u8) {
    connection.records = Records::NEW;
    connection.records.kind = first & OPCODE;
    connection.records.header = 1;
}

/// Payload that need not be read.
#[inline(always)]
pub(super) fn skippable(frames: &Records) -> u32 {
    if frames.header == 0 { frames.left } else { 0 }
}

/// Passes over payload, or reads one byte of a header.
#[inline(always)]
pub(super) fn step(connection: &mut Connection, buffer: &Buffer) -> Step {
    let position = connection.position;
    let available = connection.end.saturating_sub(position);
    let frames = &mut connection.records;
    if frames.header == 0 && frames.left > 0 {
        let run = frames.left.min(available);
        frames.left -= run;
        connection.position += run;
        return Step::More;
    }
    connection.position += 1;
    let value = byte(buffer, position);
    let mut good = true;
    let next = match frames.header {
        0 => {
            frames.kind = value & OPCODE;
            1
        }
        1 => {
            // RFC 6455 section 5.2: opcodes 3 to 7 and 11 to 15 are not in use. Section 5.1: a client masks every frame.
            good = matches!(frames.kind, 0..=2 | 8..=10) && value & 0x80 != 0;
            frames.left = 0;
            match value & 0x7f {
                127 => LENGTH_8,
                126 => LENGTH_2,
                short => {
                    frames.left = u32::from(short);
                    MASK
                }
            }
        }
        at @ LENGTH_2..MASK => {
            good = frames.left <= u32::MAX >> 8;
            frames.left = frames.left << 8 | u32::from(value);
            if at == LENGTH_8 - 1 { MASK } else { at + 1 }
        }
        at if at < MASK_END => at + 1,
        _ => 0,
    };
    frames.header = next;
    if !good {
        return Step::Malformed;
    }
    let turn = next == 0 && matches!(frames.kind, TEXT | BINARY) && connection.ack != connection.counted_ack;
    if !turn {
        return Step::More;
    }
    connection.counted_ack = connection.ack;
    Step::Request
}
