//! The one record a connection sends to the daemon.

use crate::address::Address;
use crate::connection::{Connection, Tuple};
use crate::plain;

plain! {
    /// Evidence on one connection that completed its handshake. Written once: when the evidence is complete (before
    /// the first request is passed up), or when the connection ends earlier. Times are monotonic nanoseconds.
    pub struct ConnectionEvent {
        pub client: Address,
        pub server: Address,
        /// When the SYN came.
        pub started_ns: u64,
        /// When this record was written.
        pub at_ns: u64,
        /// Shape of the client software; 0: unknown. Seeded: comparable only within one installation.
        pub fingerprint: u64,
        /// Round trip of the TCP handshake as the server sees it, microseconds.
        pub rtt_us: u32,
        /// F1a: handshake acknowledgement to first payload, microseconds; [`UNKNOWN_US`] without a sample.
        pub hello_gap_us: u32,
        /// F1b: first pure acknowledgement of the server's flight to the client's next flight, microseconds;
        /// [`UNKNOWN_US`] without a sample.
        pub flight_gap_us: u32,
        /// Flags, see [`flag`].
        pub flags: u32,
        pub client_port: u16,
        /// Server port.
        pub service: u16,
        /// What the client speaks, see [`protocol`].
        pub protocol: u8,
        pub reserved: [u8; 3],
    }
}

impl ConnectionEvent {
    /// The record of a connection as it stands.
    #[must_use]
    #[inline(always)]
    pub fn of(tuple: &Tuple, connection: &Connection, now_ns: u64) -> Self {
        Self {
            client: tuple.client(),
            server: tuple.server(),
            started_ns: connection.started_ns,
            at_ns: now_ns,
            fingerprint: connection.fingerprint,
            rtt_us: connection.rtt_us,
            hello_gap_us: connection.hello_gap_us,
            flight_gap_us: connection.flight_gap_us,
            flags: connection.flags,
            client_port: tuple.client_port(),
            service: tuple.server_port(),
            protocol: connection.protocol,
            reserved: [0; 3],
        }
    }
}

/// A duration that was not measured.
pub const UNKNOWN_US: u32 = u32::MAX;

/// What a connection's client speaks.
pub mod protocol {
    /// No payload yet.
    pub const NONE: u8 = 0;
    /// TLS over TCP.
    pub const TLS: u8 = 1;
    /// Plaintext HTTP/1.
    pub const HTTP1: u8 = 2;
    /// Anything else.
    pub const OTHER: u8 = 3;
    /// Plaintext HTTP/2.
    pub const HTTP2: u8 = 4;
    /// WebSocket, behind a plaintext HTTP/1 upgrade.
    pub const WEBSOCKET: u8 = 5;

    /// Whether it is read in plaintext, so that the client speaks first and its requests are seen.
    #[must_use]
    #[inline(always)]
    pub const fn is_plaintext(code: u8) -> bool {
        matches!(code, HTTP1 | HTTP2 | WEBSOCKET)
    }

    /// Its name in output and metrics.
    #[must_use]
    pub const fn name(code: u8) -> &'static str {
        match code {
            NONE => "none",
            TLS => "tls",
            HTTP1 => "http1",
            HTTP2 => "http2",
            WEBSOCKET => "websocket",
            _ => "other",
        }
    }
}

/// Flags of a connection.
pub mod flag {
    /// The handshake was completed.
    pub const ESTABLISHED: u32 = 1;
    /// The relay gap has a valid sample (F1b for TLS, F1a for plaintext).
    pub const GAP_SAMPLE: u32 = 1 << 1;
    /// The relay gap says relay.
    pub const GAP_FLAGGED: u32 = 1 << 2;
    /// F1a says relay too: strong evidence for TLS.
    pub const HELLO_GAP_FLAGGED: u32 = 1 << 3;
    /// A class rule matched this connection.
    pub const CLASS_MATCHED: u32 = 1 << 4;
    /// It was refused (not merely matched in dry run).
    pub const REFUSED: u32 = 1 << 5;
    /// Its record has been written.
    pub const REPORTED: u32 = 1 << 6;
    /// The client closed or reset it.
    pub const CLOSED: u32 = 1 << 7;
    /// Part of the stream was missed: fingerprint and counts are not exact any more.
    pub const STREAM_GAP: u32 = 1 << 8;
    /// Sender timestamps were used for the gap.
    pub const TIMESTAMPS: u32 = 1 << 9;
    /// Sender timestamps contradicted arrival times.
    pub const TIMESTAMPS_DISAGREE: u32 = 1 << 10;
    /// The source is allowed: nothing refuses it.
    pub const ALLOWED: u32 = 1 << 11;
    /// Its network had its first completed handshake with this connection.
    pub const NEW_NETWORK: u32 = 1 << 12;
    /// The stream contradicted its protocol, or went beyond the parser's limits.
    pub const MALFORMED: u32 = 1 << 13;
    /// No pure acknowledgement came before the flight that is timed: TLS the second, plaintext the first.
    pub const NO_PURE_ACK: u32 = 1 << 14;
    /// Data came with the SYN (TCP Fast Open): no gap can be measured.
    pub const FAST_OPEN: u32 = 1 << 15;
    /// The first request was counted.
    pub const REQUESTED: u32 = 1 << 16;
}
