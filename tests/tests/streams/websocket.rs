//! WebSocket behind an HTTP/1 upgrade: turns of the conversation.

use sensor_common::counter::Counter;
use sensor_common::event::{flag, protocol};
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::{Executor as _, World};

use super::{cuts, kernel, on_host, outcome, plain};

const ASK: &[u8] =
    b"GET /v1/realtime HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const COMPRESSED: u8 = 0xc1;
const UNFINISHED: u8 = 0x01;
const END: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;

/// What the client does next.
#[derive(Clone, Debug)]
enum Move {
    /// Sends frames of these first bytes and lengths.
    Send(&'static [(u8, usize)]),
    Receive,
}
use Move::{Receive, Send};

/// Description, what follows the upgrade, turns.
const ROWS: &[(&str, &[Move], u32)] = &[
    ("nothing", &[], 0),
    ("one message", &[Receive, Send(&[(TEXT, 30)])], 1),
    (
        "messages of every size of length",
        &[
            Receive,
            Send(&[(TEXT, 125)]),
            Receive,
            Send(&[(BINARY, 126)]),
            Receive,
            Send(&[(TEXT, 70_000)]),
            Receive,
            Send(&[(TEXT, 0)]),
        ],
        4,
    ),
    ("an upload in many messages", &[Receive, Send(&[(BINARY, 900), (BINARY, 900)]), Send(&[(BINARY, 900)])], 1),
    (
        "a message in parts",
        &[Receive, Send(&[(UNFINISHED, 50)]), Receive, Send(&[(0, 50)]), Receive, Send(&[(END, 9)])],
        1,
    ),
    ("a compressed message", &[Receive, Send(&[(COMPRESSED, 50)]), Receive, Send(&[(COMPRESSED, 50)])], 2),
    ("control frames", &[Receive, Send(&[(PONG, 4)]), Receive, Send(&[(PONG, 0)]), Receive, Send(&[(CLOSE, 2)])], 0),
    (
        "a control frame among parts",
        &[Receive, Send(&[(UNFINISHED, 50), (PONG, 3), (END, 9)]), Receive, Send(&[(TEXT, 5)])],
        2,
    ),
];

fn frames(list: &[(u8, usize)]) -> Vec<u8> {
    let bytes = |(first, length): &(u8, usize)| {
        let mut bytes = vec![*first];
        match u16::try_from(*length) {
            Ok(short @ 0..126) => bytes.push(0x80 | short as u8),
            Ok(long) => bytes.extend([&[0xfe][..], &long.to_be_bytes()].concat()),
            Err(_) => bytes.extend([&[0xff][..], &(*length as u64).to_be_bytes()].concat()),
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.resize(bytes.len() + length, TEXT);
        bytes
    };
    list.iter().flat_map(bytes).collect()
}

fn play(moves: &[Move], mut cut: impl FnMut(usize) -> Vec<usize>) -> Conversation {
    let mut conversation = plain().send(ASK);
    for step in moves {
        conversation = match step {
            Receive => conversation.wait(10).receive(130).ack(),
            Send(list) => {
                let bytes = frames(list);
                let mut cuts = cut(bytes.len());
                cuts.extend((8_000..bytes.len()).step_by(8_000));
                cuts.sort_unstable();
                conversation.send_cut(&bytes, &cuts)
            }
        };
    }
    conversation
}

#[test]
fn turns_are_counted_however_they_are_cut() {
    let mut kernel = kernel();
    let mut random = fastrand::Rng::with_seed(13);
    for (name, moves, turns) in ROWS {
        for round in 0..20 {
            let conversation = play(moves, |length| match round {
                0 => Vec::new(),
                1 => (1..length).take(300).collect(),
                _ => cuts(&mut random, length, 4),
            });
            let seen = on_host(&conversation);
            assert_eq!(seen.requests, 1 + turns, "{name}, round {round}");
            let expected = if moves.is_empty() { protocol::HTTP1 } else { protocol::WEBSOCKET };
            assert_eq!((seen.protocol, seen.flags & flag::MALFORMED), (expected, 0), "{name}");
            if let Some(kernel) = kernel.as_mut().filter(|_| round < 4) {
                let seen = outcome(kernel, &conversation);
                assert_eq!(seen.requests, 1 + turns, "{name} in the kernel, round {round}");
            }
        }
    }
}

#[test]
fn the_upgrade_is_exact_and_turns_are_estimates() {
    let mut host = Host::new();
    host.install(&World::default());
    play(&[Receive, Send(&[(TEXT, 30)]), Receive, Send(&[(TEXT, 30)])], |_| Vec::new()).run(&mut host);
    let seen = host.observe();
    assert_eq!((seen.count(Counter::RequestsExact), seen.count(Counter::RequestsEstimated)), (1, 2));
}

#[test]
fn what_is_no_client_of_websocket_ends_the_count() {
    for (name, bytes) in [
        ("no mask", vec![TEXT, 5, 1, 2, 3, 4, 5]),
        ("no such frame", vec![0x83, 0x80, 1, 2, 3, 4]),
        ("a length beyond all measure", vec![TEXT, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
    ] {
        let seen = on_host(&plain().send(ASK).receive(130).ack().send(&bytes));
        assert_eq!((seen.requests, seen.protocol), (1, protocol::OTHER), "{name}");
        assert_ne!(seen.flags & flag::MALFORMED, 0, "{name}");
    }
    let refused = on_host(&plain().send(ASK).receive(130).ack().send(b"GET / HTTP/1.1\r\n\r\n"));
    assert_eq!((refused.requests, refused.protocol), (2, protocol::HTTP1), "the server did not agree");
    let other = String::from_utf8_lossy(ASK).replace("websocket", "something").into_bytes();
    let seen = on_host(&plain().send(&other).receive(130).ack().send(&frames(&[(TEXT, 5)])));
    assert_ne!(seen.flags & flag::MALFORMED, 0, "an upgrade to something else");
}
