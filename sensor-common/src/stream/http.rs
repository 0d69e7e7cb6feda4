//! Plaintext HTTP/1 requests (RFC 9112), counted exactly: heads are read, bodies are passed over by their length.
//!
//! Of a head only its shape is kept: method, header names and their order, version. No value is stored or hashed.

mod chunk;

use super::{Buffer, Step, byte, mix};
use crate::connection::Connection;
use crate::plain;

plain! {
    /// State of the parser of heads.
    pub struct Http {
        /// Chain over method, header names and version of the head at hand. HTTP/2: over settings and names.
        pub shape: u64,
        /// Hash of the token at hand.
        pub token: u64,
        /// The latest eight bytes of the line at hand, without carriage returns.
        pub window: u64,
        /// Bytes left of the body, chunk or string at hand; while a length is read, its value.
        pub left: u32,
        /// Bytes of the head at hand.
        pub head: u32,
        pub phase: u8,
        /// Which known header name the token at hand may still become. HTTP/2: what the integer at hand says.
        pub candidate: u8,
        /// Bytes of the token or line at hand, saturating. HTTP/2: bits of the integer at hand.
        pub length: u8,
        /// See the constants of this module.
        pub seen: u8,
        /// HTTP/2: bytes of padding at the end of the frame at hand.
        pub padding: u8,
        pub reserved: [u8; 3],
    }
}

/// Head size above which a request is given up, bytes.
const HEAD_MAX: u32 = 65_536;

const START: u8 = 0;
const METHOD: u8 = 1;
const TARGET: u8 = 2;
const NAME: u8 = 3;
const VALUE: u8 = 4;
const BODY: u8 = 5;
const CHUNK_SIZE: u8 = 6;
const CHUNK_EXTENSION: u8 = 7;
const CHUNK: u8 = 8;
const CHUNK_END: u8 = 9;
const TRAILER: u8 = 10;

const NO_HEADER: u8 = 0;
const CONTENT_LENGTH: u8 = 1;
const TRANSFER_ENCODING: u8 = 2;
const UPGRADE: u8 = 3;

const SEEN_LENGTH: u8 = 1;
const SEEN_CHUNKED: u8 = 2;
/// A digit of the length or chunk size has come.
const SEEN_DIGIT: u8 = 4;
/// The byte before was a carriage return.
const SEEN_RETURN: u8 = 8;
/// The header before was one of those that say how long the body is.
const SEEN_FRAMING: u8 = 16;
/// A transfer-encoding has come.
const SEEN_ENCODING: u8 = 32;
/// The head asks to go on in WebSocket.
const SEEN_WEBSOCKET: u8 = 64;

/// Known names, padded so that a masked index stays inside.
const CONTENT_LENGTH_NAME: [u8; 32] = padded(b"content-length");
const CONTENT_LENGTH_BYTES: u8 = 14;
const TRANSFER_ENCODING_NAME: [u8; 32] = padded(b"transfer-encoding");
const TRANSFER_ENCODING_BYTES: u8 = 17;
const UPGRADE_NAME: [u8; 32] = padded(b"upgrade");
const UPGRADE_BYTES: u8 = 7;

/// [`Http::shape`] behind the method of the HTTP/2 preface, and the bytes of its first line.
const PREFACE_SHAPE: u64 = mix(mix(mix(mix(b'P' as u64) ^ b'R' as u64) ^ b'I' as u64)).wrapping_add(3);
const PREFACE_LINE_BYTES: u32 = 16;

impl Http {
    /// Before the first byte.
    pub const NEW: Self = Self {
        shape: 0,
        token: 0,
        window: 0,
        left: 0,
        head: 0,
        phase: START,
        candidate: NO_HEADER,
        length: 0,
        seen: 0,
        padding: 0,
        reserved: [0; 3],
    };

    /// The class of the head just read; never 0.
    #[inline(always)]
    pub(super) fn fingerprint(&self, seed: u64) -> u64 {
        let class = mix(seed ^ self.shape);
        if class == 0 { 1 } else { class }
    }

    /// Body bytes that need not be read.
    #[inline(always)]
    pub(super) fn skippable(&self) -> u32 {
        if matches!(self.phase, BODY | CHUNK) { self.left } else { 0 }
    }

    /// Takes note that this many body bytes were passed over.
    #[inline(always)]
    pub(super) fn skip(&mut self, bytes: u32) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            self.phase = if self.phase == CHUNK { CHUNK_END } else { START };
        }
    }

    #[inline(always)]
    fn begin_line(&mut self, phase: u8) {
        self.phase = phase;
        self.length = 0;
        self.token = 0;
        self.window = 0;
        self.candidate = NO_HEADER;
    }

    /// Chains the token at hand into the shape.
    #[inline(always)]
    fn chain(&mut self) {
        self.shape = mix(self.shape ^ self.token).wrapping_add(u64::from(self.length));
    }
}

/// Passes over a run of body, or reads one byte.
#[inline(always)]
pub(super) fn step(connection: &mut Connection, buffer: &Buffer) -> Step {
    let position = connection.position;
    let available = connection.end.saturating_sub(position);
    let http = &mut connection.http;
    let body = http.skippable();
    if body > 0 {
        let run = body.min(available);
        http.skip(run);
        connection.position += run;
        return Step::More;
    }
    connection.position += 1;
    let value = byte(buffer, position);
    // RFC 9112 section 2.2: a bare carriage return is invalid. Servers differ about it, so nothing is concluded.
    if http.seen & SEEN_RETURN != 0 && value != b'\n' {
        return Step::Malformed;
    }
    http.seen = if value == b'\r' { http.seen | SEEN_RETURN } else { http.seen & !SEEN_RETURN };
    match http.phase {
        START | METHOD | TARGET => request_line(http, value),
        NAME | TRAILER => name(http, value),
        VALUE => header_value(http, value),
        _ => chunk::step(http, value),
    }
}

#[inline(always)]
fn request_line(http: &mut Http, value: u8) -> Step {
    if http.phase == START {
        // RFC 9112 section 2.2: empty lines before a request are ignored.
        if value == b'\r' || value == b'\n' {
            return Step::More;
        }
        // No method begins like this: the server has agreed to the upgrade.
        if http.seen & SEEN_WEBSOCKET != 0 && !value.is_ascii_uppercase() {
            return Step::WebSocket;
        }
        http.begin_line(METHOD);
        http.shape = 0;
        http.head = 0;
        http.left = 0;
        http.seen = 0;
    }
    http.head += 1;
    if http.phase == METHOD {
        if value == b' ' && http.length > 0 {
            http.chain();
            http.phase = TARGET;
            return Step::More;
        }
        http.token = mix(http.token ^ u64::from(value));
        http.length = http.length.saturating_add(1);
        // Methods are short upper-case words; anything else is another protocol.
        let good = (value.is_ascii_uppercase() || value == b'-' || value == b'_') && http.length <= 24;
        return if good { Step::More } else { Step::Malformed };
    }
    match value {
        b'\r' => {}
        b'\n' => {
            let preface = http.window == u64::from_be_bytes(*b"HTTP/2.0") && http.head == PREFACE_LINE_BYTES;
            if preface && http.shape == PREFACE_SHAPE {
                return Step::Http2;
            }
            // "HTTP/1." and any minor version.
            if http.window >> 8 != u64::from_be_bytes(*b"\0HTTP/1.") {
                return Step::Malformed;
            }
            http.token = http.window;
            http.chain();
            http.begin_line(NAME);
        }
        _ => http.window = (http.window << 8) | u64::from(value),
    }
    within_limit(http)
}

#[inline(always)]
fn name(http: &mut Http, value: u8) -> Step {
    http.head += 1;
    match value {
        b'\r' => {}
        b'\n' if http.length == 0 => return end_of_head(http),
        // A line without a colon.
        b'\n' => return Step::Malformed,
        b':' => {
            let whole = match http.candidate {
                CONTENT_LENGTH => http.length == CONTENT_LENGTH_BYTES,
                TRANSFER_ENCODING => http.length == TRANSFER_ENCODING_BYTES,
                UPGRADE => http.length == UPGRADE_BYTES,
                _ => false,
            };
            if http.phase == TRAILER {
                http.candidate = NO_HEADER;
            } else {
                http.chain();
                http.candidate = if whole { http.candidate } else { NO_HEADER };
            }
            http.window = 0;
            return start_value(http);
        }
        // RFC 9112 section 5.1: no whitespace in or behind a name. Section 5.2: a folded line goes on with the value
        // before it; one that folds what says the body's length is read differently by every server.
        b' ' | b'\t' if http.length > 0 || http.seen & SEEN_FRAMING != 0 => return Step::Malformed,
        b' ' | b'\t' => {
            http.candidate = NO_HEADER;
            http.length = u8::from(http.phase == TRAILER);
            http.phase = VALUE;
        }
        _ => {
            let lower = value.to_ascii_lowercase();
            http.candidate = match (http.length, lower) {
                (0, b'c') => CONTENT_LENGTH,
                (0, b't') => TRANSFER_ENCODING,
                (0, b'u') => UPGRADE,
                (0, _) => NO_HEADER,
                (at, byte) if expected(http.candidate, at) == byte => http.candidate,
                _ => NO_HEADER,
            };
            http.token = mix(http.token ^ u64::from(lower));
            http.length = http.length.saturating_add(1);
        }
    }
    within_limit(http)
}

/// Begins a header's value. `length` now says whether it belongs to a trailer.
#[inline(always)]
fn start_value(http: &mut Http) -> Step {
    if http.candidate == CONTENT_LENGTH {
        // Two lengths are request smuggling, not a request.
        if http.seen & SEEN_LENGTH != 0 {
            return Step::Malformed;
        }
        http.seen = (http.seen | SEEN_LENGTH) & !SEEN_DIGIT;
        http.left = 0;
    }
    http.length = u8::from(http.phase == TRAILER);
    http.phase = VALUE;
    within_limit(http)
}

#[inline(always)]
fn header_value(http: &mut Http, value: u8) -> Step {
    http.head += 1;
    if value == b'\n' {
        let framing = matches!(http.candidate, CONTENT_LENGTH | TRANSFER_ENCODING);
        http.seen = if framing { http.seen | SEEN_FRAMING } else { http.seen & !SEEN_FRAMING };
        // Only the last eight letters are at hand.
        if http.candidate == UPGRADE && http.window == u64::from_be_bytes(*b"ebsocket") {
            http.seen |= SEEN_WEBSOCKET;
        }
        let good = http.candidate != CONTENT_LENGTH || http.seen & SEEN_DIGIT != 0;
        if http.candidate == TRANSFER_ENCODING {
            // Only the last encoding counts: "chunked" alone or behind a comma.
            let chunked = http.window & 0x00ff_ffff_ffff_ffff == u64::from_be_bytes(*b"\0chunked")
                && matches!((http.window >> 56) as u8, 0 | b',');
            http.seen = SEEN_ENCODING | if chunked { http.seen | SEEN_CHUNKED } else { http.seen & !SEEN_CHUNKED };
        }
        let phase = if http.length == 0 { NAME } else { TRAILER };
        http.begin_line(phase);
        return if good { within_limit(http) } else { Step::Malformed };
    }
    match (http.candidate, value) {
        // Whitespace behind a length's digits ends it.
        (CONTENT_LENGTH, b' ' | b'\t') => http.window = u64::from(http.seen & SEEN_DIGIT),
        (_, b' ' | b'\t' | b'\r') | (NO_HEADER, _) => {}
        (CONTENT_LENGTH, b'0'..=b'9') => {
            http.seen |= SEEN_DIGIT;
            if http.window != 0 || http.left > (u32::MAX - 9) / 10 {
                return Step::Malformed;
            }
            http.left = http.left * 10 + u32::from(value - b'0');
        }
        (CONTENT_LENGTH, _) => return Step::Malformed,
        _ => http.window = (http.window << 8) | u64::from(value.to_ascii_lowercase()),
    }
    within_limit(http)
}

#[inline(always)]
fn end_of_head(http: &mut Http) -> Step {
    if http.phase == TRAILER {
        http.begin_line(START);
        return Step::More;
    }
    // RFC 9112 section 6.3: with any other last encoding the body's length is unknown.
    if http.seen & (SEEN_ENCODING | SEEN_CHUNKED) == SEEN_ENCODING {
        return Step::Malformed;
    }
    if http.seen & SEEN_CHUNKED != 0 {
        // RFC 9112 section 6.3: chunked overrides a length.
        http.left = 0;
        http.seen &= !SEEN_DIGIT;
        http.begin_line(CHUNK_SIZE);
    } else if http.left > 0 {
        http.begin_line(BODY);
    } else {
        http.begin_line(START);
    }
    Step::Request
}

#[inline(always)]
fn within_limit(http: &Http) -> Step {
    if http.head > HEAD_MAX { Step::Malformed } else { Step::More }
}

/// The byte that a known name has at this place; 0 behind its end.
#[inline(always)]
fn expected(candidate: u8, at: u8) -> u8 {
    let index = usize::from(at) & 31;
    match candidate {
        CONTENT_LENGTH => CONTENT_LENGTH_NAME[index],
        TRANSFER_ENCODING => TRANSFER_ENCODING_NAME[index],
        UPGRADE => UPGRADE_NAME[index],
        _ => 0,
    }
}

const fn padded(name: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let mut at = 0;
    while at < name.len() {
        out[at] = name[at];
        at += 1;
    }
    out
}
