//! An order-free class of the TLS ClientHello (RFC 8446 section 4.1.2), over any cut into segments and records.
//!
//! Cipher suites and extensions go into sums, so neither their order nor their number needs memory; signature
//! algorithms, whose order a client does not shuffle, go into a chain. GREASE (RFC 8701), padding, pre_shared_key and
//! early_data are left out: they follow length and resumption, not the client. Every length is checked once, against
//! what encloses it; a lie ends the parse.

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

/// Message size above which a ClientHello is given up, bytes.
const MESSAGE_MAX: u32 = 16_384;
/// Extensions that count, above which a ClientHello is given up.
const EXTENSIONS_MAX: u8 = 100;
/// Signature algorithms above which a ClientHello is given up.
const SIGNATURES_MAX: u8 = 64;

const MESSAGE: u8 = 0;
const VERSION: u8 = 1;
const SESSION: u8 = 2;
const CIPHERS: u8 = 3;
const CIPHER: u8 = 4;
const COMPRESSION: u8 = 5;
const EXTENSIONS: u8 = 6;
const EXTENSION: u8 = 7;
const SIGNATURES: u8 = 8;
const SIGNATURE: u8 = 9;
const ALPN: u8 = 10;
const ALPN_FIRST: u8 = 11;
const ALPN_LAST: u8 = 12;
const VERSIONS: u8 = 13;
const OFFERED: u8 = 14;
const DONE: u8 = 15;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const APPLICATION_PROTOCOLS: u16 = 16;
const PADDING: u16 = 21;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;

const SEEN_SERVER_NAME: u16 = 1;
const SEEN_SIGNATURES: u16 = 2;
const SEEN_ALPN: u16 = 4;
const SEEN_VERSIONS: u16 = 8;
/// Set once supported_versions has begun to replace the legacy version.
const VERSION_REPLACED: u16 = 16;

/// Keeps equal numbers of different meaning apart.
const EXTENSION_TAG: u64 = 1 << 32;

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

/// Acts on the integer just read. `false` if it contradicts what encloses it, or is beyond the limits.
#[inline(always)]
fn act(hello: &mut Hello, seed: u64) -> bool {
    let value = hello.value;
    let low = value as u16;
    match hello.phase {
        MESSAGE => {
            hello.message_left = value & 0x00ff_ffff;
            hello.expect(VERSION, 2);
            // Handshake type 1 is client_hello.
            value >> 24 == 1 && hello.message_left <= MESSAGE_MAX
        }
        VERSION => {
            hello.version = low;
            hello.expect(SESSION, 1);
            // The random follows the version.
            hello.spend(2) && hello.pass(32)
        }
        SESSION => {
            hello.expect(CIPHERS, 2);
            value <= 32 && hello.spend(1) && hello.pass(value)
        }
        CIPHERS => {
            hello.list_left = low;
            hello.expect(CIPHER, 2);
            low != 0 && low.is_multiple_of(2) && hello.spend(2 + value)
        }
        CIPHER => cipher(hello, seed, low),
        COMPRESSION => {
            let good = value != 0 && hello.spend(1) && hello.pass(value);
            // Without extensions the message ends here.
            hello.expect(EXTENSIONS, if hello.message_left == 0 { 0 } else { 2 });
            good
        }
        EXTENSIONS => {
            let good = hello.spend(2) && value == hello.message_left;
            hello.extensions_left = low;
            good && hello.next_extension()
        }
        EXTENSION => extension(hello, seed, (value >> 16) as u16, low),
        _ => inside(hello, seed, value),
    }
}

#[inline(always)]
fn cipher(hello: &mut Hello, seed: u64, suite: u16) -> bool {
    hello.list_left = hello.list_left.saturating_sub(2);
    if hello.list_left == 0 {
        hello.expect(COMPRESSION, 1);
    } else {
        hello.expect(CIPHER, 2);
    }
    if is_grease(suite) {
        return true;
    }
    hello.ciphers = hello.ciphers.wrapping_add(mix(seed.wrapping_add(u64::from(suite))));
    hello.cipher_count = hello.cipher_count.wrapping_add(1);
    hello.cipher_count != 0
}

#[inline(always)]
fn extension(hello: &mut Hello, seed: u64, kind: u16, length: u16) -> bool {
    let size = u32::from(length) + 4;
    if size > u32::from(hello.extensions_left) {
        return false;
    }
    hello.extensions_left -= size as u16;
    // The block fills the message exactly, so what the block has, the message has.
    hello.spend(size);
    if matches!(kind, PADDING | PRE_SHARED_KEY | EARLY_DATA) || is_grease(kind) {
        hello.skip = u32::from(length);
        return hello.next_extension();
    }
    hello.extension_count += 1;
    if kind != SERVER_NAME && kind != APPLICATION_PROTOCOLS {
        let mixed = mix(seed.wrapping_add(EXTENSION_TAG + u64::from(kind)));
        hello.extensions = hello.extensions.wrapping_add(mixed);
    }
    let within = hello.extension_count <= EXTENSIONS_MAX;
    hello.extension_left = length;
    match kind {
        SIGNATURE_ALGORITHMS => {
            hello.expect(SIGNATURES, 2);
            within && length >= 4 && hello.once(SEEN_SIGNATURES)
        }
        APPLICATION_PROTOCOLS => {
            hello.expect(ALPN, 3);
            within && length >= 4 && hello.once(SEEN_ALPN)
        }
        SUPPORTED_VERSIONS => {
            hello.expect(VERSIONS, 1);
            within && length >= 3 && hello.once(SEEN_VERSIONS)
        }
        _ => {
            hello.skip = u32::from(length);
            hello.next_extension();
            within && (kind != SERVER_NAME || hello.once(SEEN_SERVER_NAME))
        }
    }
}

/// Integers inside the three extensions that are read.
#[inline(always)]
fn inside(hello: &mut Hello, seed: u64, value: u32) -> bool {
    let low = value as u16;
    match hello.phase {
        SIGNATURES => {
            hello.list_left = low;
            hello.expect(SIGNATURE, 2);
            low.is_multiple_of(2) && value + 2 == u32::from(hello.extension_left)
        }
        SIGNATURE => {
            // Chromium puts a GREASE value here too.
            if !is_grease(low) {
                hello.signatures = mix(hello.signatures ^ mix(seed.wrapping_add(u64::from(low))));
            }
            hello.signature_count = hello.signature_count.saturating_add(1);
            next_in_list(hello, SIGNATURE, 2) && hello.signature_count <= SIGNATURES_MAX
        }
        ALPN => {
            // List length, then the first value's length.
            let list = value >> 8;
            let first = value & 0xff;
            let length = u32::from(hello.extension_left);
            hello.list_left = first as u16;
            hello.extension_left = length.saturating_sub(3 + first) as u16;
            hello.expect(ALPN_FIRST, 1);
            first != 0 && list + 2 == length && first < list
        }
        ALPN_FIRST => {
            hello.alpn_first = value as u8;
            if hello.list_left == 1 {
                return end_alpn(hello, value as u8);
            }
            hello.skip = u32::from(hello.list_left).saturating_sub(2);
            hello.expect(ALPN_LAST, 1);
            true
        }
        ALPN_LAST => end_alpn(hello, value as u8),
        VERSIONS => {
            hello.list_left = low;
            hello.expect(OFFERED, 2);
            low.is_multiple_of(2) && value + 1 == u32::from(hello.extension_left)
        }
        OFFERED => {
            if !is_grease(low) {
                let legacy = hello.once(VERSION_REPLACED);
                hello.version = if legacy { low } else { hello.version.max(low) };
            }
            next_in_list(hello, OFFERED, 2)
        }
        _ => false,
    }
}

#[inline(always)]
fn next_in_list(hello: &mut Hello, phase: u8, bytes: u16) -> bool {
    hello.list_left = hello.list_left.saturating_sub(bytes);
    if hello.list_left == 0 {
        return hello.next_extension();
    }
    hello.expect(phase, bytes as u8);
    true
}

#[inline(always)]
fn end_alpn(hello: &mut Hello, last: u8) -> bool {
    hello.alpn_last = last;
    hello.skip = u32::from(hello.extension_left);
    hello.next_extension()
}

/// RFC 8701: 0x0a0a, 0x1a1a, ... 0xfafa.
#[inline(always)]
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}
