//! HTTP/2 over plaintext: streams that the client opens, however frames are cut.

use sensor_common::connection::Connection;
use sensor_common::event::{flag, protocol};

use super::{cuts, kernel, on_host, outcome, plain};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WEIGHED: u8 = 0x20;
/// A POST with a name that is spelled out: method, scheme, path, authority, "te: trailers".
const HEAD: &[u8] = b"\x83\x86\x44\x03/ab\x41\x01h\x40\x02te\x08trailers";
/// Trailers: a literal that is never indexed.
const TRAILERS: &[u8] = b"\x10\x02ok\x010";

/// Description, frames behind the preface, requests, whether it is HTTP/2 to its end.
type Row = (&'static str, Vec<u8>, u32, bool);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 1, 0, 0])
}

fn head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, HEAD)
}

/// The same head behind a priority, and before three bytes of padding.
fn padded(flags: u8) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend((flags & PADDED != 0).then_some(3));
    payload.extend((flags & WEIGHED != 0).then_some([0, 0, 0, 0, 15]).into_iter().flatten());
    payload.extend(HEAD);
    payload.resize(payload.len() + if flags & PADDED != 0 { 3 } else { 0 }, 0);
    frame(HEADERS, END_HEADERS | flags, 1, &payload)
}

fn good() -> Vec<Row> {
    let many: Vec<u8> = (0..40).flat_map(|n| head(2 * n + 1)).collect();
    let long = [b"\x40\x03x-l\x7f\x81\x07".as_slice(), &[b'v'; 1_024]].concat();
    [
        ("settings alone", vec![settings()], 0),
        ("one request", vec![settings(), head(1)], 1),
        ("empty settings", vec![frame(SETTINGS, 0, 0, &[]), head(1)], 1),
        ("many settings", vec![frame(SETTINGS, 0, 0, &[7; 180]), head(1)], 1),
        ("a request with data", vec![settings(), head(1), frame(DATA, 0, 1, &[9; 700]), frame(DATA, 1, 1, &[])], 1),
        ("data that looks like frames", vec![settings(), head(1), frame(DATA, 1, 1, &[head(3), head(5)].concat())], 1),
        ("three in a row", vec![settings(), head(1), head(3), head(5)], 3),
        ("numbers are left out", vec![settings(), head(1), head(101), head(0x7fff_ffff)], 3),
        ("the reserved bit is set", vec![settings(), head(1 | 1 << 31), head(3)], 2),
        ("forty at once", vec![settings(), many], 40),
        (
            "trailers",
            vec![settings(), head(1), head(3), frame(HEADERS, 5, 1, TRAILERS), frame(HEADERS, 5, 3, TRAILERS)],
            2,
        ),
        ("padding", vec![settings(), padded(PADDED), head(3)], 2),
        ("priority", vec![settings(), padded(WEIGHED), head(3)], 2),
        ("padding and priority", vec![settings(), padded(PADDED | WEIGHED), head(3)], 2),
        (
            "a head in three parts",
            vec![
                settings(),
                frame(HEADERS, 0, 1, &HEAD[..5]),
                frame(CONTINUATION, 0, 1, &HEAD[5..11]),
                frame(CONTINUATION, END_HEADERS, 1, &HEAD[11..]),
                head(3),
            ],
            2,
        ),
        (
            "empty parts of a head",
            vec![
                settings(),
                frame(HEADERS, 0, 1, &[]),
                frame(CONTINUATION, 0, 1, HEAD),
                frame(CONTINUATION, 4, 1, &[]),
            ],
            1,
        ),
        (
            "parts of a later head",
            vec![settings(), head(1), frame(HEADERS, 0, 3, HEAD), frame(CONTINUATION, END_HEADERS, 3, TRAILERS)],
            2,
        ),
        ("an unfinished head", vec![settings(), frame(HEADERS, 0, 1, HEAD)], 0),
        ("a later head lacks its last byte", vec![settings(), head(1), head(3)[..9 + HEAD.len() - 1].to_vec()], 1),
        (
            "chatter",
            vec![
                settings(),
                frame(WINDOW, 0, 0, &[0, 1, 0, 0]),
                head(1),
                frame(SETTINGS, 1, 0, &[]),
                frame(PING, 1, 0, &[1; 8]),
                frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]),
                frame(RESET, 0, 1, &[0, 0, 0, 8]),
                frame(SETTINGS, 0, 0, &[0, 4, 0, 2, 0, 0]),
                head(3),
            ],
            2,
        ),
        ("a frame of no known type", vec![settings(), frame(0xfa, 0xff, 1, &[1; 300]), head(1)], 1),
        ("a long value", vec![settings(), frame(HEADERS, END_HEADERS, 1, &[HEAD, &long].concat()), head(3)], 2),
        (
            "a new size of the table",
            vec![settings(), frame(HEADERS, END_HEADERS, 1, &[b"\x3f\xe1\x1f", HEAD].concat())],
            1,
        ),
        ("a later head is not read", vec![settings(), head(1), frame(HEADERS, END_HEADERS, 3, &[0xff; 40])], 2),
    ]
    .map(|(name, frames, requests)| (name, frames.concat(), requests, true))
    .into()
}

fn bad() -> Vec<Row> {
    [
        ("no settings", vec![head(1)], 0),
        ("settings of a stream", vec![frame(SETTINGS, 0, 1, &[])], 0),
        ("an even stream", vec![settings(), head(2)], 0),
        ("stream 0", vec![settings(), head(1), head(0)], 1),
        ("a push", vec![settings(), frame(PUSH, 4, 1, HEAD)], 0),
        ("something inside a head", vec![settings(), frame(HEADERS, 0, 1, HEAD), frame(DATA, 0, 1, &[1])], 0),
        ("a head inside a head", vec![settings(), frame(HEADERS, 0, 1, HEAD), head(3)], 0),
        ("a continuation of nothing", vec![settings(), head(1), frame(CONTINUATION, 4, 1, HEAD)], 1),
        ("padding longer than the frame", vec![settings(), frame(HEADERS, END_HEADERS | PADDED, 1, &[200, 0x83])], 0),
        ("index 0", vec![settings(), frame(HEADERS, END_HEADERS, 1, &[0x80, 0x83])], 0),
        ("an empty name", vec![settings(), frame(HEADERS, END_HEADERS, 1, b"\x40\x00\x01a")], 0),
        ("a value beyond the block", vec![settings(), frame(HEADERS, END_HEADERS, 1, b"\x83\x44\x7e/a"), head(3)], 0),
        ("an integer without end", vec![settings(), frame(HEADERS, END_HEADERS, 1, &[0xff; 40])], 0),
    ]
    .map(|(name, frames, requests)| (name, frames.concat(), requests, false))
    .into()
}

fn rows() -> Vec<Row> {
    good().into_iter().chain(bad()).collect()
}

fn check(row: &Row, seen: &Connection, how: &str) {
    let (name, _, requests, followed) = row;
    assert_eq!(seen.requests, *requests, "{name}, {how}");
    let (code, malformed) = (seen.protocol, seen.flags & flag::MALFORMED != 0);
    let expected = if *followed { (protocol::HTTP2, false) } else { (protocol::OTHER, true) };
    assert_eq!((code, malformed), expected, "{name}, {how}");
}

#[test]
fn streams_are_counted_however_they_are_cut() {
    let mut random = fastrand::Rng::with_seed(11);
    for row in rows() {
        let stream = [PREFACE, &row.1].concat();
        let whole = on_host(&plain().send(&stream));
        check(&row, &whole, "in one segment");
        let all: Vec<usize> = (1..stream.len()).collect();
        let each = (1..stream.len()).map(|cut| vec![cut]);
        let drawn: Vec<_> = (0..20).map(|_| cuts(&mut random, stream.len(), 5)).collect();
        for cuts in each.chain([all]).chain(drawn) {
            let seen = on_host(&plain().send_cut(&stream, &cuts));
            check(&row, &seen, &format!("cut at {cuts:?}"));
            assert_eq!(seen.fingerprint, whole.fingerprint, "{}, cut at {cuts:?}", row.0);
        }
    }
}

#[test]
fn the_kernel_counts_the_same_streams() {
    let Some(mut kernel) = kernel() else { return };
    let mut random = fastrand::Rng::with_seed(12);
    for row in rows() {
        let stream = [PREFACE, &row.1].concat();
        for round in 0..4 {
            let cuts = if round == 0 { Vec::new() } else { cuts(&mut random, stream.len(), 4) };
            let conversation = plain().send_cut(&stream, &cuts);
            let (host, kernel) = (on_host(&conversation), outcome(&mut kernel, &conversation));
            check(&row, &kernel, "in the kernel");
            assert_eq!(
                (host.fingerprint, host.flags, host.http, host.records, host.bytes),
                (kernel.fingerprint, kernel.flags, kernel.http, kernel.records, kernel.bytes),
                "{}, cut at {cuts:?}",
                row.0
            );
        }
    }
}

#[test]
fn an_upgrade_goes_on_with_the_streams_behind_it() {
    let ask =
        b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let frames = [PREFACE, &settings(), &head(3), &head(5)].concat();
    let seen = on_host(&plain().send(ask).receive(70).ack().send(&frames));
    assert_eq!((seen.requests, seen.protocol), (3, protocol::HTTP2));
    let refused = on_host(&plain().send(ask).receive(70).ack().send(b"GET / HTTP/1.1\r\n\r\n"));
    assert_eq!((refused.requests, refused.protocol), (2, protocol::HTTP1), "the server did not agree");
}

#[test]
fn a_damaged_preface_is_no_http2() {
    for at in 0..PREFACE.len() {
        let mut stream = [PREFACE, &settings(), &head(1)].concat();
        stream[at] ^= 1;
        let seen = on_host(&plain().send(&stream));
        // The target is not read, like any other, and ends where the version begins.
        let counted = u32::from(matches!(at, 4 | 5));
        assert_eq!(seen.requests, counted, "byte {at}");
    }
}

#[test]
fn the_fingerprint_is_the_shape_of_settings_and_first_head() {
    let print = |settings: &[u8], head: &[u8]| {
        let frames = [PREFACE, &frame(SETTINGS, 0, 0, settings), &frame(HEADERS, END_HEADERS, 1, head)].concat();
        on_host(&plain().send(&frames)).fingerprint
    };
    let base = print(&[0, 3, 0, 0, 0, 100], HEAD);
    assert_ne!(base, 0);
    let same: [&[u8]; 3] = [
        b"\x83\x86\x44\x02/c\x41\x02hh\x40\x02te\x03gzi",
        b"\x83\x87\x84\x41\x01h\x40\x02te\x08trailers",
        b"\x83\x86\x04\x03/ab\x01\x01h\x00\x02te\x08trailers",
    ];
    for head in same {
        assert_eq!(
            base,
            print(&[0, 3, 0, 0, 0, 100], head),
            "no value counts, nor how a known name is indexed: {head:?}"
        );
    }
    let others: [&[u8]; 5] = [
        b"\x82\x86\x44\x03/ab\x41\x01h\x40\x02te\x08trailers",
        b"\x42\x03PUT\x86\x44\x03/ab\x41\x01h\x40\x02te\x08trailers",
        b"\x83\x86\x41\x01h\x44\x03/ab\x40\x02te\x08trailers",
        b"\x83\x86\x44\x03/ab\x41\x01h\x40\x02ta\x08trailers",
        b"\x83\x86\x44\x03/ab\x41\x01h",
    ];
    for head in others {
        assert_ne!(base, print(&[0, 3, 0, 0, 0, 100], head), "{head:?}");
    }
    assert_ne!(base, print(&[0, 3, 0, 0, 0, 101], HEAD), "settings count");
}

#[test]
fn bodies_are_passed_over_in_large_segments() {
    let body: Vec<u8> = (0..8).flat_map(|_| frame(DATA, 0, 1, &[b'x'; 16_384])).collect();
    let stream = [PREFACE, &settings(), &head(1), &body, &head(3)].concat();
    for size in [1_448, 8_960, 16_384, 32_768] {
        let cuts: Vec<usize> = (size..stream.len()).step_by(size).collect();
        let seen = on_host(&plain().send_cut(&stream, &cuts));
        assert_eq!((seen.requests, seen.bytes), (2, stream.len() as u64), "segments of {size}");
    }
}
