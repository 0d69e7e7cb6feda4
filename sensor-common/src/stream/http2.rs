//! Cleartext HTTP/2 (RFC 9113), gRPC among it: requests are counted exactly, by the streams that the client opens.
//!
//! A stream is opened by HEADERS with a higher odd number than any before; HEADERS of a known stream are trailers.
//! Only the first head is read, for its shape ([`super::hpack`]); of all others the frames' lengths are enough. The
//! connection preface is met by the HTTP/1 parser, so prior knowledge and the upgrade of RFC 7540 are one path.

use super::{Buffer, Step, byte, hpack, mix};
use crate::connection::Connection;
use crate::stream::Records;

/// What is left of the preface (RFC 9113 section 3.4) behind its first line.
const PREFACE: [u8; 8] = *b"\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// The preface is complete.
const SEEN_PREFACE: u8 = 1;
/// The first frame, the client's settings, has begun.
const SEEN_SETTINGS: u8 = 2;
/// A header block has begun and not ended.
const SEEN_BLOCK: u8 = 4;
/// That block opens a stream.
const SEEN_OPENING: u8 = 8;
/// That block ends with the frame at hand.
const SEEN_LAST: u8 = 16;
/// The frame at hand is read for the client's shape.
const SEEN_SHAPE: u8 = 32;

/// Settings beyond this many bytes say nothing about a client, bytes.
const SETTINGS_MAX: u32 = 128;

/// Begins behind the preface's first line.
#[inline(always)]
pub(super) fn begin(connection: &mut Connection) {
    connection.records = Records::NEW;
    connection.http.shape = 0;
    connection.http.token = 0;
}

/// Payload of the frame at hand that need not be read. The last byte of a head is: the request counts with it.
#[inline(always)]
pub(super) fn skippable(frames: &Records) -> u32 {
    if frames.header != 0 || frames.seen & SEEN_SHAPE != 0 {
        return 0;
    }
    frames.left.saturating_sub(u32::from(frames.seen & SEEN_BLOCK != 0))
}

/// Reads one byte of a header, or some of a frame's payload.
#[inline(always)]
pub(super) fn step(connection: &mut Connection, buffer: &Buffer) -> Step {
    let frames = &mut connection.records;
    if frames.header == 0 && frames.left > 0 {
        return payload(connection, buffer);
    }
    let value = byte(buffer, connection.position);
    connection.position += 1;
    if frames.seen & SEEN_PREFACE == 0 {
        let expected = PREFACE[usize::from(frames.header & 7)];
        frames.header = (frames.header + 1) & 7;
        frames.seen = u8::from(frames.header == 0) * SEEN_PREFACE;
        return if value == expected { Step::More } else { Step::Malformed };
    }
    match frames.header {
        0 => frames.left = u32::from(value),
        1 | 2 => frames.left = frames.left << 8 | u32::from(value),
        3 => frames.kind = value,
        4 => frames.flags = value,
        // The highest bit of a stream's number is reserved.
        5 => frames.value = u32::from(value & 0x7f),
        _ => frames.value = frames.value << 8 | u32::from(value),
    }
    if frames.header < 8 {
        frames.header += 1;
        return Step::More;
    }
    frames.header = 0;
    if !opened(connection) {
        return Step::Malformed;
    }
    if connection.records.left == 0 { ended(connection) } else { Step::More }
}

/// Takes note of a frame whose header is complete; whether it may come here.
#[inline(always)]
fn opened(connection: &mut Connection) -> bool {
    let frames = &mut connection.records;
    frames.seen &= !(SEEN_SHAPE | SEEN_LAST);
    if frames.seen & SEEN_SETTINGS == 0 {
        frames.seen |= SEEN_SETTINGS;
        if frames.left <= SETTINGS_MAX {
            frames.seen |= SEEN_SHAPE;
        }
        return frames.kind == SETTINGS && frames.value == 0;
    }
    // RFC 9113 section 6.10: nothing comes between the parts of a header block.
    if (frames.seen & SEEN_BLOCK != 0) != (frames.kind == CONTINUATION) {
        return false;
    }
    if frames.kind != HEADERS && frames.kind != CONTINUATION {
        // RFC 9113 section 8.4: a client cannot push.
        return frames.kind != PUSH_PROMISE;
    }
    if frames.flags & END_HEADERS != 0 {
        frames.seen |= SEEN_LAST;
    }
    let shaped = connection.fingerprint == 0;
    if frames.kind == CONTINUATION {
        frames.seen |= u8::from(shaped && frames.seen & SEEN_OPENING != 0) * SEEN_SHAPE;
        return true;
    }
    frames.seen = (frames.seen | SEEN_BLOCK) & !SEEN_OPENING;
    // RFC 9113 section 5.1.1: streams of a client are odd, and each new one is higher. After an upgrade the first is
    // that of the request that asked for it, which has been counted.
    if frames.value > frames.stream {
        frames.stream = frames.value;
        frames.seen |= SEEN_OPENING;
        if shaped {
            frames.seen |= SEEN_SHAPE;
            hpack::begin(&mut connection.http, frames.flags & PADDED != 0, frames.flags & PRIORITY != 0);
        }
    }
    frames.value & 1 == 1
}

/// Passes over payload, or reads some of it for the client's shape.
#[inline(always)]
fn payload(connection: &mut Connection, buffer: &Buffer) -> Step {
    let position = connection.position;
    let available = connection.end.saturating_sub(position);
    let (frames, http) = (&mut connection.records, &mut connection.http);
    let most = frames.left.min(available);
    let run = if frames.seen & SEEN_SHAPE == 0 {
        most
    } else if frames.kind == SETTINGS {
        http.token = mix(http.token ^ u64::from(byte(buffer, position)));
        1
    } else {
        let padding = if frames.kind == HEADERS { u32::from(http.padding) } else { 0 };
        if frames.left <= padding {
            most
        } else {
            hpack::step(http, byte(buffer, position), most, frames.left - padding)
        }
    };
    // No run: the block contradicts itself.
    if run == 0 {
        return Step::Malformed;
    }
    frames.left = frames.left.saturating_sub(run);
    connection.position += run;
    if frames.left == 0 { ended(connection) } else { Step::More }
}

/// The frame at hand is complete.
#[inline(always)]
fn ended(connection: &mut Connection) -> Step {
    let (frames, http) = (&mut connection.records, &mut connection.http);
    let shaped = frames.seen & SEEN_SHAPE != 0;
    if frames.kind == SETTINGS {
        if shaped {
            http.shape = mix(http.shape ^ http.token);
        }
        frames.seen &= !SEEN_SHAPE;
        return Step::More;
    }
    if frames.seen & SEEN_LAST == 0 || frames.seen & SEEN_BLOCK == 0 {
        return Step::More;
    }
    let opening = frames.seen & SEEN_OPENING != 0;
    frames.seen &= !(SEEN_BLOCK | SEEN_OPENING | SEEN_SHAPE | SEEN_LAST);
    if shaped && !hpack::is_whole(http) {
        return Step::Malformed;
    }
    if opening { Step::Request } else { Step::More }
}
