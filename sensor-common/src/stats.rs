//! What is counted per source and per network.

use crate::plain;

plain! {
    /// What one source did. Times are monotonic nanoseconds.
    pub struct SourceStats {
        /// Frames, refused ones included.
        pub packets: u64,
        /// Bytes of those frames, Ethernet header included.
        pub bytes: u64,
        /// TCP connection attempts (SYN without ACK) to any port.
        pub syns: u64,
        /// Completed handshakes with a watched service.
        pub connections: u64,
        /// Requests to watched services: exact for plaintext HTTP/1, estimated inside TLS.
        pub requests: u64,
        /// Frames refused, or in dry run those that would have been.
        pub dropped: u64,
        pub first_seen_ns: u64,
        pub last_seen_ns: u64,
        /// Connections with a valid relay-gap sample.
        pub gap_samples: u64,
        /// Of these, connections whose gap says relay.
        pub gap_flagged: u64,
        /// Start of the current one-second window of the connection limit.
        pub second_start_ns: u64,
        /// Start of the current one-minute window of the request limit.
        pub minute_start_ns: u64,
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
}

/// A source that was never seen: what a new entry starts from.
pub static NEW: SourceStats = SourceStats {
    packets: 0,
    bytes: 0,
    syns: 0,
    connections: 0,
    requests: 0,
    dropped: 0,
    first_seen_ns: 0,
    last_seen_ns: 0,
    gap_samples: 0,
    gap_flagged: 0,
    second_start_ns: 0,
    minute_start_ns: 0,
    second_connections: 0,
    minute_requests: 0,
};
