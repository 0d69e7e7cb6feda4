//! Forged attempts by the million beside real connections: not one of these loses its state or a single count.

use std::collections::{BTreeMap, HashSet};

use sensor_common::connection::{Connection, ConnectionKey, stage};
use sensor_common::event::flag;
use sensor_tests::bench::traffic::{Range, Traffic};
use sensor_tests::flood::crowd::Crowd;
use sensor_tests::flood::volley::Volley;
use sensor_tests::flood::{Site, ready};
use sensor_tests::lab::sensor::SensorOptions;

use crate::{GUN, expect_calm, expect_losses, sources};

const CONNECTIONS: usize = 1_000;
/// Forged attempts unless `SENSOR_FLOOD_FRAMES` says otherwise.
const FRAMES: u64 = 1_000_000;
/// Random addresses, or /64s of IPv6: practically every attempt is of a new one.
const ADDRESSES: u64 = 1 << 26;
const NETWORKS: u64 = 1 << 32;
/// Attempts of one IP version before it is the other's turn.
const PART: u64 = 1 << 17;

fn frames() -> u64 {
    match std::env::var("SENSOR_FLOOD_FRAMES") {
        Ok(text) => text.parse().expect("SENSOR_FLOOD_FRAMES is a number"),
        Err(_) => FRAMES,
    }
}

/// Sends the flood from one CPU while the crowd goes on asking. How many attempts arrived, and of how many sources there
/// were at least some: those that found no room in the server's queue may have been of any.
fn flood(site: &Site, crowd: &mut Crowd, frames: u64) -> (u64, u64) {
    let four = Volley::live(Traffic::syn(ADDRESSES), 4).expect("the generator is loaded");
    let six = Volley::live(Traffic::syn(NETWORKS).from(Range::V6), 6).expect("the generator is loaded");
    let parts: Vec<(&Volley, u64)> = [&four, &six]
        .into_iter()
        .cycle()
        .zip((0..frames).step_by(PART as usize).map(|first| PART.min(frames - first)))
        .collect();
    let fire = || -> anyhow::Result<u64> {
        let arrived = parts.iter().map(|(volley, part)| site.fire(GUN, volley, *part));
        arrived.sum()
    };
    let arrived = std::thread::scope(|scope| {
        let gun = scope.spawn(fire);
        while !gun.is_finished() {
            crowd.round().expect("every request is answered");
        }
        gun.join().expect("the gun does not panic").expect("the flood is sent")
    });
    let sent = |volley: &Volley| -> u64 {
        let own = parts.iter().filter(|(other, _)| std::ptr::eq(*other, volley)).map(|(_, part)| part);
        let different: HashSet<u64> = (0..own.sum()).map(|number| volley.draw(number).address).collect();
        different.len() as u64
    };
    (arrived, (sent(&four) + sent(&six)).saturating_sub(frames - arrived))
}

/// The record of each connection of the crowd.
fn records(site: &Site, crowd: &Crowd) -> BTreeMap<ConnectionKey, Connection> {
    let mut all = site.connections().expect("the table is read");
    let record = |key: ConnectionKey| {
        let found = all.remove(&key).unwrap_or_default();
        assert_eq!(found.len(), 1, "records of {key:?}");
        (key, found[0])
    };
    crowd.keys().expect("connections have addresses").into_iter().map(record).collect()
}

#[test]
fn forged_attempts_cost_real_connections_nothing() {
    if !ready() {
        return;
    }
    let site = Site::start(SensorOptions::built().expect("the sensor is built")).expect("the lab starts");
    let mut crowd = Crowd::connect(&site.live.lab, CONNECTIONS).expect("nginx takes connections");
    crowd.round().expect("every request is answered");
    let before = site.settled().expect("everything sent is counted");
    let (known, status) = (records(&site, &crowd), site.status().expect("the sensor answers"));

    let (arrived, different) = flood(&site, &mut crowd, frames());
    crowd.round().expect("every request is answered");
    let moved = site.settled().expect("no frame of the flood is missed").since(&before);

    for (key, record) in records(&site, &crowd) {
        let former = &known[&key];
        assert_eq!((record.isn, record.started_ns), (former.isn, former.started_ns), "{key:?} began anew");
        assert_eq!(u64::from(record.requests), crowd.rounds(), "{key:?}");
        assert_eq!(record.stage, stage::DONE, "{key:?}");
        assert_eq!(record.flags & (flag::CLOSED | flag::STREAM_GAP | flag::MALFORMED), 0, "{key:?}");
    }
    let reported = sources(&site, 100);
    for (source, connections) in crowd.sources().expect("connections have addresses") {
        let source = &reported[&source];
        let counts = (source.syns, source.connections, source.requests, source.dropped);
        assert_eq!(counts, (connections, connections, connections * crowd.rounds(), 0), "{source:?}");
    }
    assert_eq!(moved.get("syns_total"), arrived, "every attempt is counted");
    assert_eq!((moved.get("connections_total"), moved.get("events_total")), (0, 0), "the flood completes nothing");
    expect_losses(&moved, &["sources_evicted"]);
    expect_calm(&site);
    let after = site.status().expect("the sensor answers");
    assert_eq!(after.events_received, status.events_received);
    // Whoever was new took a free place, or one that somebody lost.
    let entered = after.tables["sources"].used - status.tables["sources"].used + moved.lost("sources_evicted");
    assert!((different..=moved.get("frames_total")).contains(&entered), "{entered} entered, {different} were new");
    assert_eq!(after.tables["records"].used, status.tables["records"].used);
    println!(
        "{arrived} of {} forged attempts arrived, of {different} sources; {} lost their place; {} rounds of requests",
        frames(),
        moved.lost("sources_evicted"),
        crowd.rounds(),
    );
}
