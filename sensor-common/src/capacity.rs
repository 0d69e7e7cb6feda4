//! Declared capacity of every kernel table. What does not fit is counted, never silently lost.

/// Sources counted at once; the least recently seen is evicted for a new one.
pub const SOURCES: u32 = 262_144;
/// Connections tracked at once; the least recently seen is evicted for a new one.
pub const CONNECTIONS: u32 = 131_072;
/// Networks whose first sight is remembered in the kernel; the store remembers more.
pub const NETWORKS: u32 = 262_144;
/// Allowed prefixes.
pub const ALLOW: u32 = 16_384;
/// Denied prefixes.
pub const DENY: u32 = 131_072;
/// Prefixes that belong to a tier.
pub const TIERED: u32 = 16_384;
/// Tiers, the default tier 0 included.
pub const TIERS: u32 = 64;
/// Class rules.
pub const CLASSES: u32 = 1_024;
/// Bytes of the event ring: a power of two of pages.
pub const EVENTS_BYTES: u32 = 4 << 20;
/// Bytes of one segment's payload that are looked at; a power of two. A longer segment breaks the stream.
pub const SEGMENT_BYTES: usize = 16_384;
/// Steps one segment may take in the stream parser; each byte of it costs at most one.
pub const SEGMENT_STEPS: u32 = 16_384;
/// Offsets in a frame beyond which no header is read: a header that lies deeper is not followed. Small, because
/// the verifier wants a bound.
pub const HEADERS_END: usize = 0x3fff;
