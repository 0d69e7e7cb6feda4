//! A flood from forged addresses: nobody is accused, nobody is harmed, and real clients are counted as ever.

use std::net::Ipv4Addr;

use sensor_tests::frame::frame;
use sensor_tests::lab::Role;
use sensor_tests::lab::address::{PLAIN_PORT, SERVER_V4, TLS_PORT, user};
use sensor_tests::lab::topology::ROUTER_INTERFACE;
use sensor_tests::live::{Live, possible};
use serde_json::json;

const FRAMES: usize = 20_000;
const ADDRESSES: usize = 5_000;

/// Sends a file of frames, each behind its length, from an interface.
const SENDER: &str = r#"
import errno, socket, struct, sys
frames = open(sys.argv[2], "rb").read()
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
at = 0
while at < len(frames):
    (length,) = struct.unpack_from(">H", frames, at)
    try:
        out.send(frames[at + 2:at + 2 + length])
        at += 2 + length
    except OSError as full:
        if full.errno != errno.ENOBUFS:
            raise
"#;

/// The forged client of one frame: each in a /24 of its own, in 11.0.0.0/8.
fn forged(number: usize) -> Ipv4Addr {
    let network = u32::try_from(number % ADDRESSES).expect("5,000 at most");
    Ipv4Addr::from_bits((11 << 24) | (network << 8) | 9)
}

fn flood() -> Vec<u8> {
    let mut all = Vec::new();
    for number in 0..FRAMES {
        let (port, seq) = (20_000 + number % 40_000, number * 7919);
        let service = if number % 2 == 0 { PLAIN_PORT } else { TLS_PORT };
        let text = format!("v4 {}:{port} > {SERVER_V4}:{service} S seq {seq} ts {number},0 mss 1460", forged(number));
        let frame = frame(&text).expect("the notation is right");
        all.extend(u16::try_from(frame.len()).expect("frames are short").to_be_bytes());
        all.extend(frame);
    }
    all
}

#[test]
fn forged_connection_attempts_accuse_nobody() {
    if !possible(&["python3"]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    let file = live.lab.dir().join("flood");
    std::fs::write(&file, flood()).expect("the lab's folder is there");
    let url = format!("http://{SERVER_V4}:{PLAIN_PORT}/flood");
    let mut fetched = 0;
    let mut fetch = || {
        fetched += 1;
        assert!(live.is_served(user(0), &url).expect("curl is installed"), "a real client is refused");
    };
    fetch();
    let before = live.settled().expect("everything sent is counted");
    let file = file.display().to_string();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| live.lab.output(Role::Net, "python3", &["-c", SENDER, ROUTER_INTERFACE, &file]));
        while !sender.is_finished() {
            fetch();
        }
        let output = sender.join().expect("the sender does not panic").expect("python3 is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    fetch();
    let sent = live.settled().expect("no frame of the flood is missed") - before;
    assert!(sent >= FRAMES as u64, "only {sent} frames came");

    let source = live.source(user(0)).expect("the real client is known");
    assert_eq!(source["requests"], fetched);
    assert_eq!(source["connections"], fetched);
    let status = live.ask(&["status"]).expect("the sensor answers");
    assert_eq!(status["connections"], fetched, "a forged attempt counts as a connection");
    assert!(status["sources_tracked"].as_u64().expect("a number") >= ADDRESSES as u64);
    assert!(status["dropped"].as_object().expect("an object").values().all(|count| *count == 0), "{status}");
    assert_eq!((&status["rules"]["deny"], &status["rules"]["class"]), (&json!(0), &json!(0)));
    assert_eq!(live.ask(&["campaigns", "--all"]).expect("the sensor answers")["campaigns"], json!([]));
    for number in 1..4 {
        assert!(live.is_served(user(number), &url).expect("curl is installed"), "an innocent client is refused");
    }
}
