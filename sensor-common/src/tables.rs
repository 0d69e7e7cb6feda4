//! Where the packet path reads frames from and keeps its tables: the kernel's maps, or plain memory on the host.
//!
//! A table is storage only: what stands where is decided by [`crate::traffic`], [`crate::seat`], [`crate::half_open`]
//! and [`crate::filter`], the same code on both sides.

use crate::address::Prefix;
use crate::connection::{Connection, ConnectionBucket, Tuple};
use crate::counter::Counter;
use crate::half_open::HalfOpenBucket;
use crate::rule::{ClassKey, ClassRule, Reference, Rule, TierLimit};
use crate::settings::Settings;
use crate::stats::{NetworkBucket, SourceBucket};
use crate::traffic::TrafficBucket;
use crate::wire::Segment;

/// The bytes of one frame, from the Ethernet header on.
#[expect(clippy::len_without_is_empty, reason = "a frame has at least an Ethernet header")]
pub trait Frame {
    /// Bytes in the first buffer, which holds all of a frame that is no longer than about a page.
    fn first_len(&self) -> usize;

    /// Length of the frame in bytes, all buffers together. Costs more to ask.
    fn len(&self) -> usize;

    /// The `N` bytes at `offset`; `None` if the first buffer does not hold them all. Headers are always in it.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

/// Monotonic time, nanoseconds.
pub trait Clock {
    /// A time in the timer tick at hand: up to 10 ms behind, and cheap.
    fn tick_ns(&self) -> u64;

    /// The time of a connection attempt: exact, but where attempts come so fast that asking would be most of their cost;
    /// there it may be some frames old, and never older than [`Clock::tick_ns`].
    fn attempt_ns(&self) -> u64;

    /// The time.
    fn now_ns(&self) -> u64;
}

/// Tables of the packet path. References to shared elements may be held by other CPUs too: counters there are changed
/// through [`Tables::add`] only, keys through [`Tables::replace`].
#[expect(clippy::mut_from_ref, reason = "a table's entries are shared by contract, as those of the kernel's maps are")]
pub trait Tables {
    /// Where this world's frames come from.
    type Frame: Frame;

    /// Room for the facts of the frame at hand; stale until written.
    fn segment(&self) -> Option<&mut Segment>;

    fn settings(&self) -> Option<&Settings>;

    /// Number of the CPU that runs this.
    fn cpu(&self) -> u32;

    /// Whether this TCP port is watched.
    fn watched(&self, port: u16) -> bool;

    /// Adds to a counter of this CPU.
    fn count(&self, counter: Counter, n: u64);

    /// Adds to a cell that several CPUs may share, without losing updates.
    fn add(&self, cell: &mut u64, n: u64);

    /// Exchanges a cell's value if it is still `former`; whether it was.
    fn replace(&self, cell: &mut u64, former: u64, value: u64) -> bool;

    /// A bucket of this CPU's traffic, by its place in the whole table; `None` if there is no such place.
    fn traffic(&self, index: u32) -> Option<&mut TrafficBucket>;

    /// As [`Tables::traffic`].
    fn half_open(&self, index: u32) -> Option<&mut HalfOpenBucket>;

    fn sources(&self, index: u32) -> Option<&mut SourceBucket>;

    fn networks(&self, index: u32) -> Option<&mut NetworkBucket>;

    fn connections(&self, index: u32) -> Option<&mut ConnectionBucket>;

    /// A word of the filter; all ones if there is no such word.
    fn filter(&self, index: u32) -> u64;

    /// A prefix rule's terms, by place.
    fn rule(&self, index: u32) -> Option<&Rule>;

    /// Counts a frame that the rule at this place matched, in this CPU's region.
    fn hit(&self, region: u32, index: u32);

    /// The longest allowed prefix that holds this address.
    fn allow(&self, client: &Prefix) -> Option<Reference>;

    /// The longest denied prefix that holds this address.
    fn deny(&self, client: &Prefix) -> Option<Reference>;

    /// The tier of the longest prefix that holds this address and belongs to one.
    fn tier(&self, client: &Prefix) -> Option<u32>;

    /// The limits of a tier.
    fn limit(&self, tier: u32) -> Option<&TierLimit>;

    fn class(&self, key: &ClassKey) -> Option<&mut ClassRule>;

    /// The room this CPU has left for connection records.
    fn budget(&self) -> Option<&mut EventBudget>;

    /// A random number, for sampling.
    fn random(&self) -> u32;

    /// Sends the connection's record to the daemon; whether there was room.
    fn report(&self, tuple: &Tuple, connection: &Connection, now_ns: u64) -> bool;

    /// Feeds `length` bytes of the frame from `offset` on to [`crate::stream::step`], until it stops. `length` is at
    /// least 1 and at most [`crate::capacity::SEGMENT_BYTES`]. `false` if the bytes could not be read.
    fn scan(&self, frame: &Self::Frame, offset: usize, length: usize, connection: &mut Connection) -> bool;
}

crate::plain! {
    /// How many connection records this CPU has written in the second at hand.
    pub struct EventBudget {
        /// When the second began, monotonic nanoseconds.
        pub second_start_ns: u64,
        /// Records that were ready in it.
        pub ready: u32,
        /// Records that were ready in the second before.
        pub ready_before: u32,
        /// Records written in it.
        pub written: u32,
        pub reserved: u32,
    }
}
