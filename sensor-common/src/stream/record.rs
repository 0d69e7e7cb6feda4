//! TLS records behind the ClientHello: counts requests without reading them.
//!
//! A request begins with a client application-data record of more than 40 bytes whose predecessor was not full-size,
//! once the server has sent something since the last count. Measured in docs/evidence.md: exact for serial requests.
//!
//! HTTP/2 shows by its acknowledgement of the server's settings, a record of a length that nothing else has. From then
//! on its other small frames are known by their lengths, so that a head of few bytes counts; and a record about as long
//! as the one that began the latest turn counts without progress of the server: several streams were opened at once.

use super::{Buffer, Step, byte};
use crate::connection::Connection;
use crate::plain;

plain! {
    /// State of the walker over TLS records, or over the frames of HTTP/2 or WebSocket: each a header and a run of bytes.
    pub struct Records {
        /// Bytes left in the one at hand.
        pub left: u32,
        /// An integer of the header that is being read: a record's length, the number of a frame's stream.
        pub value: u32,
        /// HTTP/2: highest stream that the client has opened. TLS: length of the record that began the latest turn.
        pub stream: u32,
        /// Bytes of the header read so far.
        pub header: u8,
        pub kind: u8,
        /// TLS: whether the previous application-data record was full-size. HTTP/2: the frame's flags.
        pub flags: u8,
        /// What has come: bits of the protocol's own module.
        pub seen: u8,
    }
}

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const HEARTBEAT: u8 = 24;

/// A change_cipher_spec record has come.
const SEEN_CHANGE: u8 = 1;
/// Records show that TLS 1.2 or older was chosen.
const SEEN_OLD: u8 = 2;
/// The encrypted Finished of TLS 1.3, which looks like application data, has come.
const SEEN_FINISHED: u8 = 4;

/// Records show that HTTP/2 was chosen.
const SEEN_HTTP2: u8 = 8;

/// Record length from which on a record counts as full-size, bytes.
const FULL_BYTES: u32 = 16_384;
/// Longest record that TLS allows: 2^14 + 2048 (RFC 5246 section 6.2.3), bytes.
const RECORD_MAX: u32 = 18_432;
/// Application data of at most this length is protocol chatter, bytes.
const CHATTER_BYTES: u32 = 40;
/// What protection adds to a record: TLS 1.3, then AES-GCM and ChaCha20-Poly1305 in TLS 1.2, bytes.
const OVERHEAD: u32 = 17;
const OLD_OVERHEAD: u32 = 24;
const OLD_OVERHEAD_CHACHA: u32 = 16;
/// An acknowledgement of SETTINGS (RFC 9113 section 6.5): a frame without payload, bytes.
const SETTINGS_ACK: u32 = 9;
/// How far the lengths of two heads on one connection may lie apart: a WINDOW_UPDATE may come with either, bytes.
const HEADS_APART: u32 = 14;
/// An encrypted Finished of TLS 1.2 is shorter than any second ClientHello, bytes.
const FINISHED_MAX: u32 = 100;
/// Highest version that TLS 1.2 and older offer.
const TLS_1_2: u16 = 0x0303;

impl Records {
    /// Before the first byte.
    pub const NEW: Self = Self { left: 0, value: 0, stream: 0, header: 0, kind: 0, flags: 0, seen: 0 };
}

/// Passes over the record at hand, or reads one byte of the next header.
#[inline(always)]
pub(super) fn step(connection: &mut Connection, buffer: &Buffer) -> Step {
    let position = connection.position;
    let available = connection.end.saturating_sub(position);
    // What the hello's own record still holds belongs to no other.
    let rest = u32::from(connection.hello.record_left);
    if rest > 0 {
        connection.hello.record_left = 0;
        connection.records.left = rest;
    }
    let records = &mut connection.records;
    if records.left > 0 {
        let run = records.left.min(available);
        records.left -= run;
        connection.position += run;
        return Step::More;
    }
    let value = byte(buffer, position);
    connection.position += 1;
    let good = match records.header {
        0 => {
            records.kind = value;
            (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&value)
        }
        1 => value == 3,
        2 => true,
        3 => {
            records.value = u32::from(value) << 8;
            true
        }
        _ => {
            records.value |= u32::from(value);
            records.left = records.value;
            records.value <= RECORD_MAX
        }
    };
    if !good {
        return Step::Malformed;
    }
    if records.header < 4 {
        records.header += 1;
        return Step::More;
    }
    records.header = 0;
    if begin(connection) { Step::Request } else { Step::More }
}

/// Takes note of a record that begins; whether a request begins with it.
#[inline(always)]
fn begin(connection: &mut Connection) -> bool {
    let records = &mut connection.records;
    match records.kind {
        CHANGE_CIPHER_SPEC => records.seen |= SEEN_CHANGE,
        // TLS 1.2 sends its key exchange before the change, or a short Finished behind it. A second ClientHello
        // (RFC 8446 section 4.1.2) comes behind a change and is longer.
        HANDSHAKE if records.seen & SEEN_CHANGE == 0 || records.value <= FINISHED_MAX => records.seen |= SEEN_OLD,
        _ => {}
    }
    if records.kind != APPLICATION_DATA {
        return false;
    }
    let old = records.seen & SEEN_OLD != 0 || connection.hello.version <= TLS_1_2;
    if !old && records.seen & SEEN_FINISHED == 0 {
        records.seen |= SEEN_FINISHED;
        return false;
    }
    let continues = records.flags != 0;
    let length = records.value;
    records.flags = u8::from(length >= FULL_BYTES);
    let frames = |overhead: u32| length.wrapping_sub(overhead);
    let acknowledges = if old {
        frames(OLD_OVERHEAD) == SETTINGS_ACK || frames(OLD_OVERHEAD_CHACHA) == SETTINGS_ACK
    } else {
        frames(OVERHEAD) == SETTINGS_ACK
    };
    if acknowledges && connection.hello.has_alpn() {
        records.seen |= SEEN_HTTP2;
    }
    let multiplexed = records.seen & SEEN_HTTP2 != 0;
    let chatter = if !multiplexed {
        length <= CHATTER_BYTES
    } else if old {
        is_chatter(frames(OLD_OVERHEAD)) || is_chatter(frames(OLD_OVERHEAD_CHACHA))
    } else {
        is_chatter(frames(OVERHEAD))
    };
    if chatter || continues {
        return false;
    }
    let turn = connection.requests == 0 && connection.found == 0 || connection.ack != connection.counted_ack;
    if !turn {
        return multiplexed && records.stream != 0 && length.abs_diff(records.stream) <= HEADS_APART;
    }
    connection.counted_ack = connection.ack;
    if multiplexed && (records.stream == 0 || length < 2 * records.stream) {
        records.stream = length;
    }
    true
}

/// Whether frames of this many bytes are none that open a stream: an acknowledgement of SETTINGS (9 bytes), WINDOW_UPDATE
/// and RST_STREAM (13), PING and GOAWAY (17), or two of the shortest (RFC 9113 section 6). Longer ones may be a head.
#[inline(always)]
fn is_chatter(bytes: u32) -> bool {
    // Below zero: not a record of this overhead.
    matches!(bytes, 0..=13 | 17 | 18 | 22) || bytes > u32::MAX / 2
}
