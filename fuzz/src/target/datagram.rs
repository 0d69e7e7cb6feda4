//! QUIC and DTLS: datagrams as they come, and the frames inside Initial packets, which a key would otherwise hide.

use sensor::fingerprint::quic::{Initials, initial, is_known};
use sensor::fingerprint::{Handshake, Ja4};

use super::pieces;

pub(crate) fn run(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else { return };
    let all: Vec<&[u8]> = pieces(rest).collect();
    let found = match mode & 3 {
        0 => initial(all.iter().copied()).ok(),
        1 => {
            let mut initials = Initials::default();
            all.iter().find_map(|frames| initials.put_opened(frames).ok())
        }
        2 => {
            let mut handshake = Handshake::default();
            all.iter().find_map(|datagram| handshake.put(datagram).ok())
        }
        _ => {
            let _ = is_known(rest);
            initial([rest]).ok()
        }
    };
    if let Some(hello) = found {
        assert_eq!(Ja4::of(&hello).to_string().len(), 36);
    }
}
