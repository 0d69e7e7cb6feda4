//! Counts under a flood: exact for who completed a handshake, also on two CPUs at once, and near for heavy sources.

use std::collections::BTreeMap;

use sensor_common::address::Address;
use sensor_tests::bench::traffic::{Kind, Range, Traffic};
use sensor_tests::flood::volley::Volley;
use sensor_tests::flood::{Site, ready};
use sensor_tests::lab::sensor::SensorOptions;

use crate::{GUN, OTHER, expect_losses, sources};

/// Sources that complete a handshake and then send a request in each round.
const CLIENTS: u64 = 1 << 10;
const ROUNDS: u64 = 50;
/// Forged sources, and the attempts they send in each round.
const FORGED: u64 = 1 << 20;
const PART: u64 = 80_000;
/// Sources that send a tenth of these attempts together.
const HEAVY: u64 = 1_000;
/// Requests that each of two CPUs receives from one source.
const EACH: u32 = 1_000_000;

fn load(traffic: Traffic) -> Volley {
    Volley::live(traffic, 11).expect("the generator is loaded")
}

fn start() -> Site {
    Site::start(SensorOptions::built().expect("the sensor is built")).expect("the lab starts")
}

#[test]
fn a_flood_leaves_counts_of_real_sources_exact_and_of_heavy_ones_near() {
    if !ready() {
        return;
    }
    let site = start();
    let before = site.settled().expect("everything sent is counted");
    let clients = Traffic::syn(CLIENTS).from(Range::Denied).connected(7_000);
    let [attempts, ends, requests] = [Kind::Syn, Kind::Ack, Kind::Request].map(|kind| load(clients.kind(kind)));
    let flood = load(Traffic { heavy: HEAVY, ..Traffic::syn(FORGED) });
    for volley in [&attempts, &ends] {
        assert_eq!(site.fire(GUN, volley, CLIENTS).expect("handshakes are sent"), CLIENTS);
    }
    for _ in 0..ROUNDS {
        assert_eq!(site.fire(GUN, &flood, PART).expect("the flood is sent"), PART);
        assert_eq!(site.fire(GUN, &requests, CLIENTS).expect("requests are sent"), CLIENTS);
    }
    let moved = site.settled().expect("no frame is missed").since(&before);

    let reported = sources(&site, 10 * (CLIENTS + HEAVY) as usize);
    for number in 0..CLIENTS {
        let source = &reported[&attempts.source(attempts.draw(number).address)];
        let counts = (source.packets, source.syns, source.connections, source.requests);
        assert_eq!(counts, (ROUNDS + 2, 1, 1, ROUNDS), "{source:?}");
    }
    let mut truth: BTreeMap<Address, u64> = BTreeMap::new();
    for address in (0..ROUNDS * PART).map(|number| flood.draw(number).address) {
        if address >= flood.first_heavy() {
            *truth.entry(flood.source(address)).or_default() += 1;
        }
    }
    assert_eq!(truth.len() as u64, HEAVY);
    let mut worst = 0.0_f64;
    for (source, packets) in truth {
        let counted = reported.get(&source).map_or(0, |source| source.packets);
        let error = counted.abs_diff(packets) as f64 / packets as f64;
        assert!(error <= 0.01, "{source} sent {packets}, {counted} are counted");
        worst = worst.max(error);
    }
    assert_eq!(moved.get("syns_total"), CLIENTS + ROUNDS * PART);
    assert_eq!(moved.get("connections_total"), CLIENTS);
    assert_eq!(moved.get("requests_total{counting=\"exact\"}"), CLIENTS * ROUNDS);
    expect_losses(&moved, &["sources_evicted"]);
    println!("largest error of {HEAVY} heavy sources: {worst}");
}

#[test]
fn a_source_on_two_cpus_is_counted_exactly() {
    if !ready() {
        return;
    }
    let site = start();
    let before = site.settled().expect("everything sent is counted");
    let program = site.program().expect("it is pinned");
    let mut source = None;
    std::thread::scope(|scope| {
        for (cpu, port) in [(GUN, 7_000), (OTHER, 7_001)] {
            let traffic = Traffic::syn(1).from(Range::Denied).connected(port);
            let load = |kind| Volley::aimed(&program, traffic.kind(kind), 1).expect("the generator is loaded");
            let volleys = [(Kind::Syn, 1), (Kind::Ack, 1), (Kind::Request, EACH)].map(|(kind, n)| (load(kind), n));
            source = Some(volleys[0].0.source(volleys[0].0.draw(0).address));
            let site = &site;
            scope.spawn(move || {
                for (volley, frames) in &volleys {
                    site.run(cpu, &[volley], *frames, 1).expect("frames are judged");
                }
            });
        }
    });
    let moved = site.settled().expect("no frame is missed").since(&before);
    let reported = &sources(&site, 10)[&source.expect("both have the same")];
    let counts = (reported.packets, reported.syns, reported.connections, reported.requests);
    let each = u64::from(EACH);
    assert_eq!(counts, (2 * (each + 2), 2, 2, 2 * each), "{reported:?}");
    assert_eq!(moved.get("requests_total{counting=\"exact\"}"), 2 * each);
    expect_losses(&moved, &[]);
}
