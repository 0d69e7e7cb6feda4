//! The ClientHello of QUIC (RFC 9000, RFC 9001, version 2: RFC 9369), out of a client's Initial packets.
//!
//! Their keys follow from the connection id that the client chose, so anybody on the path can open them. Packets may
//! be coalesced, CRYPTO frames may come in any order and over several datagrams; after a Retry the client starts anew
//! with other keys.

mod frame;
mod key;
mod packet;

use self::key::Keys;
use self::packet::Packet;
use super::hello::{ClientHello, Transport};
use super::pieces::Pieces;
use super::{HELLO_BYTES, Unread};

/// Handshake type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Datagrams of one client that are looked at.
const DATAGRAMS_MAX: u32 = 32;

/// The Initial packets of one client, until its ClientHello is complete.
#[derive(Debug, Default)]
pub struct Initials {
    keys: Option<Keys>,
    crypto: Pieces,
    datagrams: u32,
}

/// The ClientHello in a client's first datagrams.
///
/// # Errors
/// If they hold none, or not all of it.
pub fn initial<'a>(datagrams: impl IntoIterator<Item = &'a [u8]>) -> Result<ClientHello, Unread> {
    let mut initials = Initials::default();
    let mut outcome = Unread::Cut;
    for datagram in datagrams {
        match initials.put(datagram) {
            Err(error) => outcome = error,
            done => return done,
        }
    }
    Err(outcome)
}

/// Whether a datagram begins with a long header of QUIC (RFC 8999 section 5.1) of a version whose keys are known.
#[must_use]
pub fn is_known(datagram: &[u8]) -> bool {
    matches!(Packet::read(datagram), Ok(_) | Err(Unread::Cut))
}

impl Initials {
    /// Takes the next datagram.
    ///
    /// # Errors
    /// [`Unread::Cut`] as long as parts of the hello are missing; [`Unread::TooLong`] when no more is looked at.
    pub fn put(&mut self, datagram: &[u8]) -> Result<ClientHello, Unread> {
        if self.datagrams >= DATAGRAMS_MAX {
            return Err(Unread::TooLong);
        }
        self.datagrams += 1;
        let mut rest = datagram;
        let mut outcome = None;
        while !rest.is_empty() {
            let packet = match Packet::read(rest) {
                Ok(packet) => packet,
                // What is coalesced behind an Initial may be anything.
                Err(error) => {
                    outcome = outcome.or(Some(error));
                    break;
                }
            };
            rest = packet.rest;
            if !packet.is_initial {
                continue;
            }
            match self.open(&packet) {
                Ok(()) => outcome = Some(Unread::Cut),
                Err(error) => outcome = outcome.or(Some(error)),
            }
        }
        self.hello().unwrap_or(Err(outcome.unwrap_or(Unread::Sealed)))
    }

    /// Takes the frames of an Initial packet that was opened elsewhere.
    ///
    /// # Errors
    /// As [`Initials::put`].
    pub fn put_opened(&mut self, frames: &[u8]) -> Result<ClientHello, Unread> {
        let outcome = frame::crypto(frames, &mut self.crypto);
        self.hello().unwrap_or(Err(outcome.err().unwrap_or(Unread::Cut)))
    }

    /// Opens a packet and takes up its CRYPTO frames.
    fn open(&mut self, packet: &Packet<'_>) -> Result<(), Unread> {
        if let Some(payload) = self.keys.as_ref().and_then(|keys| keys.open(packet)) {
            return frame::crypto(&payload, &mut self.crypto);
        }
        // The first packet, or the first one behind a Retry: a new beginning.
        let keys = Keys::derive(packet);
        let payload = keys.open(packet).ok_or(Unread::Sealed)?;
        self.keys = Some(keys);
        self.crypto = Pieces::default();
        frame::crypto(&payload, &mut self.crypto)
    }

    /// The hello if all of it is there; `None`: not yet.
    fn hello(&self) -> Option<Result<ClientHello, Unread>> {
        let ([kind, high, middle, low], body) = self.crypto.whole().split_first_chunk::<4>()?;
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        if *kind != CLIENT_HELLO {
            return Some(Err(Unread::Malformed));
        }
        if length > HELLO_BYTES - 4 {
            return Some(Err(Unread::TooLong));
        }
        body.get(..length).map(|body| ClientHello::read(body, Transport::Quic))
    }
}
