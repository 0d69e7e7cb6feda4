//! From what a link hands over to an Ethernet frame (link types: tcpdump.org/linktypes.html).

/// Both addresses of a frame that had none.
const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// A link whose frames are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// IP without anything in front.
    Raw,
    /// Linux cooked capture: 16 bytes, the ethertype last.
    Cooked,
    /// Linux cooked capture, version 2: 20 bytes, the ethertype first.
    Cooked2,
    /// BSD loopback: the address family in four bytes of some order.
    Loopback,
}

impl Link {
    /// The link of a number; `None` if it is not read.
    pub(super) const fn of(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            // 12 and 14 are what some systems write for 101.
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            0 | 108 => Some(Self::Loopback),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }

    /// The frame with an Ethernet header, and how many bytes it became longer or shorter by.
    pub(super) fn ethernet(self, bytes: &[u8]) -> (Vec<u8>, isize) {
        let (header, ethertype) = match self {
            Self::Ethernet => return (bytes.to_vec(), 0),
            Self::Raw => (0, Some(by_version(bytes))),
            Self::Cooked => (16, bytes.get(14..16).and_then(|two| two.try_into().ok())),
            Self::Cooked2 => (20, bytes.get(..2).and_then(|two| two.try_into().ok())),
            Self::Loopback => (4, bytes.get(4..).map(by_version)),
        };
        // A frame that ends in its header is handed on as what it is: nothing.
        let packet = bytes.get(header..).unwrap_or_default();
        let ethertype = ethertype.unwrap_or([0, 0]);
        let frame = [&ADDRESSES[..], &ethertype, packet].concat();
        let grown = frame.len() as isize - bytes.len() as isize;
        (frame, grown)
    }
}

fn by_version(packet: &[u8]) -> [u8; 2] {
    if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6 } else { IPV4 }
}
