//! Reading pcap and pcapng, frame by frame, in bounded memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use pcap_parser::{LegacyPcapBlock, traits::PcapReaderIterator};

use super::link::Link;
use super::{Broken, Frame};

/// Room for a block at first, bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// Longest block that is read, bytes.
pub(super) const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Interfaces of a section that are kept.
const INTERFACES_MAX: usize = 4_096;
/// Timestamps count microseconds unless said otherwise.
const MICROSECONDS: u64 = 1_000_000;

/// Where frames of one interface come from.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Option<Link>,
    number: i32,
    /// Units of its timestamps, per second.
    units_per_s: u64,
    /// Added to its timestamps, seconds.
    offset_s: i64,
    /// 0: no limit.
    snaplen: u32,
}

/// The frames of a capture, in the order of the file.
pub struct Frames<'a> {
    reader: Box<dyn PcapReaderIterator + Send + 'a>,
    interfaces: Vec<Interface>,
    packets: u64,
    latest_ns: u64,
    backwards: u64,
    capacity: usize,
    is_done: bool,
}

/// Opens a capture.
///
/// # Errors
/// If it cannot be opened, or is no capture.
pub fn open(path: &Path) -> Result<Frames<'static>, Broken> {
    Frames::new(File::open(path).map_err(|error| Broken::Unreadable(error.to_string()))?)
}

impl<'a> Frames<'a> {
    /// Reads a capture from its first byte on.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(input: impl Read + Send + 'a) -> Result<Self, Broken> {
        let reader = create_reader(BLOCK_BYTES, Whole(input)).map_err(|error| {
            if matches!(error, PcapError::ReadError) {
                Broken::Unreadable("an error of the file system".to_owned())
            } else if matches!(error, PcapError::Incomplete(_) | PcapError::UnexpectedEof) {
                Broken::Truncated { packets: 0 }
            } else {
                Broken::Unknown
            }
        })?;
        let (interfaces, capacity) = (Vec::new(), BLOCK_BYTES);
        Ok(Self { reader, interfaces, packets: 0, latest_ns: 0, backwards: 0, capacity, is_done: false })
    }

    /// Frames so far that claim to have been taken before one ahead of them: they count as taken together with it.
    #[must_use]
    pub const fn backwards(&self) -> u64 {
        self.backwards
    }

    /// The next frame; `None` at the end.
    fn advance(&mut self) -> Result<Option<Frame>, Broken> {
        loop {
            let (taken, raw) = match self.reader.next() {
                Ok((length, block)) => (length, packet(&mut self.interfaces, &block, self.packets)?),
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::Incomplete(_)) => {
                    self.refill()?;
                    continue;
                }
                Err(PcapError::BufferTooSmall) => {
                    self.grow()?;
                    continue;
                }
                Err(PcapError::UnexpectedEof) => return Err(Broken::Truncated { packets: self.packets }),
                Err(PcapError::ReadError) => return Err(Broken::Unreadable("an error of the file system".to_owned())),
                Err(_) => return Err(Broken::Malformed { packets: self.packets }),
            };
            self.reader.consume(taken);
            if let Some(mut frame) = raw {
                self.packets += 1;
                if frame.at_ns < self.latest_ns {
                    self.backwards += 1;
                    frame.at_ns = self.latest_ns;
                }
                self.latest_ns = frame.at_ns;
                return Ok(Some(frame));
            }
        }
    }

    fn refill(&mut self) -> Result<(), Broken> {
        let before = self.reader.data().len();
        if self.reader.refill().is_err() {
            return Err(Broken::Unreadable("an error of the file system".to_owned()));
        }
        // Nothing more fits: the block is longer than the room for it.
        if self.reader.data().len() == before && !self.reader.reader_exhausted() { self.grow() } else { Ok(()) }
    }

    fn grow(&mut self) -> Result<(), Broken> {
        let capacity = self.capacity.saturating_mul(2);
        if capacity > BLOCK_BYTES_MAX || !self.reader.grow(capacity) {
            return Err(Broken::Oversized { packets: self.packets });
        }
        self.capacity = capacity;
        Ok(())
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let next = self.advance();
        self.is_done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl std::fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").field("packets", &self.packets).finish_non_exhaustive()
    }
}

/// The frame in a block, if it holds one; what it says about interfaces is kept.
fn packet(interfaces: &mut Vec<Interface>, block: &PcapBlockOwned<'_>, packets: u64) -> Result<Option<Frame>, Broken> {
    let interface = |index: u32| -> Result<Interface, Broken> {
        let index = usize::try_from(index).map_err(|_| Broken::Malformed { packets })?;
        interfaces.get(index).copied().ok_or(Broken::Malformed { packets })
    };
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let units_per_s = if header.is_nanosecond_precision() { 1_000_000_000 } else { MICROSECONDS };
            let Linktype(number) = header.network;
            // The upper half says how long a checksum behind each frame is.
            let number = number & 0xffff;
            interfaces.push(Interface { link: Link::of(number), number, units_per_s, offset_s: 0, snaplen: 0 });
            Ok(None)
        }
        PcapBlockOwned::Legacy(LegacyPcapBlock { ts_sec, ts_usec, origlen, data, .. }) => {
            let taken = interface(0)?;
            let at_ns = nanoseconds(u64::from(*ts_sec), u64::from(*ts_usec), taken.units_per_s, 0);
            frame(taken, at_ns, data, *origlen).map(Some)
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            Ok(None)
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(described)) => {
            if interfaces.len() >= INTERFACES_MAX {
                return Err(Broken::Malformed { packets });
            }
            let Linktype(number) = described.linktype;
            interfaces.push(Interface {
                link: Link::of(number),
                number,
                units_per_s: units(described.if_tsresol).ok_or(Broken::Malformed { packets })?,
                offset_s: described.if_tsoffset,
                snaplen: described.snaplen,
            });
            Ok(None)
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(read)) => {
            let taken = interface(read.if_id)?;
            let ticks = u64::from(read.ts_high) << 32 | u64::from(read.ts_low);
            let (whole, part) = (ticks / taken.units_per_s, ticks % taken.units_per_s);
            let at_ns = nanoseconds(whole, part, taken.units_per_s, taken.offset_s);
            let length = usize::try_from(read.caplen).unwrap_or(usize::MAX);
            let data = read.data.get(..length).ok_or(Broken::Malformed { packets })?;
            frame(taken, at_ns, data, read.origlen).map(Some)
        }
        PcapBlockOwned::NG(Block::SimplePacket(read)) => {
            let taken = interface(0)?;
            let most = if taken.snaplen == 0 { u32::MAX } else { taken.snaplen };
            let length = usize::try_from(read.origlen.min(most)).unwrap_or(usize::MAX).min(read.data.len());
            // It has no time: it counts as taken together with the one before.
            frame(taken, 0, &read.data[..length], read.origlen).map(Some)
        }
        PcapBlockOwned::NG(_) => Ok(None),
    }
}

fn frame(interface: Interface, at_ns: u64, data: &[u8], length: u32) -> Result<Frame, Broken> {
    let link = interface.link.ok_or(Broken::Link { number: interface.number })?;
    let (bytes, grown) = link.ethernet(data);
    let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add_signed(grown).max(bytes.len());
    // No frame is longer than what IP can say, and an Ethernet header with tags.
    let length = if length > usize::from(u16::MAX) + 64 { bytes.len() } else { length };
    Ok(Frame { at_ns, bytes, length })
}

/// `if_tsresol`: a power of ten, or of two with the high bit; `None` if seconds cannot be counted in it.
fn units(resolution: u8) -> Option<u64> {
    let exponent = u32::from(resolution & 0x7f);
    if resolution & 0x80 == 0 { 10_u64.checked_pow(exponent) } else { 1_u64.checked_shl(exponent) }
}

/// Nanoseconds since 1970, saturating.
fn nanoseconds(whole_s: u64, part: u64, units_per_s: u64, offset_s: i64) -> u64 {
    let part_ns = u128::from(part) * 1_000_000_000 / u128::from(units_per_s.max(1));
    let whole_s = whole_s.saturating_add_signed(offset_s);
    u64::try_from(u128::from(whole_s) * 1_000_000_000 + part_ns).unwrap_or(u64::MAX)
}

/// Reads until the room is full or the input ends: the first look at a file that comes through a pipe must see a whole
/// header.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < room.len() {
            match self.0.read(&mut room[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
