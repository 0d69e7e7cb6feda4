//! TLS records behind the ClientHello: counts requests without reading them.
//!
//! A request begins with a client application-data record of more than 40 bytes whose predecessor was not full-size,
//! once the server has sent something since the last count. 40 bytes exclude the WINDOW_UPDATE, PING and SETTINGS
//! acknowledgements of HTTP/2. Measured: exact for serial requests, low under multiplexing (docs/evidence.md).

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
        /// HTTP/2: highest stream that the client has opened.
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

/// Record length from which on a record counts as full-size, bytes.
const FULL_BYTES: u32 = 16_384;
/// Longest record that TLS allows: 2^14 + 2048 (RFC 5246 section 6.2.3), bytes.
const RECORD_MAX: u32 = 18_432;
/// Application data of at most this length is protocol chatter, bytes.
const CHATTER_BYTES: u32 = 40;
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
    records.flags = u8::from(records.value >= FULL_BYTES);
    let turn = connection.requests == 0 && connection.found == 0 || connection.ack != connection.counted_ack;
    if records.value <= CHATTER_BYTES || continues || !turn {
        return false;
    }
    connection.counted_ack = connection.ack;
    true
}
