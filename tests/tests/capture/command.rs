//! The command itself: table, JSON lines, exit codes.

use std::process::{Command, Output};

use serde_json::Value;

use super::write::pcap;
use super::{capture, frames};

fn sensor(arguments: &[&str]) -> Option<Output> {
    let Some(program) = std::env::var_os("SENSOR_BIN") else {
        println!("SKIP command: SENSOR_BIN does not name the program");
        return None;
    };
    Some(Command::new(program).args(arguments).output().expect("it starts"))
}

#[test]
fn records_as_a_table_and_as_json_lines() {
    let path = capture("0493");
    let path = path.to_str().expect("text");
    let Some(table) = sensor(&["replay", path]) else { return };
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.status.success() && text.contains("relayed") && text.contains("t13d5911h1_a33745022dd6"), "{text}");
    let json = sensor(&["replay", path, "--json"]).expect("as before");
    let lines: Vec<Value> =
        String::from_utf8_lossy(&json.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        lines.iter().map(|line| line["record"].as_str()).collect::<Vec<_>>(),
        [Some("connection"), Some("summary")]
    );
    assert_eq!(lines[0]["path"], "relayed");
    assert_eq!(lines[1]["counters"]["gap_flagged"], 1);
    assert_eq!(lines[1]["class_conflicts"], 0);
}

#[test]
fn faults_end_with_their_code_and_advice() {
    let Some(missing) = sensor(&["replay", "no/such/file.pcap"]) else { return };
    assert_eq!(missing.status.code(), Some(2));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cut.pcap");
    let whole = pcap(1, &frames("0420"));
    std::fs::write(&file, &whole[..whole.len() - 3]).expect("it can be written");
    let cut = sensor(&["replay", file.to_str().expect("text"), "--json"]).expect("as before");
    let (out, fault) = (String::from_utf8_lossy(&cut.stdout), String::from_utf8_lossy(&cut.stderr));
    assert_eq!(cut.status.code(), Some(1), "{fault}");
    assert!(out.contains("\"record\":\"connection\"") && out.contains("breaks off"), "{out}");
    assert!(fault.contains("breaks off behind packet") && fault.contains("what was read before is shown"), "{fault}");
    std::fs::write(&file, "not a capture").expect("it can be written");
    let other = sensor(&["replay", file.to_str().expect("text")]).expect("as before");
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("neither pcap nor pcapng"));
}
