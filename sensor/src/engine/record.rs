//! What the engine is told: one record per connection, one snapshot per tick.

use sensor_common::address::Address;

use super::time::Time;

/// Evidence on one connection that completed its handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// When the evidence was complete.
    pub at: Time,
    pub client: Address,
    /// Server port.
    pub service: u16,
    /// See [`sensor_common::event::protocol`].
    pub protocol: u8,
    /// Shape of the client software; 0: unknown.
    pub fingerprint: u64,
    pub rtt_us: u32,
    /// F1a; `None` without a sample.
    pub hello_gap_us: Option<u32>,
    /// F1b; `None` without a sample.
    pub flight_gap_us: Option<u32>,
    /// See [`sensor_common::event::flag`].
    pub flags: u32,
}

/// Totals of one source since the kernel first saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTotals {
    pub source: Address,
    pub connections: u64,
    pub requests: u64,
    /// Bytes of answers that the source has acknowledged; stays 0 where nobody counts them.
    pub answer_bytes: u64,
    /// When the kernel began to count it.
    pub first_seen: Time,
    pub last_seen: Time,
}

/// What the kernel knows at one tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Totals of the sources that changed since the last snapshot; of them alone if the kernel can tell, and each once
    /// (of several words on one source the first counts). Only sources that completed a handshake are in it: others may
    /// be forged. Who is not in it did nothing, and costs nothing. The totals are those since `first_seen`, so a source
    /// that was left out once is counted in full the next time.
    pub sources: Vec<SourceTotals>,
    /// Handshakes completed with watched services since the program was loaded.
    pub connections: u64,
}
