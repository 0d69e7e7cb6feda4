//! The daemon ends, by SIGTERM or by SIGKILL: the program stays, rules and counting go on, and a new daemon takes over.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use sensor_tests::lab::address::{PLAIN_PORT, SERVER_V4, user};
use sensor_tests::lab::sensor::{Sensor, SensorOptions};
use sensor_tests::lab::wait_until;
use sensor_tests::live::{DEADLINE, Live, attached, pins, possible};
use serde_json::{Value, json};

fn served(live: &Live, number: usize) -> bool {
    let url = format!("http://{SERVER_V4}:{PLAIN_PORT}/restart");
    live.is_served(user(number), &url).expect("curl is installed")
}

fn again(live: &mut Live) {
    let options = SensorOptions::built().expect("the sensor is built");
    live.sensor = Sensor::start(&live.lab, options).expect("a new daemon starts");
}

/// Ends the daemon by `signal` between requests, and starts another.
fn survive(signal: Signal) {
    let mut live = Live::start().expect("the lab starts");
    assert!(served(&live, 0));
    live.command(&["block", &user(1).to_string(), "--ttl", "10m", "--reason", "stays"]).expect("it is blocked");
    live.command(&["allow", &user(2).to_string(), "--note", "stays too"]).expect("it is allowed");
    assert!(!served(&live, 1));
    live.settled().expect("everything sent is counted");
    let link = live.link_id().expect("the link is pinned");
    let rules = live.ask(&["rules"]).expect("the sensor answers");
    let hits = live.rules("deny").expect("the sensor answers")[0]["hits"].as_u64().expect("a number");

    live.sensor.process().signal(signal).expect("it runs");
    let status = live.sensor.process().wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), (signal == Signal::SIGTERM).then_some(0), "{}", live.sensor.process().log_tail(5));
    assert_eq!(live.sensor.paths().socket.exists(), signal == Signal::SIGKILL, "SIGKILL leaves a stale socket");
    assert!(live.attached("eth0").expect("ip is installed").is_some(), "the program went with the daemon");
    assert!(served(&live, 0), "without the daemon, clients are refused");
    assert!(!served(&live, 1), "without the daemon, the block is gone");

    again(&mut live);
    assert_eq!(live.link_id().expect("the link is pinned"), link, "the program was detached in between");
    assert!(served(&live, 0) && !served(&live, 1));
    // Frames as many as were sent since the first daemon came: none went by unseen, none was counted anew.
    let source = live.source(user(0)).expect("no packet is unseen");
    assert_eq!((&source["requests"], &source["connections"]), (&json!(3), &json!(3)));
    let keep = |rules: &Value| -> Vec<(Value, Value, Value, Value)> {
        let all = rules["rules"].as_array().expect("a list");
        let key = |rule: &Value| ["kind", "subject", "origin", "reason"].map(|key| rule[key].clone()).into();
        all.iter().map(key).collect()
    };
    assert_eq!(keep(&live.ask(&["rules"]).expect("the sensor answers")), keep(&rules));
    let deny = &live.rules("deny").expect("the sensor answers")[0];
    assert!(deny["hits"].as_u64().expect("a number") > hits, "hits begin anew: {deny}");
    assert!(deny["expires_in_s"].as_u64().expect("a number") <= 600, "{deny}");

    assert!(live.sensor.stop().success());
    live.sensor.detach(&live.lab).expect("the sensor detaches");
}

#[test]
fn sigterm_ends_the_daemon_and_not_its_program() {
    if possible(&[]) {
        survive(Signal::SIGTERM);
    }
}

#[test]
fn sigkill_ends_the_daemon_and_not_its_program() {
    if possible(&[]) {
        survive(Signal::SIGKILL);
    }
}

#[test]
fn what_was_learned_and_decided_survives_a_detach() {
    if !possible(&[]) {
        return;
    }
    let mut live = Live::start().expect("the lab starts");
    let seed = live.settings().expect("the settings are pinned").seed;
    assert_ne!(seed, 0);
    assert!((0..4).all(|number| served(&live, number)));
    live.command(&["block", &user(1).to_string(), "--ttl", "10m"]).expect("it is blocked");
    let known = || live.ask(&["status"]).expect("the sensor answers")["networks_known"].clone();
    assert!(wait_until(DEADLINE, || known() == 4), "{} networks are known", known());
    assert!(live.sensor.stop().success());
    live.sensor.detach(&live.lab).expect("the sensor detaches");
    assert!(served(&live, 1), "nothing is refused without the program");

    again(&mut live);
    assert_eq!(live.settings().expect("the settings are pinned").seed, seed, "fingerprints begin anew");
    assert!(!served(&live, 1), "the operator's rule is forgotten");
    assert!(served(&live, 0));
    let status = live.ask(&["status"]).expect("the sensor answers");
    assert_eq!(status["networks_known"], 4, "{status}");
    assert_eq!(status["rules"]["deny"], 1);
}

#[test]
fn detach_removes_everything_and_once_more_nothing() {
    if !possible(&[]) {
        return;
    }
    let mut live = Live::start().expect("the lab starts");
    let refused = live.sensor.detach(&live.lab).expect_err("a daemon runs there").to_string();
    assert!(refused.contains("already running on eth0"), "{refused}");
    assert!(live.sensor.stop().success());
    assert!(attached(&live.lab, "eth0").expect("ip is installed").is_some());
    assert!(!pins(live.sensor.paths()).is_empty());
    for _ in 0..2 {
        live.sensor.detach(&live.lab).expect("the sensor detaches");
        assert_eq!(attached(&live.lab, "eth0").expect("ip is installed"), None);
        assert_eq!(pins(live.sensor.paths()), Vec::<std::path::PathBuf>::new());
    }
    assert!(served(&live, 0));
}

#[test]
fn a_damaged_store_is_kept_aside_and_the_start_goes_on() {
    if !possible(&[]) {
        return;
    }
    let mut live = Live::start().expect("the lab starts");
    assert!(live.sensor.stop().success());
    let folder = live.sensor.paths().state.clone();
    let store = folder.join("state.redb");
    let damaged = b"not what the sensor wrote ".repeat(500);
    fs::write(&store, &damaged).expect("the store is there");
    again(&mut live);
    let status = live.ask(&["status"]).expect("the sensor answers");
    assert!(status["warnings"].to_string().contains("moved to"), "{}", status["warnings"]);
    let aside: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.display().to_string().contains(".damaged-"))
        .collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(fs::read(&aside[0]).expect("it is there"), damaged, "the damaged store was changed");
    live.command(&["block", &user(1).to_string()]).expect("it is blocked");
    assert!(live.sensor.stop().success());
    again(&mut live);
    assert_eq!(live.rules("deny").expect("the sensor answers").len(), 1, "the new store keeps nothing");
}
