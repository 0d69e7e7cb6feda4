//! A hundred thousand rules come and go while traffic runs: they hold for whom they name, for as long as they were
//! given, and nobody else notices.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use sensor_common::address::Address;
use sensor_tests::bench::traffic::{Kind, Range, Traffic, sources};
use sensor_tests::flood::crowd::Crowd;
use sensor_tests::flood::volley::Volley;
use sensor_tests::flood::{Site, ready};
use sensor_tests::lab::sensor::SensorOptions;
use sensor_tests::lab::wait_until;
use sensor_tests::live::DEADLINE;

use crate::{GUN, expect_losses};

const RULES: u64 = 100_000;
/// Life of a rule: enough for all of them to stand at once.
const TTL: &str = "30s";
const CONNECTIONS: usize = 24;
/// A power of two of the denied sources send.
const DENIED: u64 = 1 << 16;

/// Waits until so many deny rules stand and none is pending; the sensor has to answer all the while.
fn await_rules(site: &Site, count: u64) -> bool {
    wait_until(2 * DEADLINE, || {
        let status = site.status().expect("the sensor answers while rules change");
        (status.rules["deny"], status.rules_pending) == (count, 0)
    })
}

#[test]
fn a_hundred_thousand_rules_come_and_go_beside_traffic() {
    if !ready() {
        return;
    }
    let site = Site::start(SensorOptions::built().expect("the sensor is built")).expect("the lab starts");
    let mut crowd = Crowd::connect(&site.live.lab, CONNECTIONS).expect("nginx takes connections");
    let denied = Volley::live(Traffic::syn(DENIED).from(Range::Denied).kind(Kind::Udp).connected(9), 1);
    let denied = denied.expect("the generator is loaded");
    let list = site.live.lab.dir().join("denied.txt");
    let lines: Vec<String> = sources(Range::Denied, RULES).iter().map(ToString::to_string).collect();
    fs::write(&list, lines.join("\n")).expect("the lab's folder is there");
    let list = list.display().to_string();
    crowd.round().expect("every request is answered");
    let before = site.settled().expect("everything sent is counted");

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                crowd.round().expect("every request is answered");
            }
        });
        // The crowd has to end whatever becomes of the rules.
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&site, &list, &denied)));
        done.store(true, Ordering::Relaxed);
        asking.join().expect("the crowd is served");
        played.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });

    let moved = site.settled().expect("everything sent is counted").since(&before);
    assert_eq!(moved.get("dropped_frames_total{reason=\"deny\"}"), DENIED, "each denied frame once, and no other");
    assert_eq!(moved.get("requests_total{counting=\"exact\"}"), (crowd.rounds() - 1) * CONNECTIONS as u64);
    expect_losses(&moved, &["sources_evicted"]);
    let reported = crate::sources(&site, 100);
    for source in crowd.sources().expect("connections have addresses").keys() {
        assert_eq!(reported[source].dropped, 0, "{source}");
    }
    println!("{} rounds of {CONNECTIONS} requests meanwhile", crowd.rounds());
}

/// Enters the rules, meets them, waits for their end, and finds nobody refused any more.
fn play(site: &Site, list: &str, denied: &Volley) {
    let block = ["block", "--force", "--ttl", TTL, "--reason", "flood test", "--file", list];
    site.live.command(&block).expect("the list is taken");
    assert!(await_rules(site, RULES), "not all rules stand: {:?}", site.status());
    assert_eq!(site.fire(GUN, denied, DENIED).expect("frames are sent"), DENIED);
    let name = denied.source(denied.draw(0).address);
    assert!(is_refused(site, name), "{name} is denied and passes");
    assert!(await_rules(site, 0), "not all rules expired: {:?}", site.status());
    assert_eq!(site.fire(GUN, denied, DENIED).expect("frames are sent"), DENIED);
    assert!(!is_refused(site, name), "{name} is denied no more, and refused");
}

fn is_refused(site: &Site, source: Address) -> bool {
    let explained = site.live.ask(&["explain", &source.to_string()]).expect("the sensor answers");
    explained["verdict"] == "refused"
}
