//! Rules of the operator against real clients: they hit whom they name, for as long as they say, and nobody else.

use std::time::Duration;

use nix::sys::signal::Signal;
use sensor_tests::lab::address::{PLAIN_PORT, SERVER_V4, SERVER_V6, user, user_v6};
use sensor_tests::lab::sensor::SensorOptions;
use sensor_tests::lab::{Lab, LabPlan, wait_until};
use sensor_tests::live::{DEADLINE, Live, possible};
use serde_json::Value;

fn url() -> String {
    format!("http://{SERVER_V4}:{PLAIN_PORT}/rule")
}

#[track_caller]
fn served(live: &Live, number: usize) -> bool {
    live.is_served(user(number), &url()).expect("curl is installed")
}

/// The hits of the only deny rule, once they are what they must be.
#[track_caller]
fn expect_hits(live: &Live, packets: u64) {
    let mut rules = Vec::new();
    let right = wait_until(DEADLINE, || {
        rules = live.rules("deny").expect("the sensor answers");
        rules.len() == 1 && rules[0]["hits"] == packets
    });
    assert!(right, "{packets} packets were refused, the rules are {rules:?}");
}

fn counted(live: &Live, group: &str) -> Value {
    live.ask(&["status"]).expect("the sensor answers")[group]["deny"].clone()
}

#[test]
fn a_blocked_client_fails_and_the_others_go_on() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    assert!(served(&live, 0), "nothing is blocked yet");
    let before = live.source(user(0)).expect("the source is known")["packets"].as_u64().expect("a number");
    live.command(&["block", &user(0).to_string(), "--ttl", "10m", "--reason", "test"]).expect("it is blocked");
    let refused = live.packets_of(|| assert!(!served(&live, 0), "the blocked client is served"));
    let refused = refused.expect("everything sent is counted");
    assert!(refused > 0);
    assert!(served(&live, 1), "an innocent client is refused");
    expect_hits(&live, refused);
    let source = live.source(user(0)).expect("the source is known");
    assert_eq!((&source["dropped"], &source["packets"]), (&refused.into(), &(before + refused).into()));
    assert_eq!((counted(&live, "dropped"), counted(&live, "would_drop")), (refused.into(), 0.into()));
    live.command(&["unblock", &user(0).to_string()]).expect("it is unblocked");
    assert!(served(&live, 0), "the client is no longer blocked");
    assert_eq!(live.rules("deny").expect("the sensor answers"), Vec::<Value>::new());
}

#[test]
fn a_blocked_ipv6_network_fails_and_the_others_go_on() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    let url = format!("http://[{SERVER_V6}]:{PLAIN_PORT}/rule");
    let served = |number| live.is_served(user_v6(number), &url).expect("curl is installed");
    live.command(&["block", "2001:db8:1001::/64"]).expect("it is blocked");
    assert!(!served(1), "the blocked client is served");
    for number in [0, 2] {
        let output = live.curl(user_v6(number), &[&url]).expect("curl is installed");
        assert_eq!(output.stdout, b"served\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn allow_beats_a_block_that_is_in_the_kernel() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    live.command(&["block", "10.16.0.0/16"]).expect("it is blocked");
    assert!(!served(&live, 0) && !served(&live, 1), "a blocked client is served");
    live.command(&["allow", &user(0).to_string()]).expect("it is allowed");
    assert!(served(&live, 0), "the allowed client is refused");
    assert!(!served(&live, 1), "the rest of the block is gone");
    let rules = live.rules("deny").expect("the sensor answers");
    assert_eq!(rules.len(), 1, "the block stands all the while: {rules:?}");
    live.command(&["disallow", &user(0).to_string()]).expect("it is no longer allowed");
    assert!(!served(&live, 0), "the block is in force again");
}

#[test]
fn a_block_ends_by_itself() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    live.command(&["block", &user(0).to_string(), "--ttl", "2s"]).expect("it is blocked");
    assert_eq!(live.rules("deny").expect("the sensor answers").len(), 1);
    assert!(wait_until(DEADLINE, || served(&live, 0)), "the block outlives its time");
    assert!(
        wait_until(DEADLINE, || live.rules("deny").expect("the sensor answers").is_empty()),
        "the rule stays listed"
    );
}

#[test]
fn a_block_ends_by_itself_when_the_daemon_was_killed() {
    if !possible(&[]) {
        return;
    }
    let mut live = Live::start().expect("the lab starts");
    live.command(&["block", &user(0).to_string(), "--ttl", "5s"]).expect("it is blocked");
    live.sensor.process().signal(Signal::SIGKILL).expect("it runs");
    live.sensor.process().wait(Duration::from_secs(10)).expect("it ends");
    assert!(!served(&live, 0), "the rule does not hold without the daemon");
    assert!(
        wait_until(DEADLINE, || served(&live, 0)),
        "nobody is there to take the rule away, and it outlives its time"
    );
    assert!(live.attached("eth0").expect("ip is installed").is_some(), "the program is still in force");
}

#[test]
fn dry_run_counts_and_serves() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let mut options = SensorOptions::built().expect("the sensor is built");
    options.enforce = false;
    let live = Live::with(lab, options).expect("the lab starts");
    assert_eq!(live.ask(&["status"]).expect("the sensor answers")["mode"], "dry_run");
    let said = live.command(&["block", &user(0).to_string()]).expect("it is entered");
    assert!(said.contains("dry run"), "the operator is not told: {said}");
    let packets = live.packets_of(|| assert!(served(&live, 0), "dry run refuses")).expect("everything sent is counted");
    expect_hits(&live, packets);
    assert_eq!((counted(&live, "dropped"), counted(&live, "would_drop")), (0.into(), packets.into()));
    let source = live.source(user(0)).expect("the source is known");
    assert_eq!((&source["dropped"], &source["packets"]), (&packets.into(), &packets.into()), "{source}");
}
