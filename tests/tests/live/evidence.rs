//! Evidence as operators get it while it arrives: `sensor connections`, `sensor explain`, `sensor capture`.

use std::thread;

use sensor_tests::lab::address::{PLAIN_PORT, SERVER_V4, TLS_PORT, user};
use sensor_tests::lab::wait_until;
use sensor_tests::live::{DEADLINE, Live, possible};
use serde_json::Value;

/// Seconds that the capture listens.
const SECONDS: &str = "6";

fn fetch(live: &Live, client: usize, url: &str) {
    let output = live.curl(user(client), &[url]).expect("curl is installed");
    assert_eq!(output.stdout, b"served\n", "{}", String::from_utf8_lossy(&output.stderr));
}

fn connections(live: &Live, source: &str) -> Vec<Value> {
    let answer = live.ask(&["connections", "--source", source]).expect("the sensor answers");
    answer["connections"].as_array().expect("a list").clone()
}

#[test]
fn evidence_arrives_while_clients_come() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    let file = live.lab.dir().join("calibration.jsonl");
    let (plain, tls) = (format!("http://{SERVER_V4}:{PLAIN_PORT}/x"), format!("https://{SERVER_V4}:{TLS_PORT}/x"));
    thread::scope(|scope| {
        let name = file.to_str().expect("text");
        let capture = scope.spawn(|| live.command(&["capture", "--seconds", SECONDS, "--out", name]));
        // What comes before it listens is not in the file.
        assert!(wait_until(DEADLINE, || file.exists()), "the capture does not begin");
        fetch(&live, 0, &tls);
        fetch(&live, 1, &plain);
        fetch(&live, 1, &plain);
        let said = capture.join().expect("it ends").expect("it succeeds");
        assert!(said.contains(": 3 connections within "), "{said}");
    });
    let text = std::fs::read_to_string(&file).expect("it was written");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let protocols: Vec<&str> = lines.iter().filter_map(|line| line["protocol"].as_str()).collect();
    assert_eq!((protocols, lines.len()), (vec!["tls", "http1", "http1"], 5), "{text}");
    assert!(lines[1]["client"].is_string() && lines[1]["rtt_us"].is_u64(), "{text}");
    assert!(!text.contains(&user(0).to_string()) && !text.contains(&SERVER_V4.to_string()), "{text}");

    let [client, other] = [user(0).to_string(), user(1).to_string()];
    let [one] = <[Value; 1]>::try_from(connections(&live, &client)).expect("one connection");
    assert_eq!((one["client"].as_str(), one["service"].as_u64()), (Some(&*client), Some(TLS_PORT.into())));
    assert_eq!((one["protocol"].as_str(), one["class"].is_string()), (Some("tls"), true), "{one}");
    assert_eq!(connections(&live, &other).len(), 2);
    let explained = live.command(&["explain", &client]).expect("it succeeds");
    assert!(explained.contains(&format!("A connection to port {TLS_PORT} (tls, client class ")), "{explained}");
}
