//! How full the kernel's tables are, and what memory they and the daemon's copies take.

use sensor_common::settings::Sizes;
use sensor_common::{seat, traffic};

/// Places of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableUse {
    pub used: u64,
    pub capacity: u64,
}

/// See the module. Tables of rules are not among them: the daemon knows what it entered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sources whose frames are counted; one that several CPUs receive has a place for each.
    pub traffic: TableUse,
    /// Sources with a completed handshake.
    pub sources: TableUse,
    pub networks: TableUse,
    pub connections: TableUse,
    /// Connection attempts. One that came to nothing keeps its place until another needs it.
    pub attempts: TableUse,
    /// Memory of all of the kernel's tables, bytes.
    pub kernel_bytes: u64,
    /// Memory that the daemon's running totals take once every place was used, bytes.
    pub mirror_bytes: u64,
}

impl Usage {
    /// Empty tables of these sizes.
    #[must_use]
    pub fn new(sizes: &Sizes) -> Self {
        let elements = sizes.elements();
        let places = |buckets: u32, ways: usize| TableUse { used: 0, capacity: u64::from(buckets) * ways as u64 };
        Self {
            traffic: places(elements.traffic, traffic::WAYS),
            sources: places(elements.sources, seat::WAYS),
            networks: places(elements.networks, seat::WAYS),
            connections: places(elements.connections, seat::WAYS),
            attempts: places(elements.half_open, super::size::ATTEMPT_WAYS as usize),
            kernel_bytes: 0,
            mirror_bytes: 0,
        }
    }
}
