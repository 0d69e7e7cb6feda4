//! Class rules: a cohort under alarm is refused before its first request, on the evidence of its connection alone.

use sensor_common::connection::Connection;
use sensor_common::counter::Counter;
use sensor_common::event::flag;
use sensor_common::rule::{ClassKey, TierLimit};
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::expect::{GRAIN_US, label};
use sensor_tests::executor::given::prefix;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::{ClassTerms, Executor, Observation, World};
use sensor_tests::hello::recorded;
use sensor_tests::lab::address::{PLAIN_PORT, TLS_PORT};

use super::{kernel, on_host};

const SECOND_NS: i64 = 1_000_000_000;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn hello() -> Vec<u8> {
    recorded().into_iter().find(|(name, _)| name == "python").expect("recorded").1
}

/// Change of cipher, Finished, and a first request.
fn second_flight() -> Vec<u8> {
    [&[20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 53][..], &[0xee; 53], &[23, 3, 3, 0, 200], &[0xee; 200]].concat()
}

/// A TLS client over a relay: both flights are late by its leg.
fn relayed(leg_ms: u32) -> Conversation {
    gaps(leg_ms, leg_ms)
}

fn gaps(first_ms: u32, second_ms: u32) -> Conversation {
    let start = super::tls().wait(first_ms).send(&hello()).wait(10).receive(2_000).ack();
    start.wait(second_ms).send(&second_flight())
}

/// A plaintext client over a relay.
fn plain_relayed(leg_ms: u32) -> Conversation {
    super::plain().wait(leg_ms).send(GET)
}

/// The class of both kinds of client, so that rules can be made for them.
fn class_of(conversation: &Conversation) -> u64 {
    let class = on_host(conversation).fingerprint;
    assert_ne!(class, 0);
    class
}

/// A world with a rule for both kinds of client, for a minute, on networks first seen in the last hour.
fn ruled() -> World {
    let rule = |service, class| ClassTerms {
        key: ClassKey::new(service, class),
        expires: 60 * SECOND_NS,
        newer_than: -3_600 * SECOND_NS,
    };
    World {
        classes: vec![rule(TLS_PORT, class_of(&relayed(60))), rule(PLAIN_PORT, class_of(&plain_relayed(60)))],
        ..World::default()
    }
}

/// Runs through both executors, which must agree; whether each frame was dropped, and what was seen.
fn run(world: &World, conversation: &Conversation) -> (Vec<bool>, Observation) {
    let mut host = Host::new();
    host.install(world);
    let dropped = conversation.run(&mut host);
    let seen = host.observe();
    if let Some(mut kernel) = kernel() {
        let (in_kernel, seen_there) = loop {
            kernel.install(world);
            let dropped = conversation.run(&mut kernel);
            let seen = kernel.observe();
            if kernel.on_time() {
                break (dropped, seen);
            }
        };
        assert_eq!(dropped, in_kernel, "verdicts of host and kernel");
        let difference = seen.clone().timeless(GRAIN_US).difference(&seen_there.timeless(GRAIN_US));
        assert_eq!(difference, None, "host <> kernel");
    }
    (dropped, seen)
}

/// The verdict on the last frame; all before it must pass.
fn last(world: &World, conversation: &Conversation) -> (bool, Observation) {
    let (dropped, seen) = run(world, conversation);
    let (last, before) = dropped.split_last().expect("frames");
    assert!(!before.contains(&true), "an earlier frame was dropped: {dropped:?}");
    (*last, seen)
}

fn connection(seen: &Observation) -> &Connection {
    seen.connection().expect("one connection")
}

fn drops(seen: &Observation) -> Vec<(String, u64)> {
    seen.counters
        .iter()
        .map(|(counter, n)| (label(*counter), *n))
        .filter(|(name, _)| name.starts_with("drop.") || name.starts_with("would."))
        .collect()
}

#[test]
fn a_relayed_connection_of_the_class_is_refused_before_its_request() {
    for (conversation, counted) in
        [(relayed(60), Counter::RequestsEstimated), (plain_relayed(60), Counter::RequestsExact)]
    {
        let strong = conversation.service == TLS_PORT;
        let (dropped, seen) = last(&ruled(), &conversation);
        assert_eq!(dropped, strong, "plaintext has one family of timing evidence: the first is let through");
        assert_eq!(seen.count(counted), 1, "the request is counted whether it is refused or not");
        let rule = seen.classes[&ClassKey::new(conversation.service, connection(&seen).fingerprint)];
        assert_eq!((rule.hits, rule.passed), if strong { (1, 0) } else { (0, 1) });
        let flags = connection(&seen).flags;
        assert_eq!(flags & flag::CLASS_MATCHED != 0, strong);
        assert_eq!(flags & flag::REFUSED != 0, strong);
        assert_eq!(seen.events.len(), 1, "the record says so too");
        assert_eq!(seen.events[0].flags & flag::REFUSED != 0, strong);
        assert_eq!(drops(&seen), if strong { vec![("drop.class".to_owned(), 1)] } else { vec![] });
    }
}

#[test]
fn weak_evidence_counts_from_the_second_connection_on() {
    for weak in [gaps(0, 60), plain_relayed(60)] {
        let mut again = Conversation::new(weak.client.0, weak.service);
        again.client.1 += 1;
        let again = if weak.service == TLS_PORT {
            again.shake(10).send(&hello()).wait(10).receive(2_000).ack().wait(60).send(&second_flight())
        } else {
            again.shake(10).wait(60).send(GET)
        };
        let both = weak.clone().then(again);
        let (dropped, seen) = last(&ruled(), &both);
        assert!(dropped, "the second flagged connection of a source is refused");
        let rule = seen.classes.values().find(|rule| rule.hits > 0).expect("a rule was hit");
        assert_eq!((rule.hits, rule.passed), (1, 1));
    }
}

#[test]
fn whoever_lacks_a_piece_of_the_evidence_passes() {
    let relayed = relayed(60);
    let base = ruled();
    let old = |hours: i64| World {
        networks: vec![(sensor_common::address::Address::from(relayed.client.0).network(), -hours * 3_600 * SECOND_NS)],
        ..ruled()
    };
    let changed = |change: &dyn Fn(&mut World)| {
        let mut world = base.clone();
        change(&mut world);
        world
    };
    let rows: Vec<(&str, World, Conversation, bool)> = vec![
        ("relayed, of the class, from a new network", base.clone(), relayed.clone(), true),
        ("a network seen shortly before", old(0), relayed.clone(), true),
        ("a network seen long before", old(2), relayed.clone(), false),
        ("a direct client", base.clone(), gaps(0, 0), false),
        ("only the first flight is late", base.clone(), gaps(60, 0), false),
        ("only the second flight is late", base.clone(), gaps(0, 60), false),
        ("no rule", World::default(), relayed.clone(), false),
        ("a rule for another class", changed(&|world| world.classes[0].key.fingerprint ^= 1), relayed.clone(), false),
        ("a rule for another service", changed(&|world| world.classes[0].key.service = 443), relayed.clone(), false),
        ("a rule that has ended", changed(&|world| world.classes[0].expires = -SECOND_NS), relayed.clone(), false),
        (
            "a rule that ends before the flight",
            changed(&|world| world.classes[0].expires = SECOND_NS / 10),
            relayed.clone(),
            false,
        ),
        (
            "an allowed source",
            changed(&|world| world.allow.push(prefix("0.0.0.0/0").expect("a prefix"))),
            relayed.clone(),
            false,
        ),
        (
            "no pure acknowledgement",
            base.clone(),
            super::tls().wait(60).send(&hello()).wait(70).receive(2_000).send(&second_flight()),
            false,
        ),
    ];
    for (name, world, conversation, refused) in rows {
        let (dropped, seen) = last(&world, &conversation);
        assert_eq!(dropped, refused, "{name}");
        assert_eq!(seen.count(Counter::DropClass), u64::from(refused), "{name}");
        let stats = seen.sources.values().next().expect("a source");
        assert_eq!(stats.dropped, u64::from(refused), "{name}");
    }
}

#[test]
fn dry_run_only_says_what_it_would_do() {
    let mut world = ruled();
    world.settings.enforce = 0;
    let more = relayed(60).send(&second_flight());
    let (dropped, seen) = last(&world, &more);
    assert!(!dropped);
    assert_eq!(drops(&seen), [("would.class".to_owned(), 1)], "once a connection");
    let flags = connection(&seen).flags;
    assert_eq!(flags & (flag::CLASS_MATCHED | flag::REFUSED), flag::CLASS_MATCHED);
}

#[test]
fn what_was_refused_stays_refused_and_nothing_else_is() {
    let flight = second_flight();
    let refused = relayed(60);
    let at = refused.sent - u32::try_from(flight.len()).expect("short");
    let conversation = refused
        .wait(200)
        .segment("PA", at, &flight)
        .segment("PA", at, &flight[..20])
        .send(b"more")
        .flags("A")
        .receive(100)
        .ack()
        .wait(400)
        .segment("PA", at, &flight)
        .flags("FA");
    let (dropped, seen) = run(&ruled(), &conversation);
    // SYN, ACK, hello, ACK | flight | twice again, more | two ACKs | again | FIN
    let expected = [false, false, false, false, true, true, true, true, false, false, true, false];
    assert_eq!(dropped, expected);
    assert_eq!(seen.count(Counter::DropClass), 5);
    assert_eq!(seen.count(Counter::Events), 1);
    assert_eq!(seen.classes.values().map(|rule| rule.hits).sum::<u64>(), 1, "a rule's hits are connections");
    assert_ne!(connection(&seen).flags & flag::CLOSED, 0);

    // A SYN in between does not wipe the refusal away; a reset does not either.
    for flags in ["S", "R"] {
        let mut tricky = relayed(60);
        let honest = tricky.isn;
        if flags == "S" {
            tricky.isn = honest.wrapping_add(77_777);
        }
        tricky = tricky.flags(flags);
        tricky.isn = honest;
        let (dropped, _) = run(&ruled(), &tricky.segment("PA", at, &flight));
        assert_eq!(dropped[4..], [true, false, true], "behind a {flags}");
    }

    // The rule's end is the refusal's end.
    let late = relayed(60).wait(61_000).segment("PA", at, &flight);
    assert_eq!(run(&ruled(), &late).0[4..], [true, false]);
}

#[test]
fn a_new_connection_is_judged_anew() {
    let refused = relayed(60).flags("R");
    // Another initial sequence number, from the same port.
    let mut second = Conversation::new(refused.client.0, TLS_PORT);
    second.isn = 900_000;
    let second = second.wait(1_000).shake(10).send(&hello()).wait(10).receive(2_000).ack().send(&second_flight());
    let both = refused.then(second);
    let (dropped, _) = run(&ruled(), &both);
    assert_eq!(dropped[4..6], [true, false], "the first is refused, its reset passes");
    assert!(!dropped[6..].contains(&true), "the second is direct");
}

#[test]
fn limits_and_class_rules_do_not_hide_each_other() {
    let mut world = ruled();
    world.limits = vec![(0, TierLimit { connections_per_s: 0, requests_per_min: 1 })];
    let two = [GET, GET].concat();
    let (dropped, seen) = last(&world, &super::plain().wait(60).send(&two));
    assert!(dropped);
    assert_eq!(drops(&seen), [("drop.request_limit".to_owned(), 1)]);
}
