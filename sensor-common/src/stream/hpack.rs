//! The shape of an HTTP/2 head: which header names come, in which order and by which representation (RFC 7541).
//!
//! Values are passed over by their length. Names are hashed as they are encoded: one client encodes them in one way.
//! Nothing is decoded and no dynamic table is kept, so only the first head of a connection can be read.

use super::mix;
use crate::stream::Http;

const PADDING: u8 = 0;
const PRIORITY: u8 = 1;
const FIELD: u8 = 2;
const INTEGER: u8 = 3;
const NAME_LENGTH: u8 = 4;
const NAME: u8 = 5;
const VALUE_LENGTH: u8 = 6;
const VALUE: u8 = 7;

/// What the integer at hand says.
const INDEXED: u8 = 0;
const LITERAL: u8 = 1;
const TABLE_SIZE: u8 = 2;
const NAME_BYTES: u8 = 3;
const VALUE_BYTES: u8 = 4;

/// Size of a head above which it is given up, bytes.
const HEAD_MAX: u32 = 65_536;
/// Bits of an integer's continuation that are followed.
const SHIFT_MAX: u8 = 21;
/// Stands for a method that is spelled out; no index of the static table.
const OTHER_METHOD: u64 = 1_000;

/// Begins with the payload of the first HEADERS frame.
#[inline(always)]
pub(super) fn begin(http: &mut Http, padded: bool, priority: bool) {
    http.head = 0;
    http.padding = 0;
    // What PRIORITY needs once the padding's length is read.
    http.seen = u8::from(priority);
    http.phase = FIELD;
    if padded {
        http.phase = PADDING;
    } else if priority {
        begin_priority(http);
    }
}

/// Whether the block may end here.
#[inline(always)]
pub(super) fn is_whole(http: &Http) -> bool {
    http.phase == FIELD
}

/// Reads the byte at hand, or passes over up to `most` bytes of a value. `left`: bytes left of the block's part in the
/// frame, at least 1. How many bytes were used; 0 if they contradict RFC 7541 or are beyond the limits.
#[inline(always)]
pub(super) fn step(http: &mut Http, value: u8, most: u32, left: u32) -> u32 {
    let run = match http.phase {
        VALUE | PRIORITY => http.left.min(most).min(left),
        _ => 1,
    };
    http.head = http.head.saturating_add(run);
    let good = match http.phase {
        VALUE | PRIORITY => {
            http.left = http.left.saturating_sub(run);
            http.phase = if http.left == 0 { FIELD } else { http.phase };
            true
        }
        PADDING => {
            http.padding = value;
            http.phase = FIELD;
            if http.seen != 0 {
                begin_priority(http);
            }
            // RFC 9113 section 6.2: padding that leaves nothing is an error.
            u32::from(value) < left
        }
        NAME => {
            http.token = mix(http.token ^ u64::from(value));
            http.left = http.left.saturating_sub(1);
            if http.left == 0 {
                chain(http, http.token);
                http.phase = VALUE_LENGTH;
            }
            true
        }
        FIELD => field(http, value),
        NAME_LENGTH | VALUE_LENGTH => {
            http.candidate = if http.phase == NAME_LENGTH { NAME_BYTES } else { VALUE_BYTES };
            // Whether the name is in Huffman code belongs to its encoding.
            http.token = u64::from(value >> 7);
            integer(http, value, 0x7f)
        }
        _ => more_of_integer(http, value),
    };
    if good && http.head <= HEAD_MAX { run } else { 0 }
}

/// Five bytes of dependency and weight (RFC 9113 section 6.2).
#[inline(always)]
fn begin_priority(http: &mut Http) {
    http.phase = PRIORITY;
    http.left = 5;
}

/// The first byte of a representation (RFC 7541 section 6).
#[inline(always)]
fn field(http: &mut Http, value: u8) -> bool {
    let (kind, mask) = match value {
        0x80.. => (INDEXED, 0x7f),
        0x40.. => (LITERAL, 0x3f),
        0x20.. => (TABLE_SIZE, 0x1f),
        _ => (LITERAL, 0x0f),
    };
    http.candidate = kind;
    integer(http, value, mask)
}

/// The first byte of an integer (RFC 7541 section 5.1).
#[inline(always)]
fn integer(http: &mut Http, value: u8, mask: u8) -> bool {
    http.left = u32::from(value & mask);
    http.length = 0;
    if value & mask == mask {
        http.phase = INTEGER;
        return true;
    }
    act(http)
}

#[inline(always)]
fn more_of_integer(http: &mut Http, value: u8) -> bool {
    if http.length > SHIFT_MAX {
        return false;
    }
    http.left = http.left.saturating_add(u32::from(value & 0x7f) << (http.length & 31));
    http.length += 7;
    if value & 0x80 != 0 { true } else { act(http) }
}

/// Acts on the integer just read; whether it may be.
#[inline(always)]
fn act(http: &mut Http) -> bool {
    let value = http.left;
    match http.candidate {
        INDEXED => {
            chain(http, name(value));
            http.phase = FIELD;
            value != 0
        }
        LITERAL => {
            http.phase = NAME_LENGTH;
            if value != 0 {
                // Spelled out although the table has two of them.
                chain(http, if matches!(value, 2 | 3) { OTHER_METHOD } else { name(value) });
                http.phase = VALUE_LENGTH;
            }
            true
        }
        TABLE_SIZE => {
            http.phase = FIELD;
            true
        }
        NAME_BYTES => {
            http.phase = NAME;
            value != 0
        }
        _ => {
            http.phase = if value == 0 { FIELD } else { VALUE };
            true
        }
    }
}

/// The entry of the static table that stands for this one's name; of methods, which is which counts.
#[inline(always)]
fn name(index: u32) -> u64 {
    match index {
        // ":path" twice, ":scheme" twice.
        5 => 4,
        7 => 6,
        _ => u64::from(index),
    }
}

/// Takes a name into the shape.
#[inline(always)]
fn chain(http: &mut Http, name: u64) {
    http.shape = mix(http.shape ^ name).wrapping_add(1);
}
