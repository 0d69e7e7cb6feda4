//! What is known of sources and networks that completed a handshake. Shared by all CPUs.

use crate::hash::mix;
use crate::plain;
use crate::settings::Settings;

plain! {
    /// What a source did that completed a handshake; its frames are counted in [`crate::traffic`]. Times are monotonic
    /// nanoseconds; counters wrap, and readers take differences.
    pub struct SourceRecord {
        /// Its first completed handshake.
        pub first_seen_ns: u64,
        /// Its latest completed handshake or request.
        pub last_seen_ns: u64,
        /// Start of the current one-second window of the connection limit.
        pub second_start_ns: u64,
        /// Start of the current one-minute window of the request limit.
        pub minute_start_ns: u64,
        /// Completed handshakes with a watched service.
        pub connections: u64,
        /// Requests to watched services: exact for plaintext HTTP/1, estimated inside TLS.
        pub requests: u64,
        /// Connections with a valid relay-gap sample.
        pub gap_samples: u64,
        /// Of these, connections whose gap says relay.
        pub gap_flagged: u64,
        /// Handshakes completed in the current second. Attempts do not count: anybody can send them in its name.
        pub second_connections: u32,
        /// Requests in the current minute.
        pub minute_requests: u32,
    }

    /// When a network (/24 or /48) was seen. Times are monotonic nanoseconds.
    pub struct NetworkStats {
        /// Its first completed handshake.
        pub first_seen_ns: u64,
        /// Its latest completed handshake.
        pub last_seen_ns: u64,
    }

    /// Eight sources. A key is [`crate::address::Address::key`].
    pub struct SourceBucket {
        pub keys: [u64; 8],
        pub records: [SourceRecord; 8],
    }

    /// Eight networks. A key is that of the network's first address.
    pub struct NetworkBucket {
        pub keys: [u64; 8],
        pub records: [NetworkStats; 8],
    }
}

/// The bucket of a source key.
#[must_use]
#[inline(always)]
pub const fn source_bucket(settings: &Settings, key: u64) -> u32 {
    mix(key, settings.seed) as u32 & settings.sizes.sources.wrapping_sub(1)
}

/// The bucket of a network key.
#[must_use]
#[inline(always)]
pub const fn network_bucket(settings: &Settings, key: u64) -> u32 {
    mix(key, settings.seed) as u32 & settings.sizes.networks.wrapping_sub(1)
}

/// A source of which nothing is known.
pub static NEW_SOURCE: SourceRecord = SourceRecord {
    first_seen_ns: 0,
    last_seen_ns: 0,
    second_start_ns: 0,
    minute_start_ns: 0,
    connections: 0,
    requests: 0,
    gap_samples: 0,
    gap_flagged: 0,
    second_connections: 0,
    minute_requests: 0,
};
