//! `sensor connections` and `sensor capture` as commands, before a daemon that only talks.

mod stub;

use std::process::{Command, Output};

use sensor::cli::capture::{FORMAT, Line};
use sensor::control::protocol::Request;
use serde_json::Value;
use stub::Stub;

fn sensor(stub: &Stub, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensor"));
    command.arg("--socket").arg(stub.socket()).args(arguments).output().expect("it starts")
}

#[test]
fn evidence_as_a_table_and_as_json() {
    let stub = Stub::start();
    let out = sensor(&stub, &["connections"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let row = text.lines().nth(1).unwrap_or_default();
    assert!(out.status.success() && row.starts_with("203.0.113.7:40000"), "{text}");
    assert!(row.contains("250.0 ms") && row.contains("relayed") && row.contains("t13d1812h1_85036bcba153"), "{text}");
    let out = sensor(&stub, &["connections", "--source", "203.0.113.0/24", "--json"]);
    let answer: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&answer["version"], &answer["connections"][0]["flight_gap_us"]), (&1.into(), &250_000.into()));
    for wrong in [["connections", "--limit", "0"], ["connections", "--source", "10.0.0.1/8"]] {
        assert_eq!(sensor(&stub, &wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// The place behind which connections were asked for.
fn place(request: &Request) -> Option<u64> {
    if let Request::Connections { after, .. } = request { *after } else { None }
}

#[test]
fn a_calibration_file_says_nothing_about_who() {
    let stub = Stub::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("calibration.jsonl");
    let name = file.to_str().expect("text");
    let out = sensor(&stub, &["capture", "--seconds", "1", "--out", name]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(&file).expect("it was written");
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    let [Line::Header { format: FORMAT, .. }, middle @ .., Line::End { connections, missed, .. }] = &*lines else {
        panic!("{text}")
    };
    assert_eq!((*connections, *missed), (middle.len() as u64, 3), "{text}");
    assert!(!middle.is_empty(), "the stub has a new one at each question");
    let places: Vec<u64> = stub.asked().iter().filter_map(place).collect();
    assert_eq!(places[..3], [u64::MAX, 100, 104], "each question begins where the one before ended");
    for line in middle {
        let Line::Connection(tuple) = line else { panic!("{line:?}") };
        assert_eq!((tuple.rtt_us, tuple.flight_gap_us, &*tuple.path), (Some(31_000), Some(250_000), "relayed"));
    }
    assert!(!text.contains("203.0.113.7") && !text.contains("198.51.100.1") && !text.contains("40000"), "{text}");
    let again = sensor(&stub, &["capture", "--seconds", "1", "--out", name]);
    assert_eq!(again.status.code(), Some(2), "what is there is not overwritten");
    assert!(String::from_utf8_lossy(&again.stderr).contains("where no file is yet"));
}

#[test]
fn without_a_daemon_no_file_is_made() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("calibration.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensor"));
    command.arg("--socket").arg(folder.path().join("none.sock")).args(["capture", "--out"]).arg(&file);
    assert_eq!(command.output().expect("it starts").status.code(), Some(5));
    assert!(!file.exists());
}
