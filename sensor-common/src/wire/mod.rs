//! From a frame to the facts of one segment. What is not understood is a [`Reject`], never a guess.

mod ether;
mod ip;
mod tcp;

use crate::address::source_key;
use crate::connection::Tuple;
use crate::counter::Counter;
use crate::plain;
use crate::tables::Frame;
pub use ip::{TCP, UDP};
pub use tcp::timestamp;

/// Why a frame was not understood. Such a frame is passed: the host's own stack decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reject {
    /// The frame ends inside a header.
    Truncated = 1,
    /// Not IP.
    Ethertype,
    /// More than two VLAN tags.
    Vlan,
    /// A length or version field contradicts itself.
    Header,
    /// An IPv4 or IPv6 fragment.
    Fragment,
    /// More IPv6 extension headers than are followed.
    Extension,
    /// IP, but neither TCP nor UDP.
    Protocol,
}

impl Reject {
    /// Its counter.
    #[must_use]
    #[inline(always)]
    pub const fn counter(self) -> Counter {
        match self {
            Self::Truncated => Counter::RejectTruncated,
            Self::Ethertype => Counter::RejectEthertype,
            Self::Vlan => Counter::RejectVlan,
            Self::Header => Counter::RejectHeader,
            Self::Fragment => Counter::RejectFragment,
            Self::Extension => Counter::RejectExtension,
            Self::Protocol => Counter::RejectProtocol,
        }
    }
}

plain! {
    /// The facts of one frame. They lie in a table, not on the stack: there the verifier would follow every value
    /// through every path, and the stack has 512 bytes.
    pub struct Segment {
        /// When the frame came, monotonic nanoseconds: up to a timer tick behind unless something is to be timed.
        pub now_ns: u64,
        /// Addresses and ports; ports are 0 unless TCP.
        pub tuple: Tuple,
        /// The client's source, see [`crate::address::Address::key`].
        pub source: u64,
        /// See [`crate::half_open::tag`].
        pub tag: u64,
        /// Bytes of the frame.
        pub frame_bytes: u32,
        pub seq: u32,
        pub ack: u32,
        /// Where the TCP options begin in the frame.
        pub options: u32,
        /// Where the payload begins in the frame.
        pub payload: u32,
        /// Bytes of payload.
        pub length: u32,
        /// IP protocol number.
        pub protocol: u8,
        /// TCP flags.
        pub flags: u8,
        /// 1: an allow rule covers the client.
        pub allowed: u8,
        /// Place of the source in its bucket of [`crate::traffic`]; [`crate::traffic::WAYS`]: it has none.
        pub way: u8,
        /// That bucket's place in the table.
        pub bucket: u32,
    }
}

impl Segment {
    /// Writes both addresses, each as two halves, and the client's source.
    #[inline(always)]
    fn set_addresses(&mut self, client: [u64; 2], server: [u64; 2]) {
        self.tuple.client = client;
        self.tuple.server = server;
        self.source = source_key(client[0], client[1]);
    }
}

/// Reads Ethernet, up to two VLAN tags, IPv4 with options or IPv6 with extension headers, and TCP or UDP.
///
/// # Errors
/// The reason for which the frame was not understood. After [`Reject::Protocol`] the addresses are known.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, segment: &mut Segment) -> Result<(), Reject> {
    let (ethertype, offset) = ether::parse(frame)?;
    let (protocol, payload, end) = ip::parse(frame, ethertype, offset, segment)?;
    segment.protocol = protocol;
    segment.tuple.ports = 0;
    match protocol {
        TCP => tcp::parse(frame, payload, end, segment),
        UDP => tcp::check_udp(frame, payload, end),
        _ => Err(Reject::Protocol),
    }
}
