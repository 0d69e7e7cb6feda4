//! The latest connection records: what is asked for arrives once, what is lost is counted, and it is put into words.

use sensor_common::address::Address;
use sensor_common::event::{ConnectionEvent, UNKNOWN_US, flag, protocol};
use sensor_common::plain::Plain as _;

use super::{START_NS, World};
use crate::control::protocol::{Answer, Request};
use crate::evidence::Recent;
use crate::fingerprint::Naming;

fn event(last: u8, at_ns: u64) -> ConnectionEvent {
    ConnectionEvent {
        client: Address::v4([203, 0, 113, last]),
        server: Address::v4([198, 51, 100, 1]),
        started_ns: START_NS + at_ns,
        at_ns: START_NS + at_ns + 300_000_000,
        fingerprint: 0xc1a55,
        rtt_us: 31_000,
        hello_gap_us: UNKNOWN_US,
        flight_gap_us: 250_000,
        flags: flag::ESTABLISHED | flag::GAP_SAMPLE | flag::GAP_FLAGGED,
        client_port: 40_000,
        service: 443,
        protocol: protocol::TLS,
        ..ConnectionEvent::zeroed()
    }
}

fn ask(world: &mut World, limit: usize, after: Option<u64>, source: Option<&str>) -> Recent {
    match world.ask(Request::Connections { limit, after, source: source.map(str::to_owned) }) {
        Ok(Answer::Connections(recent)) => recent,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_record_arrives_once_whatever_the_steps() {
    let mut world = World::new("");
    assert_eq!(ask(&mut world, 10, None, None), Recent::default());
    for last in 1..=25 {
        world.daemon.observe(&[event(last, u64::from(last) * 1_000_000)]);
    }
    let latest = ask(&mut world, 3, None, None);
    let clients: Vec<&str> = latest.connections.iter().map(|one| one.client.as_str()).collect();
    assert_eq!((clients, latest.next), (vec!["203.0.113.23", "203.0.113.24", "203.0.113.25"], 25));
    let mut found = Vec::new();
    let mut next = 0;
    loop {
        let part = ask(&mut world, 7, Some(next), None);
        if part.connections.is_empty() {
            break;
        }
        assert!(part.connections.len() <= 7 && part.missed == 0);
        found.extend(part.connections.into_iter().map(|one| one.started_unix_us));
        next = part.next;
    }
    assert_eq!((found.len(), next), (25, 25));
    assert!(found.is_sorted());
    let own = ask(&mut world, 10, Some(0), Some("203.0.113.7"));
    assert_eq!((own.connections.len(), own.next), (1, 25), "the rest was looked at too");
    let end = ask(&mut world, 10, Some(u64::MAX), None);
    assert_eq!((end.connections.len(), end.next, end.missed), (0, 25, 0));
}

#[test]
fn records_that_are_not_kept_are_counted() {
    let mut world = World::new("");
    let many: Vec<ConnectionEvent> = (0..40_000).map(|n| event(9, n)).collect();
    world.daemon.observe(&many);
    let first = ask(&mut world, 10_000, Some(100), None);
    assert_eq!((first.missed, first.connections.len()), (40_000 - 32_768 - 100, 10_000));
    assert_eq!(first.next, 40_000 - 32_768 + 10_000);
    assert_eq!(ask(&mut world, 1, Some(first.next), None).missed, 0);
}

#[test]
fn explain_tells_the_evidence_in_words_and_by_name() {
    let mut world = World::new("");
    world.daemon.observe(&[event(7, 0), event(8, 1)]);
    let lines = |world: &mut World| match world.ask(Request::Explain { subject: "203.0.113.7".to_owned() }) {
        Ok(Answer::Explain(explanation)) => explanation.lines,
        other => panic!("{other:?}"),
    };
    let told: Vec<String> = lines(&mut world).into_iter().filter(|line| line.starts_with("A connection")).collect();
    assert_eq!(
        told,
        ["A connection to port 443 (tls, client class 00000000000c1a55), round trip 31.0 ms: its client answered \
          250.0 ms later than its address acknowledges: it came over a relay."]
    );
    let text = include_str!("../../../../tests/frames/hello/curl-h1.hex");
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    let stream: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    assert_eq!(world.daemon.name_class(0xc1a55, &stream), Ok(Naming::New));
    assert!(world.daemon.name_class(0xc1a55, &stream[..100]).is_err(), "half of it says nothing");
    let named = lines(&mut world).into_iter().any(|line| line.contains("client t13d3112h1_e8f1e7e78f70_b26ce05bbdd6"));
    assert!(named, "the sampled hello gave it a name");
}
