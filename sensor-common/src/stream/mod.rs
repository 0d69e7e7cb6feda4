//! The client's byte stream, one small step at a time.
//!
//! All state lives in the connection, nothing is buffered: a step consumes one integer, one byte or one run to skip,
//! and stops at the segment's end. The kernel calls [`step`] from `bpf_loop`, the host from a plain loop. A step reads
//! single bytes at masked positions, so that no length from the wire is ever an offset.

mod hello;
mod hpack;
mod http;
mod http2;
mod record;
mod websocket;

use crate::capacity::SEGMENT_BYTES;
use crate::connection::Connection;
use crate::event::{flag, protocol};
pub use hello::Hello;
pub use http::Http;
pub use record::Records;

/// One segment's payload, from its start; what lies behind [`Connection::end`] is stale.
pub type Buffer = [u8; SEGMENT_BYTES];

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes were consumed; go on.
    More,
    /// The hello is complete: this is the client's fingerprint.
    Fingerprint(u64),
    /// A request was found.
    Request,
    /// The client goes on in HTTP/2, behind the first line of its preface.
    Http2,
    /// The client goes on in WebSocket, with the byte at hand.
    WebSocket,
    /// The bytes contradict the protocol; nothing more can be said of this stream.
    Malformed,
}

/// Consumes some bytes of the segment at hand. Returns whether there is more to do.
#[inline(always)]
pub fn step(connection: &mut Connection, buffer: &Buffer) -> bool {
    if connection.position >= connection.end {
        return false;
    }
    let outcome = match connection.protocol {
        protocol::TLS if !connection.hello.is_done() => hello::step(connection, buffer),
        protocol::TLS => record::step(connection, buffer),
        protocol::HTTP1 => http::step(connection, buffer),
        protocol::HTTP2 => http2::step(connection, buffer),
        protocol::WEBSOCKET => websocket::step(connection, buffer),
        _ => return false,
    };
    match outcome {
        Step::More => {}
        Step::Fingerprint(fingerprint) => {
            if connection.fingerprint == 0 {
                connection.fingerprint = fingerprint;
            }
        }
        Step::Request => {
            if connection.protocol != protocol::TLS && connection.fingerprint == 0 {
                connection.fingerprint = connection.http.fingerprint(connection.seed);
            }
            connection.found = connection.found.saturating_add(1);
        }
        Step::Http2 => {
            connection.protocol = protocol::HTTP2;
            http2::begin(connection);
        }
        Step::WebSocket => {
            connection.protocol = protocol::WEBSOCKET;
            let first = byte(buffer, connection.position.wrapping_sub(1));
            websocket::begin(connection, first);
        }
        Step::Malformed => {
            connection.protocol = protocol::OTHER;
            connection.flags |= flag::MALFORMED;
            return false;
        }
    }
    true
}

/// Starts the stream at its first payload byte.
#[inline(always)]
pub(crate) fn start(connection: &mut Connection, first: u8) {
    connection.protocol = match first {
        // RFC 8446 section 5.1: a handshake record.
        22 => protocol::TLS,
        b'A'..=b'Z' | b'\r' | b'\n' => protocol::HTTP1,
        _ => protocol::OTHER,
    };
}

/// Bytes of the stream that are known to mean nothing: they need not be read.
#[inline(always)]
pub(crate) fn skippable(connection: &Connection) -> u32 {
    match connection.protocol {
        protocol::TLS if connection.hello.is_done() => connection.records.left,
        protocol::HTTP1 => connection.http.skippable(),
        protocol::HTTP2 => http2::skippable(&connection.records),
        protocol::WEBSOCKET => websocket::skippable(&connection.records),
        _ => 0,
    }
}

/// Takes note that this many bytes, at most [`skippable`], were passed over.
#[inline(always)]
pub(crate) fn skip(connection: &mut Connection, bytes: u32) {
    if connection.protocol == protocol::HTTP1 {
        connection.http.skip(bytes);
    } else {
        connection.records.left = connection.records.left.saturating_sub(bytes);
    }
}

/// Takes note that bytes are missing: the stream is followed no further.
#[inline(always)]
pub(crate) fn lose(connection: &mut Connection) {
    connection.flags |= flag::STREAM_GAP;
    connection.protocol = protocol::OTHER;
}

/// Mixes all bits of a value: the finaliser of MurmurHash3 (64 bit).
#[must_use]
#[inline(always)]
pub const fn mix(value: u64) -> u64 {
    let mut x = value;
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// The byte at `position`, which the mask keeps inside the buffer.
#[inline(always)]
fn byte(buffer: &Buffer, position: u32) -> u8 {
    buffer[position as usize & (SEGMENT_BYTES - 1)]
}
