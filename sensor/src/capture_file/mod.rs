//! Captures (pcap, pcapng) as input of the packet path: `sensor replay FILE`.
//!
//! Files come from anywhere and are not trusted: lengths are bounded, time never runs backwards, and what was read
//! before a fault is not lost with it.

mod file;
mod hello;
mod link;
mod replay;

use std::fmt;

pub use file::{Frames, open};
pub use replay::{Found, Options, Summary, replay, replay_frames};

/// One frame of a capture, from its Ethernet header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was taken, nanoseconds since 1970; never before the frames ahead of it.
    pub at_ns: u64,
    pub bytes: Vec<u8>,
    /// Its length on the wire: more than there are bytes if the capture cut it.
    pub length: usize,
}

/// Why a capture cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The file cannot be opened or read.
    Unreadable(String),
    /// Neither pcap nor pcapng.
    Unknown,
    /// It ends inside a packet or block.
    Truncated { packets: u64 },
    /// A packet or block that claims to be longer than any is.
    Oversized { packets: u64 },
    /// A block whose fields contradict each other.
    Malformed { packets: u64 },
    /// Frames of a link that is not read; its number in the registry of link types.
    Link { number: i32 },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::Unknown => f.write_str("it is neither pcap nor pcapng"),
            Self::Truncated { packets } => write!(f, "it breaks off behind packet {packets}"),
            Self::Oversized { packets } => {
                write!(f, "what follows packet {packets} claims to be longer than {} bytes", file::BLOCK_BYTES_MAX)
            }
            Self::Malformed { packets } => write!(f, "what follows packet {packets} contradicts itself"),
            Self::Link { number } => write!(f, "its link type {number} is not read"),
        }
    }
}

impl std::error::Error for Broken {}

impl Broken {
    /// What to do next.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "give the path of a file that this user may read",
            Self::Unknown => "write one with `tcpdump -w FILE`; compressed captures have to be unpacked first",
            Self::Truncated { .. } => "what was read before is shown; was the capture still being written?",
            Self::Oversized { .. } | Self::Malformed { .. } => {
                "what was read before is shown; the file is damaged there"
            }
            Self::Link { .. } => "Ethernet, Linux cooked (1 and 2), raw IP and BSD loopback are read",
        }
    }
}
