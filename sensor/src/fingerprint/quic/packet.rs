//! Long headers of QUIC (RFC 9000 section 17.2, RFC 9369 section 3.2).

use super::super::Unread;

/// Longest connection id of the versions that are known, bytes.
const ID_MAX: usize = 20;

/// A version whose Initial packets can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// RFC 9000, and drafts 29 to 34, which differ by the salt up to 32.
    One,
    Draft29,
    /// RFC 9369.
    Two,
}

impl Version {
    const fn read(number: u32) -> Option<Self> {
        match number {
            0x0000_0001 | 0xff00_0021 | 0xff00_0022 => Some(Self::One),
            0xff00_001d..=0xff00_0020 => Some(Self::Draft29),
            0x6b33_43cf => Some(Self::Two),
            _ => None,
        }
    }
}

/// The first packet of a datagram.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) version: Version,
    pub(super) is_initial: bool,
    /// The destination connection id.
    pub(super) id: &'a [u8],
    /// The packet from its first byte to its last.
    pub(super) bytes: &'a [u8],
    /// Where its packet number begins.
    pub(super) number: usize,
    /// What is coalesced behind it.
    pub(super) rest: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the header of the first packet.
    pub(super) fn read(datagram: &'a [u8]) -> Result<Self, Unread> {
        let mut reader = Reader { bytes: datagram, at: 0 };
        let first = reader.byte()?;
        // Long form and fixed bit.
        if first & 0xc0 != 0xc0 {
            return Err(Unread::Sealed);
        }
        let number = reader.take(4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let version = Version::read(number).ok_or(Unread::Version)?;
        let id = reader.id()?;
        reader.id()?;
        let kind = match (version, first >> 4 & 3) {
            (Version::One | Version::Draft29, kind) => kind,
            // Version 2 counts from Retry on.
            (Version::Two, kind) => kind.wrapping_sub(1) & 3,
        };
        // Retry, which only servers send and which has no length.
        if kind == 3 {
            return Err(Unread::Sealed);
        }
        let is_initial = kind == 0;
        if is_initial {
            let token = reader.varint()?;
            reader.take(token)?;
        }
        let length = reader.varint()?;
        let begin = reader.at;
        reader.take(length)?;
        let (bytes, rest) = datagram.split_at(reader.at);
        Ok(Self { version, is_initial, id, bytes, number: begin, rest })
    }
}

/// A place in a datagram.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Unread> {
        let end = self.at.checked_add(length).ok_or(Unread::Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Unread::Malformed)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unread> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// A variable-length integer (RFC 9000 section 16).
    pub(super) fn varint(&mut self) -> Result<usize, Unread> {
        let first = self.byte()?;
        let more = self.take((1 << (first >> 6)) - 1)?;
        let value = more.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).map_err(|_| Unread::Malformed)
    }

    fn id(&mut self) -> Result<&'a [u8], Unread> {
        let length = usize::from(self.byte()?);
        if length > ID_MAX { Err(Unread::Malformed) } else { self.take(length) }
    }
}
