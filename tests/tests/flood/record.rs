//! Connections completed faster than a daemon needs to hear of: every record is received or counted as left out.

use std::time::{Duration, Instant};

use sensor_tests::bench::traffic::{Kind, Range, Traffic};
use sensor_tests::flood::volley::Volley;
use sensor_tests::flood::{Site, ready};
use sensor_tests::lab::sensor::SensorOptions;
use sensor_tests::lab::wait_until;
use sensor_tests::live::DEADLINE;

use crate::{GUN, expect_calm, expect_losses};

/// Different sources, each with a connection at a time.
const SOURCES: u64 = 1 << 20;
/// Handshakes begun before the first of them is completed: few enough that every attempt is kept.
const AT_ONCE: u32 = 1 << 8;
/// Connections in all.
const CONNECTIONS: u64 = 1 << 20;

/// Sends whole connections as fast as they go, and holds the sensor's figures against each other.
fn storm(name: &str, options: SensorOptions, losses: &[&str]) {
    if !ready() {
        return;
    }
    let site = Site::start(options).expect("the lab starts");
    let before = site.settled().expect("everything sent is counted");
    let status = site.status().expect("the sensor answers");
    let traffic = Traffic::syn(SOURCES).from(Range::Denied).connected(7_000);
    let program = site.program().expect("it is pinned");
    let load = |kind| Volley::aimed(&program, traffic.kind(kind), 1).expect("the generator is loaded");
    let [attempts, ends, closes] = [Kind::Syn, Kind::Ack, Kind::Fin].map(load);
    let (busy, started) = (site.daemon_time().expect("the daemon runs"), Instant::now());
    let mut asked = 0;
    let sent = std::thread::scope(|scope| {
        let gun = scope.spawn(|| {
            let ran = site.run(GUN, &[&attempts, &ends, &closes], AT_ONCE, CONNECTIONS / u64::from(AT_ONCE));
            ran.map(|()| started.elapsed())
        });
        wait_until(2 * DEADLINE, || {
            site.status().expect("the sensor answers while records pour in");
            asked += 1;
            gun.is_finished()
        });
        gun.join().expect("the gun does not panic").expect("frames are judged")
    });
    let moved = site.settled().expect("no frame is missed").since(&before);
    let mut received = 0;
    let written = moved.get("events_total");
    wait_until(DEADLINE, || {
        received = site.status().expect("the sensor answers").events_received - status.events_received;
        received == written
    });
    let busy = site.daemon_time().expect("the daemon runs").saturating_sub(busy);
    println!(
        "{name}: {:.0} connections/s, {asked} times asked, {written} records, left out {:?}, {:.2} s of daemon for {:.2} s",
        CONNECTIONS as f64 / sent.as_secs_f64(),
        moved.losses(),
        busy.as_secs_f64(),
        started.elapsed().max(Duration::from_millis(1)).as_secs_f64(),
    );
    assert_eq!(moved.get("connections_total"), CONNECTIONS, "every handshake is completed");
    assert_eq!(received, written, "what is in the ring is received");
    assert_eq!(written + moved.lost("events") + moved.lost("events_shed"), CONNECTIONS, "{:?}", moved.losses());
    expect_losses(&moved, losses);
    expect_calm(&site);
}

fn built() -> SensorOptions {
    SensorOptions::built().expect("the sensor is built")
}

/// Losses of tables that a million sources fill: not what is at stake here.
const TABLES: [&str; 4] = ["sources", "sources_evicted", "source_records_evicted", "networks_evicted"];

#[test]
fn more_connections_than_the_budget_are_sampled_and_the_rest_is_counted() {
    let losses = [&TABLES[..], &["events_shed"]].concat();
    storm("a budget of 20,000", built().tune("events_per_s", 20_000), &losses);
}

#[test]
fn the_default_budget_loses_nothing_uncounted() {
    let losses = [&TABLES[..], &["events_shed", "events"]].concat();
    storm("the default budget", built(), &losses);
}

#[test]
fn without_a_budget_what_the_ring_cannot_hold_is_counted() {
    let losses = [&TABLES[..], &["events"]].concat();
    storm("no budget", built().tune("events_per_s", 10_000_000), &losses);
}
