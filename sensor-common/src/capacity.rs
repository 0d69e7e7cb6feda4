//! Declared capacity of every kernel table. What does not fit is counted, never silently lost.
//!
//! The tables that a flood or a busy day fills are sized at start, see [`crate::settings::Sizes`]; these are their
//! defaults, in entries.

/// Sources whose frames are counted at once, all CPUs together.
pub const SOURCES: u32 = 1 << 20;
/// Sources with a completed handshake, followed at once.
pub const RECORDS: u32 = 1 << 18;
/// Connections followed at once.
pub const CONNECTIONS: u32 = 1 << 17;
/// Networks whose first sight is remembered in the kernel; the store remembers more.
pub const NETWORKS: u32 = 1 << 18;
/// Connection attempts that may wait for their handshake's end at once, all CPUs together.
pub const ATTEMPTS: u32 = 1 << 17;
/// Allowed prefixes.
pub const ALLOW: u32 = 1 << 14;
/// Denied prefixes.
pub const DENY: u32 = 1 << 17;
/// Places in the rule table: all prefix rules and the one that is never used.
pub const RULES: u32 = ALLOW + DENY + 1;
/// Prefixes that belong to a tier.
pub const TIERED: u32 = 1 << 14;
/// Tiers, the default tier 0 included.
pub const TIERS: u32 = 64;
/// Class rules.
pub const CLASSES: u32 = 1_024;
/// Words of the filter for denied sources and networks: 256 KB, which a core keeps at hand.
pub const FILTER_DENY_WORDS: u32 = 1 << 15;
/// Words of the filter for allowed sources and networks.
pub const FILTER_ALLOW_WORDS: u32 = 1 << 12;
/// Words of the filter for prefixes of tiers.
pub const FILTER_TIER_WORDS: u32 = 1 << 12;
/// Words of each bitmap for wide prefixes: half of it for IPv4, half for IPv6.
pub const FILTER_WIDE_WORDS: u32 = 1 << 11;
/// Bytes of the event ring: a power of two of pages.
pub const EVENTS_BYTES: u32 = 4 << 20;
/// Bytes of one segment's payload that are looked at; a power of two. A longer segment breaks the stream.
pub const SEGMENT_BYTES: usize = 16_384;
/// Steps one segment may take in the stream parser; each byte of it costs at most one.
pub const SEGMENT_STEPS: u32 = 16_384;
/// Offsets in a frame beyond which no header is read: a header that lies deeper is not followed. Small, because
/// the verifier wants a bound.
pub const HEADERS_END: usize = 0x3fff;
