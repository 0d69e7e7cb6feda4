//! Where the packet path reads frames from and keeps its tables: the kernel's maps, or plain memory on the host.

use crate::address::{Address, Prefix};
use crate::connection::{Connection, ConnectionKey};
use crate::counter::Counter;
use crate::rule::{AllowRule, ClassKey, ClassRule, DenyRule, TierLimit};
use crate::settings::Settings;
use crate::stats::{NetworkStats, SourceStats};
use crate::wire::Segment;

/// The bytes of one frame, from the Ethernet header on.
#[expect(clippy::len_without_is_empty, reason = "a frame has at least an Ethernet header")]
pub trait Frame {
    /// Length of the frame in bytes, all buffers together.
    fn len(&self) -> usize;

    /// The `N` bytes at `offset`; `None` if the first buffer does not hold them all. Headers are always in it.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

/// Tables of the packet path. Returned references may be shared with other CPUs: counters are changed through
/// [`Tables::add`] only.
#[expect(clippy::mut_from_ref, reason = "a table's entries are shared by contract, as those of the kernel's maps are")]
pub trait Tables {
    /// Where this world's frames come from.
    type Frame: Frame;

    /// Room for the facts of the frame at hand; stale until written.
    fn segment(&self) -> Option<&mut Segment>;

    fn settings(&self) -> Option<&Settings>;

    /// Whether this TCP port is watched.
    fn watched(&self, port: u16) -> bool;

    /// Adds to a counter of this CPU.
    fn count(&self, counter: Counter, n: u64);

    /// Adds to a cell that several CPUs may share, without losing updates.
    fn add(&self, cell: &mut u64, n: u64);

    fn allow(&self, prefix: &Prefix) -> Option<&mut AllowRule>;

    fn deny(&self, prefix: &Prefix) -> Option<&mut DenyRule>;

    fn class(&self, key: &ClassKey) -> Option<&mut ClassRule>;

    /// Limits of the tier that this address belongs to; the default tier's otherwise.
    fn limits(&self, client: &Prefix) -> Option<&TierLimit>;

    /// The source's counters, entered as new at `now_ns` if need be; `None` if there is no room.
    fn source(&self, source: &Address, now_ns: u64) -> Option<&mut SourceStats>;

    /// The network's entry, and whether it was entered just now; `None` if there is no room.
    fn network(&self, network: &Address, now_ns: u64) -> Option<(&mut NetworkStats, bool)>;

    fn connection(&self, key: &ConnectionKey) -> Option<&mut Connection>;

    /// Enters [`crate::connection::EMPTY`] in place of whatever stood there; `None` if there is no room.
    fn open_connection(&self, key: &ConnectionKey) -> Option<&mut Connection>;

    fn close_connection(&self, key: &ConnectionKey);

    /// Sends the connection's record to the daemon; whether there was room.
    fn report(&self, key: &ConnectionKey, connection: &Connection, now_ns: u64) -> bool;

    /// Feeds `length` bytes of the frame from `offset` on to [`crate::stream::step`], until it stops. `length` is at
    /// least 1 and at most [`crate::capacity::SEGMENT_BYTES`]. `false` if the bytes could not be read.
    fn scan(&self, frame: &Self::Frame, offset: usize, length: usize, connection: &mut Connection) -> bool;
}
