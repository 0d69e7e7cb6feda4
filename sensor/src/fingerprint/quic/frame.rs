//! Frames of an Initial packet (RFC 9000 section 17.2.2 says which may be there, section 19 what they look like).

use super::super::Unread;
use super::super::pieces::Pieces;
use super::packet::Reader;

const PADDING: usize = 0x00;
const PING: usize = 0x01;
const ACK: usize = 0x02;
const ACK_ECN: usize = 0x03;
const CRYPTO: usize = 0x06;
const CLOSE: usize = 0x1c;

/// Takes up the CRYPTO frames of a packet's payload.
pub(super) fn crypto(payload: &[u8], pieces: &mut Pieces) -> Result<(), Unread> {
    let mut reader = Reader { bytes: payload, at: 0 };
    while !reader.is_done() {
        match reader.varint()? {
            PADDING | PING => {}
            kind @ (ACK | ACK_ECN) => acknowledgement(&mut reader, kind == ACK_ECN)?,
            CRYPTO => {
                let offset = reader.varint()?;
                let length = reader.varint()?;
                pieces.put(offset, reader.take(length)?)?;
            }
            CLOSE => return Ok(()),
            _ => return Err(Unread::Malformed),
        }
    }
    Ok(())
}

fn acknowledgement(reader: &mut Reader<'_>, counts: bool) -> Result<(), Unread> {
    // Largest, delay.
    reader.varint()?;
    reader.varint()?;
    let ranges = reader.varint()?;
    reader.varint()?;
    for _ in 0..ranges {
        // Gap and length; each takes bytes, so a count that lies ends with the payload.
        reader.varint()?;
        reader.varint()?;
    }
    for _ in 0..if counts { 3 } else { 0 } {
        reader.varint()?;
    }
    Ok(())
}
