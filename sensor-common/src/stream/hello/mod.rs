//! An order-free class of the TLS ClientHello (RFC 8446 section 4.1.2), over any cut into segments and records.
//!
//! Cipher suites and extensions go into sums, so neither their order nor their number needs memory; signature
//! algorithms, whose order a client does not shuffle, go into a chain. GREASE (RFC 8701), padding, pre_shared_key and
//! early_data are left out: they follow length and resumption, not the client. Every length is checked once, against
//! what encloses it; a lie ends the parse.

mod message;

use self::message::{DONE, EXTENSION, MESSAGE, SEEN_ALPN, SEEN_SERVER_NAME, act};
use super::{Buffer, Step, byte, mix};
use crate::connection::Connection;
use crate::plain;

plain! {
    /// State of the ClientHello parser.
    pub struct Hello {
        /// Sum of the mixed cipher suites.
        pub ciphers: u64,
        /// Sum of the mixed extension types.
        pub extensions: u64,
        /// Chain of the mixed signature algorithms.
        pub signatures: u64,
        /// Bytes to pass over before the next integer.
        pub skip: u32,
        /// The integer read so far.
        pub value: u32,
        /// Bytes left in the handshake message.
        pub message_left: u32,
        /// Bytes left in the TLS record.
        pub record_left: u16,
        /// Bytes left in the list inside an extension, or of the cipher list.
        pub list_left: u16,
        /// Bytes left in the extension behind the first ALPN value.
        pub extension_left: u16,
        /// Bytes left in the extension block.
        pub extensions_left: u16,
        /// Highest version offered.
        pub version: u16,
        /// Which of the extensions that may come only once have come.
        pub seen: u16,
        pub phase: u8,
        /// Bytes the integer still lacks.
        pub need: u8,
        /// Bytes of the record header read so far.
        pub record_header: u8,
        /// High byte of the record's length.
        pub record_high: u8,
        pub cipher_count: u8,
        pub extension_count: u8,
        pub signature_count: u8,
        pub alpn_first: u8,
        pub alpn_last: u8,
        pub reserved: [u8; 7],
    }
}

impl Hello {
    /// Before the first byte.
    pub const NEW: Self = Self {
        ciphers: 0,
        extensions: 0,
        signatures: 0,
        skip: 0,
        value: 0,
        message_left: 0,
        record_left: 0,
        list_left: 0,
        extension_left: 0,
        extensions_left: 0,
        version: 0,
        seen: 0,
        phase: MESSAGE,
        need: 4,
        record_header: 0,
        record_high: 0,
        cipher_count: 0,
        extension_count: 0,
        signature_count: 0,
        alpn_first: 0,
        alpn_last: 0,
        reserved: [0; 7],
    };

    /// Whether the whole message was read.
    #[must_use]
    #[inline(always)]
    pub fn is_done(&self) -> bool {
        self.phase == DONE
    }

    /// Whether the client offers application protocols.
    #[inline(always)]
    pub(super) fn has_alpn(&self) -> bool {
        self.seen & SEEN_ALPN != 0
    }

    /// The class of a complete hello; never 0.
    #[inline(always)]
    fn class(&self, seed: u64) -> u64 {
        let shape = u64::from(self.version) << 48
            | u64::from(self.cipher_count) << 40
            | u64::from(self.extension_count) << 32
            | u64::from(self.alpn_first) << 24
            | u64::from(self.alpn_last) << 16
            | u64::from(self.seen & (SEEN_SERVER_NAME | SEEN_ALPN));
        let chain = mix(mix(mix(mix(seed ^ shape) ^ self.ciphers) ^ self.extensions) ^ self.signatures);
        if chain == 0 { 1 } else { chain }
    }

    /// The next integer is `need` bytes long and means `phase`.
    #[inline(always)]
    fn expect(&mut self, phase: u8, need: u8) {
        self.phase = phase;
        self.need = need;
        self.value = 0;
    }

    /// Takes bytes from the message's budget; whether it had them.
    #[inline(always)]
    fn spend(&mut self, bytes: u32) -> bool {
        let enough = bytes <= self.message_left;
        self.message_left = self.message_left.saturating_sub(bytes);
        enough
    }

    /// Passes over `bytes` of the message; whether it has them.
    #[inline(always)]
    fn pass(&mut self, bytes: u32) -> bool {
        self.skip = bytes;
        self.spend(bytes)
    }

    /// Goes on with the next extension, or ends the message behind what is still to be skipped.
    #[inline(always)]
    fn next_extension(&mut self) -> bool {
        let need = if self.extensions_left == 0 { 0 } else { 4 };
        self.expect(EXTENSION, need);
        true
    }

    /// Takes note of an extension that may come only once; whether it did.
    #[inline(always)]
    fn once(&mut self, bit: u16) -> bool {
        let first = self.seen & bit == 0;
        self.seen |= bit;
        first
    }
}

/// Reads a record header byte, passes over a run, or reads an integer and acts on it.
#[inline(always)]
pub(super) fn step(connection: &mut Connection, buffer: &Buffer) -> Step {
    let seed = connection.seed;
    let position = connection.position;
    let hello = &mut connection.hello;
    if hello.record_left == 0 {
        connection.position += 1;
        return record_header(hello, byte(buffer, position));
    }
    let in_segment = connection.end.saturating_sub(position);
    let available = in_segment.min(u32::from(hello.record_left));
    if hello.skip > 0 {
        let run = hello.skip.min(available);
        hello.skip -= run;
        hello.record_left -= run as u16;
        connection.position += run;
        return finish_if_complete(hello, seed);
    }
    let take = if available >= u32::from(hello.need) { u32::from(hello.need) } else { 1 };
    hello.value = append(hello.value, buffer, position, take);
    hello.need = hello.need.saturating_sub(take as u8);
    hello.record_left -= take as u16;
    connection.position += take;
    if hello.need > 0 {
        return Step::More;
    }
    if !act(hello, seed) {
        return Step::Malformed;
    }
    finish_if_complete(hello, seed)
}

/// `value` followed by `take` (1 to 4) bytes from `position` on.
#[inline(always)]
fn append(value: u32, buffer: &Buffer, position: u32, take: u32) -> u32 {
    let four = u32::from_be_bytes([
        byte(buffer, position),
        byte(buffer, position + 1),
        byte(buffer, position + 2),
        byte(buffer, position + 3),
    ]);
    let fresh = four >> (((4 - take.min(4)) * 8) & 31);
    if take >= 4 { fresh } else { (value << ((take * 8) & 31)) | fresh }
}

#[inline(always)]
fn finish_if_complete(hello: &mut Hello, seed: u64) -> Step {
    if hello.need > 0 || hello.skip > 0 {
        return Step::More;
    }
    hello.phase = DONE;
    Step::Fingerprint(hello.class(seed))
}

/// RFC 8446 section 5.1: type 22, version 3.x, length 1 to 2^14.
#[inline(always)]
fn record_header(hello: &mut Hello, value: u8) -> Step {
    let good = match hello.record_header {
        0 => value == 22,
        1 => value == 3,
        2 => true,
        3 => {
            hello.record_high = value;
            value <= 64
        }
        _ => {
            hello.record_left = u16::from_be_bytes([hello.record_high, value]);
            hello.record_left != 0 && hello.record_left <= 16_384
        }
    };
    hello.record_header = if hello.record_header >= 4 { 0 } else { hello.record_header + 1 };
    if good { Step::More } else { Step::Malformed }
}
