//! Campaigns as operators ask for them: found from records, reported, judged.

use sensor_common::event::{ConnectionEvent, UNKNOWN_US, flag, protocol};
use sensor_common::plain::Plain;

use super::{START, START_NS, World, code, warnings};
use crate::control::protocol::{Answer, Report, Request, Verdict};
use crate::engine::time::Span;
use sensor_common::address::Address;

/// A connection of a client that many use, over a relay or not.
fn connection(world: &World, client: Address, relayed: bool) -> ConnectionEvent {
    let at_ns = START_NS + world.now.since(START).0;
    let gap = if relayed { flag::GAP_FLAGGED } else { 0 };
    ConnectionEvent {
        client,
        at_ns,
        started_ns: at_ns,
        fingerprint: 7,
        service: 443,
        protocol: protocol::TLS,
        rtt_us: 20_000,
        hello_gap_us: UNKNOWN_US,
        flight_gap_us: if relayed { 80_000 } else { 2_000 },
        flags: flag::ESTABLISHED | flag::GAP_SAMPLE | gap,
        ..ConnectionEvent::zeroed()
    }
}

/// Newcomers for twenty seconds, then a hydra for ten.
fn attacked() -> World {
    let mut world = World::new("enforce = true\n[tunables]\nlearn_s = 10\n");
    for second in 0..30_u8 {
        for k in 0..12 {
            let client = Address::v4([if second < 20 { 20 } else { 100 }, second, k, 7]);
            let record = connection(&world, client, second >= 20);
            world.daemon.observe(&[record]);
        }
        world.now = world.now + Span::seconds(1);
        world.daemon.tick(world.now);
    }
    world
}

fn report(world: &mut World, unmasked: bool) -> Report {
    match world.ask(Request::Report { id: 1, unmasked }) {
        Ok(Answer::Report(report)) => *report,
        other => panic!("no report: {other:?}"),
    }
}

#[test]
fn a_report_holds_rules_and_members_and_no_address_unless_asked() {
    let mut world = attacked();
    let masked = report(&mut world, false);
    assert_eq!((masked.campaign.id, masked.campaign.detector.as_str()), (1, "rotation"));
    assert_eq!(masked.rules.len(), 1, "the class rule: {:?}", masked.rules);
    let text = serde_json::to_string(&masked).expect("plain data");
    assert!(!text.contains(".7/32") && text.contains("100."), "{text}");
    assert!(report(&mut world, true).members.iter().all(|member| member.source.ends_with(".7/32")));
    assert_eq!(code(world.ask(Request::Report { id: 2, unmasked: false })), "not_found");
}

#[test]
fn a_dismissal_takes_the_rules_out_of_the_kernel() {
    let mut world = attacked();
    assert!(world.rules().iter().any(|rule| rule.starts_with("class ")), "{:?}", world.rules());
    let judge = |verdict| Request::Judge { id: 1, verdict, note: "a partner".to_owned() };
    assert_eq!(warnings(world.ask(judge(Verdict::Confirm))), [""; 0]);
    assert_eq!(report(&mut world, false).campaign.verdict.as_deref(), Some("confirmed"));
    assert_eq!(warnings(world.ask(judge(Verdict::Dismiss))), [""; 0]);
    world.tick(1);
    assert_eq!(world.rules(), [""; 0]);
    assert_eq!(report(&mut world, false).campaign.state, "closed");
    assert_eq!(code(world.ask(judge(Verdict::Confirm))), "refused");
    assert_eq!(code(world.ask(Request::Judge { id: 9, verdict: Verdict::Dismiss, note: String::new() })), "not_found");
}
