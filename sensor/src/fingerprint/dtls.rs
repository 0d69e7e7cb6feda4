//! From a client's datagrams to its ClientHello in DTLS (RFC 6347 section 4, RFC 9147 section 5).

use tls_parser::{TlsRecordType, parse_dtls_record_header};

use super::hello::ClientHello;
use super::pieces::Pieces;
use super::{HELLO_BYTES, Unread};

/// Handshake type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Bytes of a record's header.
const RECORD_HEADER: usize = 13;
/// Bytes of a handshake message's header.
const HEADER: usize = 12;

/// The handshake of one client, until its first ClientHello is complete.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// Length and number of the message whose fragments are collected.
    message: Option<(usize, u16)>,
    fragments: Pieces,
}

impl Handshake {
    /// Takes the next datagram.
    ///
    /// # Errors
    /// [`Unread::Cut`] as long as parts of the hello are missing.
    pub fn put(&mut self, datagram: &[u8]) -> Result<ClientHello, Unread> {
        let mut rest = datagram;
        let mut outcome = Unread::Malformed;
        while let Some((record, behind)) = record(rest) {
            rest = behind;
            match self.fragment(record) {
                Err(error) => outcome = error,
                done => return done,
            }
        }
        Err(outcome)
    }

    fn fragment(&mut self, record: &[u8]) -> Result<ClientHello, Unread> {
        let (header, body) = record.split_first_chunk::<HEADER>().ok_or(Unread::Malformed)?;
        let [kind, l0, l1, l2, n0, n1, o0, o1, o2, f0, f1, f2] = *header;
        let number = |bytes: [u8; 3]| usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let (length, offset, fragment) = (number([l0, l1, l2]), number([o0, o1, o2]), number([f0, f1, f2]));
        if kind != CLIENT_HELLO || offset.saturating_add(fragment) > length {
            return Err(Unread::Malformed);
        }
        if length > HELLO_BYTES {
            return Err(Unread::TooLong);
        }
        let bytes = body.get(..fragment).ok_or(Unread::Malformed)?;
        let message = (length, u16::from_be_bytes([n0, n1]));
        if self.message != Some(message) {
            *self = Self { message: Some(message), fragments: Pieces::default() };
        }
        self.fragments.put(offset, bytes)?;
        let body = self.fragments.whole().get(..length).ok_or(Unread::Cut)?;
        // Written as one fragment, which is what it would have been in a datagram that is large enough.
        let whole = [&[kind, l0, l1, l2, n0, n1, 0, 0, 0, l0, l1, l2][..], body].concat();
        ClientHello::read_dtls(&whole)
    }
}

/// The first record if it is a plaintext handshake record, and what lies behind it.
fn record(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, header) = parse_dtls_record_header(datagram).ok()?;
    // DTLS 1.0 (which OpenSSL also used before its own version was a standard) to 1.3.
    let known = matches!(header.version.0, 0x0100 | 0xfeff | 0xfefd | 0xfefc);
    if header.content_type != TlsRecordType::Handshake || !known || header.epoch != 0 {
        return None;
    }
    datagram.get(RECORD_HEADER..)?.split_at_checked(usize::from(header.length))
}
