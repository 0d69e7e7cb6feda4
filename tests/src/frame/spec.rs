//! What a frame is to look like, before it becomes bytes.

use std::net::IpAddr;

/// A frame in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spec {
    /// Exactly these bytes.
    Raw(Vec<u8>),
    /// An ARP request for the server.
    Arp,
    /// An IP packet.
    Ip(Box<IpSpec>),
}

/// An IP packet in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpSpec {
    pub(crate) source: (IpAddr, u16),
    pub(crate) destination: (IpAddr, u16),
    /// Ethertype of the tag and VLAN number, outermost first.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    /// Offset in units of 8 bytes, and whether more fragments follow.
    pub(crate) fragment: Option<(u16, bool)>,
    pub(crate) ipv4_options: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) transport: Transport,
    pub(crate) payload: Vec<u8>,
    pub(crate) pokes: Vec<(usize, Vec<u8>)>,
    pub(crate) trims: Vec<Trim>,
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    Hop,
    Destination,
    Routing,
    Authentication,
    Mobility,
}

/// What IP carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp(TcpSpec),
    Udp,
    Other(u8),
}

/// A TCP header in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcpSpec {
    /// The letters of the flags, in upper case.
    pub(crate) flags: String,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: Option<u32>,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
}

impl Default for TcpSpec {
    fn default() -> Self {
        Self { flags: String::new(), sequence: 1, acknowledgment: None, window: 64240, options: Vec::new() }
    }
}

/// A change of the frame's length after it was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    Cut(usize),
    Keep(usize),
    Pad(usize),
}
