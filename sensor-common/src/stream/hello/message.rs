//! The ClientHello message itself: what each integer means, and whether it fits what encloses it.

use super::super::mix;
use super::Hello;

/// Message size above which a ClientHello is given up, bytes.
const MESSAGE_MAX: u32 = 16_384;
/// Extensions that count, above which a ClientHello is given up.
const EXTENSIONS_MAX: u8 = 100;
/// Signature algorithms above which a ClientHello is given up.
const SIGNATURES_MAX: u8 = 64;

pub(super) const MESSAGE: u8 = 0;
const VERSION: u8 = 1;
const SESSION: u8 = 2;
const CIPHERS: u8 = 3;
const CIPHER: u8 = 4;
const COMPRESSION: u8 = 5;
const EXTENSIONS: u8 = 6;
pub(super) const EXTENSION: u8 = 7;
const SIGNATURES: u8 = 8;
const SIGNATURE: u8 = 9;
const ALPN: u8 = 10;
const ALPN_FIRST: u8 = 11;
const ALPN_LAST: u8 = 12;
const VERSIONS: u8 = 13;
const OFFERED: u8 = 14;
pub(super) const DONE: u8 = 15;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const APPLICATION_PROTOCOLS: u16 = 16;
const PADDING: u16 = 21;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;

pub(super) const SEEN_SERVER_NAME: u16 = 1;
const SEEN_SIGNATURES: u16 = 2;
pub(super) const SEEN_ALPN: u16 = 4;
const SEEN_VERSIONS: u16 = 8;
/// Set once supported_versions has begun to replace the legacy version.
const VERSION_REPLACED: u16 = 16;

/// Keeps equal numbers of different meaning apart.
const EXTENSION_TAG: u64 = 1 << 32;

/// Acts on the integer just read. `false` if it contradicts what encloses it, or is beyond the limits.
#[inline(always)]
pub(super) fn act(hello: &mut Hello, seed: u64) -> bool {
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
