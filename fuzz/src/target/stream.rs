//! A client's TCP stream in the packet path: sent as it is and cut otherwise, it must be understood in the same way.

use sensor_common::connection::Connection;
use sensor_common::event::{flag, protocol};

use super::{Host, PORT, pieces};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const CLIENT_PORT: u16 = 40_000;
/// Bytes of a segment at most: what a large MTU carries.
const SEGMENT_MAX: usize = 8_000;

/// A TCP frame of the one client.
fn frame(seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let total = u16::try_from(40 + payload.len()).expect("segments are short");
    frame.extend([0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1]);
    frame.extend(CLIENT_PORT.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend(seq.to_be_bytes());
    frame.extend(ack.to_be_bytes());
    frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend(payload);
    frame
}

/// The connection when all segments were sent. Each acknowledges one byte more of the server, if `answered`.
pub(super) fn outcome(segments: &[&[u8]], answered: bool) -> Option<Connection> {
    let mut host = Host::new();
    let mut send = |after_ns: u64, bytes: &[u8]| host.run(after_ns, bytes, bytes.len());
    send(0, &frame(99, 0, SYN, &[]));
    send(5_000_000, &frame(100, 1, ACK, &[]));
    let (mut seq, mut ack) = (100_u32, 1_u32);
    for segment in segments {
        send(1_000_000, &frame(seq, ack, ACK, segment));
        seq = seq.wrapping_add(u32::try_from(segment.len()).expect("segments are short"));
        ack += u32::from(answered);
    }
    host.memory.latest().and_then(|(_, state)| state)
}

pub(crate) fn run(input: &[u8]) {
    let segments: Vec<&[u8]> = pieces(input).flat_map(|piece| piece.chunks(SEGMENT_MAX)).collect();
    let stream: Vec<u8> = segments.concat();
    if stream.is_empty() {
        return;
    }
    let _ = outcome(&segments, true);
    // Without answers between them, where a segment ends means nothing.
    let whole: Vec<&[u8]> = stream.chunks(SEGMENT_MAX).collect();
    let bytewise: Vec<&[u8]> = stream.chunks(if stream.len() > 512 { 7 } else { 1 }).collect();
    let expected = outcome(&whole, false).expect("the handshake was completed");
    for other in [segments, bytewise] {
        let found = outcome(&other, false).expect("the handshake was completed");
        assert_eq!(found.protocol, expected.protocol, "protocol");
        assert_eq!(found.fingerprint, expected.fingerprint, "fingerprint");
        assert_eq!(found.bytes, expected.bytes, "bytes");
        let bent = flag::MALFORMED | flag::STREAM_GAP;
        assert_eq!(found.flags & bent, expected.flags & bent, "what is wrong with it");
        if expected.protocol == protocol::HTTP1 && expected.flags & bent == 0 {
            assert_eq!(found.requests, expected.requests, "requests");
        }
    }
}
