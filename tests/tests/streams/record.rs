//! Requests inside TLS, estimated from records.

use sensor_common::event::{flag, protocol};
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::frame::frame;

use super::{cuts, kernel, on_host, outcome, tls};

/// What the client does next.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// Sends records of these types and lengths in one flight.
    Send(&'static [(u8, u16)]),
    /// Receives something from the server, and acknowledges it.
    Receive,
}
use Move::{Receive, Send};

const CHANGE: (u8, u16) = (20, 1);
/// The encrypted Finished of TLS 1.3.
const FINISHED: (u8, u16) = (23, 53);
const KEY_EXCHANGE: (u8, u16) = (22, 37);
/// The encrypted Finished of TLS 1.2.
const OLD_FINISHED: (u8, u16) = (22, 40);
const REQUEST: (u8, u16) = (23, 200);
const FULL: (u8, u16) = (23, 16_401);
const CHATTER: (u8, u16) = (23, 40);
/// HTTP/2 inside TLS 1.3: the preface with settings, an acknowledgement of the server's, and what keeps a connection going.
const PREFACE: (u8, u16) = (23, 81);
const SETTINGS_ACK: (u8, u16) = (23, 26);
const WINDOW_UPDATE: (u8, u16) = (23, 30);
const PING: (u8, u16) = (23, 34);

/// Description, version offered, what follows the hello, requests.
const ROWS: &[(&str, &str, &[Move], u32)] = &[
    ("handshake alone", "1.3", &[Receive, Send(&[CHANGE, FINISHED])], 0),
    ("request with the Finished", "1.3", &[Receive, Send(&[CHANGE, FINISHED, REQUEST])], 1),
    ("request behind the Finished", "1.3", &[Receive, Send(&[CHANGE, FINISHED]), Send(&[REQUEST])], 1),
    ("no change of cipher", "1.3", &[Receive, Send(&[FINISHED, REQUEST])], 1),
    ("two serial requests", "1.3", &[Receive, Send(&[CHANGE, FINISHED, REQUEST]), Receive, Send(&[REQUEST])], 2),
    (
        "head and body of one request in two records",
        "1.3",
        &[Receive, Send(&[CHANGE, FINISHED, REQUEST, (23, 900)]), Receive, Send(&[REQUEST, (23, 900)])],
        2,
    ),
    (
        "body in a later segment without progress of the server",
        "1.3",
        &[Receive, Send(&[CHANGE, FINISHED, REQUEST]), Send(&[(23, 900)]), Send(&[(23, 900)])],
        1,
    ),
    (
        "a record of 40 bytes is chatter",
        "1.3",
        &[Receive, Send(&[CHANGE, FINISHED, CHATTER]), Receive, Send(&[CHATTER])],
        0,
    ),
    ("a record of 41 bytes is none", "1.3", &[Receive, Send(&[CHANGE, FINISHED, (23, 41)])], 1),
    (
        "a large upload is one request",
        "1.3",
        &[Receive, Send(&[CHANGE, FINISHED, FULL]), Send(&[FULL]), Receive, Send(&[FULL]), Receive, Send(&[(23, 500)])],
        1,
    ),
    (
        "the request behind a large upload",
        "1.3",
        &[Receive, Send(&[CHANGE, FINISHED, FULL, (23, 500)]), Receive, Send(&[REQUEST])],
        2,
    ),
    ("alert", "1.3", &[Receive, Send(&[CHANGE, FINISHED, REQUEST]), Receive, Send(&[(21, 19)])], 1),
    ("empty records", "1.3", &[Receive, Send(&[CHANGE, FINISHED, (23, 0), REQUEST])], 1),
    (
        "second hello after a retry request",
        "1.3",
        &[Receive, Send(&[CHANGE, (22, 300)]), Receive, Send(&[FINISHED, REQUEST])],
        1,
    ),
    ("early data", "1.3", &[Send(&[CHANGE, (23, 500)]), Receive, Send(&[(23, 21), FINISHED])], 1),
    ("TLS 1.2", "1.2", &[Receive, Send(&[KEY_EXCHANGE, CHANGE, OLD_FINISHED]), Receive, Send(&[REQUEST])], 1),
    ("TLS 1.2 resumed", "1.2", &[Receive, Send(&[CHANGE, OLD_FINISHED, REQUEST])], 1),
    (
        "TLS 1.3 offered, 1.2 chosen",
        "1.3",
        &[Receive, Send(&[KEY_EXCHANGE, CHANGE, OLD_FINISHED]), Receive, Send(&[REQUEST]), Receive, Send(&[REQUEST])],
        2,
    ),
    (
        "a small head of HTTP/2",
        "1.3 h2",
        &[
            Receive,
            Send(&[CHANGE, FINISHED, PREFACE]),
            Receive,
            Send(&[SETTINGS_ACK, (23, 37)]),
            Receive,
            Send(&[(23, 37)]),
        ],
        3,
    ),
    (
        "chatter of HTTP/2",
        "1.3 h2",
        &[
            Receive,
            Send(&[CHANGE, FINISHED, PREFACE]),
            Receive,
            Send(&[SETTINGS_ACK]),
            Receive,
            Send(&[WINDOW_UPDATE, PING]),
            Receive,
            Send(&[WINDOW_UPDATE]),
        ],
        1,
    ),
    (
        "heads at once in HTTP/2",
        "1.3 h2",
        &[
            Receive,
            Send(&[CHANGE, FINISHED, PREFACE]),
            Receive,
            Send(&[SETTINGS_ACK]),
            Receive,
            Send(&[(23, 61), (23, 400), WINDOW_UPDATE, (23, 48), (23, 900), (23, 59), (23, 300)]),
        ],
        4,
    ),
    (
        "a body in parts in HTTP/2",
        "1.3 h2",
        &[
            Receive,
            Send(&[CHANGE, FINISHED, PREFACE]),
            Receive,
            Send(&[SETTINGS_ACK]),
            Receive,
            Send(&[(23, 61), (23, 8_218), (23, 8_218)]),
            Send(&[FULL, (23, 70)]),
            Receive,
            Send(&[(23, 61), (23, 8_218), (23, 8_218)]),
        ],
        3,
    ),
    (
        "HTTP/2 over TLS 1.2",
        "1.2 h2",
        &[
            Receive,
            Send(&[KEY_EXCHANGE, CHANGE, OLD_FINISHED]),
            Receive,
            Send(&[(23, 105), (23, 33)]),
            Receive,
            Send(&[(23, 37), (23, 41)]),
            Receive,
            Send(&[(23, 68), (23, 500), (23, 68)]),
        ],
        3,
    ),
    (
        "no HTTP/2 where none was offered",
        "1.3",
        &[
            Receive,
            Send(&[CHANGE, FINISHED, REQUEST]),
            Receive,
            Send(&[SETTINGS_ACK, (23, 37), REQUEST]),
            Send(&[REQUEST]),
        ],
        2,
    ),
    ("TLS 1.3 offered, 1.2 resumed", "1.3", &[Receive, Send(&[CHANGE, OLD_FINISHED, REQUEST])], 1),
];

/// A hello that offers this version; behind `h2` HTTP/2 too.
fn hello(version: &str) -> Vec<u8> {
    if let Some(version) = version.strip_suffix(" h2") {
        let versions: &[u8] = if version == "1.3" { &[0, 43, 0, 3, 2, 3, 4] } else { &[] };
        let extensions = [versions, &[0, 16, 0, 5, 0, 3, 2, b'h', b'2']].concat();
        let length = u8::try_from(extensions.len()).expect("short");
        let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, length], &extensions].concat();
        let length = u8::try_from(body.len()).expect("short");
        return [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
    }
    frame(&format!("v4 hello {version}")).expect("the text is right").split_off(54)
}

fn records(list: &[(u8, u16)]) -> Vec<u8> {
    let bytes = |(kind, length): &(u8, u16)| {
        let mut bytes = vec![*kind, 3, 3];
        bytes.extend(length.to_be_bytes());
        bytes.resize(5 + usize::from(*length), 0xee);
        bytes
    };
    list.iter().flat_map(bytes).collect()
}

fn play(version: &str, moves: &[Move], mut cut: impl FnMut(usize) -> Vec<usize>) -> Conversation {
    let mut conversation = tls().send(&hello(version));
    for step in moves {
        conversation = match step {
            Receive => conversation.wait(10).receive(2_000).ack(),
            Send(list) => {
                let bytes = records(list);
                let cuts = cut(bytes.len());
                conversation.send_cut(&bytes, &cuts)
            }
        };
    }
    conversation
}

#[test]
fn requests_are_estimated_by_records() {
    let mut random = fastrand::Rng::with_seed(9);
    for (name, version, moves, requests) in ROWS {
        for round in 0..30 {
            let conversation = play(version, moves, |length| match round {
                0 => Vec::new(),
                1 => (1..length).take(1_500).collect(),
                _ => cuts(&mut random, length, 6),
            });
            let seen = on_host(&conversation);
            assert_eq!(seen.protocol, protocol::TLS, "{name}");
            assert_eq!(seen.requests, *requests, "{name}, round {round}");
        }
    }
}

#[test]
fn the_kernel_estimates_the_same() {
    let Some(mut kernel) = kernel() else { return };
    let mut random = fastrand::Rng::with_seed(10);
    for (name, version, moves, requests) in ROWS {
        for _ in 0..3 {
            // A test run takes frames of up to some 60 KB, but a wire has a limit too.
            let conversation = play(version, moves, |length| {
                let mut all = cuts(&mut random, length, 3);
                all.extend((8_000..length).step_by(8_000));
                all.sort_unstable();
                all
            });
            assert_eq!(outcome(&mut kernel, &conversation).requests, *requests, "{name}");
        }
    }
}

#[test]
fn records_that_contradict_tls_end_the_count() {
    for (name, bytes) in [
        ("unknown type", vec![25, 3, 3, 0, 1, 0]),
        ("another major version", vec![23, 2, 0, 0, 1, 0]),
        ("longer than TLS allows", vec![23, 3, 3, 0x48, 1]),
    ] {
        let seen = on_host(&play("1.3", &[Receive, Send(&[CHANGE, FINISHED, REQUEST])], |_| Vec::new()).send(&bytes));
        assert_eq!((seen.requests, seen.protocol), (1, protocol::OTHER), "{name}");
        assert_ne!(seen.flags & flag::MALFORMED, 0, "{name}");
    }
}

#[test]
fn a_bogus_acknowledgement_does_not_stop_the_count() {
    let mut conversation = play("1.3", &[Receive, Send(&[CHANGE, FINISHED, REQUEST])], |_| Vec::new());
    let honest = conversation.received;
    conversation.received = honest.wrapping_add(1 << 30);
    conversation = conversation.segment("A", 1 << 20, &[]);
    conversation.received = honest;
    for _ in 0..3 {
        conversation = conversation.receive(500).ack().send(&records(&[REQUEST]));
    }
    assert_eq!(on_host(&conversation).requests, 4);
}
