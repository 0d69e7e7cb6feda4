//! From a frame to the facts of one segment. What is not understood is a [`Reject`], never a guess.

mod ether;
mod ip;
mod tcp;

use crate::address::Address;
use crate::counter::Counter;
use crate::tables::Frame;
pub use tcp::{Tcp, timestamp};

/// Why a frame was not understood. Such a frame is passed: the host's own stack decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The frame ends inside a header.
    Truncated,
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
    /// Neither TCP nor UDP. The source is known.
    Protocol(Address, Address),
}

impl Reject {
    /// Its counter.
    #[must_use]
    #[inline(always)]
    pub const fn counter(&self) -> Counter {
        match self {
            Self::Truncated => Counter::RejectTruncated,
            Self::Ethertype => Counter::RejectEthertype,
            Self::Vlan => Counter::RejectVlan,
            Self::Header => Counter::RejectHeader,
            Self::Fragment => Counter::RejectFragment,
            Self::Extension => Counter::RejectExtension,
            Self::Protocol(..) => Counter::RejectProtocol,
        }
    }
}

/// What the transport header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp(Tcp),
    /// UDP, by its destination port.
    Udp(u16),
}

/// The facts of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub client: Address,
    pub server: Address,
    pub transport: Transport,
}

/// Reads Ethernet, up to two VLAN tags, IPv4 with options or IPv6 with extension headers, and TCP or UDP.
///
/// # Errors
/// The reason for which the frame was not understood.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F) -> Result<Segment, Reject> {
    let (ethertype, offset) = ether::parse(frame)?;
    let packet = ip::parse(frame, ethertype, offset)?;
    let transport = match packet.protocol {
        ip::TCP => Transport::Tcp(tcp::parse(frame, &packet)?),
        ip::UDP => Transport::Udp(tcp::udp_port(frame, packet.payload)?),
        _ => return Err(Reject::Protocol(packet.source, packet.destination)),
    };
    Ok(Segment { client: packet.source, server: packet.destination, transport })
}
