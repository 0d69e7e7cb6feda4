//! What the daemon is told about sources.

use sensor_common::address::Address;

use super::mirror::Traffic;

/// What a source did that completed a handshake; totals since its record was begun. Times are monotonic nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// See [`Address::key`].
    pub key: u64,
    pub connections: u64,
    pub requests: u64,
    pub gap_samples: u64,
    pub gap_flagged: u64,
    /// Its first completed handshake.
    pub first_seen_ns: u64,
    /// Its latest completed handshake or request.
    pub last_seen_ns: u64,
}

impl Completed {
    /// The source.
    #[must_use]
    pub fn source(&self) -> Address {
        Address::from_key(self.key)
    }
}

/// All that is known of one source, all CPUs together. Times are monotonic nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Frames, refused ones included, since it has its place in the traffic table.
    pub packets: u64,
    /// Bytes of these frames, Ethernet header included.
    pub bytes: u64,
    /// TCP connection attempts to any port.
    pub syns: u64,
    /// Handshakes completed with watched services.
    pub connections: u64,
    /// Requests to watched services.
    pub requests: u64,
    /// Frames refused, or in dry run those that would have been.
    pub dropped: u64,
    /// Its first completed handshake; without one, when this daemon first saw it.
    pub first_seen_ns: u64,
    /// Its latest frame, to 67 ms.
    pub last_seen_ns: u64,
    /// Connections with a valid relay-gap sample.
    pub gap_samples: u64,
    /// Of these, connections whose gap says relay.
    pub gap_flagged: u64,
}

impl SourceStats {
    /// What both tables say about one source; all zero if neither knows it.
    pub(super) fn of(traffic: Option<&Traffic>, record: Option<&Completed>) -> Self {
        let mut stats = Self::default();
        if let Some(traffic) = traffic {
            let Traffic { packets, bytes, syns, dropped, first_seen_ns, last_seen_ns } = *traffic;
            stats = Self { packets, bytes, syns, dropped, first_seen_ns, last_seen_ns, ..stats };
        }
        if let Some(record) = record {
            let last_seen_ns = stats.last_seen_ns.max(record.last_seen_ns);
            let Completed { connections, requests, gap_samples, gap_flagged, first_seen_ns, .. } = *record;
            stats = Self { connections, requests, gap_samples, gap_flagged, first_seen_ns, last_seen_ns, ..stats };
        }
        stats
    }
}
