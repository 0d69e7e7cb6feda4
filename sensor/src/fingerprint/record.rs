//! From a client's TCP stream to its ClientHello: TLS records (RFC 8446 section 5.1), however the message is cut.

use tls_parser::{TlsRecordType, parse_tls_record_header};

use super::hello::{ClientHello, Transport};
use super::{HELLO_BYTES, Unread};

/// Handshake type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Type and length in front of a handshake message, bytes.
const HEADER: usize = 4;
/// Longest plaintext record, bytes (RFC 8446 section 5.1).
const RECORD_MAX: usize = 16_384;
/// Places of a stream that are tried for a hello.
const PLACES: usize = 64;

/// The ClientHello that a stream begins with.
///
/// # Errors
/// If there is none, or not all of it.
pub fn hello(stream: &[u8]) -> Result<ClientHello, Unread> {
    ClientHello::read(&message(stream)?, Transport::Tls)
}

/// The first ClientHello anywhere in a stream, for protocols that begin TLS later: STARTTLS, CONNECT, tunnels. Gives
/// the complete one that comes first; what is no whole message by all of its lengths is passed over.
///
/// # Errors
/// If there is none.
pub fn find(stream: &[u8], transport: Transport) -> Result<ClientHello, Unread> {
    let mut outcome = Unread::Malformed;
    let begins = |six: &[u8]| matches!(six, [22, 3, _, _, _, CLIENT_HELLO]);
    let places = stream.windows(6).enumerate().filter(|(_, six)| begins(six)).take(PLACES);
    for (place, _) in places {
        match message(&stream[place..]).and_then(|body| ClientHello::read(&body, transport)) {
            Ok(hello) => return Ok(hello),
            Err(Unread::Cut) => outcome = Unread::Cut,
            Err(_) => {}
        }
    }
    Err(outcome)
}

/// The body of the handshake message at the stream's beginning.
fn message(stream: &[u8]) -> Result<Vec<u8>, Unread> {
    let mut rest = stream;
    let mut message = Vec::new();
    loop {
        if let Some([kind, high, middle, low]) = message.first_chunk::<HEADER>().copied() {
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if kind != CLIENT_HELLO {
                return Err(Unread::Malformed);
            }
            if length > HELLO_BYTES {
                return Err(Unread::TooLong);
            }
            if let Some(body) = message.get(HEADER..HEADER + length) {
                return Ok(body.to_vec());
            }
        }
        let Ok((behind, header)) = parse_tls_record_header(rest) else { return cut(rest) };
        let length = usize::from(header.len);
        let plausible = header.record_type == TlsRecordType::Handshake
            && header.version.0 >> 8 == 3
            && (1..=RECORD_MAX).contains(&length);
        if !plausible {
            return Err(Unread::Malformed);
        }
        let (part, behind) = behind.split_at(length.min(behind.len()));
        message.extend_from_slice(part);
        rest = behind;
    }
}

/// A stream that ends in a record header, unless what is there cannot be one.
fn cut(rest: &[u8]) -> Result<Vec<u8>, Unread> {
    match rest {
        [] | [22] | [22, 3, ..] => Err(Unread::Cut),
        _ => Err(Unread::Malformed),
    }
}
