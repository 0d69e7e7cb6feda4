//! `sensor replay` as a command: table, JSON lines, faults with their codes and advice.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn sensor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sensor")).args(arguments).output().expect("it starts")
}

/// A capture of the tests, by the number its name begins with.
fn capture(number: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures");
    let mut all = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(number));
    all.find(is_it).unwrap_or_else(|| panic!("no capture {number}"))
}

#[test]
fn records_as_a_table_and_as_json_lines() {
    let path = capture("0493");
    let path = path.to_str().expect("text");
    let table = sensor(&["replay", path]);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.status.success() && text.contains("relayed") && text.contains("t13d5911h1_a33745022dd6"), "{text}");
    let json = sensor(&["replay", path, "--json"]);
    let text = String::from_utf8_lossy(&json.stdout).into_owned();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["record"].as_str()).collect();
    assert_eq!(kinds, ["connection", "summary"], "{text}");
    assert_eq!(lines[0]["path"], "relayed");
    assert_eq!(lines[1]["counters"]["gap_flagged"], 1);
    assert_eq!((&lines[1]["class_conflicts"], &lines[1]["broken"]), (&Value::from(0), &Value::Null));
}

#[test]
fn faults_end_with_their_code_and_advice() {
    let missing = sensor(&["replay", "no/such/file.pcap"]);
    assert_eq!(missing.status.code(), Some(2));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cut.pcap");
    let name = file.to_str().expect("text");
    let whole = std::fs::read(capture("0420")).expect("it can be read");
    std::fs::write(&file, &whole[..whole.len() - 3]).expect("it can be written");
    let cut = sensor(&["replay", name, "--json"]);
    let (out, fault) = (String::from_utf8_lossy(&cut.stdout), String::from_utf8_lossy(&cut.stderr));
    assert_eq!(cut.status.code(), Some(1), "{fault}");
    assert!(out.contains("\"record\":\"connection\"") && out.contains("breaks off"), "{out}");
    assert!(fault.contains("breaks off behind packet") && fault.contains("what was read before is shown"), "{fault}");
    std::fs::write(&file, "not a capture").expect("it can be written");
    let other = sensor(&["replay", name]);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("neither pcap nor pcapng"));
}
